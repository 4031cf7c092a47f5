"""Windows of a bicubic enlargement, in luma and chroma, without the whole enlargement in memory.

The numbers are those of `nspike.images.resize.imresize`, bit for bit: the same taps, in the same order, for the pixels asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.images.color import rgb_to_ycbcr
from nspike.images.plane import UNIT
from nspike.images.resize import _taps

_BAND = 64


class Enlargement:
    """An image (H, W) or (H, W, 3), uint8, uint16 or float64 in [0, 1], enlarged `scale` times: (S·H, S·W).

    A grey image is its own luma; a colour image's luma and chroma are MATLAB's (`nspike.images.color`).
    """

    def __init__(self, pixels: NDArray[Any], scale: int) -> None:
        self.pixels, self.scale = pixels, scale
        self.peak = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
        self.height, self.width = scale * pixels.shape[0], scale * pixels.shape[1]
        self._rows = _taps(pixels.shape[0], self.height, float(scale))
        self._columns = _taps(pixels.shape[1], self.width, float(scale))

    def window(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float64]:
        """Rows y0..y1 and columns x0..x1: float64 (h, w), or (h, w, 3) as Y, Cb, Cr."""
        rows, row_weights = self._rows[0][:, y0:y1], self._rows[1][:, y0:y1]
        columns, column_weights = self._columns[0][:, x0:x1], self._columns[1][:, x0:x1]
        top, left = int(rows.min()), int(columns.min())
        source = self.pixels[top : int(rows.max()) + 1, left : int(columns.max()) + 1] / self.peak
        if source.ndim == 3:
            source = rgb_to_ycbcr(source)
        return _weighted(_weighted(source, 0, rows - top, row_weights), 1, columns - left, column_weights)

    def luma_plane(self) -> NDArray[np.int32]:
        """The whole enlarged luma (S·H, S·W) on the input plane's grid, made in bands."""
        plane = np.empty((self.height, self.width), np.int32)
        for y0 in range(0, self.height, _BAND):
            y1 = min(y0 + _BAND, self.height)
            band = self.window(y0, y1, 0, self.width)
            plane[y0:y1] = np.rint((band if band.ndim == 2 else band[..., 0]) * UNIT).astype(np.int32)
        return plane


def _weighted(
    array: NDArray[np.float64], axis: int, indices: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum over the taps, from left to right; `indices` and `weights` (taps, new length)."""
    shape = [1] * array.ndim
    shape[axis] = indices.shape[1]
    total = np.zeros((*array.shape[:axis], indices.shape[1], *array.shape[axis + 1 :]))
    for index, weight in zip(indices, weights, strict=True):
        total += weight.reshape(shape) * np.take(array, index, axis=axis)
    return total
