import math
from pathlib import Path

import numpy as np
import pytest

from nspike.errors import BadInputError
from nspike.images.color import rgb_to_ycbcr, ycbcr_to_rgb
from nspike.images.resize import imresize, modcrop

REFERENCE = Path(__file__).parents[3] / "shared" / "data" / "reference" / "MATLAB_bicubic_ref" / "butterfly_GT_x4.mat"


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def slow_line(line, length, scale):
    """One axis, one pixel and one tap at a time, over every index that the kernel could reach."""
    n, shrink = len(line), min(scale, 1)
    out = []
    for i in range(1, length + 1):
        u = i / scale + 0.5 * (1 - 1 / scale)
        reach = math.ceil(2 / shrink) + 1
        total = weights = 0.0
        for index in range(math.floor(u) - reach, math.floor(u) + reach + 2):
            weight = cubic(shrink * (u - index))
            mirrored = (index - 1) % (2 * n)
            total += weight * line[mirrored if mirrored < n else 2 * n - 1 - mirrored]
            weights += weight
        out.append(total / weights)
    return np.array(out)


def slow(array, lengths, scales):
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        array = np.apply_along_axis(slow_line, axis, array, lengths[axis], scales[axis])
    return array


@pytest.mark.parametrize("scale", [0.25, 1 / 3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("shape", [(13, 9), (8, 12, 3), (2, 3), (1, 1)])
def test_equals_the_slow_version(scale, shape):
    array = np.random.default_rng(1).random(shape)
    lengths = [math.ceil(scale * length) for length in shape[:2]]
    result = imresize(array, scale)
    assert result.shape == (*lengths, *shape[2:])
    np.testing.assert_allclose(result, slow(array, lengths, [scale, scale]), atol=1e-14)


def test_to_a_size():
    array = np.random.default_rng(2).random((11, 10))
    result = imresize(array, size=(5, 23))
    np.testing.assert_allclose(result, slow(array, [5, 23], [5 / 11, 2.3]), atol=1e-14)


@pytest.mark.parametrize("size", [(5, 23), (23, 5), (4, 7), (30, 31)])
def test_the_axis_with_the_smaller_scale_goes_first(size):
    """The order is visible in the last bits alone, so they are compared: an axis that keeps its length changes none."""
    array = np.random.default_rng(2).random((11, 10))
    steps = [(size[0], array.shape[1]), size], [(array.shape[0], size[1]), size]
    rows_first, columns_first = (imresize(imresize(array, size=first), size=second) for first, second in steps)
    assert not np.array_equal(rows_first, columns_first)
    expected = rows_first if size[0] / 11 <= size[1] / 10 else columns_first
    np.testing.assert_array_equal(imresize(array, size=size), expected)


def test_a_constant_stays_and_scale_one_is_the_identity():
    np.testing.assert_allclose(imresize(np.full((9, 7), 0.3), 1 / 3), 0.3, atol=1e-15)
    array = np.random.default_rng(3).random((6, 7))
    assert np.array_equal(imresize(array, 1.0), array)


def test_channels_and_layout_do_not_change_the_bits():
    array = np.random.default_rng(4).random((20, 17, 3))
    whole = imresize(array, 0.5)
    for channel in range(3):
        assert np.array_equal(imresize(np.asfortranarray(array[..., channel]), 0.5), whole[..., channel])


def test_equals_matlab():
    if not REFERENCE.exists():
        pytest.skip("the MATLAB reference is not here: ../shared/data/reference/MATLAB_bicubic_ref")
    from scipy.io import loadmat

    matlab = loadmat(REFERENCE)
    true = rgb_to_ycbcr(matlab["im_gt"] / 255.0)
    small = imresize(true, 1 / 4)
    large = imresize(small, 4)
    assert np.abs(true[..., 0] * 255 - matlab["im_gt_y"]).max() < 5e-13
    assert np.abs(small - matlab["im_l_ycbcr"]).max() < 2e-15
    assert np.abs(large[..., 0] * 255 - matlab["im_b_y"]).max() < 5e-13
    assert np.abs(ycbcr_to_rgb(small) * 255 - matlab["im_l"]).max() < 1e-12
    assert np.abs(ycbcr_to_rgb(large) * 255 - matlab["im_b"]).max() < 1e-12


@pytest.mark.parametrize(
    ("array", "arguments", "message"),
    [
        (np.zeros((4, 4), np.uint8), {"scale": 2}, "float64"),
        (np.zeros((0, 4)), {"scale": 2}, "float64"),
        (np.zeros((4, 4)), {}, "either"),
        (np.zeros((4, 4)), {"scale": 2, "size": (2, 2)}, "either"),
        (np.zeros((4, 4)), {"scale": 0}, "positive"),
        (np.zeros((4, 4)), {"scale": math.nan}, "positive"),
        (np.zeros((4, 4)), {"size": (0, 2)}, "positive"),
    ],
)
def test_bad_calls(array, arguments, message):
    with pytest.raises(BadInputError, match=message):
        imresize(array, **arguments)


def test_modcrop():
    array = np.arange(11 * 13 * 3).reshape(11, 13, 3)
    assert np.array_equal(modcrop(array, 4), array[:8, :12])
    assert modcrop(array, 1).shape == array.shape
    sizes = np.zeros((512, 280))
    for multiple in (2, 3, 4):
        sizes = modcrop(sizes, multiple)
    assert sizes.shape == (508, 276)
    with pytest.raises(BadInputError, match="at least 1"):
        modcrop(array, 0)
