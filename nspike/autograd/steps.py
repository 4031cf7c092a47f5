"""Spiking networks in floats, T steps side by side (N, T·C, H, W): neurons with a surrogate derivative, and attention.

Of u = keep·v + x, s = [u >= θ], v' = u·(1 - s), back through time with φ = 4·σ(4(u - θ))·(1 - σ(4(u - θ))) for ∂s/∂u:

    ∂L/∂u = ∂L/∂v'·(1 - s) + (∂L/∂s - u·∂L/∂v')·φ;   ∂L/∂x = ∂L/∂u;   ∂L/∂v = keep·∂L/∂u

which is SpikingJelly's LIFNode with its usual surrogate, the reset not detached.
"""

from collections.abc import Mapping

import numpy as np

from nspike.autograd.activation import relu, sigmoid
from nspike.autograd.attention import matmul, transposed
from nspike.autograd.convolve import conv2d
from nspike.autograd.tensor import Array, Tensor, concatenate, operation

_SLOPE = 4.0


def _by_step(x: Array, steps: int) -> Array:
    """(N, T·C, H, W) as (T, N, C, H, W)."""
    return np.moveaxis(x.reshape(len(x), steps, -1, *x.shape[2:]), 1, 0)


def _together(x: Array) -> Array:
    """(T, N, C, H, W) as (N, T·C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(x, 0, 1)).reshape(x.shape[1], -1, *x.shape[3:])


def _run(x: Array, steps: int, threshold: float, keep: float) -> tuple[Array, Array]:
    """u and the spikes of every step, (T, N, C, H, W)."""
    currents = _by_step(x, steps)
    membranes, spikes = np.empty_like(currents), np.empty_like(currents)
    v = np.zeros_like(currents[0])
    for t in range(steps):
        membranes[t] = v * x.dtype.type(keep) + currents[t]
        spikes[t] = membranes[t] >= x.dtype.type(threshold)
        v = membranes[t] * (1 - spikes[t])
    return membranes, spikes


def _d_leaky(g: Array, out: Array, x: Array, steps: int, threshold: float, keep: float) -> Array:
    membranes, spikes = _run(x, steps, threshold, keep)
    small = np.exp(-_SLOPE * np.abs(membranes - x.dtype.type(threshold)))
    surrogate = x.dtype.type(_SLOPE) * small / np.square(1 + small)
    given, gradients = _by_step(g, steps), np.empty_like(membranes)
    of_v = np.zeros_like(membranes[0])
    for t in range(steps - 1, -1, -1):
        gradients[t] = of_v * (1 - spikes[t]) + (given[t] - membranes[t] * of_v) * surrogate[t]
        of_v = x.dtype.type(keep) * gradients[t]
    return _together(gradients)


@operation(_d_leaky)
def leaky(x: Array, steps: int, threshold: float, keep: float) -> Array:
    """The spikes, 0 or 1, of leaky neurons with hard reset."""
    return _together(_run(x, steps, threshold, keep)[1])


def _d_largest(g: Array, out: Array, x: Array, axis: tuple[int, ...]) -> Array:
    kept = np.expand_dims(out, axis)
    equal = (x == kept).astype(x.dtype)
    return np.asarray(equal / equal.sum(axis=axis, keepdims=True) * np.expand_dims(g, axis))


@operation(_d_largest)
def largest(x: Array, axis: tuple[int, ...]) -> Array:
    """The largest over the axes; equal ones share the gradient."""
    return np.asarray(x.max(axis=axis))


def _gate(first: Tensor, second: Tensor, *pooled: Tensor) -> Tensor:
    """σ of the sum of a perceptron's answers to pooled values (N, C)."""
    answers = [matmul(relu(matmul(values, transposed(first))), transposed(second)) for values in pooled]
    return sigmoid(answers[0] + answers[1])


def attention(x: Tensor, parameters: Mapping[str, Tensor], steps: int) -> Tensor:
    """Gates over time, channels and places, and a ReLU (`nspike.graph.plain_layer.StepAttention`)."""
    batch, channels, height, width = x.shape
    each, p = channels // steps, parameters
    y = x.reshape(batch, steps, each, height, width)
    rest = (2, 3, 4)
    time = _gate(p["time1"], p["time2"], y.mean(axis=rest), largest(y, axis=rest))
    y = y * time.reshape(batch, steps, 1, 1, 1)
    rest = (1, 3, 4)
    channel = _gate(p["channel1"], p["channel2"], y.mean(axis=rest), largest(y, axis=rest))
    z = (y * channel.reshape(batch, 1, each, 1, 1)).reshape(batch, channels, height, width)
    pooled = [part.reshape(batch, 1, height, width) for part in (z.mean(axis=1), largest(z, axis=(1,)))]
    place = sigmoid(conv2d(concatenate(pooled), p["space"], None, padding=p["space"].shape[2] // 2))
    return relu(place * z)
