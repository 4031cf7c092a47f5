"""Synthetic haze, by the atmospheric scattering model (Koschmieder, 1924): I = J·t + A·(1 - t), t = exp(-β·depth).

Depths have no unit here: of a scene they lie between `NEAR` and `FAR`, β being 0.4 to 1.6 in the literature (RESIDE).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

NEAR, FAR = 0.3, 1.5
_WAVES = 3


def add_haze(
    pixels01: NDArray[np.float64], depth: NDArray[np.float64], *, beta: float, airlight: float
) -> NDArray[np.float64]:
    """`pixels01`, float64 (H, W) or (H, W, C) in [0, 1], behind haze.

    Parameters
    ----------
    depth : float64 (H, W), distances in the unit that `beta` is one over
    beta : the scattering coefficient, not negative
    airlight : the brightness of the haze, in [0, 1]
    """
    if depth.shape != pixels01.shape[:2]:
        raise BadInputError(f"the depth of an image {pixels01.shape} must be {pixels01.shape[:2]}, not {depth.shape}")
    if not (beta >= 0 and 0 <= airlight <= 1 and depth.size and depth.min() >= 0):
        raise BadInputError("haze needs beta >= 0, an airlight in [0, 1] and depths that are not negative")
    transmission = np.exp(-beta * depth)
    if pixels01.ndim == 3:
        transmission = transmission[..., None]
    return pixels01 * transmission + airlight * (1 - transmission)


def depth_of(disparity: NDArray[Any]) -> NDArray[np.float64]:
    """Depths from a disparity map (H, W): its inverse, spread over `NEAR` .. `FAR`; 0 means unknown, and far."""
    known = disparity > 0
    if disparity.ndim != 2 or not known.any():
        raise BadInputError(f"a disparity map is (H, W) with some value above 0, not {disparity.shape}")
    inverse = 1.0 / np.where(known, disparity, disparity[known].min())
    low, high = float(inverse.min()), float(inverse.max())
    return np.asarray(NEAR + (FAR - NEAR) * (inverse - low) / max(high - low, 1e-12), np.float64)


def random_depth(shape: tuple[int, int], draw: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random depths (H, W), for images without any: a slope and `_WAVES` long waves around a random distance.

    Always positive; a crop of a scene sees a part of its depths, and so does this.
    """
    y, x = (np.linspace(-0.5, 0.5, side) for side in shape)
    y = y[:, None]
    depth = draw.uniform(NEAR, FAR) + draw.uniform(-0.4, 0.4) * y + draw.uniform(-0.4, 0.4) * x
    for _ in range(_WAVES):
        phase, fy, fx = draw.uniform(0, 2 * np.pi), draw.uniform(-1, 1), draw.uniform(-1, 1)
        depth = depth + draw.uniform(0, 0.1) * np.cos(2 * np.pi * (fy * y + fx * x) + phase)
    return np.asarray(np.maximum(depth, 0.1 * NEAR), np.float64)
