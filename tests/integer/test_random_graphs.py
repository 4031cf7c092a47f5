"""Random networks of every kind of layer: integers and the float64 reference against `tests.naive`, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.graph.layer import Constant
from nspike.integer import reference
from nspike.integer.rounding import build
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import compare_integers, random_case, random_model
from tests.random_graphs import image_shape, random_graph, tie

SEEDS = range(60)


def compared(seed):
    """What naive gives for the network of `seed`, after both agreed. Raises AssertionError."""
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
    compared(seed)


def dyadic(seed):
    """A random network whose numbers are multiples of small powers of two: rounding changes none of them."""
    draw, network = np.random.default_rng([seed, 14]), random_graph(seed)
    network = network.changed(Constant, lambda layer: replace(layer, values=tuple(map(round, layer.values))))
    model = random_model(network, seed)
    parameters = {name: np.round(a * 8).clip(-16, 16) / 8 for name, a in model.parameters.items()}
    powers = [0.5, 1.0, 2.0]
    scales = {name: draw.choice(powers, a.shape) for name, a in model.spiking.scales.items()}
    tie(network, scales)
    thresholds = {name: draw.choice(powers, a.shape) for name, a in model.spiking.thresholds.items()}
    spiking = replace(model.spiking, scales=scales, thresholds=thresholds)
    return replace(model, parameters=parameters, spiking=spiking)


@pytest.mark.parametrize("seed", range(200, 230))
def test_floats_that_need_no_rounding_run_as_their_integers(seed):
    model = dyadic(seed)
    pixels = 255 * np.random.default_rng(seed).integers(0, 2, image_shape(model.network, seed), dtype=np.uint8)
    slow = naive.run(model, pixels, naive.IF, "cpm")
    parts = registry()
    run = reference.simulate(reference.from_model(model, parts.neurons["if"], parts.heads["cpm"]), pixels[0] / 255)
    for name, fired in run.spikes.items():
        np.testing.assert_array_equal(fired, slow.spikes[name][0], err_msg=name)
    np.testing.assert_allclose(run.output, slow.output[0], atol=1e-5)  # read on another grid
