"""Neurons and heads that break their contract: each is named, with what it did, where, and what was expected."""

import json

import numpy as np
import pytest

from nspike.contracts.head import Head
from nspike.contracts.neuron import NEVER, Neuron
from nspike.errors import PluginError
from nspike.registry.plugins import registry
from tests.cli.console import run as nspike
from tests.desk import lay_out
from tests.graphs import chain, image, random_model, run
from tests.own_neurons import theta_only


def bad(**parts):
    return Neuron("bad", "", "", **parts)


def stepping(step, **parts):
    return bad(step=step, **({"step_parameters": theta_only} | parts))


def fails(neuron, message, width=3, head="membrane"):
    with pytest.raises(PluginError, match=message):
        run(random_model(chain(width)), image(0, 1, 1, 3, 3), neuron, head)


# ----- declared -----


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-0.5, r"fire at step 1 of T = 4 is -0.5; expected a fraction of the threshold in \(0, 64\], or NEVER"),
        (0, "fire at step 1 of T = 4 is 0; expected a fraction"),
        (1e9, r"fire at step 1 of T = 4 is 1e\+09"),
        (float("nan"), "fire at step 1 of T = 4 is nan; expected a finite number"),
        (-NEVER, "fire at step 1 of T = 4 is -inf; expected a finite number"),
        (None, "fire at step 1 of T = 4 is None; expected a finite number"),
        (np.ones(3), r"fire at step 1 of T = 4 is array\(\[1., 1., 1.\]\); expected a finite number"),
    ],
)
def test_thresholds_that_cannot_be(value, message):
    fails(bad(fire=lambda p, t, timesteps: value), f"neuron bad: {message}")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"amplitude at step 1 of T = 4 is -1; expected a number in \(0, 124\]"),
        (0.0, "amplitude at step 1 of T = 4 is 0;"),
        (125.0, "amplitude at step 1 of T = 4 is 125;.*overflows the membrane"),
        (NEVER, "amplitude at step 1 of T = 4 is inf; expected a finite number"),
    ],
)
def test_amplitudes_that_cannot_be(value, message):
    fails(bad(amplitude=lambda p, t, timesteps: value), f"neuron bad: {message}")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"planes": (2,)}, r"planes are \(2,\); a declared neuron has gains 1, 2, 4, \.\.\. \(up to 64\)"),
        ({"planes": ()}, r"planes are \(\)"),
        ({"planes": (-1,)}, r"planes are \(-1,\)"),
        ({"planes": (-1, 1)}, r"planes are \(-1, 1\)"),
        ({"planes": (1, 4)}, r"planes are \(1, 4\)"),
        ({"planes": (1, 2, -2)}, r"planes are \(1, 2, -2\)"),
        ({"planes": tuple(1 << i for i in range(8))}, r"planes are \(1, 2, 4"),
        ({"most_spikes": 2}, r"most_spikes is 2; with planes \(1,\) expected 1 to 1"),
        ({"planes": (1, 2), "most_spikes": 0}, "most_spikes is 0"),
        ({"reset": "soft"}, "reset is 'soft'; expected 'subtract' or 'zero'"),
        ({"step": len, "step_parameters": theta_only, "keep": abs}, "`keep`, .* are of declared neurons"),
        ({"step": len, "step_parameters": theta_only, "reset": "zero"}, "`keep`, .* are of declared neurons"),
    ],
)
def test_what_cannot_be_declared(parts, message):
    with pytest.raises(PluginError, match=f"neuron bad: {message}"):
        bad(**parts)


def test_factors_that_cannot_be():
    fails(bad(keep=lambda p: -0.1), "neuron bad: keep is -0.1; expected a fraction of the membrane")
    fails(bad(input_factor=lambda p: 2.0), "neuron bad: input_factor is 2; expected a number in")
    fails(
        bad(planes=(1, 2), fire=lambda p, t, timesteps: 64.0, amplitude=lambda p, t, timesteps: 32.0), "bad: amplitude"
    )


def test_an_amplitude_that_changes():
    fails(bad(amplitude=lambda p, t, timesteps: 1.0 + t / 8), "neuron bad: the amplitude may change only once, after T")


@pytest.mark.parametrize(
    ("value", "message"), [(1.5, "initial is 1.5; expected .* in .-1, 1."), ("a", "initial is 'a'")]
)
def test_initial_potentials_that_cannot_be(value, message):
    fails(bad(initial=lambda p: value), f"neuron bad: {message}")


def test_functions_that_raise():
    def fire(parameters, step, timesteps):
        return 1.0 if step < timesteps else parameters["gone"]

    fails(
        bad(fire=fire), r"neuron bad: fire at step 4 of T = 4 failed: KeyError: 'gone' \(test_bad_neurons.py, line \d+"
    )
    fails(bad(fire=lambda p, t: 1.0), "neuron bad: fire at step 1 of T = 4 failed: TypeError")


# ----- with a kernel of their own -----


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 1), np.int32), r"step_parameters gave \(3, 1\), expected \(K, 3\)"),
        (np.zeros(3, np.int32), r"step_parameters gave \(3,\), expected \(K, 3\)"),
        (np.zeros((1, 3)), "step_parameters gave float64 that is not int32; round it first"),
        (np.full((1, 3), 2**31), "step_parameters gave int64 that is not int32"),
        (None, r"step_parameters gave \(\), expected"),
    ],
)
def test_step_parameters_of_a_wrong_shape_or_type(given, message):
    fails(stepping(lambda *_: None, step_parameters=lambda p, theta, k: given), f"neuron bad: {message}")


def test_what_step_parameters_does_to_its_arguments_stays_there():
    def step_parameters(parameters, theta, exponent):
        theta[:] = -1
        exponent[:] = 99
        return np.ones((1, theta.size), np.int32)

    def silent(v, current, state, params, phase, out):
        pass

    model, pixels = random_model(chain(3)), image(0, 1, 1, 3, 3)
    run(model, pixels, stepping(silent, step_parameters=step_parameters))
    run(model, pixels)


def changes_current(v, current, state, params, phase, out):
    current[0, 0] = 1


def changes_params(v, current, state, params, phase, out):
    params[0, 0] += 1


def changes_phase(v, current, state, params, phase, out):
    phase[0] = 0


def fires_two(v, current, state, params, phase, out):
    if phase[0] == 2:
        out[0, 0, 0] = 2


def fires_minus_one(v, current, state, params, phase, out):
    out[0, 0, 0] = -1


def raises_late(v, current, state, params, phase, out):
    if phase[0] == 3:
        raise ValueError("out of patience")


def wrong_arguments(v, current):
    pass


@pytest.mark.parametrize("width", [3, 16])
@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            changes_current,
            "failed at step 1 of layer act0: it writes to `current`, `params` or `phase`, which it may only read",
        ),
        (
            changes_params,
            "failed at step 1 of layer act0: it writes to `current`, `params` or `phase`, which it may only read",
        ),
        (changes_phase, "failed at step 1 of layer act0: it writes to `current`, `params` or `phase`"),
        (fires_two, r"wrote 0 \.\. 2 as spikes at step 3 of layer act0; expected 0 or 1"),
        (fires_minus_one, r"wrote -1 \.\. 0 as spikes at step 1 of layer act0"),
        (raises_late, "failed at step 4 of layer act0: ValueError: out of patience"),
        (wrong_arguments, "failed at step 1 of layer act0: TypeError: "),
    ],
)
def test_kernels_that_break_the_contract(step, message, width):
    fails(stepping(step), f"neuron bad {message}", width)


def uses_an_unknown_name(v, current, state, params, phase, out):
    v[0, 0] = threshold  # noqa: F821


def uses_what_cannot_be_compiled(v, current, state, params, phase, out):
    print(open)


def test_what_does_not_compile_is_explained_in_a_line():
    with pytest.raises(PluginError, match=r"neuron bad failed at step 1.*NameError: name 'threshold'") as caught:
        run(random_model(chain(3)), image(0, 1, 1, 3, 3), stepping(uses_an_unknown_name))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        PluginError, match=r"neuron bad failed at step 1.*TypingError: .*\(test_bad_neurons.py"
    ) as caught:
        run(random_model(chain(3)), image(0, 1, 1, 3, 3), stepping(uses_what_cannot_be_compiled))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


# ----- heads -----


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda layer, _: layer.charge[:, 1:] * 1.0, r"head bad gave an array \(1, 2, 3\); expected .* \(1, 3, 3\)"),
        (lambda layer, _: layer.charge * np.nan, "head bad gave NaN or infinity"),
        (lambda layer, p: p["weight"], "head bad failed: KeyError: 'weight'"),
    ],
)
def test_heads_that_break_the_contract(read, message):
    fails("if", message, head=Head("bad", "", "", False, read))


# ----- from the command line -----

FAILING = """
import numpy as np
from nspike import Neuron, hookimpl

def step(v, current, state, params, phase, out):
    if phase[0] == 1 and v.shape[0] > 0:
        raise ValueError("no more")

@hookimpl
def register_neurons(register):
    register(Neuron("failing", "", "", step=step, step_parameters=lambda p, t, k: np.ones((1, t.size), np.int32)))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    registry.cache_clear()
    here = lay_out(tmp_path, monkeypatch)
    (here / "failing.py").write_text(FAILING)
    yield here
    registry.cache_clear()


def test_a_run_that_breaks_off_names_the_plugin_and_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    done = nspike(capsys, "run", "photo.png", "--plugin", "failing.py")
    assert done.code == 4
    assert "neuron failing failed at step 2 of layer relu1: ValueError: no more" in done.err
    assert nspike(capsys, "audit", "photo.png", "--plugin", "failing.py", "--json", "c.json").code == 4
    assert sorted(here.rglob("*")) == before


def test_a_folder_run_keeps_what_is_done(here, capsys):
    assert nspike(capsys, "run", "photos", "-o", "restored").code == 0
    kept = {path: path.read_bytes() for path in (here / "restored").iterdir()}
    done = nspike(capsys, "run", "photos", "-o", "restored", "--plugin", "failing.py", "--overwrite", "--json", "-")
    assert done.code == 4
    assert "neuron failing failed at step 2" in done.err + json.dumps(done.out)
    assert {path: path.read_bytes() for path in kept} == kept
