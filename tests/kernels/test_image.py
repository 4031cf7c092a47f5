"""The image's convolution, compiled and in plain Python, against the definition."""

import numpy as np
import pytest

from nspike.graph.layer import IMAGE, Conv
from nspike.kernels import image
from nspike.kernels._jit import kernel
from tests import naive_layers


@kernel
def weigh(x, starts, at, apart, length, weights, c, columns, bias, out, to):
    image.weigh(x, starts, at, apart, length, weights, c, columns, bias, out, to)


@pytest.mark.parametrize(
    ("colours", "channels", "size", "options", "shape"),
    [
        (4, 16, 3, {}, (5, 2 * image.PIXELS + 3)),
        (1, 64, 3, {}, (4, image.PIXELS)),
        (3, 20, 5, {}, (7, 11)),
        (2, 16, 3, {"dilation": 2}, (7, 9)),
        (3, 17, 2, {"stride": 2, "padding": (0, 0)}, (6, 18)),
        (1, 3, 1, {}, (5, 3)),
        (3, 16, 3, {"stride": 3, "dilation": 2}, (15, 4)),
        (3, 32, 3, {}, (1, 1)),
    ],
)
def test_image_current(colours, channels, size, options, shape):
    """In bands of rows and columns, the image's array being larger than what is read of it, with the largest numbers too."""
    draw = np.random.default_rng(channels)
    conv = Conv("c", IMAGE, colours, channels, size, **options)
    plane = draw.integers(-4 * 65535, 4 * 65535, (colours, *shape), endpoint=True)
    kernels, bias = draw.integers(-32767, 32767, (channels, colours, size, size)), draw.integers(-999, 999, channels)
    plane[:, 0], kernels[0] = 4 * 65535, 32767
    expected = naive_layers.image_current(plane, kernels, conv) + bias[:, None, None]
    _, height, width = expected.shape
    columns = -(-channels // 16) * 16
    rows = np.zeros((size * size * colours, columns))
    rows[:, :channels] = kernels.transpose(2, 3, 1, 0).reshape(-1, channels)
    held = np.pad(plane, ((0, 0), (1, 2), (3, 1)), constant_values=10**6).astype(np.int32)
    out = np.full((1, height + 2, width + 3, channels), 10**9, np.int32)
    places, taps = np.array([1, 3, 1, 2, *shape]), np.array([size, conv.stride, conv.dilation, conv.pads[0]])
    middle, part = (height + 1) // 2, max(1, width // 3)
    for block in ([0, middle, 0, width], [middle, height, 0, part], [middle, height, part, width]):
        image.image_current(held, places, taps, rows, bias.astype(np.int32), np.array(block), out)
    np.testing.assert_array_equal(out[0, 1:-1, 2:-1], expected.transpose(1, 2, 0))
    out[0, 1:-1, 2:-1] = 10**9
    assert (out == 10**9).all()


def test_a_tile():
    draw, columns, length = np.random.default_rng(0), 48, 5
    x = draw.integers(-4 * 65535, 4 * 65535, 200).astype(np.float64)
    weights, starts = draw.integers(-4095, 4095, 2 * length * columns).astype(np.float64), np.array([60, 3])
    bias = draw.integers(-99, 99, columns).astype(np.int32)
    expected = np.full(4 + image.PIXELS * columns, 7)
    for p in range(image.PIXELS):
        for lane in range(32, 48):
            seen = [int(x[start + 2 + 6 * p + q]) for start in starts for q in range(length)]
            total = sum(n * int(weights[i * columns + lane]) for i, n in enumerate(seen))
            expected[4 + p * columns + lane - 32] = round(total / 65535) + bias[lane]
    for f in (weigh, image._python_weigh):
        out = np.full(expected.shape, 7, np.int32)
        f(x, starts, 2, 6, length, weights, 32, columns, bias, out, 4)
        np.testing.assert_array_equal(out, expected)
