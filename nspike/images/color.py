"""RGB to YCbCr and back, equal to MATLAB's rgb2ycbcr and ycbcr2rgb on doubles (ITU-R BT.601, 8-bit studio range).

    255·Y  =  65.481·R + 128.553·G +  24.966·B +  16
    255·Cb = -37.797·R -  74.203·G + 112    ·B + 128
    255·Cr = 112    ·R -  93.786·G -  18.214·B + 128

Everything is elementwise and summed from left to right, without BLAS: the same bits on every machine.
"""

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

_FORWARD = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_OFFSET = (16.0, 128.0, 128.0)
# 255 times the inverse of _FORWARD, each entry the double next to the exact fraction.
_BACKWARD = (
    (1.1643835616438356, 3.0112439743723867e-07, 1.596026887335704),
    (1.1643835616438356, -0.39176253994145005, -0.8129682921622052),
    (1.1643835616438356, 2.0172326395564593, 3.054261745434849e-06),
)


def rgb_to_ycbcr(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Luma and chroma of `rgb`.

    Parameters
    ----------
    rgb : float64 (H, W, 3), in [0, 1]; values outside are transformed all the same

    Returns
    -------
    float64 (H, W, 3): Y in [16, 235]/255, Cb and Cr in [16, 240]/255.
    """
    red, green, blue = _channels(rgb)
    planes = [
        (r * red + g * green + b * blue + offset) / 255.0 for (r, g, b), offset in zip(_FORWARD, _OFFSET, strict=True)
    ]
    return np.stack(planes, axis=2)


def ycbcr_to_rgb(ycbcr: NDArray[np.float64]) -> NDArray[np.float64]:
    """The RGB of `ycbcr`, both float64 (H, W, 3); limited to [0, 1], as MATLAB does."""
    luma, blue_difference, red_difference = _channels(ycbcr)
    y, cb, cr = luma - _OFFSET[0] / 255.0, blue_difference - _OFFSET[1] / 255.0, red_difference - _OFFSET[2] / 255.0
    return np.clip(np.stack([a * y + b * cb + c * cr for a, b, c in _BACKWARD], axis=2), 0.0, 1.0)


def _channels(array: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    if array.dtype != np.float64 or array.ndim != 3 or array.shape[2] != 3:
        raise BadInputError(f"colour conversion takes float64 (H, W, 3) in [0, 1], not {array.dtype} {array.shape}")
    return array[..., 0], array[..., 1], array[..., 2]
