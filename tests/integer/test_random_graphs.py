"""Random networks of every kind of layer: integers and the float64 reference against `tests.naive`, bit for bit."""

import numpy as np
import pytest

from nspike.integer import reference
from nspike.integer.rounding import build
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import compare_integers, random_case

SEEDS = range(60)


def disagreement(seed):
    """Raise AssertionError unless both agree on the network of `seed`; return naive's run."""
    model, pixels, neuron, head = random_case(seed)
    slow = naive.run(model, pixels, naive.NEURONS[neuron], head)
    compare_integers(model, neuron, head, slow)
    parts = registry()
    integers = build(model, parts.neurons[neuron], parts.heads[head])
    run = reference.simulate(reference.from_integers(integers), naive.to_plane(pixels)[0] / 65535)
    assert set(run.spikes) == set(slow.spikes)
    for stage in integers.stages:
        name, k = stage.name, stage.integer.exponent[:, None, None]
        np.testing.assert_array_equal(run.spikes[name], slow.spikes[name][0], err_msg=name)
        np.testing.assert_array_equal(np.ldexp(run.residual[name], k), slow.residuals[name][0], err_msg=name)
    np.testing.assert_array_equal(run.output, slow.output[0])
    return slow


@pytest.mark.parametrize("seed", SEEDS)
def test_the_reference_equals_naive(seed):
    disagreement(seed)
