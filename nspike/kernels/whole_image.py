"""Sums over the pixels of rows, for layers of the plain ANN that look at the whole image. No spike is decided here.

Every row gives its sums for itself, added up in the order of its pixels; whoever calls adds rows in their order. So neither
threads nor bands of rows change a bit.
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.dense import NARROW, NARROW_PIXELS, accumulate_narrow


def padded(each: int) -> tuple[int, int]:
    """How many rows and columns the products of `each` by `each` channels take in `multiply_channels`."""
    return -(-each // NARROW_PIXELS) * NARROW_PIXELS, -(-each // NARROW) * NARROW


@kernel
def multiply_channels(q, k, heads, first, last, products, squares):
    """Of rows first .. last-1 of q and k (H, W, C): Σ q·k of all pairs of channels of a head, Σ q² and Σ k².

    products : float32 (H, heads, rows, columns), see `padded`; squares : float64 (H, 2, C).
    """
    width, channels = q.shape[1], q.shape[2]
    each = channels // heads
    rows, columns = products.shape[2], products.shape[3]
    flipped = np.zeros(rows * width, np.float32)
    blocked = np.zeros(columns * width, np.float32)
    sums = np.empty(rows * columns, np.float32)
    for y in range(first, last):
        squares[y] = 0.0
        for x in range(width):
            for c in range(channels):
                a, b = np.float64(q[y, x, c]), np.float64(k[y, x, c])
                squares[y, 0, c] += a * a
                squares[y, 1, c] += b * b
        for head in range(heads):
            for x in range(width):
                for c in range(each):
                    flipped[c * width + x] = q[y, x, head * each + c]
                    blocked[(c // NARROW * width + x) * NARROW + c % NARROW] = k[y, x, head * each + c]
            sums[:] = 0
            for block in range(columns // NARROW):
                for c in range(0, rows, NARROW_PIXELS):
                    accumulate_narrow(
                        flipped,
                        c * width,
                        width,
                        blocked,
                        block * width * NARROW,
                        width,
                        sums,
                        c * columns + block * NARROW,
                        columns,
                    )
            for r in range(rows):
                for c in range(columns):
                    products[y, head, r, c] = sums[r * columns + c]


@kernel
def sum_rows(x, first, last, sums):
    """Of rows first .. last-1 of x (H, W, C): the sum of each channel, in float64 (H, C)."""
    for y in range(first, last):
        sums[y] = 0.0
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                sums[y, c] += np.float64(x[y, p, c])


@kernel
def pool_channels(x, first, last, out):
    """Of rows first .. last-1 of x (H, W, C): the largest channel of each pixel, and the mean, in out (H, W, 2)."""
    channels = x.shape[2]
    for y in range(first, last):
        for p in range(x.shape[1]):
            largest, total = x[y, p, 0], 0.0
            for c in range(channels):
                largest = max(largest, x[y, p, c])
                total += np.float64(x[y, p, c])
            out[y, p, 0] = largest
            out[y, p, 1] = np.float32(total / channels)
