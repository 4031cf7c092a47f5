"""One tile: a pure function of a program and a window of an image.

Its result holds all that the tile adds to a run, so that results merge into one ledger in any order, wherever they were
computed.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.engine.accounts import Count, count
from nspike.engine.digest import Leaves, leaves
from nspike.engine.program import Program
from nspike.engine.readout import read, read_each_step
from nspike.engine.spikes import Spikes
from nspike.engine.stages import Frame
from nspike.engine.stages import run as run_stage
from nspike.engine.window import Part, Rect
from nspike.errors import BadInputError
from nspike.images.plane import UNIT
from nspike.integer.grid import IMAGE_GAIN
from nspike.model.model import OUTPUT


@dataclass(frozen=True, eq=False)
class Window:
    """What a tile is computed from.

    n : of which image plane; core : the rectangle whose output is wanted; height, width : of the whole image.
    rect : the core with the network's halo; plane : int32 (C, rows, columns), the input there.
    """

    n: int
    core: Rect
    height: int
    width: int
    rect: Rect
    plane: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class LayerSpikes:
    """The spikes of a layer over a tile's core, while the tile runs.

    layer; n : of which image plane; core : which rectangle; packed : the spikes of a larger one, in which the core begins
    at row and column `at`.
    """

    layer: str
    n: int
    core: Rect
    at: tuple[int, int]
    packed: Spikes

    def dense(self) -> NDArray[np.bool_]:
        """bool (steps, spike planes times channels, rows, columns) of the core."""
        (y, x), core = self.at, self.core
        return self.packed.dense()[..., y : y + core.height, x : x + core.width]


@dataclass(frozen=True, eq=False)
class TileResult:
    """What a tile adds to a run: its output, the counts of each layer, and the leaves of the digests if asked for."""

    part: Part
    counts: dict[str, Count]
    leaves: Leaves


@dataclass(frozen=True)
class Watch:
    """Callbacks that observe a tile while it runs.

    layer : called with the spikes of each layer, as soon as it has run.
    stage : called after each stage.
    part : called with the output.
    step : then called with (step from 0, part) for what can be read out after each step; see `nspike.engine.readout`.
    """

    layer: Callable[[LayerSpikes], None] | None = None
    stage: Callable[[], None] | None = None
    part: Callable[[Part], None] | None = None
    step: Callable[[int, Part], None] | None = None


def window(program: Program, image: NDArray[np.generic], n: int, core: Rect) -> Window:
    """Cut what a tile needs out of an image (N, C, H, W): uint8 or uint16 pixels, or int32 on the grid 1/65535.

    Raises BadInputError for values outside [-4, 4].
    """
    _, _, height, width = image.shape
    rect = core.grown(program.halo, height, width)
    return Window(n, core, height, width, rect, on_plane(image[n, :, rect.y0 : rect.y1, rect.x0 : rect.x1]))


def on_plane(pixels: NDArray[np.generic]) -> NDArray[np.int32]:
    """Pixels on the input plane's grid: 8 bits 257·p, 16 bits p, int32 as it is. Raises BadInputError outside [-4, 4]."""
    if pixels.dtype == np.int32 and (pixels.min() < -IMAGE_GAIN * UNIT or pixels.max() > IMAGE_GAIN * UNIT):
        raise BadInputError(f"the input plane holds {pixels.min()} .. {pixels.max()}; expected -4 to 4 times {UNIT}")
    gain = 257 if pixels.dtype == np.uint8 else 1
    return np.ascontiguousarray(pixels, np.int32) * np.int32(gain)


def run_tile(
    program: Program,
    window: Window,
    *,
    pool: Executor,
    threads: int,
    digest: bool = False,
    watch: Watch = Watch(),
) -> TileResult:
    """Run all stages over a window.

    Parameters
    ----------
    pool, threads : where the rows of a stage are shared out; they change no bit.
    digest : whether to compute the leaves of the digests.
    watch : callbacks that receive spikes and steps; they do not change the result.

    Raises PluginError where a neuron or head fails.
    """
    integers, given, rect, core = program.integers, program.given, window.rect, window.core
    frame = Frame(window.plane, integers, pool, threads)
    inner, size = core.within(rect), (window.height, window.width)
    counts: dict[str, Count] = {}
    digests: Leaves = {}
    alive: dict[str, Spikes] = {}
    for stage, finished in zip(integers.stages, program.finished, strict=True):
        name, prepared, last = stage.name, program.prepared[stage.name], stage.name == OUTPUT
        area = core.grown(program.reach[name], *size).within(rect)
        if given is not None and name == given.layer:
            spikes = given.packed(prepared.packing, window.n, area, rect, integers.steps, program.pad)
        else:
            spikes, membranes = run_stage(prepared, frame, area, alive, program.pad, last)
        here = LayerSpikes(name, window.n, core, (inner.y0, inner.x0), spikes)
        if not last or integers.head.fires:
            counts[name] = count(integers, name, spikes, here.at, core, size)
            if digest:
                leaves(digests, name, spikes, integers.steps, window.n, core, here.at)
        if watch.layer is not None:
            watch.layer(here)
        alive[name] = spikes
        sources = {s: alive[s] for s in stage.sources} if last and watch.step is not None else {}
        for unread in finished:
            del alive[unread]
        if watch.stage is not None:
            watch.stage()
    cut, shown = inner.slices, inner.within(area).slices

    def part(output: NDArray[np.float64]) -> Part:
        return Part(window.n, core, window.plane[:, *cut], output[:, *shown])

    done = part(read(frame, prepared, spikes, membranes, area))
    if watch.part is not None:
        watch.part(done)
    if watch.step is not None:
        for step, output in enumerate(read_each_step(frame, prepared, spikes, sources, area, program.pad)):
            watch.step(step, part(output))
    return TileResult(done, counts, digests)
