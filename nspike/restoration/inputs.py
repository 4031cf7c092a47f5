"""What `nspike.restore` is given: an image's file or an array, perhaps with a last axis of one channel, or with alpha."""

import os
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError
from nspike.images import file as images
from nspike.images.enlarge import Enlargement
from nspike.images.jpeg_blocks import Blocks
from nspike.images.plane import to_pixels
from nspike.model.model import ImageLike, Images

_BAND = 64


@dataclass(frozen=True, eq=False)
class Input:
    """An image as the networks take it, and what they leave alone.

    pixels : (H, W) or (H, W, 3); alpha : (H, W) of the same dtype, or None; single : whether the image has an axis of one
    channel; icc_profile, exif, dpi, sha256, blocks : of its file.
    """

    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    single: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    sha256: str | None = None
    blocks: Blocks | None = None

    def finish(self, image: NDArray[Any]) -> NDArray[Any]:
        """The restored pixels in the form of the image: with its axis of one channel, or its alpha, enlarged likewise."""
        if self.single:
            return image[..., None]
        if self.alpha is None:
            return image
        alpha = self.alpha.astype(image.dtype, copy=False)
        scale = image.shape[0] // alpha.shape[0]
        if scale > 1:
            alpha = enlarged(alpha, scale)
        colour = image if image.ndim == 3 else image[..., None]
        return np.concatenate([colour, alpha[..., None]], axis=2)


def is_path(image: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether an image is given by its file."""
    return isinstance(image, str | os.PathLike)


def read_input(image: ImageLike | Images, *, max_pixels: int | None = None) -> Input:
    """An image's file, or an array (H, W), (H, W, 1), (H, W, 3), or (H, W, 2) and (H, W, 4), whose last channel is alpha.

    Raises BadInputError for a file that cannot be read, and for arrays of several images.
    """
    if is_path(image):
        data = images.read(image, max_pixels=max_pixels)
        return Input(data.pixels, data.alpha, False, data.icc_profile, data.exif, data.dpi, data.sha256, data.blocks)
    array = np.asarray(image)
    if array.ndim == 4:
        raise BadInputError(
            f"an image is (H, W) grey or (H, W, 3) RGB; this array is {array.shape}. For several images give a list of "
            "them: list(array)"
        )
    channels = array.shape[2] if array.ndim == 3 else 0
    if channels == 1:
        return Input(array[..., 0], single=True)
    if channels in (2, 4):
        return Input(array[..., :3] if channels == 4 else array[..., 0], array[..., -1])
    return Input(array)


def enlarged(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    """A plane such as alpha, uint8, uint16 or float64 in [0, 1], enlarged by bicubic in bands."""
    enlargement = Enlargement(plane, scale)
    out = np.empty((enlargement.height, enlargement.width), plane.dtype)
    for y0 in range(0, enlargement.height, _BAND):
        y1 = min(y0 + _BAND, enlargement.height)
        band = enlargement.window(y0, y1, 0, enlargement.width)
        out[y0:y1] = to_pixels(band, plane.dtype) if plane.dtype.kind == "u" else np.clip(band, 0.0, 1.0)
    return out
