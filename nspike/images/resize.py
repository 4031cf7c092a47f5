"""Bicubic resizing equal to MATLAB's imresize on doubles, and the crop that goes before it.

An axis of n pixels becomes m, scale a. Output pixel i = 1..m looks at u = i/a + (1 - 1/a)/2; the kernel is Keys' cubic with
-1/2, widened by 1/a when it shrinks (antialiasing):

    cubic(x) = 1.5|x|³ - 2.5|x|² + 1            for |x| <= 1
             = -0.5|x|³ + 2.5|x|² - 4|x| + 2    for |x| <= 2
    weight   = cubic(u - index), or a·cubic(a·(u - index)) for a < 1; each output pixel's weights are divided by their sum

Indices beyond the border are mirrored, the edge repeated. The axis with the smaller scale goes first.
Sums run over the taps from left to right, elementwise over the pixels: the same bits on every machine.
"""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

_Scalar = TypeVar("_Scalar", bound=np.generic)


def imresize(
    array: NDArray[np.float64], scale: float | None = None, size: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """Resize by `scale`, or to `size` (height, width): one of the two.

    Parameters
    ----------
    array : float64 (H, W) or (H, W, C). MATLAB rounds integer images between the axes; here they must be floats.
    scale : the new size is ceil(scale·H), ceil(scale·W)

    Returns
    -------
    float64 (H', W') or (H', W', C), not limited: bicubic interpolation overshoots at edges.

    Raises
    ------
    BadInputError
        for another dtype or shape, an empty array, or a scale or size that is not positive.
    """
    if array.dtype != np.float64 or array.ndim not in (2, 3) or not array.size:
        raise BadInputError(f"imresize takes float64 (H, W) or (H, W, C), not {array.dtype} {array.shape}")
    if (scale is None) == (size is None):
        raise BadInputError("imresize takes either a scale or a size")
    if scale is not None:
        if not (math.isfinite(scale) and scale > 0):
            raise BadInputError(f"the scale must be positive, not {scale}")
        lengths = [math.ceil(scale * length) for length in array.shape[:2]]
        scales = [float(scale)] * 2
    else:
        assert size is not None
        if len(size) != 2 or min(size) < 1:
            raise BadInputError(f"the size must be two positive numbers, not {size}")
        lengths = [int(length) for length in size]
        scales = [new / old for new, old in zip(lengths, array.shape[:2], strict=True)]
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):
        array = _resize_axis(array, axis, lengths[axis], scales[axis])
    return array


def modcrop(array: NDArray[_Scalar], multiple: int) -> NDArray[_Scalar]:
    """`array` (H, W, ...) without the last rows and columns that are too many for a multiple of `multiple`; a view."""
    if multiple < 1:
        raise BadInputError(f"the multiple must be at least 1, not {multiple}")
    height, width = (length - length % multiple for length in array.shape[:2])
    return array[:height, :width]


def _resize_axis(array: NDArray[np.float64], axis: int, length: int, scale: float) -> NDArray[np.float64]:
    indices, weights = _taps(array.shape[axis], length, scale)
    shape = [1] * array.ndim
    shape[axis] = length
    total = np.zeros((*array.shape[:axis], length, *array.shape[axis + 1 :]))
    for index, weight in zip(indices, weights, strict=True):
        if weight.any():
            total += weight.reshape(shape) * np.take(array, index, axis=axis)
    return total


def _taps(old: int, new: int, scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The source index and the weight of each tap of each new pixel, both (taps, new)."""
    shrink = min(scale, 1.0)
    width = 4.0 / shrink
    position = np.arange(1, new + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(position - width / 2)
    taps = left + np.arange(math.ceil(width) + 2)[:, None]  # one-based, as in MATLAB
    weights = shrink * _cubic(shrink * (position - taps))
    total = np.zeros(new)
    for row in weights:
        total += row
    indices = (taps.astype(np.int64) - 1) % (2 * old)
    return np.where(indices < old, indices, 2 * old - 1 - indices), weights / total


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    square = x * x
    cube = square * x
    near = 1.5 * cube - 2.5 * square + 1
    far = -0.5 * cube + 2.5 * square - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
