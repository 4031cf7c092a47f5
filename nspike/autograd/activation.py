"""Activations: ReLU, clipped ReLU, the quantised clip of QCFS, sigmoid.

QCFS (Bu et al. 2022), L levels and a trainable λ, whose floor is passed straight through:

    h(x) = λ·clip(⌊x·L/λ + ½⌋/L, 0, 1);   ∂h/∂x = [0 < x < λ];   ∂h/∂λ = (h - x)/λ for 0 < x < λ, 1 for x >= λ, else 0
"""

import numpy as np

from nspike.autograd.tensor import Array, operation


def _d_relu(g: Array, out: Array, x: Array) -> Array:
    return g * (out > 0)


def _d_clipped_x(g: Array, out: Array, x: Array, top: Array) -> Array:
    return g * ((x > 0) & (x < top))


def _d_clipped_top(g: Array, out: Array, x: Array, top: Array) -> Array:
    return g * (x >= top)


def _d_qcfs_x(g: Array, out: Array, x: Array, scale: Array, levels: int = 8) -> Array:
    return g * ((x > 0) & (x < scale))


def _d_qcfs_scale(g: Array, out: Array, x: Array, scale: Array, levels: int = 8) -> Array:
    slope = np.clip(x, 0, scale)  # (h - x)/λ where x is within, 0 elsewhere
    np.subtract(out, slope, out=slope)
    slope /= scale
    slope += x >= scale
    slope *= g
    return slope


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


@operation(_d_qcfs_x, _d_qcfs_scale)
def qcfs(x: Array, scale: Array, levels: int = 8) -> Array:
    """The quantised clip of QCFS with λ = `scale`, a number or one for each channel, (C, 1, 1)."""
    y = np.asarray(x * (levels / scale), x.dtype)
    y += 0.5
    np.floor(y, out=y)
    np.clip(y, 0, levels, out=y)
    y /= levels
    y *= scale
    return y


@operation(_d_sigmoid)
def sigmoid(x: Array) -> Array:
    """1/(1 + e^-x)."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))
