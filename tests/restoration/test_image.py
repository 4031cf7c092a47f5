"""From pixels to pixels through a small model."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.ann import run as ann
from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.errors import BadInputError, ModelError, UsageError
from nspike.images.color import rgb_to_ycbcr, ycbcr_to_rgb
from nspike.images.enlarge import Enlargement
from nspike.images.plane import to_pixels, to_plane
from nspike.images.resize import imresize
from nspike.model.file import save
from nspike.registry.parts import head_of, neuron_of
from nspike.restoration.image import restore
from tests.tiny import image, tiny_model

MODEL = tiny_model()
RGB = tiny_model("dehaze", "rgb", "image")
LUMA = tiny_model("superres", "y", "add")


def raw(model, planes):
    """The engine's output on the planes (N, C, H, W), untiled."""
    out = np.empty(planes.shape)

    def sink(part):
        out[part.n, :, *part.core.slices] = part.output

    engine.run(build_program(model, neuron_of(model), head_of(model)), planes, sink=sink)
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey(dtype):
    pixels = image(dtype=dtype)
    result = restore(MODEL, pixels)
    expected = pixels / np.iinfo(dtype).max - raw(MODEL, pixels[None, None])[0, 0]
    assert result.image.dtype == dtype
    assert np.array_equal(result.image, to_pixels(expected, dtype))
    assert not np.array_equal(result.image, pixels)
    assert result.ledger.spikes > 0
    assert result.seconds > 0


def test_floats_may_lie_outside_and_come_back_limited():
    noisy = image() / 255.0 + np.random.default_rng(3).normal(0, 0.3, (40, 48))
    result = restore(MODEL, noisy)
    plane = to_plane(noisy)
    expected = plane / 65535.0 - raw(MODEL, plane[None, None])[0, 0]
    assert result.image.dtype == np.float64
    assert np.array_equal(result.image, np.clip(expected, 0, 1))
    assert result.image.min() == 0
    assert np.array_equal(restore(MODEL, noisy.astype(np.float32)).image.shape, noisy.shape)


def test_colour_through_a_grey_model_goes_channel_by_channel():
    pixels = image(channels=3)
    result = restore(MODEL, pixels)
    assert result.ledger.planes == 3
    for channel in range(3):
        assert np.array_equal(result.image[..., channel], restore(MODEL, pixels[..., channel]).image)


def test_colour_through_an_rgb_model():
    pixels = image(channels=3)
    expected = raw(RGB, pixels.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    assert np.array_equal(restore(RGB, pixels).image, to_pixels(expected))


def test_grey_through_an_rgb_model_is_the_mean():
    pixels = image()
    red, green, blue = np.clip(raw(RGB, np.broadcast_to(pixels, (1, 3, 40, 48)))[0], 0, 1)
    assert np.array_equal(restore(RGB, pixels).image, to_pixels((red + green + blue) / 3))


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("model", "channels"), [(MODEL, 3), (RGB, 3), (RGB, None), (LUMA, 3)])
def test_tiles_and_threads_change_nothing(model, channels, plain):
    pixels = image(150, 140, channels)
    whole = restore(model, pixels, threads=2, ann=plain)
    tiled = restore(model, pixels, threads=1, ann=plain, **({"memory": 1 << 19} if plain else {"tile": 64}))
    assert np.array_equal(whole.image, tiled.image)
    assert whole.ledger.spikes == tiled.ledger.spikes


def test_enlarging_grey():
    pixels = image(20, 24)
    result = restore(LUMA, pixels, scale=3)
    plane = np.rint(imresize(pixels / 255.0, 3.0) * 65535).astype(np.int32)
    expected = plane / 65535.0 + raw(LUMA, plane[None, None])[0, 0]
    assert result.image.shape == (60, 72)
    assert np.array_equal(result.image, to_pixels(expected))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_enlarging_colour(dtype):
    pixels = image(21, 24, 3, dtype)
    result = restore(LUMA, pixels)  # twice: the smallest trained scale
    ycbcr = imresize(rgb_to_ycbcr(pixels / float(np.iinfo(dtype).max)), 2.0)
    plane = np.rint(ycbcr[..., 0] * 65535).astype(np.int32)
    ycbcr[..., 0] = np.clip(plane / 65535.0 + raw(LUMA, plane[None, None])[0, 0], 0, 1)
    assert np.array_equal(result.image, to_pixels(ycbcr_to_rgb(ycbcr), dtype))


def test_scale_one_takes_a_luma_as_it_is():
    pixels = image() / 255.0
    plane = to_plane(pixels)
    expected = plane / 65535.0 + raw(LUMA, plane[None, None])[0, 0]
    assert np.array_equal(restore(LUMA, pixels, scale=1).image, np.clip(expected, 0, 1))


def test_windows_of_an_enlargement_are_those_of_the_whole():
    pixels = image(19, 23, 3)
    enlargement = Enlargement(pixels, 4)
    whole = imresize(rgb_to_ycbcr(pixels / 255.0), 4.0)
    for window in [(0, 76, 0, 92), (5, 70, 13, 14), (64, 76, 64, 92), (0, 1, 91, 92)]:
        y0, y1, x0, x1 = window
        assert np.array_equal(enlargement.window(*window), whole[y0:y1, x0:x1])


def test_the_plain_ann():
    pixels = image()
    result = restore(replace(MODEL, spiking=None), pixels, ann=True)
    plane = (pixels / 255.0).astype(np.float32)[None, None]
    expected = pixels / 255.0 - ann.run(MODEL.network, MODEL.parameters, plane)[0, 0]
    assert np.array_equal(result.image, to_pixels(expected))
    assert result.ledger.spikes == 0
    assert result.ledger.ann_macs == restore(MODEL, pixels).ledger.ann_macs
    assert result.ledger.ann_macs_paper == MODEL.network.macs_per_pixel * pixels.size


def test_smallest_images():
    for model in (MODEL, RGB, LUMA):
        for shape in [(1, 1), (1, 1, 3), (2, 1, 3)]:
            assert restore(model, np.full(shape, 77, np.uint8)).image.ndim == len(shape)


@pytest.mark.parametrize("plain", [False, True])
def test_progress_reaches_the_end(plain):
    calls = []
    restore(MODEL, image(channels=3), ann=plain, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((4, 4), np.int32),
        np.full((4, 4), np.nan),
        np.full((4, 4), 255.0),
    ],
)
def test_bad_pixels(pixels):
    with pytest.raises(BadInputError):
        restore(MODEL, pixels)


def test_bad_options():
    pixels = image()
    for model, options in [
        (MODEL, {"scale": 2}),
        (LUMA, {"scale": 0}),
        (LUMA, {"scale": 9}),
        (MODEL, {"threads": 0}),
        (MODEL, {"tile": 0}),
        (MODEL, {"memory": 0}),
    ]:
        with pytest.raises(UsageError):
            restore(model, pixels, **options)
    with pytest.raises(ModelError, match="plain ANN"):
        restore(replace(MODEL, spiking=None), pixels)


def test_model_run_swaps_parts():
    pixels = image()
    assert np.array_equal(MODEL.run(pixels).image, restore(MODEL, pixels).image)
    result = MODEL.run(pixels, neuron="if", timesteps=6, digest=True)
    swapped, _ = nspike.swap(MODEL, neuron="if", timesteps=6)
    assert np.array_equal(result.image, nspike.restore(swapped, pixels).image)
    assert result.ledger.timesteps == 6
    assert len(result.ledger.layers[0].digests) == 6


def test_load_and_run(tmp_path):
    save(tmp_path / "tiny.h5", MODEL)
    result = nspike.load(tmp_path / "tiny.h5").run(image(), threads=1)
    assert np.array_equal(result.image, MODEL.run(image()).image)
    with pytest.raises(ModelError, match="lists the shipped ones"):
        nspike.load(tmp_path / "other.h5")
