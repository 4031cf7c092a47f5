"""Convolution with one input channel in each group, and its gradients: tap by tap, without unrolling.

Images are (N, H, W, C), kernels (C·m, 1, k, k), m being how many channels each input channel gives; see `correlation`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.runtime.parallel import each

Array = NDArray[np.floating]

Pads = tuple[int, int]
"""Zeros before and after, on both axes."""


def pads_of(pad: int | Pads) -> Pads:
    """A number as (before, after)."""
    return (pad, pad) if isinstance(pad, int) else pad


def padded(x: Array, pads: Pads) -> Array:
    """Images with a border of zeros; contiguous."""
    return np.pad(x, ((0, 0), pads, pads, (0, 0))) if any(pads) else np.ascontiguousarray(x)


def _taps(kernel: int, stride: int, dilation: int, height: int, width: int) -> Iterator[tuple[tuple[int, int], Any]]:
    """Each tap, and the slice of a padded image that it reads for height×width outputs."""
    for tap in np.ndindex(kernel, kernel):
        y, x = (dilation * at for at in tap)
        yield tap, np.s_[y : y + (height - 1) * stride + 1 : stride, x : x + (width - 1) * stride + 1 : stride]


def convolve(x: Array, w: Array, stride: int, pads: Pads, dilation: int) -> Array:
    """y float (N, h, w, C·m)."""
    images, kernel = padded(x, pads), w.shape[2]
    n, channels = len(x), x.shape[3]
    height, width = ((side - dilation * (kernel - 1) - 1) // stride + 1 for side in images.shape[1:3])
    weights = w.reshape(channels, -1, kernel, kernel)
    y = np.empty((n, height, width, channels, weights.shape[1]), np.result_type(x, w))

    def some(_: int, first: int, last: int) -> None:
        total, product = (np.empty((height, width, channels), y.dtype) for _ in range(2))
        for i in range(first, last):
            for j in range(weights.shape[1]):
                total[:] = 0
                for tap, at in _taps(kernel, stride, dilation, height, width):
                    total += np.multiply(images[i][at], weights[:, j, *tap], out=product)
                y[i, :, :, :, j] = total

    each(some, n)
    return y.reshape(n, height, width, -1)


def input_gradient(
    g: Array, w: Array, height: int, width: int, channels: int, stride: int, pads: Pads, dilation: int
) -> Array:
    """∂L/∂x float (N, height, width, C)."""
    n, h, v, _ = g.shape
    before, kernel = pads[0], w.shape[2]
    weights = w.reshape(channels, -1, kernel, kernel)
    parts = g.reshape(n, h, v, channels, -1)
    out = np.zeros((n, height + sum(pads), width + sum(pads), channels), np.result_type(g, w))

    def some(_: int, first: int, last: int) -> None:
        product = np.empty((h, v, channels), out.dtype)
        for i in range(first, last):
            for j in range(weights.shape[1]):
                part = np.ascontiguousarray(parts[i, ..., j])
                for tap, at in _taps(kernel, stride, dilation, h, v):
                    out[i][at] += np.multiply(part, weights[:, j, *tap], out=product)

    each(some, n)
    return np.ascontiguousarray(out[:, before : before + height, before : before + width])


def kernel_gradient(x: Array, g: Array, kernel: int, stride: int, pads: Pads, dilation: int) -> Array:
    """∂L/∂w float (C·m, 1, kernel, kernel)."""
    images, channels = padded(x, pads), x.shape[3]
    n, h, v, kept = g.shape
    parts = g.reshape(n, h, v, channels, -1)
    sums = np.zeros((n, channels, kept // channels, kernel, kernel), np.result_type(x, g))

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            for j in range(kept // channels):
                part = np.ascontiguousarray(parts[i, ..., j])
                for tap, at in _taps(kernel, stride, dilation, h, v):
                    sums[i, :, j, *tap] = np.einsum("yxc,yxc->c", images[i][at], part)

    each(some, n)
    return np.asarray(sums.sum(axis=0).reshape(kept, 1, kernel, kernel))
