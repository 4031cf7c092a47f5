"""Functions of each value that plain networks have beside ReLU: those of `nspike.graph.plain_layer`."""

import math

import numpy as np

from nspike.autograd.tensor import Array, operation


def _d_leaky_relu(g: Array, out: Array, x: Array, slope: float = 0.01) -> Array:
    return np.where(x < 0, g * x.dtype.type(slope), g)


def _d_prelu_x(g: Array, out: Array, x: Array, slope: Array) -> Array:
    return np.where(x < 0, g * slope, g)


def _d_prelu_slope(g: Array, out: Array, x: Array, slope: Array) -> Array:
    return g * np.minimum(x, 0)


def _d_tanh(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(g * (1 - np.square(out)))


def _normal(x: Array) -> Array:
    """Φ(x), the normal distribution's."""
    from scipy.special import erf

    return np.asarray(0.5 + 0.5 * erf(x * x.dtype.type(math.sqrt(0.5))))


def _d_gelu(g: Array, out: Array, x: Array) -> Array:
    density = np.exp(-0.5 * np.square(x)) * x.dtype.type(1 / math.sqrt(2 * math.pi))
    return np.asarray(g * (_normal(x) + x * density))


def _logistic(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1, small) / (1 + small))


def _d_silu(g: Array, out: Array, x: Array) -> Array:
    s = _logistic(x)
    return np.asarray(g * (s + out * (1 - s)))


def _hard(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / x.dtype.type(6))


def _d_hard_sigmoid(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(np.where(np.abs(x) < 3, g / x.dtype.type(6), x.dtype.type(0)))


def _d_hard_swish(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(g * _hard(x) + x * _d_hard_sigmoid(g, out, x))


@operation(_d_leaky_relu)
def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """x, times `slope` below 0."""
    return np.where(x < 0, x * x.dtype.type(slope), x)


@operation(_d_prelu_x, _d_prelu_slope)
def prelu(x: Array, slope: Array) -> Array:
    """x, times `slope` below 0, a number or one for each channel, (C, 1, 1)."""
    return np.where(x < 0, x * slope, x)


@operation(_d_tanh)
def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


@operation(_d_gelu)
def gelu(x: Array) -> Array:
    """x·Φ(x), Φ being the normal distribution's."""
    return x * _normal(x)


@operation(_d_silu)
def silu(x: Array) -> Array:
    """x/(1 + e^-x)."""
    return x * _logistic(x)


@operation(_d_hard_sigmoid)
def hard_sigmoid(x: Array) -> Array:
    """min(max(0, x + 3), 6)/6."""
    return _hard(x)


@operation(_d_hard_swish)
def hard_swish(x: Array) -> Array:
    """x·min(max(0, x + 3), 6)/6."""
    return x * _hard(x)
