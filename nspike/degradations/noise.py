"""Gaussian noise: add it as the literature's test protocols do, and estimate how much an image has.

The estimate is Donoho and Johnstone's (1994): the median absolute value of the finest diagonal wavelet coefficients
(Daubechies, two vanishing moments) divided by 0.6745.
"""

import math

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

MEDIAN_OF_NORMAL = 0.6744897501960817
_ROOT = math.sqrt(3.0)
HIGH_PASS = [tap / (4 * math.sqrt(2.0)) for tap in (1 - _ROOT, -(3 - _ROOT), 3 + _ROOT, -(1 + _ROOT))]
_TAPS = len(HIGH_PASS)


def add_gaussian(pixels01: NDArray[np.float64], sigma_255: float, seed: int) -> NDArray[np.float64]:
    """`pixels01` plus noise of standard deviation `sigma_255`/255, neither limited nor rounded.

    The noise is that of `np.random.seed(seed); np.random.normal(0, sigma_255 / 255, shape)`, the protocol of KAIR, Restormer
    and their descendants, without touching NumPy's global generator.

    Parameters
    ----------
    pixels01 : float64, any shape, in [0, 1]
    """
    if pixels01.dtype != np.float64:
        raise BadInputError(f"noise is added to float64 pixels in [0, 1], not to {pixels01.dtype}")
    if not (math.isfinite(sigma_255) and sigma_255 >= 0):
        raise BadInputError(f"sigma must be zero or positive, in units of 1/255, not {sigma_255}")
    return pixels01 + np.random.RandomState(seed).normal(0, sigma_255 / 255.0, pixels01.shape)


def estimate_sigma(plane: NDArray[np.float64]) -> float:
    """The standard deviation of the white Gaussian noise in an image, in the image's own units.

    Where the image is clipped, its noise is gone: windows that lie wholly at its lowest or highest value do not count.

    Parameters
    ----------
    plane : float64 (H, W), or (H, W, C), of which the mean over the channels is taken; at least 4x4 pixels
    """
    if plane.dtype != np.float64 or plane.ndim not in (2, 3) or min(plane.shape[:2]) < _TAPS or not plane.size:
        raise BadInputError(
            f"noise is estimated on float64 (H, W) or (H, W, C) of at least {_TAPS}x{_TAPS} pixels, "
            f"not {plane.dtype} {plane.shape}"
        )
    if plane.ndim == 3:
        return math.fsum(estimate_sigma(plane[..., c]) for c in range(plane.shape[2])) / int(plane.shape[2])
    detail = _high_pass(_high_pass(plane).T)
    clipped = _all_of(plane == plane.min()) | _all_of(plane == plane.max())
    magnitudes = np.abs(detail.T[~clipped])
    return float(np.median(magnitudes)) / MEDIAN_OF_NORMAL if magnitudes.size else 0.0


def _high_pass(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every second high-pass coefficient along the rows of (H, W), only windows inside: (H // 2 - 1, W)."""
    count = (plane.shape[0] - _TAPS) // 2 + 1
    total = np.zeros((count, plane.shape[1]))
    for start, tap in enumerate(HIGH_PASS):
        total += tap * plane[start : start + 2 * count - 1 : 2]
    return total


def _all_of(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether `mask` (H, W) holds in the whole window of each coefficient."""
    for _ in range(2):
        count = (mask.shape[0] - _TAPS) // 2 + 1
        whole = np.ones((count, mask.shape[1]), np.bool_)
        for start in range(_TAPS):
            whole &= mask[start : start + 2 * count - 1 : 2]
        mask = whole.T
    return mask
