"""An image through a model: planes in, tiles out, the image again.

A grey model takes a colour image channel by channel. An RGB model takes a grey image three times, and the mean of
what comes out is the result. A luma model ("y") enlarges: the bicubic enlargement (MATLAB's) of the luma goes through the
network, the chroma is the enlargement itself, and a grey image is its own luma.

8- and 16-bit images are never held as floats: beside the image and its result there are only tiles, and for an
enlargement one int32 luma plane. The arithmetic between the network and the pixels is elementwise float64.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger
from nspike.errors import BadInputError, UsageError
from nspike.graph.mode import OutputMode, restored
from nspike.graph.network import Network
from nspike.images.color import ycbcr_to_rgb
from nspike.images.enlarge import Enlargement
from nspike.images.plane import UNIT, to_pixels, to_plane
from nspike.model.model import Model
from nspike.model.result import Result
from nspike.registry.parts import check, head_of, neuron_of

Pixels: TypeAlias = NDArray[Any]
Sink: TypeAlias = Callable[[int, int, int, int, int, NDArray[np.int32], NDArray[np.float64]], None]
"""(n, y0, y1, x0, x1, plane (C, h, w), output (C, h, w)): a finished part of plane n."""
Fill: TypeAlias = Callable[[Pixels, int, int, int, int, int, NDArray[np.int32], NDArray[np.float64]], None]
"""(image, n, y0, y1, x0, x1, plane, output): the same, written into an image."""
Progress: TypeAlias = Callable[[int, int], None]
"""(done, total), in no particular unit."""

Observer: TypeAlias = Callable[[str, int, Any, NDArray[np.bool_]], None]
"""(layer, n, core (a `nspike.engine.tiling.Rect`), spikes bool (steps, channels, h, w)): those of a tile of plane n, unpacked."""

MEMORY = 256 << 20
"""How many bytes the engine may work with, beside the image and its result."""
LARGEST_SCALE = 8
_BAND = 64
_LEAST_BAND = 256


def restore(
    model: Model,
    pixels: Pixels,
    *,
    scale: int | None = None,
    tile: int | None = None,
    memory: int = MEMORY,
    threads: int | None = None,
    ann: bool = False,
    digest: bool = False,
    progress: Progress | None = None,
    observer: Observer | None = None,
) -> Result:
    """Restore `pixels` with `model`.

    Parameters
    ----------
    model : its spiking form is run, unless `ann`.
    pixels : uint8 or uint16, or floats with black 0 and white 1 (outside values allowed, as in noisy benchmarks);
        (H, W) grey or (H, W, 3) RGB.
    scale : for super-resolution, how many times larger; 1 for a luma that is enlarged already. Default: the smallest
        that the model was trained for.
    tile : the side of a tile in pixels; by default the largest that `memory` (bytes) allows.
    threads : by default all.
    ann : run the plain ANN instead.
    digest : put digests of all spikes into the ledger.
    progress : called with (done, total).
    observer : is handed every spike of the spiking form, tile by tile; small tiles keep that small.

    Returns
    -------
    Result

    Raises
    ------
    BadInputError
        pixels of another kind, not finite, or far outside [0, 1].
    ModelError
        a plain ANN without `ann`, or one that is damaged.
    UsageError
        a scale for a model that does not enlarge, or out of range; threads, tile or memory out of range.
    """
    at_least_one(tile=tile, memory=memory, threads=threads)
    if not ann:
        check(model)
    source, scale = _checked(pixels), scale_of(model, scale)
    from nspike.ann import run as plain
    from nspike.engine import run as engine

    start = time.perf_counter()
    network_planes, image, fill = way(model, source, scale)
    sink = partial(fill, image)
    if ann:
        _run_ann(plain.run, model, network_planes, sink, threads, memory, progress)
        ledger = ann_ledger(model.network, network_planes.shape)
    else:
        ledger = engine.run(
            model,
            network_planes,
            neuron=neuron_of(model),
            head=head_of(model),
            sink=sink,
            tile=tile,
            memory=memory,
            threads=threads,
            digest=digest,
            progress=progress,
            observer=observer,
        )
    return Result(image, ledger, time.perf_counter() - start)


def way(model: Model, pixels: Pixels, scale: int | None) -> tuple[Pixels, Pixels, Fill]:
    """An image's way through a model: the planes (N, C, H, W) for the network, the result, and what fills that.

    `scale` is as `scale_of` gives it. Raises BadInputError and UsageError as `restore` does.
    """
    source = _checked(pixels)
    network_planes, image, fill = _same_size(model, source) if scale is None else _enlarged(model, source, scale)
    return network_planes, image, _in_bands(fill)


def input_planes(model: Model, pixels: Pixels, scale: int | None = None) -> NDArray[np.int32]:
    """The integers that the network is given for an image, (N, C, H, W). Raises as `restore` does."""
    return _integers(way(model, pixels, scale_of(model, scale))[0])


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


def at_least_one(**options: int | None) -> None:
    """Raise UsageError for an option below 1."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise UsageError(f"{name} = {value} is out of range; expected at least 1")


def _checked(pixels: Pixels) -> Pixels:
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


def _same_size(model: Model, source: Pixels) -> tuple[Pixels, Pixels, Fill]:
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

    def fill(
        image: Pixels,
        n: int,
        y0: int,
        y1: int,
        x0: int,
        x1: int,
        plane: NDArray[np.int32],
        output: NDArray[np.float64],
    ) -> None:
        values = _restored(mode, plane, output)
        window: tuple[slice, ...] = (slice(y0, y1), slice(x0, x1))
        if len(values) == 1:
            target = image[..., n] if color else image
            _put(target, window, values[0])
        elif color:
            _put(image, window, values.transpose(1, 2, 0))
        else:
            total = values[0]
            for value in values[1:]:
                total = total + value
            _put(image, window, total / len(values))

    return network_planes, image, fill


def _enlarged(model: Model, source: Pixels, scale: int) -> tuple[Pixels, Pixels, Fill]:
    """As `_same_size`, for a network on the luma of the enlargement."""
    if model.network.channels != 1:
        raise UsageError(f"model {model.info.name}: super-resolution needs a network with one channel, the luma")
    mode = model.network.mode
    enlargement = Enlargement(source, scale)
    image = np.empty((enlargement.height, enlargement.width, *source.shape[2:]), source.dtype)
    network_planes = enlargement.luma_plane()[None, None]

    def fill(
        image: Pixels,
        n: int,
        y0: int,
        y1: int,
        x0: int,
        x1: int,
        plane: NDArray[np.int32],
        output: NDArray[np.float64],
    ) -> None:
        values = _restored(mode, plane, output)[0]
        window = (slice(y0, y1), slice(x0, x1))
        if image.ndim == 2:
            _put(image, window, values)
            return
        ycbcr = enlargement.window(y0, y1, x0, x1)
        ycbcr[..., 0] = values
        _put(image, window, ycbcr_to_rgb(ycbcr))

    return network_planes, image, fill


def _in_bands(fill: Fill) -> Fill:
    """The same, a tile in bands of rows, so that what is computed in floats stays small."""

    def banded(
        image: Pixels,
        n: int,
        y0: int,
        y1: int,
        x0: int,
        x1: int,
        plane: NDArray[np.int32],
        output: NDArray[np.float64],
    ) -> None:
        for y in range(0, y1 - y0, _BAND):
            rows = slice(y, y + _BAND)
            fill(image, n, y0 + y, min(y0 + y + _BAND, y1), x0, x1, plane[:, rows], output[:, rows])

    return banded


def _run_ann(
    run: Callable[..., NDArray[np.float32]],
    model: Model,
    network_planes: Pixels,
    sink: Sink,
    threads: int | None,
    memory: int,
    progress: Progress | None,
) -> None:
    """The plain ANN with the engine's ways in and out, in bands of rows whose floats take about half of `memory`."""
    count, channels, height, width = network_planes.shape
    halo = model.network.radius
    rows = max(memory // (16 * channels * width) - 2 * halo, _LEAST_BAND)
    starts = range(0, height, rows)
    for number, (n, y0) in enumerate((n, y0) for n in range(count) for y0 in starts):

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, count * len(starts) * total)

        y1 = min(y0 + rows, height)
        top, bottom = max(0, y0 - halo), min(height, y1 + halo)
        output = run(
            model.network,
            model.parameters,
            _float_plane(network_planes[n, :, top:bottom])[None],
            threads=threads,
            memory=memory // 2,
            progress=report,
        )[0, :, y0 - top : y1 - top]
        for y in range(y0, y1, _BAND):
            last = min(y + _BAND, y1)
            part = output[:, y - y0 : last - y0].astype(np.float64)
            sink(n, y, last, 0, width, _integers(network_planes[n, :, y:last]), part)


def ann_ledger(network: Network, shape: tuple[int, ...]) -> Ledger:
    """The ledger of the plain ANN on planes of `shape` (N, C, H, W): its multiply-accumulates, and nothing of spikes."""
    planes, channels, height, width = shape
    return Ledger(
        planes=planes,
        shape=(channels, height, width),
        timesteps=0,
        post_steps=0,
        layers=(),
        analog_macs=0,
        analog_macs_paper=0,
        output_additions=0,
        head_synops=0,
        head_synops_paper=0,
        head_macs=0,
        ann_macs=planes * network.macs(height, width),
        ann_macs_paper=planes * height * width * network.macs_per_pixel,
        weights=network.weights,
    )


def _integers(pixels: Pixels) -> NDArray[np.int32]:
    """The input plane of pixels, or the plane itself."""
    return pixels if pixels.dtype == np.int32 else to_plane(pixels)


def _float_plane(pixels: Pixels) -> NDArray[np.float32]:
    """(C, H, W) pixels as the ANN's float32 input, each number rounded once."""
    plane = np.empty(pixels.shape, np.float32)
    for y0 in range(0, pixels.shape[1], _BAND):
        window = (slice(None), slice(y0, y0 + _BAND))
        plane[window] = _integers(pixels[window]) / float(UNIT)
    return plane
