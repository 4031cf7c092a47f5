"""Surrogate derivatives of the firing test H(x), x = u - θ, for back-propagation.

    sigmoid    k·σ(kx)(1 - σ(kx)), k = 4           SpikingJelly; "as in Spikformer and ESDNet" (SpikingIR)
    triangle   max(0, γ - |x|)/γ², γ = 1           Deng et al. 2022 (TET), Bu et al. 2022
    rectangle  1/(2a) for |x| < a, a = ½            Wu et al. 2018; with a = 1 and height 1 it is a straight-through clip
    arctan     (k/2)/(1 + (πkx/2)²), k = 2         Fang et al. 2021

A surrogate is a plain function of an array, x in units of the layer's scale; it returns a new array of x's dtype. A neuron
plugin names one of these, or brings its own (`Neuron.surrogate`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import PluginError, nearest

Array = NDArray[Any]
Surrogate = Callable[[Array], Array]


SLOPE = 4.0
"""k of `sigmoid`."""


def sigmoid(x: Array, k: float = SLOPE) -> Array:
    """k·σ(kx)(1 - σ(kx)), without overflow."""
    small = np.abs(x)
    np.multiply(small, -k, out=small)
    np.exp(small, out=small)
    below = small + 1
    np.square(below, out=below)
    np.divide(small, below, out=small)
    return np.multiply(small, k, out=small)


def triangle(x: Array, gamma: float = 1.0) -> Array:
    """max(0, γ - |x|)/γ²."""
    return np.maximum(gamma - np.abs(x), 0) * (1 / gamma**2)


def rectangle(x: Array, half_width: float = 0.5) -> Array:
    """1/(2a) where |x| < a."""
    return np.asarray((np.abs(x) < half_width) * np.asarray(x).dtype.type(0.5 / half_width))


def arctan(x: Array, k: float = 2.0) -> Array:
    """(k/2)/(1 + (πkx/2)²)."""
    return np.asarray((k / 2) / (1 + np.square(x * (np.pi * k / 2))))


SURROGATES: dict[str, Surrogate] = {
    "sigmoid": sigmoid,
    "triangle": triangle,
    "rectangle": rectangle,
    "arctan": arctan,
}


def find(surrogate: str | Surrogate) -> Surrogate:
    """A surrogate by its name, or itself. Raises PluginError for an unknown name."""
    if callable(surrogate):
        return surrogate
    if surrogate not in SURROGATES:
        raise PluginError(
            f"there is no surrogate {surrogate!r}.{nearest(surrogate, SURROGATES)} Known: {', '.join(SURROGATES)}; "
            "a neuron may also bring a function of its own"
        )
    return SURROGATES[surrogate]


def values(surrogate: Surrogate, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """surrogate(x) in float32. `sigmoid`, which every paper uses, has a compiled twin that agrees to 2e-6 of its value."""
    if surrogate is not sigmoid:
        slopes = np.asarray(surrogate(x), np.float32)
        if slopes.shape != x.shape:
            raise PluginError(f"a surrogate gave {slopes.shape} for an array {x.shape}; expected one of the same shape")
        return slopes
    from nspike.kernels.back_in_time import sigmoid_slopes

    out = np.empty_like(x)
    sigmoid_slopes(x.reshape(-1), np.float32(SLOPE), out.reshape(-1))
    return out
