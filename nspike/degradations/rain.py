"""Synthetic rain: bright streaks that are added, I = min(1, J + s·(N ∗ h)) (Garg and Nayar 2006; Yang et al. 2017).

N are drops at random places, h is the line along which a drop falls during the exposure, the same for the whole image.
"""

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.blur import convolve, motion_kernel
from nspike.errors import BadInputError


def add_rain(
    pixels01: NDArray[np.float64],
    draw: np.random.Generator,
    *,
    density: float,
    length: float,
    angle: float,
    strength: float,
) -> NDArray[np.float64]:
    """`pixels01`, float64 (H, W) or (H, W, C) in [0, 1], in the rain.

    Parameters
    ----------
    density : drops a pixel, in [0, 1]. length : of a streak in pixels. angle : radians from the x axis.
    strength : the brightness that a streak adds at most.
    """
    if not (0 <= density <= 1 and strength >= 0):
        raise BadInputError(f"rain needs a density in [0, 1] and a strength from 0, not {density} and {strength}")
    kernel = motion_kernel(length, angle)
    height, width = pixels01.shape[:2]
    drops = np.where(draw.random((height, width)) < density, draw.random((height, width)), 0.0)
    streaks = np.minimum(convolve(drops, kernel / kernel.max()), 1.0) * strength
    return np.minimum(pixels01 + (streaks if pixels01.ndim == 2 else streaks[..., None]), np.maximum(pixels01, 1.0))
