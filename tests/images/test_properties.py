"""Resizing and colour on arrays of many sizes and values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nspike.images.color import rgb_to_ycbcr, ycbcr_to_rgb
from nspike.images.resize import imresize, modcrop
from tests.images.test_resize import slow
from tests.properties import examples

LENGTHS = st.integers(1, 9)
UNIT = st.floats(0, 1, width=32)
PLANES = st.tuples(LENGTHS, LENGTHS).flatmap(lambda shape: arrays(np.float64, shape, elements=UNIT))
COLOURS = st.tuples(LENGTHS, LENGTHS).flatmap(lambda shape: arrays(np.float64, (*shape, 3), elements=UNIT))


@examples
@given(PLANES, st.integers(1, 20), st.integers(1, 20))
def test_resizing_equals_the_slow_version(array, height, width):
    scales = [height / array.shape[0], width / array.shape[1]]
    result = imresize(array, size=(height, width))
    assert result.shape == (height, width)
    np.testing.assert_allclose(result, slow(array, [height, width], scales), atol=1e-13)
    np.testing.assert_allclose(imresize(array[::-1, ::-1].copy(), size=(height, width))[::-1, ::-1], result, atol=1e-12)


@examples
@given(COLOURS, st.integers(1, 6))
def test_channels_are_resized_alone_and_cropped_to_multiples(array, multiple):
    whole = imresize(array, size=(7, 5))
    for channel in range(3):
        np.testing.assert_array_equal(imresize(array[..., channel].copy(), size=(7, 5)), whole[..., channel])
    cropped = modcrop(array, multiple)
    assert [length % multiple for length in cropped.shape[:2]] == [0, 0]
    assert all(0 <= a - b < multiple for a, b in zip(array.shape[:2], cropped.shape[:2], strict=True))
    np.testing.assert_array_equal(cropped, array[: cropped.shape[0], : cropped.shape[1]])


@examples
@given(COLOURS)
def test_colours_there_and_back(rgb):
    ycbcr = rgb_to_ycbcr(rgb)
    np.testing.assert_allclose(ycbcr_to_rgb(ycbcr), rgb, atol=1e-14)
    for channel, (low, high) in enumerate([(16, 235), (16, 240), (16, 240)]):
        assert low / 255 - 1e-12 <= ycbcr[..., channel].min()
        assert ycbcr[..., channel].max() <= high / 255 + 1e-12
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    np.testing.assert_allclose(rgb_to_ycbcr(grey)[..., 1:], 128 / 255, atol=1e-14)
