"""Synthetic haze, by the atmospheric scattering model (Koschmieder, 1924): I = J·t + A·(1 - t), t = exp(-β·depth)."""

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError


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
        raise BadInputError(f"the depth of a picture {pixels01.shape} must be {pixels01.shape[:2]}, not {depth.shape}")
    if not (beta >= 0 and 0 <= airlight <= 1 and depth.size and depth.min() >= 0):
        raise BadInputError("haze needs beta >= 0, an airlight in [0, 1] and depths that are not negative")
    transmission = np.exp(-beta * depth)
    if pixels01.ndim == 3:
        transmission = transmission[..., None]
    return pixels01 * transmission + airlight * (1 - transmission)
