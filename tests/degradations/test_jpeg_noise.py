"""The noise before compression, from what a JPEG's quantisation has left of it."""

import io

import numpy as np
import pytest
from PIL import Image

from nspike.degradations import jpeg_noise
from nspike.degradations.jpeg_noise import estimate_before_jpeg
from nspike.degradations.noise import HIGH_PASS
from nspike.errors import BadInputError

FLAT = np.full((8, 8), 1)


def compressed(clean, sigma, quality, seed=0):
    """(luma, steps) of a grey image with noise, after JPEG."""
    noisy = np.clip(np.rint(clean + np.random.RandomState(seed).normal(0, sigma, clean.shape)), 0, 255)
    stream = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(stream, "JPEG", quality=quality)
    image = Image.open(stream)
    return np.asarray(image, np.float64), np.array(image.quantization[0]).reshape(8, 8)


def ramp(height=320, width=400):
    y, x = np.mgrid[:height, :width]
    return 60 + 0.2 * x + 30 * np.sin(y / 40)


@pytest.mark.parametrize("quality", [90, 70, 50, 30])
@pytest.mark.parametrize("sigma", [12, 25, 40])
def test_a_smooth_image(quality, sigma):
    found = estimate_before_jpeg(*compressed(ramp(), sigma, quality))
    assert found.sigma == pytest.approx(sigma, rel=0.12)
    assert found.hidden < sigma


def test_coarser_steps_hide_more():
    hidden = [estimate_before_jpeg(*compressed(ramp(), 3, quality)).hidden for quality in (95, 80, 60, 40, 20)]
    assert hidden == sorted(hidden)
    assert hidden[0] < 3
    assert hidden[-1] > 7
    quiet = estimate_before_jpeg(*compressed(ramp(), 3, 20))
    assert quiet.sigma < quiet.hidden


def test_clipped_blocks_do_not_count():
    sky = ramp()
    sky[:200] = 290
    luma, steps = compressed(sky, 15, 60)
    assert (luma[:200] >= 254).mean() > 0.9
    assert estimate_before_jpeg(luma, steps).sigma == pytest.approx(15, rel=0.15)
    assert estimate_before_jpeg(np.full((64, 64), 255.0), FLAT) is None


def test_textured_blocks_do_not_count():
    texture = ramp()
    texture[:, :200] += 60 * np.random.default_rng(0).choice([-1, 1], (320, 200))
    assert estimate_before_jpeg(*compressed(texture, 10, 70)).sigma == pytest.approx(10, rel=0.2)


def test_the_details_and_energies_of_blocks_are_those_of_the_slow_version():
    plane = np.random.default_rng(1).random((24, 32)) * 255
    window = np.outer(HIGH_PASS, HIGH_PASS)
    details = [[(window * plane[y : y + 4, x : x + 4]).sum() for x in (6, 14, 22)] for y in (6, 14)]
    np.testing.assert_allclose(jpeg_noise._corner_details(plane), np.array(details))
    energies = np.zeros((3, 4))
    for y in range(3):
        for x in range(4):
            for v in range(8):
                for u in range(8):
                    c = (1 if u else 0.5**0.5) * (1 if v else 0.5**0.5) / 4 * sum(
                        plane[8 * y + i, 8 * x + j]
                        * np.cos((2 * i + 1) * v * np.pi / 16) * np.cos((2 * j + 1) * u * np.pi / 16)
                        for i in range(8) for j in range(8)
                    )  # fmt: skip
                    energies[y, x] += c * c if 0 < u + v <= 5 else 0
    np.testing.assert_allclose(jpeg_noise._low_energy(plane), energies)
    corners = [[energies[y : y + 2, x : x + 2].max() for x in range(3)] for y in range(2)]
    np.testing.assert_allclose(jpeg_noise._largest_of_four(energies), corners)


def test_without_quantisation_the_response_is_the_noise():
    response = jpeg_noise._response((1,) * 64)
    np.testing.assert_allclose(response[8:], jpeg_noise._SIGMAS[8:], rtol=0.1)


def test_too_small_and_wrong():
    assert estimate_before_jpeg(np.zeros((15, 40)), FLAT) is None
    for plane, steps in ((np.zeros((32, 32), np.uint8), FLAT), (np.zeros((32, 32)), 0 * FLAT), (np.zeros(9), FLAT)):
        with pytest.raises(BadInputError, match="float64"):
            estimate_before_jpeg(plane, steps)
