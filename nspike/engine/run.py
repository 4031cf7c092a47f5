"""The engine: a converted model over an image, tile by tile and layer by layer, and the ledger of what it cost.

Exact: the spikes, and so the output and the ledger, are the same bits for any tile, thread count and packing.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.head import Head
from nspike.contracts.ledger import Ledger
from nspike.contracts.neuron import Neuron
from nspike.engine.accounts import Accounts
from nspike.engine.given import Given
from nspike.engine.prepared import prepare
from nspike.engine.readout import read, read_each_step
from nspike.engine.spikes import Spikes
from nspike.engine.stages import Frame
from nspike.engine.stages import run as run_stage
from nspike.engine.tiling import DEFAULT_MEMORY, Rect, choose, reach, tiles
from nspike.errors import BadInputError, UsageError
from nspike.graph.layer import IMAGE
from nspike.images.plane import UNIT
from nspike.integer.grid import IMAGE_GAIN
from nspike.integer.rounding import IntegerNetwork, build
from nspike.model.model import OUTPUT, Model

Sink = Callable[[int, int, int, int, int, NDArray[np.int32], NDArray[np.float64]], None]
"""sink(n, y0, y1, x0, x1, plane int32 (C, h, w), output float64 (C, h, w)): one tile's core of image plane n."""

Observer = Callable[[str, int, Rect, NDArray[np.bool_]], None]
"""observer(layer, n, core, spikes bool (steps, channels, h, w)): the spikes of one tile's core."""

Recorder = Callable[[str, int, Rect, tuple[int, int], Spikes], None]
"""recorder(layer, n, core, at, spikes): the same, packed; the core begins at position `at` of the spikes."""

StepSink = Callable[[int, int, int, int, int, int, NDArray[np.int32], NDArray[np.float64]], None]
"""step_sink(step from 0, n, y0, y1, x0, x1, plane, output): as a `Sink`, after the tile itself, what is read out at each step."""


def run(
    model: Model,
    image: NDArray[np.generic],
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
    recorder: Recorder | None = None,
    step_sink: StepSink | None = None,
    given: Given | None = None,
) -> Ledger:
    """Run a converted model.

    Parameters
    ----------
    image : (N, C, H, W): uint8 or uint16 pixels, or int32 on the input plane's grid 1/65535.
    neuron, head : the objects that the model's names stand for.
    sink : is handed the output, in units of the ANN's, tile by tile, from the calling thread.
    tile : size of the tiles, a multiple of 64; by default the largest that `memory` (bytes of working memory) allows.
    threads : by default one per processor.
    digest : whether to digest every spike train.
    progress : called with (stages done, stages in all).
    observer, recorder : are handed the spikes of every layer, unpacked and packed.
    step_sink : is handed what can be read out after each step; see `nspike.engine.readout`.
    given : the spikes of one layer, instead of computing them; layers that nothing reads any more are not run.

    Raises BadInputError for an image of the wrong kind, UsageError for a tile, memory or T out of range, ModelError,
    PluginError.
    """
    integers = build(model, neuron, head, None if given is None else {given.layer: given.neuron})
    if given is not None:
        integers = given.rest(integers)
    _check(image, integers)
    threads = _threads(threads)
    planes, _, height, width = image.shape
    if given is not None:
        given.check(integers, planes, height, width)
    reaches = reach(integers)
    size = choose(integers, height, width, reaches[IMAGE], tile, memory)
    cores = [(n, core) for n in range(planes) for core in tiles(height, width, size)]
    prepared = prepare(integers)
    accounts = Accounts(integers, planes, height, width, digest, None if given is None else given.layer)
    total = len(cores) * len(integers.stages)
    done = 0
    with ThreadPoolExecutor(threads) as pool:
        for n, core in cores:
            rect = core.grown(reaches[IMAGE], height, width)
            plane = _plane(image[n, :, rect.y0 : rect.y1, rect.x0 : rect.x1])
            frame = Frame(plane, integers, pool, threads)
            alive: dict[str, Spikes] = {}
            pad = max((p.radius for p in prepared.values()), default=0)
            for i, stage in enumerate(integers.stages):
                area = _within(core.grown(reaches[stage.name], height, width), rect)
                last = stage.name == OUTPUT
                if given is not None and stage.name == given.layer:
                    spikes = given.packed(prepared[stage.name].packing, n, area, rect, integers.steps, pad)
                else:
                    spikes, membranes = run_stage(prepared[stage.name], frame, area, alive, pad, last)
                accounts.add(stage.name, spikes, n, core, rect)
                inner = _within(core, rect)
                if recorder is not None:
                    recorder(stage.name, n, core, (inner.y0, inner.x0), spikes)
                if observer is not None:
                    observer(stage.name, n, core, spikes.dense()[..., inner.y0 : inner.y1, inner.x0 : inner.x1])
                alive[stage.name] = spikes
                sources = {name: alive[name] for name in stage.sources} if last and step_sink is not None else {}
                for name in [s for s in alive if all(s not in later.sources for later in integers.stages[i + 1 :])]:
                    del alive[name]
                done += 1
                if progress is not None:
                    progress(done, total)
            at, inner = _within(core, rect), Rect(*_relative(core, area, rect))
            place = (n, core.y0, core.y1, core.x0, core.x1, plane[:, at.y0 : at.y1, at.x0 : at.x1])
            output = read(frame, prepared[OUTPUT], spikes, membranes, area)
            sink(*place, output[:, inner.y0 : inner.y1, inner.x0 : inner.x1])
            if step_sink is not None:
                for step, output in enumerate(read_each_step(frame, prepared[OUTPUT], spikes, sources, area, pad)):
                    step_sink(step, *place, output[:, inner.y0 : inner.y1, inner.x0 : inner.x1])
    return replace(accounts.ledger(), plane_digest=plane_digest(image) if digest else "")


def _check(image: NDArray[np.generic], integers: IntegerNetwork) -> None:
    channels = integers.network.channels
    if image.ndim != 4 or image.shape[1] != channels or 0 in image.shape:
        raise BadInputError(f"the image has shape {image.shape}; expected (planes, {channels}, height, width)")
    if image.dtype not in (np.uint8, np.uint16, np.int32):
        raise BadInputError(f"the image is {image.dtype}; expected uint8, uint16, or int32 on the grid 1/65535")


def _threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if threads < 1:
        raise UsageError(f"{threads} threads; expected 1 or more")
    return threads


def _plane(pixels: NDArray[np.generic]) -> NDArray[np.int32]:
    """One tile on the input plane's grid: 8 bits 257·p, 16 bits p. Raises BadInputError outside [-4, 4]."""
    if pixels.dtype == np.int32 and (pixels.min() < -IMAGE_GAIN * UNIT or pixels.max() > IMAGE_GAIN * UNIT):
        raise BadInputError(f"the input plane holds {pixels.min()} .. {pixels.max()}; expected -4 to 4 times {UNIT}")
    gain = 257 if pixels.dtype == np.uint8 else 1
    return np.ascontiguousarray(pixels, np.int32) * np.int32(gain)


def plane_digest(image: NDArray[np.generic]) -> str:
    """SHA-256 of the whole input plane, row by row."""
    digest = hashlib.sha256()
    for n, c in np.ndindex(image.shape[:2]):
        for y in range(0, image.shape[2], 64):
            digest.update(_plane(image[n, c, y : y + 64]).astype("<i4", copy=False).tobytes())
    return digest.hexdigest()


def _within(rect: Rect, frame: Rect) -> Rect:
    return Rect(rect.y0 - frame.y0, rect.y1 - frame.y0, rect.x0 - frame.x0, rect.x1 - frame.x0)


def _relative(core: Rect, area: Rect, frame: Rect) -> tuple[int, int, int, int]:
    inner = _within(core, frame)
    return inner.y0 - area.y0, inner.y1 - area.y0, inner.x0 - area.x0, inner.x1 - area.x0
