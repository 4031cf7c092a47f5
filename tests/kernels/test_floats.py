import numpy as np
import pytest

from nspike.engine import stages
from nspike.errors import PluginError
from nspike.kernels import floats
from nspike.kernels._jit import compile_step
from nspike.registry.plugins import registry
from tests import faulty_neurons, own_neurons
from tests.faulty_neurons import stepping

FLOATS = ["takes_an_exponential", "halves", "calls_what_takes_a_sine"]


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_seen(name):
    """From what is in the cache too: the second time it is read from there."""
    step = getattr(faulty_neurons, name)
    wanted = "_wave" if name == "calls_what_takes_a_sine" else name
    for place in (floats.of_step(compile_step(step)), floats.of_step(compile_step(step)), floats.of_fresh(step)):
        assert place.startswith(f"{wanted}, line ")
    with pytest.raises(PluginError, match=rf"computes with floating-point numbers \({wanted}, line \d+\)"):
        stages.check_integer(stepping(step))


@pytest.mark.parametrize(
    "neuron",
    [own_neurons.LEAKY.fast, stepping(faulty_neurons.good), own_neurons.BURST.fast, own_neurons.TERNARY.fast],
    ids=lambda neuron: neuron.name,
)
def test_integers_are_none(neuron):
    assert floats.of_step(compile_step(neuron.step), len(neuron.planes)) == ""
    assert floats.of_fresh(neuron.step, len(neuron.planes)) == ""
    stages.check_integer(neuron)


def test_integer_arithmetic_of_all_kinds_is_none():
    def step(v, current, state, params, phase, out):
        for p in range(v.shape[0]):
            for c in range(v.shape[1]):
                u = np.int64(v[p, c]) * params[0, c] // 7 % 5 + (v[p, c] >> 2) - (v[p, c] ^ 3)
                v[p, c] = max(min(abs(u), 2**20), -current[p, c])
                out[p, c, 0] = v[p, c] >= params[0, c] or not phase[1]

    assert floats.of_fresh(step) == ""


def test_a_step_that_cannot_be_compiled_is_left_to_the_run():
    stages.check_integer(stepping(faulty_neurons.cannot_be_compiled))


def test_declared_neurons_have_none():
    stages.check_integer(registry().neurons["mprn"])
