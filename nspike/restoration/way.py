"""How an image passes through a network: planes in, parts of the output back, the image again.

A grey model takes a colour image channel by channel. An RGB model takes a grey image three times, and the mean of
what comes out is the result. A luma model ("y") enlarges: the bicubic enlargement (MATLAB's) of the luma goes through the
network, the chroma is the enlargement itself, and a grey image is its own luma.

A network that itself enlarges takes the small image: RGB, each channel by itself, or (a luma model) the luma, the chroma being
enlarged by bicubic.

A network of several sizes runs on multiples of `Network.size_multiple`: the image is continued by reflection to the right and
below, and what is added is cut off again.

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
from nspike.runtime.arguments import numbers

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
    numbers(strength=strength)
    if not 0 <= strength <= 1:
        raise UsageError(f"strength = {strength:g} is out of range; expected 0 to 1")
    source = checked(pixels)
    if model.network.scale > 1:
        planes, image, fill = _enlarging(model, source, strength)
    elif scale is None:
        planes, image, fill = _same_size(model, source, strength)
    else:
        planes, image, fill = _enlarged(model, source, scale, strength)
    height, width = planes.shape[2:]

    def banded(image: Pixels, part: "Part") -> None:
        for band in part.cropped(height, width).bands(BAND):
            fill(image, band)

    return padded(planes, model.network.size_multiple), image, banded


def padded(planes: Pixels, multiple: int) -> Pixels:
    """Planes (..., H, W) continued by reflection, right and below, to multiples of `multiple`; the planes where they are."""
    more = [(0, -length % multiple) for length in planes.shape[-2:]]
    if not any(after for _, after in more):
        return planes
    return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + more, mode="reflect")


def input_planes(model: Model, pixels: Pixels, scale: int | None = None) -> NDArray[np.int32]:
    """The integers that the network is given for an image, (N, C, H, W). Raises as `nspike.restore` does."""
    return integers(way(model, pixels, scale_of(model, scale))[0])


def trained_scales(model: Model) -> list[int]:
    """The scales that a super-resolution model was trained for, ascending; empty if it does not say."""
    return sorted(int(scale) for scale in model.info.degradation.get("scales", ()))


def scale_of(model: Model, scale: int | None) -> int | None:
    """The scale to enlarge by; None for a model that keeps the size.

    Raises UsageError for a scale that the model cannot enlarge by.
    """
    numbers(scale=scale)
    own = model.network.scale
    if own > 1:
        if scale not in (None, own):
            raise UsageError(f"model {model.info.name} enlarges {own} times, not {scale}")
        return own
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
    network_planes = _channels(model, planes)

    def fill(image: Pixels, part: "Part") -> None:
        values, window = _restored(mode, part.plane, part.output), part.core.slices
        if len(values) == 1:
            target = image[..., part.n] if color else image
            before = source[..., part.n] if color else source
            _put(target, window, _blend(values[0], before[window], strength))
        elif color:
            _put(image, window, _blend(values.transpose(1, 2, 0), source[window], strength))
        else:
            _put(image, window, _blend(_mean(values), source[window], strength))

    return network_planes, image, fill


def _enlarging(model: Model, source: Pixels, strength: float) -> tuple[Pixels, Pixels, Fill]:
    """As `_same_size`, for a network whose output is larger than its input."""
    scale, colour, luma = model.network.scale, source.ndim == 3, model.info.colour == "y"
    larger = Enlargement(source, scale) if strength < 1 or (colour and luma) else None
    image = np.empty((source.shape[0] * scale, source.shape[1] * scale, *source.shape[2:]), source.dtype)
    if colour and luma:
        planes = Enlargement(source, 1).luma_plane()[None, None]
    else:
        planes = _channels(model, source if source.dtype.kind == "u" else to_plane(source))

    def fill(image: Pixels, part: "Part") -> None:
        core = part.core
        window = (slice(core.y0 * scale, core.y1 * scale), slice(core.x0 * scale, core.x1 * scale))
        values = np.asarray(np.clip(part.output, 0.0, 1.0), np.float64)
        before = (
            None if larger is None else larger.window(*(edge * scale for edge in (core.y0, core.y1, core.x0, core.x1)))
        )
        if before is not None and colour and not luma:
            before = ycbcr_to_rgb(before)
        if colour and luma:
            assert before is not None
            before[..., 0] = np.clip(_blend(values[0], before[..., 0], strength), 0.0, 1.0)
            _put(image, window, ycbcr_to_rgb(before))
        elif len(values) == 1:
            target = image[..., part.n] if colour else image
            mixed = before[..., part.n] if colour and before is not None else before
            _put(target, window, values[0] if mixed is None else np.clip(_blend(values[0], mixed, strength), 0.0, 1.0))
        else:
            whole = values.transpose(1, 2, 0) if colour else _mean(values)
            _put(image, window, whole if before is None else np.clip(_blend(whole, before, strength), 0.0, 1.0))

    return planes, image, fill


def _channels(model: Model, planes: Pixels) -> Pixels:
    """An image (H, W) or (H, W, 3) as the planes (N, C, H, W) of a network of one channel or three."""
    first = planes.transpose(2, 0, 1) if planes.ndim == 3 else planes[None]
    if model.network.channels == 1:
        return first[:, None]
    return first[None] if planes.ndim == 3 else np.broadcast_to(first[None], (1, model.network.channels, *planes.shape))


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the channels, summed in their order."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return np.asarray(total / len(values), np.float64)


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
