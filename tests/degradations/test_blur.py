"""Kernels of blur: what they weigh, and that convolving with them is what they say."""

import math

import numpy as np
import pytest

from nspike.degradations.blur import convolve, defocus_kernel, motion_kernel, shake_kernel
from nspike.errors import BadInputError


def test_a_horizontal_motion_is_a_row():
    kernel = motion_kernel(5, 0.0)
    middle = len(kernel) // 2
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1)
    assert kernel[middle].sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(motion_kernel(5, math.pi / 2), kernel.T, atol=1e-12)
    point = motion_kernel(1, 0.3)
    assert point[len(point) // 2, len(point) // 2] == pytest.approx(1)


@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5, 4.0])
def test_a_disc(radius):
    kernel = defocus_kernel(radius)
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_array_equal(kernel, kernel.T)
    if radius >= 1:
        assert 1 / kernel.max() == pytest.approx(math.pi * radius**2, rel=0.05)


@pytest.mark.parametrize("bend", [0.0, 1.0, 6.0])
def test_a_shaken_camera(bend):
    for seed in range(20):
        kernel = shake_kernel(15, bend, np.random.default_rng(seed))
        np.testing.assert_array_equal(kernel, shake_kernel(15, bend, np.random.default_rng(seed)))
        assert kernel.shape == (19, 19)
        assert kernel.sum() == pytest.approx(1)
        assert kernel.min() >= 0
    assert not np.array_equal(kernel, shake_kernel(15, bend, np.random.default_rng(0)))


def test_a_camera_that_does_not_turn_draws_a_line():
    kernel = shake_kernel(15, 0.0, np.random.default_rng(3))
    y, x = np.mgrid[:19, :19] - 9
    spread = np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])
    low, high = np.linalg.eigvalsh(spread)
    assert high == pytest.approx(14**2 / 12, rel=0.05), "the variance of a line of 14 pixels"
    assert low < 0.3
    bent = np.linalg.eigvalsh(
        [[(shake_kernel(15, 6.0, np.random.default_rng(3)) * a * b).sum() for a in (x, y)] for b in (x, y)]
    )
    assert bent[1] < 0.6 * high


def test_convolving():
    draw = np.random.default_rng(0)
    pixels, kernel = draw.random((9, 11, 3)), draw.random((3, 5, 5))[0]
    padded = np.pad(pixels, ((2, 2), (2, 2), (0, 0)), mode="reflect")
    wanted = sum(kernel[::-1, ::-1][i, j] * padded[i : i + 9, j : j + 11] for i in range(5) for j in range(5))
    np.testing.assert_allclose(convolve(pixels, kernel), wanted)
    np.testing.assert_allclose(convolve(pixels[..., 0], kernel), wanted[..., 0])


def test_refusals():
    draw = np.random.default_rng(0)
    wrongs = (lambda: motion_kernel(0.5, 0), lambda: motion_kernel(3, math.nan), lambda: defocus_kernel(0))
    for wrong in (*wrongs, lambda: shake_kernel(0, 1, draw), lambda: shake_kernel(3, -1, draw)):
        with pytest.raises(BadInputError, match="needs"):
            wrong()
