import numpy as np
import pytest

from nspike.errors import BadInputError
from nspike.images.color import rgb_to_ycbcr, ycbcr_to_rgb


def test_known_colours():
    rgb = np.array([[[0.0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 1]]])
    expected = np.array(
        [[[16, 128, 128], [235, 128, 128], [81.481, 90.203, 240], [40.966, 240, 109.786]]]
    )  # sums of the matrix's columns, by hand
    np.testing.assert_allclose(rgb_to_ycbcr(rgb) * 255, expected, atol=1e-12)


def test_equals_the_matrix_and_its_inverse():
    rgb = np.random.default_rng(0).random((7, 5, 3))
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]])
    ycbcr = (rgb @ matrix.T + [16, 128, 128]) / 255
    np.testing.assert_allclose(rgb_to_ycbcr(rgb), ycbcr, atol=1e-15)
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, atol=1e-15)


def test_back_is_limited():
    assert ycbcr_to_rgb(np.full((1, 1, 3), 1.0)).max() == 1.0
    assert ycbcr_to_rgb(np.full((1, 1, 3), 0.0)).min() == 0.0


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 4)), np.zeros((4, 4, 3), np.uint8)])
def test_other_arrays_are_refused(array):
    with pytest.raises(BadInputError, match=r"float64 \(H, W, 3\)"):
        rgb_to_ycbcr(array)
