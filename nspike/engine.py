"""The engine: a converted model over a picture, tile by tile and layer by layer, and the ledger of what it cost.

Exact: the spikes, and so the output and the ledger, are the same bits for any tile, thread count and packing.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike._explain import explain
from nspike.accounts import Accounts
from nspike.errors import BadInputError, PluginError, UsageError
from nspike.grid import PICTURE_GAIN
from nspike.head import Head, OutputLayer
from nspike.integers import IntegerNetwork, build
from nspike.layer import PICTURE
from nspike.ledger import Ledger
from nspike.model import OUTPUT, Model
from nspike.neuron import Neuron
from nspike.plane import UNIT
from nspike.prepared import Prepared, prepare
from nspike.spikes import Spikes
from nspike.stages import Frame
from nspike.stages import run as run_stage
from nspike.tiling import DEFAULT_MEMORY, Rect, choose, reach, tiles

HEAD_ROWS = 64
"""How many rows of the output a head is handed at a time."""

Sink = Callable[[int, int, int, int, int, NDArray[np.int32], NDArray[np.float64]], None]
"""sink(n, y0, y1, x0, x1, plane int32 (C, h, w), output float64 (C, h, w)): one tile's core of picture plane n."""

Observer = Callable[[str, int, Rect, NDArray[np.bool_]], None]
"""observer(layer, n, core, spikes bool (steps, channels, h, w)): the spikes of one tile's core."""


def run(
    model: Model,
    picture: NDArray[np.generic],
    *,
    neuron: Neuron,
    head: Head,
    sink: Sink,
    tile: int | None = None,
    memory: int = DEFAULT_MEMORY,
    threads: int | None = None,
    digest: bool = False,
    progress: Callable[[int, int], None] | None = None,
    observer: Observer | None = None,
) -> Ledger:
    """Run a converted model.

    Parameters
    ----------
    picture : (N, C, H, W): uint8 or uint16 pixels, or int32 on the input plane's grid 1/65535.
    neuron, head : the objects that the model's names stand for.
    sink : is handed the output, in units of the ANN's, tile by tile, from the calling thread.
    tile : size of the tiles, a multiple of 64; by default the largest that `memory` (bytes of working memory) allows.
    threads : by default one per processor.
    digest : whether to digest every spike train.
    progress : called with (stages done, stages in all).
    observer : is handed the spikes of every layer, unpacked.

    Raises BadInputError for a picture of the wrong kind, UsageError for a tile, memory or T out of range, ModelError,
    PluginError.
    """
    integers = build(model, neuron, head)
    _check(picture, integers)
    threads = _threads(threads)
    planes, _, height, width = picture.shape
    reaches = reach(integers)
    size = choose(integers, height, width, reaches[PICTURE], tile, memory)
    cores = [(n, core) for n in range(planes) for core in tiles(height, width, size)]
    prepared = prepare(integers)
    accounts = Accounts(integers, planes, height, width, digest)
    total = len(cores) * len(integers.stages)
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for n, core in cores:
            rect = core.grown(reaches[PICTURE], height, width)
            plane = _plane(picture[n, :, rect.y0 : rect.y1, rect.x0 : rect.x1])
            frame = Frame(plane, integers, pool, threads)
            alive: dict[str, Spikes] = {}
            pad = max((p.radius for p in prepared.values()), default=0)
            for i, stage in enumerate(integers.stages):
                area = _within(core.grown(reaches[stage.name], height, width), rect)
                last = stage.name == OUTPUT
                spikes, membranes = run_stage(prepared[stage.name], frame, area, alive, pad, last)
                accounts.add(stage.name, spikes, n, core, rect)
                if observer is not None:
                    inner = _within(core, rect)
                    observer(stage.name, n, core, spikes.dense()[..., inner.y0 : inner.y1, inner.x0 : inner.x1])
                alive[stage.name] = spikes
                for name in [s for s in alive if all(s not in later.sources for later in integers.stages[i + 1 :])]:
                    del alive[name]
                done += 1
                if progress is not None:
                    progress(done, total)
            output = _read(frame, prepared[OUTPUT], spikes, membranes, area)
            inner = Rect(*_relative(core, area, rect))
            core_output = output[:, inner.y0 : inner.y1, inner.x0 : inner.x1]
            at = _within(core, rect)
            sink(n, core.y0, core.y1, core.x0, core.x1, plane[:, at.y0 : at.y1, at.x0 : at.x1], core_output)
    return replace(accounts.ledger(), plane_digest=_plane_digest(picture) if digest else "")


def _check(picture: NDArray[np.generic], integers: IntegerNetwork) -> None:
    channels = integers.network.channels
    if picture.ndim != 4 or picture.shape[1] != channels or 0 in picture.shape:
        raise BadInputError(f"the picture has shape {picture.shape}; expected (planes, {channels}, height, width)")
    if picture.dtype not in (np.uint8, np.uint16, np.int32):
        raise BadInputError(f"the picture is {picture.dtype}; expected uint8, uint16, or int32 on the grid 1/65535")


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if threads < 1:
        raise UsageError(f"{threads} threads; expected 1 or more")
    return threads


def _plane(pixels: NDArray[np.generic]) -> NDArray[np.int32]:
    """One tile on the input plane's grid: 8 bits 257·p, 16 bits p. Raises BadInputError outside [-4, 4]."""
    if pixels.dtype == np.int32 and (pixels.min() < -PICTURE_GAIN * UNIT or pixels.max() > PICTURE_GAIN * UNIT):
        raise BadInputError(f"the input plane holds {pixels.min()} .. {pixels.max()}; expected -4 to 4 times {UNIT}")
    gain = 257 if pixels.dtype == np.uint8 else 1
    return np.ascontiguousarray(pixels, np.int32) * np.int32(gain)


def _plane_digest(picture: NDArray[np.generic]) -> str:
    """SHA-256 of the whole input plane, row by row."""
    digest = hashlib.sha256()
    for n, c in np.ndindex(picture.shape[:2]):
        for y in range(0, picture.shape[2], 64):
            digest.update(_plane(picture[n, c, y : y + 64]).astype("<i4", copy=False).tobytes())
    return digest.hexdigest()


def _within(rect: Rect, frame: Rect) -> Rect:
    return Rect(rect.y0 - frame.y0, rect.y1 - frame.y0, rect.x0 - frame.x0, rect.x1 - frame.x0)


def _relative(core: Rect, area: Rect, frame: Rect) -> tuple[int, int, int, int]:
    inner = _within(core, frame)
    return inner.y0 - area.y0, inner.y1 - area.y0, inner.x0 - area.x0, inner.x1 - area.x0


def _read(
    frame: Frame, prepared: Prepared, spikes: Spikes, membranes: NDArray[np.int32], area: Rect
) -> NDArray[np.float64]:
    """What the head makes of the output layer over `area`, in units of the ANN's output, on the frame's threads."""
    halo = frame.integers.head.kernel // 2
    output = np.empty((prepared.stage.channels, area.height, area.width))

    def rows(first: int, last: int) -> None:
        top, bottom = max(first - halo, area.y0), min(last + halo, area.y1)
        band = Rect(top, bottom, area.x0, area.x1)
        read = _read_band(prepared, frame.integers, spikes, membranes, band)
        output[:, first - area.y0 : last - area.y0] = read[:, first - top : last - top]

    starts = range(area.y0, area.y1, HEAD_ROWS)
    for _ in frame.pool.map(lambda first: rows(first, min(first + HEAD_ROWS, area.y1)), starts):
        pass
    return output


def _read_band(
    prepared: Prepared, integers: IntegerNetwork, spikes: Spikes, membranes: NDArray[np.int32], band: Rect
) -> NDArray[np.float64]:
    stage = prepared.stage
    v = membranes[:, band.y0 : band.y1, band.x0 : band.x1]
    residual = v - stage.v0[:, None, None]
    fired = np.zeros(v.shape, np.int32)
    theta = stage.integer.theta.astype(np.int64)
    charge = residual.astype(np.int64)
    if integers.head.fires:
        seen = spikes.rows(band.y0, band.y1).dense()
        fired = seen[..., band.x0 : band.x1].sum(axis=0, dtype=np.int32)
        charge += fired * theta[:, None, None]
    else:
        residual = np.zeros_like(residual)
    layer = OutputLayer(charge, fired, residual, theta, stage.integer.exponent, integers.timesteps)
    head = integers.head
    try:
        read = np.asarray(head.read(layer, integers.head_parameters), np.float64)
    except (Exception, SystemExit) as error:
        raise PluginError(f"head {head.name} failed: {explain(error)}") from error
    if read.shape != v.shape or not np.all(np.isfinite(read)):
        what = f"an array {read.shape}" if read.shape != v.shape else "NaN or infinity"
        raise PluginError(f"head {head.name} gave {what}; expected finite numbers {v.shape}")
    return read * integers.output_scale[:, None, None]
