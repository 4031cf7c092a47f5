"""The dyadic grid of a layer: the one place where a spiking layer's numbers are rounded to integers.

Output channel c has the grid 2^-k, k the largest integer for which

    2^k·max|w| <= limit,   2^k·θ <= 2^24,   2^k·(g·Σ|w| + |b|) <= 2^24

hold (in float64, Σ|w| being summed exactly and rounded once), g being the largest total gain that one input can have in
one step. A membrane of up to 126 steps then fits int32, a weight int16, and each step's sum is exact even in float32. `limit`
is 4095 for the kernels that sum weights as int16
in groups of eight (8·4095 < 2^15), 32767 for the analog first layer. Rounding is half to even.
"""

from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.images.plane import LIMIT

SPIKE_LIMIT = 4095
ANALOG_LIMIT = 32767
RANGE = 2**24
MOST_STEPS = 126
NEVER_FIRES = np.int32(2**31 - 1)
IMAGE_GAIN = LIMIT
"""The largest magnitude of the input plane's values."""


@dataclass(frozen=True)
class IntegerLayer:
    """A layer on its grid.

    exponent int64 (C,); weights int16 (phases, C, I, k, k), one kernel for the steps up to T and, where spikes then have
    another amplitude, one for the post steps; bias int32 (C,); theta int32 (C,).
    """

    exponent: NDArray[np.int64]
    weights: NDArray[np.int16]
    bias: NDArray[np.int32]
    theta: NDArray[np.int32]

    def to_grid(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """Round `values` (..., C), in units of the float layer, to this layer's grid."""
        return on_grid(values, self.exponent)


def on_grid(values: NDArray[np.float64], exponent: NDArray[np.int64]) -> NDArray[np.int32]:
    """Round `values` (..., C) half to even to the grids 2^-exponent (C,). Raises ModelError past int32 or on NaN."""
    scaled = np.rint(np.ldexp(np.asarray(values, np.float64), exponent))
    if not np.all(np.abs(scaled) < 2.0**31):
        raise ModelError(
            "a value does not fit the layer's integer grid: the model's parameters are not finite or too large"
        )
    return scaled.astype(np.int32)


def exponents(
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
    theta: NDArray[np.float64],
    *,
    gain: int = 1,
    limit: int = SPIKE_LIMIT,
) -> NDArray[np.int64]:
    """The grid exponent k of each output channel.

    weights float64 (phases, C, I, k, k), bias and theta float64 (C,). Raises ModelError if a threshold is not positive or
    a number not finite.
    """
    if not (np.all(np.isfinite(weights)) and np.all(np.isfinite(bias)) and np.all(np.isfinite(theta))):
        raise ModelError("the model's weights hold NaN or infinity")
    if not np.all(theta > 0):
        raise ModelError("a firing threshold is not positive")
    flat = np.abs(weights).transpose(1, 0, 2, 3, 4).reshape(weights.shape[1], weights.shape[0], -1)
    largest = flat.max(axis=(1, 2), initial=0.0)
    sums = np.array([[fsum(phase) for phase in channel] for channel in flat.tolist()]).reshape(flat.shape[:2])
    total = gain * sums.max(axis=1) + np.abs(bias)
    with np.errstate(divide="ignore"):
        most = np.minimum(np.minimum(limit / largest, RANGE / theta), RANGE / total)
    # frexp is exact where log2 is not: most = m·2^e with 0.5 <= m < 1, so floor(log2(most)) = e - 1.
    return np.asarray(np.frexp(most)[1] - 1, np.int64)


def quantise(
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
    theta: NDArray[np.float64],
    *,
    gain: int = 1,
    limit: int = SPIKE_LIMIT,
) -> IntegerLayer:
    """Round one layer to its grid: see `exponents` for the arguments and errors."""
    k = exponents(weights, bias, theta, gain=gain, limit=limit)
    scaled = np.rint(np.ldexp(weights, k[None, :, None, None, None]))
    return IntegerLayer(k, scaled.astype(np.int16), on_grid(bias, k), np.maximum(on_grid(theta, k), 1))
