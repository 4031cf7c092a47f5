"""The functions of each value that a plain network may have, float32 to float32.

What no processor computes exactly is computed in float64, value by value, by SciPy or a kernel, so that neither tiles nor
threads change a bit.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_0, _1, _3, _6 = (np.float32(n) for n in (0, 1, 3, 6))


def _negative_part(slope: Any) -> Callable[[Floats], Floats]:
    return lambda x: np.where(x < 0, x * slope, x)


def _logistic(x: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(x.astype(np.float64)), np.float32)


def _tanh(x: Floats) -> Floats:
    from scipy.special import expm1

    part = expm1(-2 * np.abs(x.astype(np.float64)))
    return np.asarray(np.copysign(part / (part + 2), x), np.float32)


def _gelu(x: Floats) -> Floats:
    from nspike.kernels.gelu import gelu

    out = np.empty(x.shape, np.float32)
    gelu(x, out)
    return out


def _silu(x: Floats) -> Floats:
    from scipy.special import expit

    wide = x.astype(np.float64)
    return np.asarray(wide * expit(wide), np.float32)


def _hard_sigmoid(x: Floats) -> Floats:
    return np.asarray(np.minimum(np.maximum(x + _3, _0), _6) / _6, np.float32)


def _hard_swish(x: Floats) -> Floats:
    return np.asarray(x * np.minimum(np.maximum(x + _3, _0), _6) / _6, np.float32)


POINTWISE: Mapping[str, Callable[[Any, Floats | None], Callable[[Floats], Floats]]] = {
    "leaky_relu": lambda layer, weight: _negative_part(np.float32(layer.slope)),
    "prelu": lambda layer, weight: _negative_part(weight),
    "sigmoid": lambda *_: _logistic,
    "tanh": lambda *_: _tanh,
    "gelu": lambda *_: _gelu,
    "silu": lambda *_: _silu,
    "hard_sigmoid": lambda *_: _hard_sigmoid,
    "hard_swish": lambda *_: _hard_swish,
    "complement": lambda *_: lambda x: _1 - x,
}
"""(layer, its weight or none) -> the function on arrays (..., C), for every function of `nspike.graph.plain_layer`."""
