"""Geometry against brute force: what an output sees, how often an input is read, on random graphs."""

import math
import typing
from fractions import Fraction

import numpy as np
import pytest

from nspike.graph import geometry
from nspike.graph.layer import (
    IMAGE,
    KINDS,
    Activation,
    AveragePool,
    Bilinear,
    Concat,
    Conv,
    Driver,
    Gate,
    Layer,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.graph.plain_layer import MaxPool
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
        counted = reads(layer, shape).sum(axis=0).reshape(shape)
        np.testing.assert_array_equal(np.outer(geometry.fan(layer, 5), geometry.fan(layer, 4)), counted)
        targets = geometry.geometry(layer).targets(layer)
        assert geometry.paper_reach(layer) == targets * (layer.kernel**2 if type(layer) is Conv else 1)
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
    shapes = network.shapes(3, 5)
    assert shapes == {name: array.shape for name, array in arrays.items()}


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 31])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 20])
def test_fan_and_taps(kernel, size):
    brute, conv = naive.targets(kernel, size, 9), Conv("c", IMAGE, 1, 1, kernel)
    np.testing.assert_array_equal(np.outer(geometry.fan(conv, size), geometry.fan(conv, 9)), brute)
    assert geometry.macs(conv, size, 9) == brute.sum()


def test_parameters():
    conv = Conv("c", IMAGE, 3, 4, 5, bias=False, batch_norm_eps=1e-5)
    assert geometry.parameter_shapes(conv) == {"c.weight": (4, 3, 5, 5)} | {
        f"c.bn_{part}": (4,) for part in ("weight", "bias", "mean", "var")
    }
    assert geometry.parameter_shapes(Conv("c", IMAGE, 1, 2, 1)) == {"c.weight": (2, 1, 1, 1), "c.bias": (2,)}
    for layer in (Activation("a", "c", 4), Concat("d", ("a",)), Gate("g", "a", 4)):
        assert geometry.parameter_shapes(layer) == {}


# ----- Kinds that change the size: each against its definition on one axis -----

SIZE = 24

STRIDED = [
    Conv("l", IMAGE, 4, 8, k, stride=s, dilation=d, groups=g, padding=p)
    for k, s, d, g, p in [
        (3, 1, 1, 4, None),
        (3, 2, 1, 1, (1, 1)),
        (3, 2, 1, 2, (0, 1)),
        (2, 2, 1, 1, (0, 0)),
        (4, 2, 1, 1, (1, 1)),
        (5, 4, 1, 1, (2, 1)),
        (2, 1, 1, 1, (1, 0)),
        (2, 1, 1, 1, (0, 1)),
        (3, 1, 4, 1, None),
        (3, 2, 3, 4, (3, 2)),
    ]
]
MOVES = [PixelShuffle("l", IMAGE, 2), PixelUnshuffle("l", IMAGE, 3), Nearest("l", IMAGE, 3), AveragePool("l", IMAGE, 4)]
MOVES += [Bilinear("l", IMAGE), Slice("l", IMAGE, 1, 2), MaxPool("l", IMAGE, 2)]


def contributions(layer, size):
    """For each output along one axis: the inputs that it is computed from, by the definition of its kind."""
    kind = type(layer)
    if kind is Conv:
        taps = [j * layer.dilation - layer.pads[0] for j in range(layer.kernel)]
        starts = range(0, size, layer.stride)
        return [[start + t for t in taps if 0 <= start + t < size] for start in starts]
    if kind in (PixelShuffle, Nearest):
        return [[i // layer.factor] for i in range(size * layer.factor)]
    if kind in (PixelUnshuffle, AveragePool, MaxPool):
        side = layer.factor if kind is PixelUnshuffle else layer.size
        return [list(range(i * side, i * side + side)) for i in range(size // side)]
    if kind is Bilinear:
        centres = [(i + 0.5) / 2 - 0.5 for i in range(2 * size)]
        return [sorted({min(max(math.floor(c) + j, 0), size - 1) for j in (0, 1)}) for c in centres]
    return [[i] for i in range(size)]


@pytest.mark.parametrize("layer", [*STRIDED, *MOVES], ids=lambda layer: type(layer).__name__)
def test_sizes_and_what_outputs_need(layer):
    reads = contributions(layer, SIZE)
    assert len(reads) == SIZE * geometry.geometry(layer).scale(layer)
    for first in range(len(reads)):
        for last in range(first + 1, len(reads) + 1):
            inputs = [i for output in reads[first:last] for i in output]
            least, most = geometry.needed([layer], SIZE, {"l": (first, last)})[IMAGE]
            assert least <= min(inputs, default=SIZE)
            assert most > max(inputs, default=-1)
            if least > 0 and most < SIZE:  # far from the border, no more than that
                assert (least, most) == (min(inputs), max(inputs) + 1)


@pytest.mark.parametrize("conv", STRIDED)
def test_fan_and_macs_of_strided_and_grouped_convolutions(conv):
    reads = contributions(conv, SIZE)
    counted = np.bincount([i for output in reads for i in output], minlength=SIZE)
    np.testing.assert_array_equal(geometry.fan(conv, SIZE), counted)
    assert geometry.macs(conv, SIZE, SIZE) == counted.sum() ** 2 * 4 * 8 // conv.groups
    side = SIZE // conv.stride
    assert geometry.macs_paper(conv, side, side) == side**2 * conv.kernel**2 * 4 * 8 // conv.groups
    assert geometry.paper_reach(conv) == Fraction(conv.kernel**2 * 8 // conv.groups, conv.stride**2)


U_NET = Network(
    "u",
    1,
    (
        Conv("in", IMAGE, 1, 4, 3),
        Activation("a", "in", 4),
        Conv("down", "a", 4, 4, 4, stride=4, padding=(0, 0)),
        Activation("low", "down", 4),
        Conv("wide", "low", 4, 16, 3),
        PixelShuffle("half", "wide", 2),
        Bilinear("up", "half"),
        Concat("cat", ("a", "up")),
        Conv("out", "cat", 8, 1, 3),
    ),
    "out",
    "image",
)


def test_regions_through_a_u_net():
    """What a tile needs of each layer: the union over its readers, cut off at the border."""
    expected = [1, 1, 1, Fraction(1, 4), Fraction(1, 4), Fraction(1, 4), Fraction(1, 2), 1, 1, 1]
    assert list(U_NET.scales.values()) == expected
    assert U_NET.size_multiple == 4
    assert U_NET.scale == 1
    need = geometry.needed(U_NET.layers, 64, {"out": (16, 32)})
    assert need["out"] == (16, 32)
    assert need["cat"] == need["up"] == (15, 33)
    assert need["half"] == (7, 17)
    assert need["wide"] == (3, 9)
    assert need["low"] == (2, 10)
    assert need["a"] == (8, 40)
    assert need[IMAGE] == (7, 41)
    assert U_NET.radius == 9
    assert U_NET.halos()["cat"] == 1
    assert U_NET.macs_paper(8, 8) == 64 * (9 * 4 + 9 * 8) + 4 * (16 * 16 + 9 * 64)


def test_kinds_and_roles():
    kinds = {kind for part in typing.get_args(Layer) for kind in (typing.get_args(part) or (part,))}
    assert set(KINDS.values()) == kinds
    currents = {kind for kind, entry in geometry.GEOMETRY.items() if entry.role == "current"}
    assert currents == set(typing.get_args(Driver))
