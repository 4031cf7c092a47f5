"""Depthwise convolutions of floats and their gradients against the definition; integers in floats, so that sums are exact."""

import numpy as np
import pytest

from nspike.autograd import depthwise
from nspike.graph.layer import Conv
from tests.naive_layers import convolve

CASES = [  # channels, outputs of each, kernel, stride, pads, dilation
    (3, 1, 3, 1, (1, 1), 1),
    (20, 1, 3, 1, (1, 1), 1),
    (5, 2, 3, 2, (1, 1), 1),
    (4, 3, 5, 1, (4, 4), 2),
    (2, 1, 2, 1, (0, 1), 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("channels", "each", "kernel", "stride", "pads", "dilation"), CASES)
def test_against_the_definition(channels, each, kernel, stride, pads, dilation, dtype):
    draw, height, width = np.random.default_rng(kernel), 7, 9
    conv = Conv("", "", channels, channels * each, kernel, stride=stride, groups=channels, dilation=dilation)
    assert conv.pads == pads
    x = draw.integers(-9, 10, (2, height, width, channels))
    w = draw.integers(-9, 10, (channels * each, 1, kernel, kernel))

    def naive(images, weights):
        return np.stack([convolve(one.transpose(2, 0, 1), weights, conv).transpose(1, 2, 0) for one in images])

    y = depthwise.convolve(x.astype(dtype), w.astype(dtype), stride, pads, dilation)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, naive(x, w))
    g = draw.integers(-9, 10, y.shape)
    of_x = depthwise.input_gradient(g.astype(dtype), w.astype(dtype), height, width, channels, stride, pads, dilation)
    of_w = depthwise.kernel_gradient(x.astype(dtype), g.astype(dtype), kernel, stride, pads, dilation)
    assert of_x.shape == x.shape
    assert of_w.shape == w.shape
    for at in [
        (0, 0, 0, 0),
        (1, 3, 4, channels - 1),
        (0, height - 1, width - 1, 0),
    ]:  # linear: what one number more gives
        one = np.zeros_like(x)
        one[at] = 1
        assert of_x[at] == np.sum(g * naive(one, w))
    for at in [(0, 0, 0, 0), (channels * each - 1, 0, kernel - 1, 0), (channels // 2, 0, 0, kernel - 1)]:
        one = np.zeros_like(w)
        one[at] = 1
        assert of_w[at] == np.sum(g * naive(x, one))


def test_the_same_bits_for_any_number_of_threads():
    from nspike.runtime import parallel

    draw, found = np.random.default_rng(0), []
    x, g = (draw.normal(size=(5, 8, 8, 4)).astype(np.float32) for _ in range(2))
    try:
        for threads in (1, 3):
            parallel.set_threads(threads)
            found.append(depthwise.kernel_gradient(x, g, 3, 1, (1, 1), 1))
    finally:
        parallel.set_threads(None)
    np.testing.assert_array_equal(*found)
