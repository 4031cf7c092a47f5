"""Convolution with one input channel in each group, and its gradients, without unrolling: by `nspike.kernels.depthwise_lanes`
in float32, where each input channel gives one, stride 1 and small kernels; else by `nspike.kernels.depthwise_floats`.

Images are (N, H, W, C), kernels (C·m, 1, k, k), m being how many channels each input channel gives; see `correlation`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.runtime.parallel import each

Array = NDArray[np.floating]

Pads = tuple[int, int]
"""Zeros before and after, on both axes."""
LARGEST = 5
"""Kernels whose taps are compiled one by one; they read images that are not padded."""


def pads_of(pad: int | Pads) -> Pads:
    """A number as (before, after)."""
    return (pad, pad) if isinstance(pad, int) else pad


def padded(x: Array, pads: Pads) -> Array:
    """Images with a border of zeros; contiguous."""
    return np.pad(x, ((0, 0), pads, pads, (0, 0))) if any(pads) else np.ascontiguousarray(x)


def _laid(w: Array, channels: int, dtype: Any) -> Array:
    """The kernel as (k, k, m, C)."""
    size = w.shape[2]
    return np.ascontiguousarray(w.reshape(channels, -1, size, size).transpose(2, 3, 1, 0), dtype)


def _by_lanes(dtype: Any, kernel: int, stride: int, dilation: int) -> bool:
    """Whether `nspike.kernels.depthwise_lanes` has it, where each input channel gives one."""
    return dtype == np.float32 and kernel <= LARGEST and (stride, dilation) == (1, 1)


def _summed(x: Array, w: Array, pads: Pads) -> Array:
    """y float32 of images and w (k, k, 1, C)."""
    from nspike.kernels import depthwise_lanes

    taps, size = np.ascontiguousarray(w[:, :, 0], np.float32), len(w)
    images = np.ascontiguousarray(x, np.float32)
    height, width = (side + sum(pads) - size + 1 for side in images.shape[1:3])
    y = np.empty((len(x), height, width, taps.shape[2]), np.float32)

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            depthwise_lanes.convolve(images[i], taps, pads[0], y[i], (0,) * size**2)

    each(some, len(x))
    return y


def convolve(x: Array, w: Array, stride: int, pads: Pads, dilation: int) -> Array:
    """y float (N, h, w, C·m)."""
    if len(w) == x.shape[3] and _by_lanes(np.result_type(x, w), w.shape[2], stride, dilation):
        return _summed(x, w.transpose(2, 3, 1, 0), pads)
    from nspike.kernels import depthwise_floats

    dtype = np.result_type(x, w)
    images, taps = padded(x, pads).astype(dtype, copy=False), _laid(w, x.shape[3], dtype)
    height, width = ((side - dilation * (w.shape[2] - 1) - 1) // stride + 1 for side in images.shape[1:3])
    y = np.empty((len(x), height, width, len(w)), dtype)

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            depthwise_floats.convolve(images[i], taps, stride, dilation, y[i])

    each(some, len(x))
    return y


def input_gradient(
    g: Array, w: Array, height: int, width: int, channels: int, stride: int, pads: Pads, dilation: int
) -> Array:
    """∂L/∂x float (N, height, width, C)."""
    by_lanes = len(w) == channels and _by_lanes(np.result_type(g, w), w.shape[2], stride, dilation)
    if by_lanes and max(pads) < w.shape[2]:
        turned = w[:, :, ::-1, ::-1].transpose(2, 3, 1, 0)
        return _summed(g, turned, (w.shape[2] - 1 - pads[0], w.shape[2] - 1 - pads[1]))
    from nspike.kernels import depthwise_floats

    dtype = np.result_type(g, w)
    given, taps = np.ascontiguousarray(g, dtype), _laid(w, channels, dtype)
    out = np.zeros((len(g), height + sum(pads), width + sum(pads), channels), dtype)

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            depthwise_floats.input_gradient(given[i], taps, stride, dilation, out[i])

    each(some, len(g))
    before = pads[0]
    return np.ascontiguousarray(out[:, before : before + height, before : before + width])


def kernel_gradient(x: Array, g: Array, kernel: int, stride: int, pads: Pads, dilation: int) -> Array:
    """∂L/∂w float (C·m, 1, kernel, kernel)."""
    from nspike.kernels import depthwise_floats, depthwise_lanes

    dtype, channels, kept = np.result_type(x, g), x.shape[3], g.shape[3]
    if kept == channels and _by_lanes(dtype, kernel, stride, dilation):
        read, arriving = (np.ascontiguousarray(array, np.float32) for array in (x, g))
        products = np.zeros((len(x), kernel, kernel, channels), np.float32)

        def one(_: int, first: int, last: int) -> None:
            for i in range(first, last):
                depthwise_lanes.kernel_gradient(read[i], arriving[i], pads[0], products[i], (0,) * kernel**2)

        each(one, len(x))
        return np.ascontiguousarray(products.sum(axis=0).transpose(2, 0, 1))[:, None]
    images, given = padded(x, pads).astype(dtype, copy=False), np.ascontiguousarray(g, dtype)
    sums = np.zeros((len(x), kernel, kernel, kept // channels, channels), dtype)

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            depthwise_floats.kernel_gradient(images[i], given[i], stride, dilation, sums[i])

    each(some, len(x))
    total = sums.sum(axis=0)  # of every image apart, so that any number of threads gives the same
    return np.ascontiguousarray(total.transpose(3, 2, 0, 1)).reshape(kept, 1, kernel, kernel)
