"""The input plane: the image as integers, from which on everything is exact.

It is int32 on the grid 1/65535, so that 8-bit p is 257·p and 16-bit p is p, both without rounding. Floats are rounded once,
half to even. Values outside [0, 1] are allowed down to -4 and up to 4: noisy benchmark inputs are not clipped.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nspike.errors import BadInputError
from nspike.kernels.unit import UNIT as UNIT

LIMIT = 4
"""The largest magnitude, in units of white."""


def to_plane(array: NDArray[Any]) -> NDArray[np.int32]:
    """The input plane of `array`: uint8 or uint16 pixels, or floats with black 0 and white 1; any shape.

    Raises
    ------
    BadInputError
        for other dtypes, values that are not finite, and floats outside [-4, 4] (0 to 255, say, instead of 0 to 1).
    """
    if array.dtype == np.uint8:
        return array.astype(np.int32) * np.int32(257)
    if array.dtype == np.uint16:
        return array.astype(np.int32)
    if not np.issubdtype(array.dtype, np.floating):
        raise BadInputError(
            f"an image is uint8, uint16, or floats in [0, 1], not {array.dtype}; convert it so that its range is clear"
        )
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise BadInputError("the image holds values that are not finite (NaN or infinity)")
    if values.size and np.abs(values).max() > LIMIT:
        raise BadInputError(
            f"floating-point images have black 0 and white 1, at most {LIMIT} in magnitude; this one reaches from "
            f"{values.min():g} to {values.max():g}. Is it on a scale of 255? Divide it, or pass it as uint8"
        )
    return np.rint(values * UNIT).astype(np.int32)


def from_plane(plane: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The plane as float64 with black 0 and white 1."""
    return plane / np.float64(UNIT)


def to_pixels(values: NDArray[np.float64], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Floats with black 0 and white 1 as pixels: limited to [0, 1], scaled, rounded half to even.

    Parameters
    ----------
    values : float64, any shape; infinities are limited like other values
    dtype : uint8 or uint16

    Raises
    ------
    BadInputError
        for another dtype, and for NaN.
    """
    wanted = np.dtype(dtype)
    if wanted not in (np.uint8, np.uint16):
        raise BadInputError(f"pixels are uint8 or uint16, not {wanted}")
    if np.isnan(values).any():
        raise BadInputError("the image holds values that are not numbers (NaN)")
    return np.rint(np.clip(values, 0.0, 1.0) * np.iinfo(wanted).max).astype(wanted)
