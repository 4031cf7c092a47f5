"""Padding to the size multiple, and networks that enlarge, without any network running: parts are made up."""

import numpy as np
import pytest

from nspike.engine.window import Part, Rect
from nspike.errors import UsageError
from nspike.graph.layer import IMAGE, AveragePool, Bilinear, Constant, Conv, Nearest
from nspike.graph.network import Network
from nspike.images.enlarge import Enlargement
from nspike.images.plane import UNIT, to_plane
from nspike.images.resize import imresize
from nspike.model.model import Info, Model
from nspike.restoration.way import padded, scale_of, way


def model(channels, *layers, colour="gray", mode="image", task="denoise"):
    return Model(Info("m", task, colour), Network("m", channels, layers, layers[-1].name, mode), {})


def quarters(channels):
    """A residual network on a quarter of the size."""
    layers = (AveragePool("p", IMAGE, 4), Bilinear("b", "p"), Bilinear("out", "b"))
    return model(channels, *layers, mode="subtract", colour="gray" if channels == 1 else "rgb")


def parts(planes, side, function):
    """The parts of a run in tiles: function(int32 plane) -> output, tile by tile."""
    for n, plane in enumerate(planes):
        whole = plane if plane.dtype == np.int32 else to_plane(plane)
        height, width = whole.shape[1:]
        for y in range(0, height, side):
            for x in range(0, width, side):
                core = Rect(y, min(y + side, height), x, min(x + side, width))
                cut = whole[:, *core.slices]
                yield Part(n, core, cut, function(cut))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(7, 9), (8, 12), (1, 1), (5, 4, 3), (130, 67, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_what_is_padded_is_cut_off(channels, shape, dtype):
    draw = np.random.default_rng(1)
    pixels = draw.random(shape) if dtype == np.float64 else draw.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    planes, image, fill = way(quarters(channels), pixels, None)
    assert planes.shape[2:] == tuple(-(-n // 4) * 4 for n in shape[:2])
    for part in parts(planes, 64, lambda plane: np.zeros(plane.shape)):
        fill(image, part)
    expected = np.rint(pixels * UNIT) / UNIT if dtype == np.float64 else pixels
    np.testing.assert_allclose(image, expected, atol=1e-12)


def test_padding_reflects_without_repeating_the_border():
    plane = np.arange(3 * 6).reshape(1, 1, 3, 6)
    np.testing.assert_array_equal(padded(plane, 4), np.pad(plane, [(0, 0), (0, 0), (0, 1), (0, 2)], mode="reflect"))
    assert padded(plane, 4)[0, 0, 3, 0] == plane[0, 0, 1, 0]
    assert padded(plane, 3) is plane


def nearest(channels, colour):
    return model(channels, Conv("c", IMAGE, channels, channels, 1), Nearest("out", "c"), colour=colour, task="superres")


@pytest.mark.parametrize(
    ("channels", "colour", "shape"), [(1, "gray", (5, 6)), (1, "gray", (5, 6, 3)), (3, "rgb", (5, 6, 3))]
)
def test_a_network_that_enlarges(channels, colour, shape):
    pixels = np.random.default_rng(2).integers(0, 255, shape, dtype=np.uint8)
    planes, image, fill = way(nearest(channels, colour), pixels, 2)
    assert planes.shape[2:] == (5, 6)
    for part in parts(planes, 64, lambda plane: np.repeat(np.repeat(plane / UNIT, 2, 1), 2, 2)):
        fill(image, part)
    np.testing.assert_array_equal(image, np.repeat(np.repeat(pixels, 2, 0), 2, 1))


@pytest.mark.parametrize(("channels", "colour"), [(1, "y"), (3, "rgb")])
def test_strength_mixes_with_the_bicubic_enlargement(channels, colour):
    """At strength 0 nothing of the network is left."""
    pixels = np.random.default_rng(3).random((6, 5, 3))
    planes, image, fill = way(nearest(channels, colour), pixels, 2, 0.0)
    for part in parts(planes, 64, lambda plane: np.zeros((channels, 12, 10))):
        fill(image, part)
    np.testing.assert_allclose(image, np.clip(imresize(pixels, 2), 0, 1), atol=1e-4)


def test_a_luma_network_that_enlarges_takes_the_small_luma():
    pixels = np.random.default_rng(4).random((6, 5, 3))
    planes, image, fill = way(nearest(1, "y"), pixels, 2)
    np.testing.assert_array_equal(planes[0, 0], Enlargement(pixels, 1).luma_plane())
    luma = Enlargement(pixels, 2).luma_plane()[None] / UNIT
    for part in parts(planes, 64, lambda plane: luma):
        fill(image, part)
    np.testing.assert_allclose(image, np.clip(imresize(pixels, 2), 0, 1), atol=1e-3)


def test_the_scale_is_the_networks_own():
    assert scale_of(nearest(3, "rgb"), None) == scale_of(nearest(3, "rgb"), 2) == 2
    with pytest.raises(UsageError, match="enlarges 2 times, not 3"):
        scale_of(nearest(3, "rgb"), 3)


def test_the_noise_level_that_a_network_is_told():
    told = model(1, Constant("sigma", IMAGE, (0.1,), "sigma"), Conv("out", "sigma", 1, 1, 1))
    assert told.network.takes_noise_level
    assert told.at_noise(51).network.layers[0].values == (0.2,)
    other = quarters(1)
    assert other.at_noise(51) is other
