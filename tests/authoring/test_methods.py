"""The conformance kit for methods: the built-in ones pass, and each check catches the faults planted for it."""

import json
from dataclasses import replace

import pytest

from nspike.contracts.method import Method
from nspike.registry.plugins import registry
from nspike.testing import ConformanceError, check_method, examine_method
from tests.cli.console import run

GOOD = Method("mine", "", "", timesteps=4)
TUNED = replace(GOOD, trained_by="finetune", recipe={"k": 0.1})


def state(method, check):
    return next(result for result in examine_method(method).results if result.check == check)


@pytest.mark.parametrize("method", registry().all("method"), ids=lambda method: method.name)
def test_every_built_in_method_conforms(method):
    report = check_method(method)
    assert [result.state for result in report.results].count("skipped") == (2 if method.trained_by == "none" else 0)


@pytest.mark.parametrize(
    ("method", "check", "message"),
    [
        (replace(GOOD, neuron="iff"), "parts", "there is no neuron 'iff'. Did you mean 'if'"),
        (replace(GOOD, converter="maximum"), "parts", "there is no converter 'maximum'"),
        (replace(GOOD, head="membranes"), "parts", "there is no head 'membranes'"),
        (replace(GOOD, options={"percent": 99}), "settings", "unknown option 'percent'"),
        (replace(GOOD, neuron_parameters={"v_init": 2}), "settings", "v_init = 2 is out of range"),
        (replace(GOOD, timesteps=127), "settings", "timesteps is 127; with neuron if at most 126"),
        (replace(TUNED, recipe={"levels": 4}), "recipe", "unknown key 'levels'"),
        (replace(TUNED, trained_by="train"), "recipe", "unknown key 'k'"),
        (replace(GOOD, options={"theta_scale": 4.0}, timesteps=1), "conversion", "not one spike"),
        (replace(GOOD, converter="qcfs"), "conversion", "has no ceiling"),
        (replace(TUNED, recipe={"rate": 1e-30, "neuron_rate": 0.0}), "training", "training moves nothing"),
    ],
)
def test_planted_faults_are_caught(method, check, message):
    failed = state(method, check)
    assert failed.state == "failed"
    assert message in failed.message


def test_what_follows_a_broken_part_is_not_run():
    with pytest.raises(ConformanceError, match="method mine") as caught:
        check_method(replace(GOOD, neuron="iff"))
    assert [result.state for result in caught.value.report.results] == ["failed", *["skipped"] * 4]


def test_the_command_checks_methods(capsys):
    done = run(capsys, "plugin", "check", "method:rueckauer", "--json", "-")
    assert done.code == 0
    assert {key: json.loads(done.out)[key] for key in ("method", "passed")} == {"method": "rueckauer", "passed": True}
    refused = run(capsys, "plugin", "check", "method:rueckauer", "--conserves")
    assert refused.code == 2
    assert "--set and --conserves are for neurons" in refused.err
