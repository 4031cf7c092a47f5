"""Layer norm and transposed attention, of (N, C, H, W)."""

import numpy as np

from nspike.autograd.tensor import Array, Tensor, operation

_LEAST = 1e-12
"""The least length that a vector is divided by, as PyTorch's `normalize`."""


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """w·(x - μ)/√(σ² + ε) + b over the channels of each pixel; without a bias w·x/√(σ² + ε)."""
    n, _, height, width = x.shape
    centred = x - x.mean(axis=1).reshape(n, 1, height, width)
    spread = (centred.square().mean(axis=1).reshape(n, 1, height, width) + eps).sqrt()
    scaled = (x if bias is None else centred) / spread * weight.reshape(-1, 1, 1)
    return scaled if bias is None else scaled + bias.reshape(-1, 1, 1)


def _d_matmul_a(g: Array, out: Array, a: Array, b: Array) -> Array:
    return np.asarray(g @ b.swapaxes(-1, -2))


def _d_matmul_b(g: Array, out: Array, a: Array, b: Array) -> Array:
    return np.asarray(a.swapaxes(-1, -2) @ g)


@operation(_d_matmul_a, _d_matmul_b)
def matmul(a: Array, b: Array) -> Array:
    """The product of matrices in the last two axes."""
    return np.asarray(a @ b)


def _d_transposed(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(g.swapaxes(-1, -2))


@operation(_d_transposed)
def transposed(x: Array) -> Array:
    """The last two axes exchanged."""
    return x.swapaxes(-1, -2)


def _d_softmax(g: Array, out: Array, x: Array) -> Array:
    return np.asarray(out * (g - np.sum(g * out, axis=-1, keepdims=True)))


@operation(_d_softmax)
def softmax(x: Array) -> Array:
    """e^x over its sum along the last axis."""
    large = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(large / large.sum(axis=-1, keepdims=True))


def _length(x: Array) -> Array:
    return np.asarray(np.maximum(np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True)), x.dtype.type(_LEAST)))


def _d_unit(g: Array, out: Array, x: Array) -> Array:
    return np.asarray((g - out * np.sum(g * out, axis=-1, keepdims=True)) / _length(x))


@operation(_d_unit)
def unit(x: Array) -> Array:
    """Vectors along the last axis divided by their length."""
    return np.asarray(x / _length(x))


def transposed_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, heads: int) -> Tensor:
    """softmax(τ·q̂·k̂ᵀ)·v in each head, over channels (Restormer); temperature τ (heads,)."""
    n, channels, height, width = q.shape
    rows, columns, values = (x.reshape(n, heads, channels // heads, height * width) for x in (q, k, v))
    weights = softmax(matmul(unit(rows), transposed(unit(columns))) * temperature.reshape(1, heads, 1, 1))
    return matmul(weights, values).reshape(n, channels, height, width)
