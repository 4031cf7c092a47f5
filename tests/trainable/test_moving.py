"""Layers that only move, in training, against `nspike.graph.arrange`; gradients are the transposed maps."""

import numpy as np
import pytest

from nspike.graph import arrange
from nspike.graph.layer import ChannelShuffle, PixelShuffle, PixelUnshuffle
from nspike.trainable.moving import moved, moved_back

LAYERS = [ChannelShuffle("a", "x", 3), PixelShuffle("a", "x", 2), PixelUnshuffle("a", "x", 2)]


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("layer", LAYERS)
def test_channels_last(layer, planes):
    draw = np.random.default_rng(planes)
    x = draw.normal(size=(2, 3, 4, 6, planes * 12))
    first = arrange.move(layer, [np.moveaxis(x, -1, -3)], planes)
    y = moved(layer, [x], planes)
    np.testing.assert_array_equal(y, np.moveaxis(first, -3, -1))
    g = draw.normal(size=y.shape)
    (back,) = moved_back(layer, g, [12], planes)
    assert back.shape == x.shape
    np.testing.assert_array_equal(np.sort(back, axis=None), np.sort(g, axis=None))
    assert np.sum(back * x) == pytest.approx(np.sum(g * y))
    np.testing.assert_array_equal(moved_back(layer, y, [12], planes)[0], x)
