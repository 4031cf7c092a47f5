import numpy as np
import pytest

from nspike.errors import BadInputError
from nspike.images.plane import LIMIT, UNIT, from_plane, to_pixels, to_plane


@pytest.mark.parametrize(("dtype", "factor"), [(np.uint8, 257), (np.uint16, 1)])
def test_every_pixel_value_is_exact_both_ways(dtype, factor):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    plane = to_plane(values)
    assert plane.dtype == np.int32
    assert np.array_equal(plane, values.astype(np.int64) * factor)
    assert np.array_equal(to_pixels(from_plane(plane), dtype), values)
    assert np.array_equal(to_plane(from_plane(plane)), plane)
    assert np.array_equal(to_plane(values / np.iinfo(dtype).max), plane)


def test_floats_are_rounded_half_to_even_once():
    assert list(to_plane(np.array([0.5, 1.5, 2.5, -0.5, -1.5]) / UNIT)) == [0, 2, 2, 0, -2]
    assert to_plane(np.array([-LIMIT, LIMIT], float)).tolist() == [-4 * 65535, 4 * 65535]
    assert to_plane(np.float32([0.25])).dtype == np.int32


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0.0, 128.0]), "scale of 255"),
        (np.array([-4.0001]), "at most 4"),
        (np.array([np.nan]), "not finite"),
        (np.array([np.inf]), "not finite"),
        (np.array([1]), "int64"),
        (np.array([True]), "bool"),
        (np.array([1j]), "complex"),
    ],
)
def test_refused(array, message):
    with pytest.raises(BadInputError, match=message):
        to_plane(array)


def test_pixels_are_limited_and_rounded_half_to_even():
    values = np.array([-1.0, 0.0, 0.5 / 255, 1.5 / 255, 1.0, 7.0, np.inf, -np.inf])
    assert to_pixels(values).tolist() == [0, 0, 0, 2, 255, 255, 255, 0]
    assert to_pixels(np.array([1.0]), np.uint16)[0] == 65535
    assert to_pixels(np.array([0.5]), "uint8").dtype == np.uint8
    with pytest.raises(BadInputError, match="NaN"):
        to_pixels(np.array([np.nan]))
    with pytest.raises(BadInputError, match="uint8 or uint16"):
        to_pixels(np.array([0.5]), np.int32)


def test_empty():
    assert to_plane(np.zeros((0, 3))).shape == (0, 3)
