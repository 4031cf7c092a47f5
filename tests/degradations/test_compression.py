"""Compression: the same pixels as those of a file that was written and read, block by block."""

import numpy as np
import pytest
from PIL import Image

from nspike.degradations.compression import compress
from nspike.errors import BadInputError
from nspike.images.file import read
from tests.tiny import image


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [30, 90])
def test_it_is_what_a_file_gives(tmp_path, quality, halved):
    pixels = image(40, 56, 3)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=quality, subsampling="4:2:0" if halved else "4:4:4")
    made = compress(pixels / 255.0, quality, halved=halved)
    np.testing.assert_array_equal(np.rint(made * 255), read(tmp_path / "a.jpg").pixels)
    np.testing.assert_array_equal(made * 255, np.rint(made * 255))


def test_one_channel_has_no_chroma():
    grey = image(24, 24)[..., None] / 255.0
    np.testing.assert_array_equal(compress(grey, 80), compress(grey, 80, halved=True))
    assert compress(grey, 80).shape == grey.shape


def test_coefficients_are_multiples_of_the_steps():
    """Of a grey block's DCT, worked out by its definition; at quality 50 the steps are the standard's own."""
    index = np.arange(8)
    basis = np.cos(np.pi * (2 * index + 1) * index[:, None] / 16) * np.where(index == 0, 8**-0.5, 0.5)[:, None]
    block = compress(image(8, 8)[..., None] / 255.0, 50)[..., 0] * 255 - 128
    coefficients = basis @ block @ basis.T
    for (row, column), step in {(0, 0): 16, (0, 1): 11, (1, 0): 12, (0, 7): 61, (7, 7): 99}.items():
        away = coefficients[row, column] / step
        assert abs(away - np.rint(away)) * step < 2.5, "pixels are rounded, by half a level each"


def test_blocks_begin_at_the_upper_left():
    pixels = np.full((16, 16, 1), 0.5)
    other = pixels.copy()
    other[3, 9] = 1.0
    changed = (compress(pixels, 90) != compress(other, 90))[..., 0]
    assert changed[:8, 8:].any()
    changed[:8, 8:] = False
    assert not changed.any()


def test_what_is_outside_is_clipped():
    pixels = np.linspace(-1, 2, 768).reshape(16, 16, 3)
    np.testing.assert_array_equal(compress(pixels, 95), compress(np.clip(pixels, 0, 1), 95))


def test_noise_comes_out_coarse():
    """Compression takes the finest detail of noise, and that of chroma that is halved."""
    noisy = 0.5 + np.random.default_rng(0).normal(0, 15 / 255, (64, 64, 3))

    def finest(pixels):
        return np.std(pixels[::2, ::2] - pixels[1::2, ::2] - pixels[::2, 1::2] + pixels[1::2, 1::2])

    def of_colour(pixels):
        return np.std(pixels[..., 0] - pixels[..., 1])

    full, halved = compress(noisy, 75), compress(noisy, 75, halved=True)
    assert finest(full) < 0.8 * finest(noisy)
    assert of_colour(halved) < 0.6 * of_colour(full)


@pytest.mark.parametrize(
    ("pixels", "quality", "message"),
    [
        (np.zeros((8, 8)), 90, "to compress"),
        (np.zeros((8, 8, 2)), 90, "to compress"),
        (np.zeros((8, 8, 3), np.float32), 90, "to compress"),
        (np.zeros((8, 8, 3)), 0, "1 to 100"),
        (np.zeros((8, 8, 3)), 101, "1 to 100"),
    ],
)
def test_refusals(pixels, quality, message):
    with pytest.raises(BadInputError, match=message):
        compress(pixels, quality)
