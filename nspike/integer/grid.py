"""The dyadic grid of a layer: the one place where a spiking layer's numbers are rounded to integers.

Output channel c has the grid 2^-k, k the largest integer for which

    2^k·max|w| <= limit,   2^k·θ <= 2^24,   2^k·(Σ|g·w| + |b|) <= 2^24

hold (in float64, Σ|g·w| being summed exactly and rounded once), w being what a spike of gain 1 is worth and g the gain of a
plane of spikes; of the image 4, the largest value that it can have. A kernel is rounded once, and the gain of each plane
multiplies what is rounded: a spike of gain 4 is worth exactly four of gain 1. A membrane of up to 126 steps then fits int32, a
weight int16, and each step's sum is exact even in float32. `limit` is 4095 over the largest gain, rounded down, for the kernels
that sum weights as int16 in groups of eight (8·4095 < 2^15), and 32767 for the analog first layer. Rounding is half to even.
Currents that are added to
one another share a grid (`nspike.integer.grids`).
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
UNBOUNDED = 1 << 40
"""The exponent that a bound of zero allows."""


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


def weights_on_grid(weights: NDArray[np.float64], exponent: NDArray[np.int64]) -> NDArray[np.int16]:
    """Kernels (phases, C, I, k, k) rounded half to even to the grids 2^-exponent (C,), on which they are within `limit`."""
    return np.rint(np.ldexp(weights, exponent[None, :, None, None, None])).astype(np.int16)


def largest_exponent(bounds: NDArray[np.float64], top: int) -> NDArray[np.int64]:
    """The largest k with 2^k·bound <= top for each bound >= 0; `UNBOUNDED` for 0."""
    with np.errstate(divide="ignore"):
        most = top / bounds
    # frexp is exact where log2 is not: most = m·2^e with 0.5 <= m < 1, so floor(log2(most)) = e - 1.
    return np.where(np.isinf(most), np.int64(UNBOUNDED), np.frexp(most)[1].astype(np.int64) - 1)


def kernel_bounds(
    weights: NDArray[np.float64], bias: NDArray[np.float64], gain: int | NDArray[np.int64] = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """max|w| and Σ g·|w| + |b| of each output channel, float64 (C,), of kernels (phases, C, I, k, k).

    gain : g >= 0, one number or int64 (C, I). The sum is exact and rounded once. Raises ModelError where a number is not finite.
    """
    if not (np.all(np.isfinite(weights)) and np.all(np.isfinite(bias))):
        raise ModelError("the model's weights hold NaN or infinity")
    flat = np.abs(weights).transpose(1, 0, 2, 3, 4)
    times, weighed = (gain, flat) if isinstance(gain, int) else (1, _terms(flat, gain))
    weighed = weighed.reshape(*flat.shape[:2], -1)
    sums = np.array([[fsum(phase) for phase in channel] for channel in weighed.tolist()]).reshape(flat.shape[:2])
    return flat.max(axis=(1, 2, 3, 4), initial=0.0), times * sums.max(axis=1) + np.abs(bias)


def _terms(weights: NDArray[np.float64], gain: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact terms (C, phases, I', k, k) whose sums are those of g·w: a few powers of two make up a gain, 126 = 128 - 2."""
    left, power, terms = gain, 1, [weights[:, :, :0]]
    while left.any():
        digit = np.where(left % 2 == 1, 2 - left % 4, 0)
        if digit.any():
            terms.append(weights * (digit * power)[:, None, :, None, None])
        left, power = (left - digit) // 2, 2 * power
    return np.concatenate(terms, axis=2)
