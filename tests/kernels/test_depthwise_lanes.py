"""Depthwise convolutions of float32 by lanes, and their gradients, against the definition; compiled or not.

Integers in floats, so that sums are exact.
"""

import numpy as np
import pytest

from nspike.autograd import depthwise
from nspike.kernels import depthwise_lanes

CASES = [  # channels, kernel, pads, height, width
    (16, 3, (1, 1), 6, 7),
    (37, 3, (1, 1), 5, 4),
    (5, 3, (1, 1), 1, 1),
    (20, 3, (0, 0), 5, 6),
    (19, 2, (0, 1), 4, 5),
]


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def lanes(request, monkeypatch):
    if not request.param:
        for name in ("sum_taps", "add_products"):
            monkeypatch.setattr(depthwise_lanes, name, getattr(depthwise_lanes, f"_python_{name}"))
        for name in ("convolve", "kernel_gradient"):
            monkeypatch.setattr(depthwise_lanes, name, getattr(depthwise_lanes, name).py_func)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize(("channels", "kernel", "pads", "height", "width"), CASES)
def test_against_the_definition(channels, kernel, pads, height, width):
    draw = np.random.default_rng(channels)
    x = draw.integers(-9, 10, (2, height, width, channels)).astype(np.float32)
    w = draw.integers(-9, 10, (channels, 1, kernel, kernel)).astype(np.float32)
    g = draw.integers(-9, 10, (2, height + sum(pads) - kernel + 1, width + sum(pads) - kernel + 1, channels))
    g = g.astype(np.float32)
    padded = np.pad(x, ((0, 0), pads, pads, (0, 0)))
    y = depthwise.convolve(x, w, 1, pads, 1)
    assert y.dtype == np.float32
    of_x = depthwise.input_gradient(g, w, height, width, channels, 1, pads, 1)
    of_w = depthwise.kernel_gradient(x, g, kernel, 1, pads, 1)
    expected_y, expected_x, expected_w = np.zeros_like(g), np.zeros_like(padded), np.zeros_like(w)
    for n, a, b in np.ndindex(g.shape[:3]):
        for i, j in np.ndindex(kernel, kernel):
            expected_y[n, a, b] += padded[n, a + i, b + j] * w[:, 0, i, j]
            expected_x[n, a + i, b + j] += g[n, a, b] * w[:, 0, i, j]
            expected_w[:, 0, i, j] += g[n, a, b] * padded[n, a + i, b + j]
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(of_x, expected_x[:, pads[0] : pads[0] + height, pads[0] : pads[0] + width])
    np.testing.assert_array_equal(of_w, expected_w)
