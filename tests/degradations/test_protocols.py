"""What a protocol compares: outputs limited as the literature limits them, and nothing else changed."""

from pathlib import Path

import numpy as np
import pytest

from nspike.degradations.protocols import PROTOCOLS, Given, Settings, cases, compare
from nspike.images import file as images
from nspike.images.color import rgb_to_ycbcr
from nspike.images.metrics import psnr
from tests.tiny import image


@pytest.fixture
def folder(tmp_path):
    """Pairs of colour images, and the clean ones alone."""
    for name, seed in (("hazy", 3), ("GT", 0)):
        (tmp_path / name).mkdir()
        images.write(tmp_path / name / "a.png", images.ImageData(image(30, 34, 3, seed=seed)))
    return Path(tmp_path)


def spoilt(clean):
    """An output that is wrong everywhere, and far outside [0, 1] at both ends."""
    output = clean + np.random.default_rng(0).normal(0, 0.05, clean.shape)
    output[::3] += 0.9
    output[1::3] -= 0.9
    assert output.min() < -0.2
    assert output.max() > 1.2
    return output


def test_rgb_limits_the_output(folder):
    (case,) = cases(PROTOCOLS["rgb"], folder, Settings())
    clean = image(30, 34, 3) / 255.0
    output = spoilt(clean)
    assert case.score(output) == compare(np.clip(output, 0, 1), clean, 1.0)
    assert case.score(output) != compare(output, clean, 1.0)


def test_y_crop_limits_the_output_and_leaves_out_the_border(folder):
    (case,) = cases(PROTOCOLS["y-crop"], folder / "GT", Settings(scale=2))
    clean = rgb_to_ycbcr(image(30, 34, 3) / 255.0)[..., 0]
    output = spoilt(clean)
    limited = np.clip(output, 0, 1) * 255
    quality = case.score(output)
    whole = compare(limited, clean * 255, 255.0)
    assert quality.psnr == pytest.approx(psnr(limited[2:-2, 2:-2], clean[2:-2, 2:-2] * 255, 255.0), rel=1e-12)
    assert (quality.gauss11, quality.uniform7) == pytest.approx((whole.gauss11, whole.uniform7), rel=1e-12)


@pytest.mark.parametrize("protocol", ["gray", "rgb"])
def test_noisy_protocols_limit_and_round_the_output(folder, protocol):
    (case,) = cases(PROTOCOLS[protocol], folder / "GT", Settings(sigma=25.0))
    output = spoilt(case.degraded)
    rounded = np.rint(np.clip(output, 0, 1) * 255) / 255
    assert case.score(output) == case.score(rounded)


def test_y_rounds_the_image_and_its_luma(folder):
    """As MATLAB's rgb2ycbcr of uint8: the luma of an image of 8 bits, rounded to 8 bits."""
    (case,) = cases(PROTOCOLS["y"], folder, Settings())
    clean = image(30, 34, 3)
    output = spoilt(clean / 255.0)
    lumas = [
        np.rint(255 * rgb_to_ycbcr(np.rint(255 * np.clip(x, 0, 1)) / 255)[..., 0]) for x in (output, clean / 255.0)
    ]
    quality = case.score(output)
    assert quality.psnr == pytest.approx(psnr(*lumas, 255.0), rel=1e-12)
    assert case.score(clean / 255.0).psnr == np.inf
    assert case.score(clean / 255.0 + 0.4 / 255).psnr == np.inf, "rounded"
    grey = PROTOCOLS["y"].case((Given("a", clean[..., 0]), Given("b", clean[..., 1])), Settings())
    assert grey.score(clean[..., 1] / 255.0).psnr == np.inf
