"""Activations: ReLU, clipped ReLU, the quantised clip of QCFS, their signed forms, sigmoid.

QCFS (Bu et al. 2022), L levels and a trainable λ, whose floor is passed straight through:

    h(x) = λ·clip(⌊x·L/λ + ½⌋/L, 0, 1);   ∂h/∂x = [0 < x < λ];   ∂h/∂λ = (h - x)/λ for 0 < x < λ, 1 for x >= λ, else 0

The signed one clips at -1 instead of 0, with ∂h/∂λ = -1 for x <= -λ.
"""

from typing import Any

import numpy as np

from nspike.autograd.tensor import Array, operation
from nspike.runtime.parallel import each


def _d_relu(g: Array, out: Array, x: Array) -> Array:
    return g * (out > 0)


def _d_clipped_x(g: Array, out: Array, x: Array, top: Array) -> Array:
    return g * ((x > 0) & (x < top))


def _d_clipped_top(g: Array, out: Array, x: Array, top: Array) -> Array:
    return g * (x >= top)


def _d_signed_x(g: Array, out: Array, x: Array, top: Array) -> Array:
    return g * (np.abs(x) < top)


def _d_signed_top(g: Array, out: Array, x: Array, top: Array) -> Array:
    return np.asarray(g * ((x >= top) * x.dtype.type(1) - (x <= -top)))


def _rows(x: Array, scale: Array) -> tuple[Array, Array]:
    """x (N, C, H, W) as rows of channels, without a copy where a convolution made it, and λ of each channel."""
    if x.ndim != 4:
        return x.reshape(-1, 1), np.full(1, scale, x.dtype)
    channels = x.shape[1]
    return x.transpose(0, 2, 3, 1).reshape(-1, channels), np.full(channels, scale.ravel(), x.dtype)


def _shaped(rows: Array, x: Array) -> Array:
    """Rows of channels in the shape of x."""
    if x.ndim != 4:
        return rows.reshape(x.shape)
    count, channels, height, width = x.shape
    return rows.reshape(count, height, width, channels).transpose(0, 3, 1, 2)


def _d_qcfs_x(g: Array, out: Array, x: Array, scale: Array, signed: bool = False, **_: Any) -> Array:
    from nspike.kernels import quantised

    (rows, limits), gradients = _rows(x, scale), _rows(g, scale)[0]
    out, low = np.empty_like(rows), x.dtype.type(-signed)
    each(lambda _, first, last: quantised.backward(gradients, rows, limits, low, out, first, last), len(rows))
    return _shaped(out, x)


def _d_qcfs_scale(g: Array, out: Array, x: Array, scale: Array, signed: bool = False, **_: Any) -> Array:
    from nspike.kernels import quantised

    (rows, limits), gradients, values = _rows(x, scale), _rows(g, scale)[0], _rows(out, scale)[0]
    size = len(rows) // len(x) if x.ndim == 4 else len(rows)  # sums of images, the same for any threads
    sums, low = np.zeros((len(rows) // size, len(limits))), x.dtype.type(-signed)

    def some(_: int, first: int, last: int) -> None:
        for n in range(first, last):
            quantised.backward_scale(gradients, values, rows, limits, low, sums[n], n * size, (n + 1) * size)

    each(some, len(sums))
    total = sums.sum(0)
    return np.asarray(total.sum() if scale.size == 1 else total, x.dtype).reshape(scale.shape)


def _d_sigmoid(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(g * out * (1 - out))


@operation(_d_relu)
def relu(x: Array) -> Array:
    """max(0, x)."""
    return np.maximum(x, 0)


@operation(_d_clipped_x, _d_clipped_top)
def clipped_relu(x: Array, top: Array) -> Array:
    """min(max(0, x), top), `top` being a number or one for each channel, (C, 1, 1)."""
    return np.minimum(np.maximum(x, 0), top)


@operation(_d_signed_x, _d_signed_top)
def signed_clip(x: Array, top: Array) -> Array:
    """min(max(-top, x), top), `top` being a number or one for each channel, (C, 1, 1)."""
    return np.minimum(np.maximum(x, -top), top)


@operation(_d_qcfs_x, _d_qcfs_scale)
def qcfs(x: Array, scale: Array, levels: int = 8, overshoot: float = 0.0, seed: int = 0, signed: bool = False) -> Array:
    """The quantised clip of QCFS with λ = `scale`, a number or, for x (N, C, H, W), one for each channel, (C, 1, 1).

    overshoot : the mean, in levels, of what is added to x = 0 before rounding, less where x is larger
        (`nspike.kernels.quantised`); decided by `seed`; gradients do not see it.
    signed : whether there are as many levels below 0.
    """
    from nspike.kernels import quantised

    rows, limits = _rows(x, scale)
    out = np.empty_like(rows)
    mean, key = x.dtype.type(overshoot), np.uint64(seed & 0xFFFFFFFF)
    inverse, low = np.asarray(levels / limits, x.dtype), x.dtype.type(-signed)

    def some(_: int, first: int, last: int) -> None:
        quantised.forward(rows, limits, inverse, levels, low, mean, key, out, first, last)

    each(some, len(rows))
    return _shaped(out, x)


@operation(_d_sigmoid)
def sigmoid(x: Array) -> Array:
    """1/(1 + e^-x)."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))
