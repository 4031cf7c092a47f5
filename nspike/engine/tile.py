"""One tile: a pure function of a program and a window of an image.

Its result holds all that the tile adds to a run, so that results merge into one ledger in any order, wherever they were
computed.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nspike.engine import general
from nspike.engine.accounts import Count
from nspike.engine.digest import Leaves, leaves
from nspike.engine.digit_spikes import AnySpikes
from nspike.engine.plan import Op
from nspike.engine.program import Program
from nspike.engine.readers import tally
from nspike.engine.readout import current_in_frame, read, read_each_step
from nspike.engine.spikes import Spikes
from nspike.engine.stages import Frame
from nspike.engine.stages import run as run_stage
from nspike.engine.tensors import Tile
from nspike.engine.tiling import block
from nspike.engine.window import Part, Rect
from nspike.errors import BadInputError
from nspike.graph.layer import IMAGE
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

    layer; n : of which image plane; core : which rectangle, at the layer's resolution; packed : the spikes of a larger one, in
    which the core begins at row and column `at`.
    """

    layer: str
    n: int
    core: Rect
    at: tuple[int, int]
    packed: AnySpikes

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
    rect = program.plan.regions(core, height, width)[IMAGE]
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
    way = _Chain(program, window, pool, threads) if program.plan.chain else _General(program, window, pool, threads)
    plan, core, size = program.plan, window.core, (window.height, window.width)
    counts = {
        s.name: Count.zero(s, len(program.readers[s.name]), program.integers.steps) for s in program.integers.stages
    }
    digests: Leaves = {}
    beside: dict[str, list[Future[None]]] = {}  # what is done with spikes while the next ones are made
    for op, finished in zip(plan.ops, plan.finished, strict=True):
        spikes = way.run(op)
        if spikes is not None:
            at = plan.core(op.at, core)
            here = LayerSpikes(op.name, window.n, at, way.corner(op, at), spikes)
            silent = op.name == OUTPUT and not program.integers.head.fires
            if not silent:
                count = pool.submit(_count, program, op, here, plan.size(op.at, *size), counts)
                beside.setdefault(op.name, []).append(count)
            if digest and op.stage is not None and not silent:
                side = block(plan.network, plan.scale(op.at))
                numbers = (op.name, spikes, program.integers.steps, window.n, at, here.at, side)
                beside.setdefault(op.name, []).append(pool.submit(leaves, digests, *numbers))
            if watch.layer is not None and op.stage is not None:
                watch.layer(here)
        for name in finished:
            for each in beside.pop(name, ()):
                each.result()
        way.forget(finished if op is not plan.ops[-1] else ())
        if watch.stage is not None and op.stage is not None:
            watch.stage()
    for each in itertools.chain.from_iterable(beside.values()):
        each.result()
    cut = core.within(window.rect).slices

    def part(output: NDArray[np.float64]) -> Part:
        shown = plan.core(op.at, core).within(way.rect(op)).slices
        return Part(window.n, core, window.plane[:, *cut], output[:, *shown])

    done = part(way.read())
    if watch.part is not None:
        watch.part(done)
    if watch.step is not None:
        for step, output in enumerate(way.read_each_step()):
            watch.step(step, part(output))
    return TileResult(done, counts, digests)


def _count(program: Program, op: Op, seen: LayerSpikes, size: tuple[int, int], counts: Mapping[str, Count]) -> None:
    """Add the spikes of a tensor to the counts of the neurons that they come from."""
    stages = [op.stage] if op.stage is not None else program.integers.stages
    for stage in stages:
        every = program.readers[stage.name]
        own = [(i, reader) for i, reader in enumerate(every) if reader.tensor == op.name]
        if not own and op.stage is None:
            continue
        rows = [i for i, _ in own]
        spikes, synops = tally(stage, [reader for _, reader in own], seen.packed, seen.at, seen.core, size)
        each = np.array(stage.neuron.accumulations, np.int64)[:, None]
        counts[stage.name].synops[rows] += synops
        counts[stage.name].arrived[rows] += (each * spikes).sum(axis=0)
        if op.stage is not None:
            counts[stage.name].events[:] += spikes


class _Chain:
    """The spikes of a chain, which share the frame of the tile."""

    def __init__(self, program: Program, window: Window, pool: Executor, threads: int) -> None:
        self._program, self._window = program, window
        self._frame = Frame(window.plane, program.integers, pool, threads)
        self._regions = program.plan.regions(window.core, window.height, window.width)
        self._alive: dict[str, Spikes] = {}

    def rect(self, op: Op) -> Rect:
        return self._regions[op.at]

    def corner(self, op: Op, core: Rect) -> tuple[int, int]:
        return core.y0 - self._window.rect.y0, core.x0 - self._window.rect.x0

    def run(self, op: Op) -> Spikes | None:
        program, window = self._program, self._window
        given, steps, prepared = program.given, program.integers.steps, program.prepared[op.name]
        area = self._regions[op.at].within(window.rect)
        if given is not None and op.name == given.layer:
            spikes = given.packed(prepared.packing, window.n, area, window.rect, steps, program.pad)
        else:
            spikes, self._membranes = run_stage(
                prepared, self._frame, area, self._alive, program.pad, op.name == OUTPUT
            )
        self._alive[op.name] = spikes
        self._last = prepared, spikes, area
        return spikes

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            del self._alive[name]

    def read(self) -> NDArray[np.float64]:
        prepared, spikes, area = self._last
        return read(self._frame, prepared, spikes, self._membranes, area)

    def read_each_step(self) -> Iterator[NDArray[np.float64]]:
        prepared, spikes, area = self._last
        current = partial(current_in_frame, self._frame, prepared, self._alive, area, self._program.pad)
        return read_each_step(self._frame, prepared, spikes, current, area)


class _General:
    """The tensors of another network, each on its own rectangle."""

    def __init__(self, program: Program, window: Window, pool: Executor, threads: int) -> None:
        plan = program.plan
        self._program, self._window = program, window
        self._frame = Frame(window.plane, program.integers, pool, threads)
        self._tile = Tile(
            integers=program.integers,
            plan=plan,
            prepared=program.prepared,
            wired=program.wired,
            flows=program.flows,
            passes=program.passes,
            charge=program.charge,
            pad=program.pad,
            rects=plan.regions(window.core, window.height, window.width),
            limits={name: plan.size(name, window.height, window.width) for name in plan.network.scales},
            pool=pool,
            threads=threads,
            tensors={IMAGE: window.plane},
        )

    def rect(self, op: Op) -> Rect:
        return self._tile.rects[op.at]

    def corner(self, op: Op, core: Rect) -> tuple[int, int]:
        place = self.rect(op) if op.name == OUTPUT else self._tile.place(op.name)
        return core.y0 - place.y0, core.x0 - place.x0

    def run(self, op: Op) -> AnySpikes | None:
        program, rect = self._program, self.rect(op)
        if op.stage is None:
            made = self._tile.tensors[op.name] = general.run(self._tile, op)
            return made if program.plan.carries[op.name] == "spikes" else None
        spikes: AnySpikes
        if program.given is not None and op.name == program.given.layer:
            inside = rect.within(rect)
            spikes = program.given.packed("wide", self._window.n, inside, rect, program.integers.steps, program.pad)
        else:
            spikes, self._membranes = general.neurons(self._tile, op, op.name == OUTPUT)
        if op.name == OUTPUT:
            self._last, self._output = op, spikes
        else:
            self._tile.tensors[op.name] = spikes
        return spikes

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._tile.forget(name)

    def read(self) -> NDArray[np.float64]:
        rect = self.rect(self._last)
        return read(self._frame, self._program.prepared[OUTPUT], self._output, self._membranes, rect.within(rect))

    def read_each_step(self) -> Iterator[NDArray[np.float64]]:
        rect, timesteps = self.rect(self._last), self._program.integers.timesteps
        arriving = general.current(self._tile, self._last)

        def current(step: int) -> NDArray[np.int32]:
            constant = len(arriving) == 1
            now: NDArray[np.int32] = arriving[0 if constant else step].transpose(2, 0, 1)
            return np.zeros_like(now) if constant and step >= timesteps else now

        prepared = self._program.prepared[OUTPUT]
        return read_each_step(self._frame, prepared, self._output, current, rect.within(rect))
