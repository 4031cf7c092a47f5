"""How much noise an image had before it was compressed as a JPEG.

A JPEG's quantisation takes away the noise of most frequencies, and leaves that of some as it was. What is left is seen where four
blocks meet: in the finest diagonal detail d across a corner (`nspike.degradations.noise`), a weighted sum of the coefficients
of four blocks whose errors have nothing to do with each other. How large it is after quantisation follows from the file's own
steps q and the noise:

    r(σ) = median |Σ w·(q·round((s + σ·n)/q) - s)| / 0.6745,    n ~ N(0, 1) for each coefficient

s is what a smooth block has: Laplacian with a scale that falls with the frequency and differs from block to block. r is made by
drawing, once for each table of steps, and inverted: the noise is where r(σ) is the detail measured.

Only the smoothest `_SMOOTHEST` of the corners count, by the energy of the blocks' low frequencies; r draws alike. Blocks that
are clipped to black or white do not count. Below some noise r does not rise: nothing of it is left (`Estimate.hidden`).

The shape of s and `_SMOOTHEST` were chosen on Set12 and 10 images of BSDS500.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.noise import HIGH_PASS, MEDIAN_OF_NORMAL
from nspike.errors import BadInputError

Floats = NDArray[np.float64]

SIDE = 8
_SMOOTHEST = 0.3
_LOW = 5
"""Frequencies whose sum of indices is 1 to this tell how smooth a block is."""
_CONTENT = 20.0
_DRAWN = 4096
_SIGMAS = np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 65, 80, 100.0])
_LEAST = 8
"""Corners that must count."""
_SEEN = 1.0
"""Grey levels by which the detail must rise so that noise is seen."""
_CLIPPED = 0.5
"""The share of a block's pixels at black or white above which it is clipped."""

_INDEX = np.arange(SIDE)
_BASIS = np.round(  # frequency × pixel; rounded, so that no library's cosine matters
    np.cos(np.pi * (2 * _INDEX + 1) * _INDEX[:, None] / 16) * np.where(_INDEX == 0, 8**-0.5, 0.5)[:, None], 12
)
_SUM = np.add.outer(_INDEX, _INDEX)
_IS_LOW = ((_SUM > 0) & (_SUM <= _LOW)).astype(np.float64)
_BEFORE = HIGH_PASS[0] * _BASIS[:, 6] + HIGH_PASS[1] * _BASIS[:, 7]
_AFTER = HIGH_PASS[2] * _BASIS[:, 0] + HIGH_PASS[3] * _BASIS[:, 1]


@dataclass(frozen=True)
class Estimate:
    """Noise, in grey levels, and up to what noise compression leaves no trace of it."""

    sigma: float
    hidden: float


def estimate_before_jpeg(plane: Floats, steps: NDArray[np.int64]) -> Estimate | None:
    """The standard deviation of the white Gaussian noise that a JPEG's luma had, in grey levels.

    Parameters
    ----------
    plane : float64 (H, W), the luma in grey levels, 0 to 255; its first pixel begins a block
    steps : (8, 8), the quantisation steps of vertical (row) and horizontal frequencies

    Returns
    -------
    Estimate, or None where too few blocks can be used.
    """
    if plane.dtype != np.float64 or plane.ndim != 2 or steps.shape != (SIDE, SIDE) or steps.min() < 1:
        raise BadInputError(
            f"expected a float64 plane (H, W) and steps (8, 8) from 1, not {plane.shape}, {steps.shape}"
        )
    height, width = (length // SIDE * SIDE for length in plane.shape)
    if min(height, width) < 2 * SIDE:
        return None
    plane = plane[:height, :width]
    activity = _largest_of_four(_low_energy(plane))
    usable = _largest_of_four(_clipped_share(plane)) <= _CLIPPED
    if np.count_nonzero(usable) < _LEAST / _SMOOTHEST:
        return None
    seen = _spread(_corner_details(plane)[usable], activity[usable])
    response = _response(tuple(int(step) for step in steps.ravel()))
    return Estimate(float(np.interp(seen, response, _SIGMAS)), float(np.interp(response[0] + _SEEN, response, _SIGMAS)))


@lru_cache(maxsize=64)
def _response(table: tuple[int, ...]) -> Floats:
    """r for each of `_SIGMAS`, made not to fall."""
    steps = np.array(table, np.float64).reshape(SIDE, SIDE)
    draw = np.random.RandomState(0)
    noise = draw.normal(0, 1, (_DRAWN, SIDE, SIDE))
    content = draw.laplace(0, _CONTENT, noise.shape) * draw.lognormal(0, 1, (_DRAWN, 1, 1)) / (1 + _SUM) ** 1.5
    content[:, 0, 0] = draw.uniform(0, 400, _DRAWN)
    found = []
    for sigma in _SIGMAS:
        stored = np.rint((content + sigma * noise) / steps) * steps
        detail, activity = np.zeros(_DRAWN), np.zeros(_DRAWN)
        low = (stored * stored * _IS_LOW).sum(axis=(1, 2))
        corners = ((_BEFORE, _BEFORE), (_BEFORE, _AFTER), (_AFTER, _BEFORE), (_AFTER, _AFTER))
        for number, (down, across) in enumerate(corners):  # four blocks that have nothing to do with each other
            share = ((stored - content) * (down[:, None] * across)).sum(axis=(1, 2))
            detail += np.roll(share, number)
            activity = np.maximum(activity, np.roll(low, number))
        found.append(_spread(detail, activity))
    return np.maximum.accumulate(np.array(found))


def _spread(detail: Floats, activity: Floats) -> float:
    """The standard deviation of the details where the blocks are smoothest."""
    smooth = activity <= np.quantile(activity, _SMOOTHEST)
    return float(np.median(np.abs(detail[smooth]))) / MEDIAN_OF_NORMAL


def _corner_details(plane: Floats) -> Floats:
    """The finest diagonal detail across each corner of four blocks."""
    for _ in range(2):
        rows = np.zeros((plane.shape[0] // SIDE - 1, plane.shape[1]))
        for tap, weight in enumerate(HIGH_PASS):
            rows += weight * plane[6 + tap :: SIDE][: len(rows)]
        plane = rows.T
    return plane


def _low_energy(plane: Floats) -> Floats:
    """The energy of the low frequencies of each block."""
    energy = np.zeros((plane.shape[0] // SIDE, plane.shape[1] // SIDE))
    for v in range(_LOW + 1):
        rows = _weighted(plane, _BASIS[v]).T
        for u in range(_LOW + 1 - v):
            if u + v:
                energy += _weighted(rows, _BASIS[u]).T ** 2
    return energy


def _weighted(plane: Floats, weights: Floats) -> Floats:
    """The weighted sum of the eight rows of each block: (H // 8, W)."""
    total = np.zeros((plane.shape[0] // SIDE, plane.shape[1]))
    for row, weight in enumerate(weights):
        total += weight * plane[row::SIDE]
    return total


def _clipped_share(plane: Floats) -> Floats:
    """The share of each block's pixels that are black or white."""
    ends = ((plane <= 1) | (plane >= 254)).astype(np.float64)
    each = np.full(SIDE, 1 / SIDE)
    return _weighted(_weighted(ends, each).T, each).T


def _largest_of_four(blocks: Floats) -> Floats:
    """Of each corner, the largest of its four blocks' values."""
    rows = np.maximum(blocks[:-1], blocks[1:])
    return np.asarray(np.maximum(rows[:, :-1], rows[:, 1:]))
