"""Arranging layers against their definitions, value by value."""

import numpy as np
import pytest

from nspike.graph.arrange import MOVES, move, origins, parts
from nspike.graph.geometry import GEOMETRY
from nspike.graph.layer import (
    IMAGE,
    Activation,
    ChannelShuffle,
    Concat,
    Conv,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network


def test_every_arranging_kind_has_a_move():
    assert set(MOVES) == {kind for kind, entry in GEOMETRY.items() if entry.role == "arrange"}


def expected(layer, x):
    """(C, H, W) by the docstrings of the layers."""
    channels, height, width = x.shape
    kind = type(layer)
    if kind is Slice:
        return x[layer.first : layer.first + layer.channels]
    if kind is ChannelShuffle:
        out = np.empty_like(x)
        each = channels // layer.groups
        for i, j in np.ndindex(layer.groups, each):
            out[j * layer.groups + i] = x[i * each + j]
        return out
    r = layer.factor
    if kind is Nearest:
        return np.array(
            [[[x[c, i // r, j // r] for j in range(width * r)] for i in range(height * r)] for c in range(channels)]
        )
    if kind is PixelShuffle:
        out = np.empty((channels // r**2, height * r, width * r), x.dtype)
        for c, i, j, h, w in np.ndindex(channels // r**2, r, r, height, width):
            out[c, h * r + i, w * r + j] = x[c * r * r + i * r + j, h, w]
        return out
    out = np.empty((channels * r**2, height // r, width // r), x.dtype)
    for c, i, j, h, w in np.ndindex(channels, r, r, height // r, width // r):
        out[c * r * r + i * r + j, h, w] = x[c, h * r + i, w * r + j]
    return out


LAYERS = [
    Slice("l", "x", 3, 5),
    ChannelShuffle("l", "x", 3),
    ChannelShuffle("l", "x", 4),
    Nearest("l", "x", 2),
    Nearest("l", "x", 3),
    PixelShuffle("l", "x", 2),
    PixelUnshuffle("l", "x", 2),
    PixelUnshuffle("l", "x", 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_moves_of_one_plane_and_of_several(layer):
    x = np.arange(12 * 6 * 12).reshape(12, 6, 12)
    wanted = expected(layer, x)
    np.testing.assert_array_equal(MOVES[type(layer)](layer, [x]), wanted)
    planes = np.stack([x, -x, 2 * x])
    moved = move(layer, [np.stack([planes, planes + 1]).reshape(2, 36, 6, 12)], 3)
    np.testing.assert_array_equal(moved[0].reshape(3, *wanted.shape), np.stack([wanted, -wanted, 2 * wanted]))
    channels = np.broadcast_to(np.arange(12)[:, None, None], x.shape)
    assert origins(layer, [12]).tolist() == [sorted(set(c.ravel().tolist())) for c in expected(layer, channels)]


def test_concatenation_joins_each_plane():
    a, b = np.arange(8).reshape(4, 1, 2), np.arange(100, 104).reshape(2, 1, 2)
    layer = Concat("l", ("a", "b"))
    assert move(layer, [a, b])[:, 0, 0].tolist() == [0, 2, 4, 6, 100, 102]
    assert move(layer, [a, b], 2)[:, 0, 0].tolist() == [0, 2, 100, 4, 6, 102]
    assert origins(layer, [2, 1]).tolist() == [[0], [1], [2]]


def test_parts_of_nested_concatenations():
    layers = (
        Conv("c1", IMAGE, 1, 4, 3),
        Activation("a", "c1", 4),
        Conv("c2", "a", 4, 4, 3),
        Activation("b", "c2", 4),
        Concat("ab", ("a", "b")),
        ChannelShuffle("s", "ab", 2),
        Concat("abs", ("ab", "s")),
        Conv("c3", "abs", 16, 1, 3),
    )
    network = Network("n", 1, layers, "c3", "image")
    assert parts(network, "c3") == ("a", "b", "s")
    assert parts(network, "s") == ("a", "b")
    assert parts(network, "c1") == (IMAGE,)
