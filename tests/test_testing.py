"""The conformance kit: good neurons pass, and each check catches the faults planted for it."""

import importlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from nspike.authoring.conformance import networks
from nspike.contracts.neuron import NEVER, Neuron, Parameter
from nspike.errors import UsageError
from nspike.integer import reference as floatsim
from nspike.registry.plugins import registry
from nspike.testing import CHECKS, NEEDED, ConformanceError, HandWorked, check_neuron, examine_neuron
from tests.faulty_neurons import FAULTS, GOOD_TRACE, good, stepping
from tests.own_neurons import BURST, LEAKY, TERNARY

pytestmark = pytest.mark.slow


def units(n):
    """The planes of a number of sixteenths."""
    return tuple(n >> i & 1 for i in range(7))


# MPRN: 0.75·16 = 12 is reached in the post step; LIF with τ = 2: halves of odd numbers round up
TRACES = {
    "if": HandWorked([6, 6, 6, 6, -3], [0, 0, 1, 0, 0], [6, 12, 2, 8, 5]),
    "mprn": HandWorked([6, 6, 6, 6, 4], [0, 0, 1, 0, 1], [6, 12, 2, 8, -4]),
    "mprn_beta": HandWorked([6, 6, 3, 0], [0, 0, 0, 1], [6, 12, 15, -17], parameters={"alpha": 0.9, "beta": 2.0}),
    "lif": [
        HandWorked([10, 10, 10, 10, 10], [0, 0, 1, 0, 1], [10, 15, 2, 11, 0], parameters={"tau": 2.0}),
        # the input is halved too, halves round up: 20 / 2; 5 + 7 / 2; 5 (of 9 / 2) + 23 / 2 = 17 -> fires; 1 + -3 / 2
        HandWorked([20, 7, 23, -3], [0, 0, 1, 0], [10, 9, 1, 0], parameters={"tau": 2.0, "decay_input": 1.0}),
    ],
    # 18 -> fires and is 0, where lif keeps 2; -7; -3 (of -3.5) + 20 = 17; 0
    "lif_hard": [
        HandWorked([10, 10, 10, -7, 20], [0, 0, 1, 0, 1], [10, 15, 0, -7, 0], parameters={"tau": 2.0}),
        HandWorked([30, 30, -8], [0, 1, 0], [15, 0, -4], parameters={"tau": 2.0, "decay_input": 1.0}, theta=23),
    ],
    # n = floor(u/16): 20 -> 1, 44 -> 2, 112 -> 7, but at most 5; 32 -> 2
    "burst": HandWorked(
        [20, 40, 100, -30, 30],
        [(1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 0, 0), (0, 1, 0)],
        [4, 12, 32, 2, 0],
    ),
    # half of 16 is 8; a quarter is kept, halves round up: 6; 2 (of 1.5) + 7 -> fires; -3; -1 (of -0.75) - 8 -> fires
    "ternary": HandWorked([6, 7, -3, -8, 20, 1], [(0, 0), (1, 0), (0, 0), (0, 1), (1, 0), (0, 0)], [6, 0, -3, 0, 0, 1]),
    # 0.875·16 = 14 is both threshold and what a spike takes
    "atif": HandWorked([10, 10, 10, 10], [0, 1, 1, 0], [10, 6, 2, 12], parameters={"theta": 0.875}),
    # 16 is not above 16; half of it is kept: 8 + 9 = 17 is; 1 (of 0.5) + 16 = 17; 1 + 15 = 16 is not
    "dietsnn": HandWorked([16, 9, 16, 15], [0, 1, 1, 0], [16, 1, 1, 16], parameters={"keep": 0.5}),
    # a sixteenth of 32 is 2: 40 is past level 16, one spike of 32; 15 is level 7, one of 14; -19; 71: two of 32; 23: one of 22
    "lan": HandWorked([40, 7, -20, 90, 16], [units(n) for n in (16, 7, 0, 32, 11)], [8, 1, -19, 7, 1], theta=32),
    "signed": HandWorked([20, -18, -18, -40, 3], [(1, 0), (0, 0), (0, 1), (0, 1), (0, 1)], [4, -14, -16, -40, -21]),
}


def state_of(report, check):
    return next(result for result in report.results if result.check == check)


# ----- good neurons -----


@pytest.mark.parametrize("name", TRACES)
def test_every_built_in_neuron_conforms(name):
    report = check_neuron(registry().neurons[name], trace=TRACES[name])
    assert report.passed
    assert state_of(report, "trace").state == "passed"
    assert [result.check for result in report.results] == ["parameters", *CHECKS]
    kept = state_of(report, "conservation")
    leaky = name in ("lif", "lif_hard", "ternary", "dietsnn")
    assert (kept.state == "skipped") == (leaky or registry().neurons[name].step is not None), kept.message


def test_every_built_in_neuron_has_a_trace():
    assert {neuron.name for neuron in registry().all("neuron")} == set(TRACES)


@pytest.mark.parametrize("neuron", [TERNARY.fast, replace(BURST.fast, post_steps=3)], ids=["ternary", "burst"])
def test_neurons_of_several_planes_conform(neuron):
    trace = HandWorked([20, 0, -20], [(1, 0), (0, 0), (0, 1)], [4, 4, 0]) if neuron.planes == (1, -1) else ()
    report = check_neuron(neuron, trace=trace, conserves=True)
    assert state_of(report, "conservation").state == "passed"


DECLARED = {
    # floor(50 / 16) = 3; 2 + 120 = 122: seven at most; 10 left
    "burst": (
        {"planes": (1, 2, 4)},
        HandWorked(
            [50, 120, 0, -30, 9], [(1, 1, 0), (1, 1, 1), (0, 0, 0), (0, 0, 0), (0, 0, 0)], [2, 10, 10, -20, -11]
        ),
    ),
    "burst of five": (
        {"planes": (1, 2, 4), "most_spikes": 5},
        HandWorked([200, 0], [(1, 0, 1), (1, 0, 1)], [120, 40]),
    ),
    # fires from 8 on, one more for each 32 above: 39 is one, 7 + 33 = 40 two
    "low burst": (
        {"planes": (1, 2), "fire": lambda p, t, timesteps: 0.5, "amplitude": lambda p, t, timesteps: 2.0},
        HandWorked([39, 33, 12], [(1, 0), (0, 1), (0, 0)], [7, -24, -12]),
    ),
    "signed burst": (
        {"planes": (1, 2, -1, -2), "keep": lambda p: 0.5},
        HandWorked([36, -49, -16], [(0, 1, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0)], [4, -15, -7]),
    ),
    "signed to zero": (
        {"planes": (1, -1), "reset": "zero"},
        HandWorked([20, -15, -15, 3], [(1, 0), (0, 0), (0, 1), (0, 0)], [0, -15, 0, 3]),
    ),
    "silent burst": (
        {"planes": (1, 2), "post_steps": 1, "fire": lambda p, t, timesteps: NEVER if t == 1 else 1.0},
        HandWorked([40, 8, 17], [(0, 0), (1, 1), (1, 0)], [40, 0, 1]),
    ),
    "an input factor alone": (
        {"input_factor": lambda p: 0.75},
        HandWorked([10, 10, 1], [0, 1, 0], [8, 0, 1]),  # 7.5 is 8; 16; .75 is 1
    ),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_neurons_conform(name):
    parts, trace = DECLARED[name]
    neuron = Neuron(name, "", "", **parts)
    report = check_neuron(neuron, trace=trace)
    assert (state_of(report, "conservation").state == "passed") == neuron.conserves
    assert state_of(report, "training").state == "passed"


def test_a_neuron_with_a_kernel_conforms():
    report = check_neuron(stepping(good), trace=GOOD_TRACE, conserves=True)
    assert {result.state for result in report.results} == {"passed"}


def test_other_parameters_than_the_defaults():
    report = check_neuron(registry().neurons["mprn"], parameters={"beta": -3.0, "v_init": 0.4})
    assert report.passed
    with pytest.raises(UsageError, match="unknown parameter 'alpha'"):
        check_neuron(registry().neurons["mprn"], parameters={"alpha": 1.0})


# ----- planted faults -----


@pytest.mark.parametrize(
    ("check", "neuron", "arguments", "message"), FAULTS, ids=[f"{f[0]}-{i}" for i, f in enumerate(FAULTS)]
)
def test_planted_fault_is_caught(check, neuron, arguments, message):
    with pytest.raises(ConformanceError, match=f"FAILED +{check} +.*{message}") as caught:
        check_neuron(neuron, **arguments)
    assert caught.value.exit_code == 1
    assert not caught.value.report.passed
    if check in (*NEEDED, "parameters"):
        after = caught.value.report.results[["parameters", *CHECKS].index(check) + 1 :]
        assert {(result.state, result.message) for result in after} == {("skipped", f"not run after {check!r} failed")}


def test_every_check_has_a_planted_fault():
    assert {check for check, *_ in FAULTS} == {"parameters", *CHECKS}


def drop_spike(monkeypatch, times):
    """Let the engine lose one spike of layer2, in the runs whose numbers are given."""
    real, count = networks.run, iter(range(10**6))

    def faulty(model, neuron, plane, **options):
        run = real(model, neuron, plane, **options)
        if next(count) in times:
            run.spikes["layer2"].flat[np.flatnonzero(run.spikes["layer2"])[3]] = False
        return run

    monkeypatch.setattr(networks, "run", faulty)


@pytest.mark.parametrize(
    ("check", "runs", "message"),
    [
        ("determinism", {1}, "few channels: two runs of one network differ at layer2, step"),
        ("tiles and threads", {2}, "few channels: one tile and 3 threads change the spikes at layer2, step"),
        ("tiles and threads", {5}, "many channels: tiles of 64 and 1 threads change the spikes at layer2, step"),
        ("agreement", {0}, "few channels, layer2: the definition and the engine differ at step .*: 1 and 0"),
        ("conservation", {1}, r"many channels, layer2, channel \d+, pixel .*: received"),
    ],
)
@pytest.mark.parametrize("name", ["if", "own"])
def test_a_planted_fault_in_the_engine_is_caught(monkeypatch, check, runs, message, name):
    monkeypatch.setattr("nspike.testing.CHECKS", {check: CHECKS[check]})
    drop_spike(monkeypatch, runs)
    neuron = registry().neurons[name] if name == "if" else stepping(good)
    result = state_of(examine_neuron(neuron, conserves=True), check)
    assert result.state == "failed"
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize("name", ["if", "own"])
def test_a_planted_fault_in_training_is_caught(monkeypatch, name):
    """A spike that training loses."""
    where = {"if": "nspike.trainable.rule.Forward", "own": "nspike.trainable.own_kernel.run"}[name]
    module, _, attribute = where.rpartition(".")
    real = getattr(importlib.import_module(module), attribute)

    def faulty(*arguments, **options):
        made = real(*arguments, **options)
        words = getattr(made, "train", made).data
        if words.any():
            words.flat[np.flatnonzero(words)[0]] = 0
        return made

    monkeypatch.setattr(where, faulty)
    neuron = LEAKY.fast if name == "own" else registry().neurons[name]
    result = state_of(examine_neuron(neuron), "training")
    assert re.search(r"few channels, after 0 steps: training and the engine differ at layer1, step", result.message)


def test_the_float_simulation_is_compared_too(monkeypatch):
    real = floatsim.from_integers

    def shifted(integers):
        network = real(integers)
        stages = [replace(stage, threshold=stage.threshold * 1.25) for stage in network.stages]
        return replace(network, stages=tuple(stages))

    monkeypatch.setattr(floatsim, "from_integers", shifted)
    result = state_of(examine_neuron(registry().neurons["if"]), "agreement")
    assert "the float simulation and the engine differ" in result.message


# ----- the report -----


def test_report_as_text_and_values():
    report = examine_neuron(Neuron("shy", "", "", fire=lambda p, t, timesteps: NEVER))
    text = report.to_text()
    assert text.startswith("neuron shy\n  passed   parameters")
    assert "\n  FAILED   activity" in text
    assert "\n  skipped  kernel             declared" in text
    assert text.endswith("3 of 10 checks failed, 5 skipped")
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["neuron"], values["passed"], len(values["checks"])) == ("shy", False, 15)
    assert values["checks"][0] == {"check": "parameters", "state": "passed", "message": "none"}
    assert [result.check for result in report.failures] == ["activity", "agreement", "training"]


def test_a_fault_names_the_parameters_that_it_needs():
    parameters = (Parameter("a", 1.0, 0.5, 1.0, ""), Parameter("b", 0.0, -1.0, 1.0, ""))
    neuron = Neuron("n", "", "", parameters=parameters, fire=lambda p, t, timesteps: p["a"] + p["b"])
    result = state_of(examine_neuron(neuron), "functions")
    assert result.message.endswith("(with a = 1, b = -1)")
