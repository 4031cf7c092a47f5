import math
import tracemalloc

import numpy as np
import pytest

from nspike.errors import BadInputError
from nspike.images import metrics
from nspike.images.metrics import conversion_rate, mae, psnr, ssim


def slow_ssim(a, b, data_range, window):
    """Window by window, with the textbook's weighted mean, variance and covariance."""
    if a.ndim == 3:
        return np.mean([slow_ssim(a[..., c], b[..., c], data_range, window) for c in range(a.shape[2])])
    size = 11 if window == "gauss11" else 7
    y, x = np.mgrid[:size, :size] - size // 2
    weights = np.exp(-(x**2 + y**2) / (2 * 1.5**2)) if window == "gauss11" else np.ones((size, size))
    weights /= weights.sum()
    unbiased = 1.0 if window == "gauss11" else 49 / 48
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for top in range(a.shape[0] - size + 1):
        for left in range(a.shape[1] - size + 1):
            p, q = (image[top : top + size, left : left + size].astype(float) for image in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (unbiased * (weights * (image - m) ** 2).sum() for image, m in ((p, mp), (q, mq)))
            cov = unbiased * (weights * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


@pytest.mark.parametrize("window", ["gauss11", "uniform7"])
@pytest.mark.parametrize("shape", [(11, 11), (19, 24), (13, 12, 3)])
def test_ssim_equals_the_slow_version(window, shape):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, shape).astype(np.uint8)
    b = np.clip(a + rng.normal(0, 30, shape), 0, 255)
    assert ssim(a, b, 255, window) == pytest.approx(slow_ssim(a, b, 255, window), abs=1e-12)
    assert ssim(a / 255, b / 255, 1, window) == pytest.approx(ssim(a, b, 255, window), abs=1e-12)
    assert ssim(a, a, 255, window) == pytest.approx(1, abs=1e-15)


def test_ssim_equals_scikit_images():
    """Where scikit-image is there; it is not needed."""
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    rng = np.random.default_rng(1)
    a = rng.integers(0, 256, (60, 50)).astype(float)
    b = np.clip(a + rng.normal(0, 25, a.shape), 0, 255)
    assert ssim(a, b, 255, "uniform7") == pytest.approx(metrics.structural_similarity(a, b, data_range=255), abs=1e-12)
    gauss = metrics.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, b, 255, "gauss11") == pytest.approx(gauss, abs=1e-12)


def test_mae_by_hand():
    a = np.zeros((4, 5), np.uint8)
    b = a.copy()
    b[0, 0], b[3, 4] = 51, 102  # (51 + 102) / 20 / 255 = 0.03
    assert mae(a, b) == mae(b, a) == pytest.approx(0.03, abs=1e-15)
    assert mae(a / 255, b / 255) == pytest.approx(0.03, abs=1e-15)
    assert mae(b, b) == 0


def test_mae_is_the_same_in_bands_and_in_numpy():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 150, 9, 3))
    assert mae(a, b) == pytest.approx(np.abs(a - b).mean(), abs=1e-15)
    assert mae(a, b, 2.0, unit=0.5) == pytest.approx(np.abs(a - b).mean(), abs=1e-15)
    with pytest.raises(BadInputError, match="one size"):
        mae(a, b[:1])


def test_psnr_by_hand():
    a = np.zeros((4, 5), np.uint8)
    b = a.copy()
    b[0, 0] = 20  # MSE = 400 / 20 = 20
    assert psnr(a, b, 255) == pytest.approx(10 * math.log10(255**2 / 20), abs=1e-12)
    assert psnr(b, a, 255) == psnr(a, b, 255)  # no wrap-around of unsigned differences
    assert psnr(a / 255, b / 255, 1) == pytest.approx(psnr(a, b, 255), abs=1e-12)


def test_psnr_of_equal_images_is_infinite():
    assert psnr(np.ones((3, 3)), np.ones((3, 3)), 1) == math.inf


def test_metrics_refuse_what_cannot_be_compared():
    a, b = np.zeros((12, 12)), np.zeros((12, 13))
    for metric in (psnr, ssim):
        with pytest.raises(BadInputError, match="one size"):
            metric(a, b, 255)
        with pytest.raises(BadInputError, match="data_range"):
            metric(a, a, 0)
        with pytest.raises(BadInputError, match="no pixels"):
            metric(np.zeros((0, 5)), np.zeros((0, 5)), 1)
    with pytest.raises(BadInputError, match="gauss11, uniform7"):
        ssim(a, a, 255, "gauss")


@pytest.mark.parametrize(("window", "size"), [("gauss11", 11), ("uniform7", 7)])
def test_ssim_refuses_images_smaller_than_its_window(window, size):
    assert ssim(np.zeros((size, size)), np.zeros((size, size)), 1, window) == 1
    with pytest.raises(BadInputError, match=f"at least {size}x{size}"):
        ssim(np.zeros((size - 1, 40)), np.zeros((size - 1, 40)), 1, window)


def test_conversion_rate():
    assert conversion_rate(30, 40, 0.9, 1.0) == pytest.approx(82.5)  # (0.75 + 0.9) / 2
    assert conversion_rate(30, 40) == pytest.approx(75)
    assert conversion_rate(41, 40) == 100
    assert conversion_rate(41, 40, 0.95, 1.0) == pytest.approx(100 * (1.025 + 0.95) / 2)
    assert conversion_rate(math.inf, math.inf) == 100
    with pytest.raises(BadInputError, match="both"):
        conversion_rate(30, 40, 0.9)
    with pytest.raises(BadInputError, match="positive"):
        conversion_rate(30, 0)


@pytest.mark.parametrize("window", ["gauss11", "uniform7"])
def test_bands_change_no_bit_and_hold_no_image(monkeypatch, window):
    draw = np.random.default_rng(8)
    a, b = (draw.integers(0, 256, (1500, 1000, 3), np.uint8) for _ in range(2))

    def values():
        return psnr(a, b, 1.0, unit=255.0), ssim(a[:200], b[:200], 1.0, window, unit=255.0)

    tracemalloc.start()
    in_bands = values()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < a.nbytes * 4  # as floats, both take sixteen times as much
    monkeypatch.setattr(metrics, "_BAND", 10_000)
    assert values() == in_bands
    assert in_bands == (psnr(a / 255.0, b / 255.0, 1.0), ssim(a[:200] / 255.0, b[:200] / 255.0, 1.0, window))
