"""Haze: the scattering model, depths from disparities, and depths that are made up."""

import numpy as np
import pytest

from nspike.degradations.haze import FAR, NEAR, add_haze, depth_of, random_depth
from nspike.errors import BadInputError


def test_the_scattering_model():
    draw = np.random.default_rng(0)
    pixels, depth = draw.random((4, 5, 3)), draw.random((4, 5))
    hazy = add_haze(pixels, depth, beta=1.5, airlight=0.8)
    t = np.exp(-1.5 * depth[2, 3])
    np.testing.assert_allclose(hazy[2, 3], pixels[2, 3] * t + 0.8 * (1 - t))
    np.testing.assert_allclose(add_haze(pixels, depth, beta=0, airlight=1), pixels)
    with pytest.raises(BadInputError, match="the depth of an image"):
        add_haze(pixels, depth[1:], beta=1, airlight=1)


def test_depth_from_disparity():
    disparity = np.array([[200, 100], [50, 0]], np.uint8)
    depth = depth_of(disparity)
    assert depth[0, 0] == pytest.approx(NEAR)
    assert depth[1, 0] == depth[1, 1] == pytest.approx(FAR), "unknown is far"
    inverse = 1 / np.array([200.0, 100.0, 50.0])
    share = (inverse[1] - inverse[0]) / (inverse[2] - inverse[0])
    assert depth[0, 1] == pytest.approx(NEAR + (FAR - NEAR) * share)
    assert np.all(depth_of(np.full((3, 3), 7)) == NEAR)
    with pytest.raises(BadInputError, match="some value above 0"):
        depth_of(np.zeros((3, 3)))


def test_random_depth_is_smooth_and_seeded():
    first, again, other = (random_depth((60, 80), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    many = [random_depth((60, 80), np.random.default_rng(seed)) for seed in range(50)]
    assert min(depth.min() for depth in many) > 0
    assert max(depth.max() for depth in many) < FAR + 1
    steps = max(np.abs(np.diff(depth, axis=axis)).max() for depth in many for axis in (0, 1))
    assert steps < 0.05
    assert np.ptp([depth.mean() for depth in many]) > 0.8
