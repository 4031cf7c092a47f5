"""Geometry against brute force: what an output sees, how often an input is read, on random graphs."""

import typing

import numpy as np
import pytest

from nspike.graph import geometry
from nspike.graph.layer import IMAGE, KINDS, Activation, Concat, Conv, Driver, Gate, Layer
from tests import naive
from tests.graphs import branched, chain


def random_networks(count):
    draw = np.random.default_rng(7)
    for _ in range(count):
        kernels = tuple(int(k) for k in draw.choice([1, 3, 5, 7], 4))
        widths = [int(n) for n in draw.integers(1, 5, 3)]
        channels = int(draw.choice([1, 3]))
        if draw.random() < 0.5:
            yield chain(*widths, channels=channels, kernels=kernels)
        else:
            yield branched(*widths, channels=channels, kernels=kernels, gate=bool(draw.random() < 0.5))


NETWORKS = list(random_networks(12))


def reads(layer, shape):
    """For each position of the output (flat): which positions of the input one output channel reads, by definition."""
    height, width = shape
    reach = layer.kernel // 2 if type(layer) is Conv else 0
    seen = np.zeros((height, width, height, width), bool)
    for y, x in np.ndindex(height, width):
        for v, u in np.ndindex(height, width):
            seen[y, x, v, u] = max(abs(y - v), abs(x - u)) <= reach
    return seen.reshape(height * width, -1)


@pytest.mark.parametrize("network", NETWORKS)
def test_macs_count_every_tap_inside_the_image(network):
    shape = (4, 6)
    total = 0
    for layer in network.layers:
        expected = 0
        if type(layer) is Conv:
            expected = int(reads(layer, shape).sum()) * layer.in_channels * layer.out_channels
            assert geometry.macs_paper(layer, *shape) == 24 * layer.kernel**2 * layer.in_channels * layer.out_channels
        assert geometry.macs(layer, *shape) == expected
        total += expected
    assert network.macs(*shape) == total
    assert network.weights == network.macs_per_pixel == sum(np.prod(conv.kernel_shape) for conv in network.convs)


@pytest.mark.parametrize("network", NETWORKS)
def test_fan_out_is_how_many_outputs_read_an_input(network):
    shape = (5, 4)
    for layer in network.drivers:
        kernel, targets = geometry.fan_out(layer)
        counted = reads(layer, shape).sum(axis=0).reshape(shape)
        np.testing.assert_array_equal(np.outer(geometry.fan(kernel, 5), geometry.fan(kernel, 4)), counted)
        assert targets == (layer.out_channels if type(layer) is Conv else 1)


@pytest.mark.parametrize("network", NETWORKS)
def test_halos_are_how_far_the_output_sees(network):
    """The middle of the output, traced back: the pixels of each layer that reach it."""
    side = 2 * network.radius + 3
    middle = side // 2
    seen = {name: np.zeros((side, side), bool) for name in (IMAGE, *(layer.name for layer in network.layers))}
    seen[network.output][middle, middle] = True
    for layer in reversed(network.layers):
        reach = layer.kernel // 2 if type(layer) is Conv else 0
        for y, x in np.argwhere(seen[layer.name]):
            for source in layer.sources:
                seen[source][max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    for name, halo in network.halos().items():
        assert halo == np.abs(np.argwhere(seen[name]) - middle).max(initial=0), name
    assert network.radius == network.halos()[IMAGE]


@pytest.mark.parametrize("network", NETWORKS)
def test_shapes_are_those_of_arrays(network):
    arrays = {IMAGE: np.zeros((network.channels, 3, 5))}
    for layer in network.layers:
        read = np.concatenate([arrays[source] for source in layer.sources])
        arrays[layer.name] = np.zeros((layer.out_channels, 3, 5)) if type(layer) is Conv else read
    shapes = geometry.shapes(network.layers, network.channels, 3, 5)
    assert shapes == {name: array.shape for name, array in arrays.items()}


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 31])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 20])
def test_fan_and_taps(kernel, size):
    brute = naive.targets(kernel, size, 9)
    np.testing.assert_array_equal(np.outer(geometry.fan(kernel, size), geometry.fan(kernel, 9)), brute)
    assert geometry.taps(kernel, size, 9) == brute.sum()


def test_parameters():
    conv = Conv("c", IMAGE, 3, 4, 5, bias=False, batch_norm_eps=1e-5)
    assert geometry.parameter_shapes(conv) == {"c.weight": (4, 3, 5, 5)} | {
        f"c.bn_{part}": (4,) for part in ("weight", "bias", "mean", "var")
    }
    assert geometry.parameter_shapes(Conv("c", IMAGE, 1, 2, 1)) == {"c.weight": (2, 1, 1, 1), "c.bias": (2,)}
    for layer in (Activation("a", "c", 4), Concat("d", ("a",)), Gate("g", "a", 4)):
        assert geometry.parameter_shapes(layer) == {}


def test_kinds_and_roles():
    assert set(KINDS.values()) == set(typing.get_args(Layer))
    currents = {kind for kind, entry in geometry.GEOMETRY.items() if entry.role == "current"}
    assert currents == set(typing.get_args(Driver))
