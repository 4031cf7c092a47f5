"""How an image passes through a network: planes in, parts of the output back, the image again.

A grey model takes a colour image channel by channel. An RGB model takes a grey image three times, and the mean of
what comes out is the result. A luma model ("y") enlarges: the bicubic enlargement (MATLAB's) of the luma goes through the
network, the chroma is the enlargement itself, and a grey image is its own luma.

8- and 16-bit images are never held as floats: beside the image and its result there are only tiles, and for an
enlargement one int32 luma plane. The arithmetic between the network and the pixels is elementwise float64.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError, UsageError
from nspike.graph.mode import OutputMode, restored
from nspike.images.color import ycbcr_to_rgb
from nspike.images.enlarge import Enlargement
from nspike.images.plane import UNIT, to_pixels, to_plane
from nspike.model.model import Model

if TYPE_CHECKING:
    from nspike.engine.window import Part

Pixels: TypeAlias = NDArray[Any]
Fill: TypeAlias = "Callable[[Pixels, Part], None]"
"""(image, part): write a finished part of the network's output into an image."""

LARGEST_SCALE = 8
BAND = 64
"""Rows that are turned into pixels at a time, so that what is computed in floats stays small."""


def way(model: Model, pixels: Pixels, scale: int | None, strength: float = 1.0) -> tuple[Pixels, Pixels, Fill]:
    """The planes (N, C, H, W) for the network, the result to be filled, and what fills it.

    `scale` is as `scale_of` gives it; `strength` is the share of what is restored in the
    result. Raises BadInputError and UsageError as `nspike.restore` does.
    """
    if not 0 <= strength <= 1:
        raise UsageError(f"strength = {strength:g} is out of range; expected 0 to 1")
    source = checked(pixels)
    network_planes, image, fill = (
        _same_size(model, source, strength) if scale is None else _enlarged(model, source, scale, strength)
    )

    def banded(image: Pixels, part: "Part") -> None:
        for band in part.bands(BAND):
            fill(image, band)

    return network_planes, image, banded


def input_planes(model: Model, pixels: Pixels, scale: int | None = None) -> NDArray[np.int32]:
    """The integers that the network is given for an image, (N, C, H, W). Raises as `nspike.restore` does."""
    return integers(way(model, pixels, scale_of(model, scale))[0])


def trained_scales(model: Model) -> list[int]:
    """The scales that a super-resolution model was trained for, ascending; empty if it does not say."""
    return sorted(int(scale) for scale in model.info.degradation.get("scales", ()))


def scale_of(model: Model, scale: int | None) -> int | None:
    """The scale to enlarge by; None for a model that keeps the size."""
    if model.info.task != "superres":
        if scale not in (None, 1):
            raise UsageError(f"model {model.info.name} keeps the image's size: a scale is for super-resolution")
        return None
    if scale is None:
        scale = (trained_scales(model) or [2])[0]
    if not 1 <= scale <= LARGEST_SCALE or scale != int(scale):
        raise UsageError(f"scale = {scale} is out of range; expected a whole number from 1 to {LARGEST_SCALE}")
    return int(scale)


def checked(pixels: Pixels) -> Pixels:
    """The pixels as uint8, uint16 or float64."""
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
        raise BadInputError(f"an image is (H, W) grey or (H, W, 3) RGB; this array is {pixels.shape}")
    if not pixels.size:
        raise BadInputError(f"an image needs at least one pixel; this array is {pixels.shape}")
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    to_plane(pixels)  # checks the values
    return pixels.astype(np.float64)


def _restored(mode: OutputMode, plane: NDArray[np.int32], output: NDArray[np.float64]) -> NDArray[np.float64]:
    """The network's output as an image in [0, 1]."""
    return np.asarray(np.clip(restored(mode, plane / float(UNIT), output), 0.0, 1.0), np.float64)


def _put(image: Pixels, window: tuple[slice, ...], values: NDArray[np.float64]) -> None:
    """Write values in [0, 1] into a window of the result, in its own depth."""
    image[window] = values if image.dtype == np.float64 else to_pixels(values, image.dtype)


def _blend(values: NDArray[np.float64], source: Pixels, strength: float) -> NDArray[np.float64]:
    """What is restored, mixed with the same window of the input, before either is rounded."""
    if strength == 1:
        return values
    peak = float(np.iinfo(source.dtype).max) if source.dtype.kind == "u" else 1.0
    return strength * values + (1 - strength) * (source / peak)


def _same_size(model: Model, source: Pixels, strength: float) -> tuple[Pixels, Pixels, Fill]:
    """The planes (N, C, H, W) for a network that keeps the size, the result to be filled, and what fills it."""
    mode, color = model.network.mode, source.ndim == 3
    image = np.empty(source.shape, source.dtype)
    planes = source if source.dtype.kind == "u" else to_plane(source)
    first = planes.transpose(2, 0, 1) if color else planes[None]  # (channels, H, W)
    if model.network.channels == 1:
        network_planes = first[:, None]
    elif color:
        network_planes = first[None]
    else:
        network_planes = np.broadcast_to(first[None], (1, model.network.channels, *source.shape))

    def fill(image: Pixels, part: "Part") -> None:
        values, window = _restored(mode, part.plane, part.output), part.core.slices
        if len(values) == 1:
            target = image[..., part.n] if color else image
            before = source[..., part.n] if color else source
            _put(target, window, _blend(values[0], before[window], strength))
        elif color:
            _put(image, window, _blend(values.transpose(1, 2, 0), source[window], strength))
        else:
            total = values[0]
            for value in values[1:]:
                total = total + value
            _put(image, window, _blend(total / len(values), source[window], strength))

    return network_planes, image, fill


def _enlarged(model: Model, source: Pixels, scale: int, strength: float) -> tuple[Pixels, Pixels, Fill]:
    """As `_same_size`, for a network on the luma of the enlargement."""
    if model.network.channels != 1:
        raise UsageError(f"model {model.info.name}: super-resolution needs a network with one channel, the luma")
    mode = model.network.mode
    enlargement = Enlargement(source, scale)
    image = np.empty((enlargement.height, enlargement.width, *source.shape[2:]), source.dtype)
    network_planes = enlargement.luma_plane()[None, None]

    def fill(image: Pixels, part: "Part") -> None:
        values, core = _restored(mode, part.plane, part.output)[0], part.core
        window = core.slices
        if image.ndim == 2 and strength == 1:
            _put(image, window, values)
            return
        larger = enlargement.window(core.y0, core.y1, core.x0, core.x1)
        luma = larger if image.ndim == 2 else larger[..., 0]
        mixed = np.asarray(np.clip(_blend(values, luma, strength), 0.0, 1.0), np.float64)
        if image.ndim == 2:
            _put(image, window, mixed)
            return
        larger[..., 0] = mixed
        _put(image, window, ycbcr_to_rgb(larger))

    return network_planes, image, fill


def integers(pixels: Pixels) -> NDArray[np.int32]:
    """The input plane of pixels, or the plane itself."""
    return pixels if pixels.dtype == np.int32 else to_plane(pixels)
