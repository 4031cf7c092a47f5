"""One stage over one tile: all steps of a layer, on a pool of threads, each with its own rows.

The kernels are called with the GIL released. How the rows are shared out changes no spike: each output pixel is computed
by one call, from finished input, in integers.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.engine.prepared import Prepared, narrow_offsets
from nspike.engine.spikes import NarrowSpikes, Spikes, WideSpikes, to_narrow, to_wide
from nspike.engine.window import Rect
from nspike.errors import PluginError
from nspike.graph.layer import IMAGE, Conv, Gate, Layer
from nspike.integer.currents import gate_weights
from nspike.integer.rounding import IntegerNetwork
from nspike.kernels import floats, narrow, wide
from nspike.kernels._jit import compile_step
from nspike.runtime.caller import way
from nspike.runtime.explain import changes_its_input, explain

WIDE_ROWS = 32
NARROW_ROWS = 16
NOT_A_SPIKE = 0xFEFEFEFEFEFEFEFE
"""The bits that are not set in eight spikes, each of which is 0 or 1."""
STEP_PIXELS = 2048
"""How many pixels a neuron's own kernel gets at a time: few calls, and numbers that stay near (measured, 512 to 8192)."""


@dataclass(frozen=True)
class Frame:
    """A tile while it runs: the image over it int32 (C, rows, columns), the pool, and how many threads that has."""

    plane: NDArray[np.int32]
    integers: IntegerNetwork
    pool: Executor
    threads: int

    @property
    def height(self) -> int:
        """Height of the frame in pixels, halo included."""
        return int(self.plane.shape[1])

    @property
    def width(self) -> int:
        """Width of the frame in pixels, halo included."""
        return int(self.plane.shape[2])

    def each(self, function: Callable[[int, int], None], first: int, last: int, most: int) -> None:
        """Call function(first row, last row) over bands of up to `most` rows."""
        rows = max(1, min(most, -(-(last - first) // (2 * self.threads))))
        bands = [(y, min(y + rows, last)) for y in range(first, last, rows)]
        for _ in self.pool.map(lambda band: function(*band), bands):
            pass


def run(
    prepared: Prepared, frame: Frame, area: Rect, spikes: Mapping[str, Spikes], pad: int, membranes: bool
) -> tuple[Spikes, NDArray[np.int32]]:
    """Run a stage over `area` of the frame.

    Returns its spikes and, if `membranes`, the membranes at the end, int32 (C, rows, columns), else an empty array.
    `pad` is the largest radius of a convolution that will read wide spikes.
    """
    stage = prepared.stage
    channels = stage.channels * len(stage.neuron.planes)
    steps = frame.integers.steps
    out: Spikes
    if prepared.packing == "wide":
        out = WideSpikes.empty(frame.height, frame.width, steps, channels, pad)
        v_out = np.zeros((frame.height, frame.width, stage.channels if membranes else 0), np.int32)
        run_wide = _wide_stepped if stage.neuron.step is not None else _wide_declared
        run_wide(prepared, frame, area, _wide_source(prepared, spikes), out, v_out)
        return out, v_out.transpose(2, 0, 1)
    out = NarrowSpikes.empty(frame.height, frame.width, steps, channels)
    v_out = np.zeros((stage.channels if membranes else 0, frame.height, frame.width), np.int32)
    run_narrow = _narrow_stepped if stage.neuron.step is not None else _narrow_declared
    run_narrow(prepared, frame, area, tuple(to_narrow(spikes[s]) for s in stage.sources), out, v_out)
    return out, v_out


def _wide_source(prepared: Prepared, spikes: Mapping[str, Spikes]) -> WideSpikes | None:
    """The one source, or several side by side, each starting at a new word; None for the image."""
    if not prepared.stage.sources:
        return None
    sources = [to_wide(spikes[s], prepared.radius) for s in prepared.stage.sources]
    if len(sources) == 1:
        return sources[0]
    pad = min(source.pad for source in sources)
    cut = [source.pad - pad for source in sources]
    words = [s.words[c : s.words.shape[0] - c, c : s.words.shape[1] - c] for s, c in zip(sources, cut, strict=True)]
    return WideSpikes(np.ascontiguousarray(np.concatenate(words, axis=3)), pad, sum(w.shape[3] for w in words) * 64)


def _pair(first: int, second: int) -> NDArray[np.int64]:
    return np.array([first, second], np.int64)


def _block(first: int, last: int, area: Rect) -> NDArray[np.int64]:
    return np.array([first, last, area.x0, area.x1], np.int64)


def _wide_declared(
    prepared: Prepared, frame: Frame, area: Rect, source: WideSpikes | None, out: WideSpikes, v_out: NDArray[np.int32]
) -> None:
    p, timesteps = prepared, frame.integers.timesteps
    into = _pair(out.pad, out.pad)

    def analog(first: int, last: int) -> None:
        at = _pair(-p.radius, -p.radius)
        numbers = (p.weights, timesteps, p.bias[0], p.v0, p.threshold, p.reset)
        wide.analog_fire(frame.plane, at, p.size, *numbers, out.words, into, _block(first, last, area), p.dynamics)

    def events(first: int, last: int) -> None:
        assert source is not None
        at = _pair(source.pad - p.radius, source.pad - p.radius)
        numbers = (p.weights, 0, timesteps, p.bias, p.v0, p.threshold, p.reset)
        outs = (out.words, into, v_out, _block(first, last, area))
        wide.conv_fire(source.words, at, p.size, *numbers, *outs, None, None, p.dynamics)

    frame.each(analog if source is None else events, area.y0, area.y1, WIDE_ROWS)


def _wide_stepped(
    prepared: Prepared, frame: Frame, area: Rect, source: WideSpikes | None, out: WideSpikes, v_out: NDArray[np.int32]
) -> None:
    p, timesteps = prepared, frame.integers.timesteps
    into = _pair(out.pad, out.pad)

    kept = threading.local()

    def rows(first: int, last: int) -> None:
        block = _block(first, last, area)
        stepped = stepped_neurons(kept, p, (last - first) * area.width, frame.integers)
        if source is None:
            at = _pair(-p.radius, -p.radius)
            wide.analog_current(frame.plane, at, p.size, p.weights, p.bias[0], block, stepped.current)
        for t in range(frame.integers.steps):
            if source is None:
                if t == timesteps:  # until then the same at every step, and a kernel cannot change it
                    stepped.current[:] = 0
            else:
                at = _pair(source.pad - p.radius, source.pad - p.radius)
                kernel, bias = p.weights[p.phase(t, timesteps)], p.bias[int(t >= timesteps)]
                wide.conv_current(source.words, at, p.size, kernel, t, bias, block, stepped.current)
            fire_block(stepped, t, out.words, into, block)

    if p.stage.neuron.scope == "layer":
        rows(area.y0, area.y1)
        return
    frame.each(rows, area.y0, area.y1, max(1, STEP_PIXELS // max(area.width, 1)))


def fire_block(
    stepped: "_Stepped", step: int, out: NDArray[np.uint64], into: NDArray[np.int64], block: NDArray[np.int64]
) -> None:
    """Fire neurons with a kernel of their own at one step and pack their spikes, as of `wide.pack`.

    Raises PluginError where the kernel fails or writes what is no spike.
    """
    fired = stepped.fire(step)
    if fired.shape[1] % 8 == 0 and sys.byteorder == "little":
        if wide.pack_eights(fired.view(np.uint64), step, out, into, block) & NOT_A_SPIKE:
            stepped.check(step)
    else:
        stepped.check(step)
        wide.pack(fired, step, out, into, block)


def stepped_neurons(kept: threading.local, prepared: Prepared, pixels: int, integers: IntegerNetwork) -> "_Stepped":
    """Neurons at their start; a thread's arrays are used again for its next block, as memory that is new costs time."""
    stepped: _Stepped | None = getattr(kept, "stepped", None)
    if stepped is None or len(stepped.v) != pixels:
        stepped = kept.stepped = _Stepped(prepared, pixels, integers)
    stepped.v[:] = stepped.stage.v0
    stepped.state[:] = 0
    return stepped


class _Stepped:
    """The membranes, currents and spikes of a block of pixels for a neuron with its own kernel."""

    def __init__(self, prepared: Prepared, pixels: int, integers: IntegerNetwork) -> None:
        self.stage = prepared.stage
        neuron, channels = self.stage.neuron, self.stage.channels
        self.step = _compiled(neuron.step)
        self.v = np.zeros((pixels, channels), np.int32)
        self.current = np.zeros((pixels, channels), np.int32)
        self.given = self.current.view()
        self.given.flags.writeable = False  # a kernel that writes to it does not compile
        self.state = np.zeros((neuron.state_planes, pixels, channels), np.int32)
        self.out = np.zeros((pixels, channels, len(neuron.planes)), np.int8)
        self.phases = np.array([[t, t >= integers.timesteps] for t in range(integers.steps)], np.int32)
        self.phases.flags.writeable = False

    def fire(self, step: int) -> NDArray[np.int8]:
        """One step; what was written as spikes, int8 (pixels, planes·channels)."""
        self.out[:] = 0
        try:
            self.step(self.v, self.given, self.state, self.stage.params, self.phases[step], self.out)
        except Exception as error:
            where = f"neuron {self.stage.neuron.name} failed at step {step + 1} of layer {self.stage.name}"
            why = (
                "it writes to `current`, `params` or `phase`, which it may only read: "
                if changes_its_input(error)
                else ""
            )
            raise PluginError(f"{where}: {why}{explain(error)}") from error
        return np.ascontiguousarray(self.out.transpose(0, 2, 1)).reshape(len(self.out), -1)

    def check(self, step: int) -> None:
        """Raise PluginError if what was written as spikes is not 0 or 1."""
        if self.out.size and (self.out.min() < 0 or self.out.max() > 1):
            raise PluginError(
                f"neuron {self.stage.neuron.name} wrote {self.out.min()} .. {self.out.max()} as spikes at step {step + 1} "
                f"of layer {self.stage.name}; expected 0 or 1"
            )


def check_integer(neuron: Neuron) -> None:
    """Raise PluginError where the kernel of a neuron computes with floats: what such a run gives is not the same everywhere."""
    if neuron.step is None:
        return
    try:
        place = _floats(neuron.step, len(neuron.planes))
    except Exception:  # whatever cannot be compiled fails where it runs, with its layer and step
        return
    if place:
        raise PluginError(
            f"neuron {neuron.name} computes with floating-point numbers ({place}), so that its spikes may differ from machine "
            "to machine; keep to integers (docs/how-to/write_a_neuron.md), or run it with "
            + way("--inexact", "nspike.restore and inexact=True", "`nspike run --inexact`")
            + ", without a certificate"
        )


@lru_cache
def _floats(step: Callable[..., None], planes: int) -> str:
    return floats.of_step(_compiled(step), planes)


@lru_cache
def _compiled(step: Callable[..., None]) -> Any:
    return compile_step(step)  # type: ignore[no-untyped-call]


def _narrow_columns(p: Prepared, frame: Frame) -> int:
    return -(-frame.width // 64) * 64 + -(-2 * p.radius // 64) * 64


def _narrow_masks(p: Prepared, frame: Frame, rows: int) -> NDArray[np.int16]:
    return np.empty((rows + 2 * p.radius, sum(p.source_channels), _narrow_columns(p, frame)), np.int16)


def _spread(p: Prepared, frame: Frame, sources: tuple[NarrowSpikes, ...], step: int, first: int, masks: Any) -> None:
    channel = 0
    for source in sources:
        narrow.spread_source(source.words, step, first - p.radius, p.radius, frame.width, channel, masks)
        channel += source.channels


def _narrow_declared(
    prepared: Prepared,
    frame: Frame,
    area: Rect,
    sources: tuple[NarrowSpikes, ...],
    out: NarrowSpikes,
    v_out: NDArray[np.int32],
) -> None:
    p = prepared
    padded = -(-frame.width // 64) * 64
    fire = FIRE[type(p.stage.layer)](p, frame, sources, padded)

    def rows(first: int, last: int) -> None:
        v = np.empty((last - first, p.stage.channels, padded), np.int32)
        v[:] = p.v0[:, None]
        fire(first, v, out.words)
        if v_out.size:
            v_out[:, first:last] = v[:, :, : frame.width].transpose(1, 0, 2)

    frame.each(rows, area.y0, area.y1, NARROW_ROWS)


_Fire = Callable[[int, NDArray[np.int32], NDArray[np.uint64]], None]
"""fire(first row, v int32 (rows, C, padded columns), words of the spikes): all steps of these rows."""


def _fire_conv(p: Prepared, frame: Frame, sources: tuple[NarrowSpikes, ...], padded: int) -> _Fire:
    timesteps, numbers = frame.integers.timesteps, (p.threshold, p.reset, frame.width)

    def analog(first: int, v: NDArray[np.int32], out: NDArray[np.uint64]) -> None:
        currents = np.zeros((p.stage.channels, len(v), padded), np.int32)
        at = _pair(-p.radius, -p.radius)
        narrow.analog_rows(frame.plane, at, p.size, p.weights, p.bias[0], first, currents)
        narrow.fire(currents, timesteps, *numbers, first, v, out, p.dynamics)

    if p.stage.layer.sources == (IMAGE,):
        return analog
    words = sources[0].words if len(sources) == 1 else np.concatenate([s.words for s in sources], axis=1)
    offsets = narrow_offsets(p, _narrow_columns(p, frame))

    def events(first: int, v: NDArray[np.int32], out: NDArray[np.uint64]) -> None:
        masks = _narrow_masks(p, frame, len(v))
        narrow.conv_fire(
            words, p.radius, offsets, p.weights, timesteps, p.bias, *numbers, first, masks, v, out, p.dynamics
        )

    return events


def _fire_gate(p: Prepared, frame: Frame, sources: tuple[NarrowSpikes, ...], padded: int) -> _Fire:
    gates, words, timesteps = _gates(p, frame, padded), sources[0].words, frame.integers.timesteps
    gains = np.array(frame.integers.planes(p.stage.sources[0]), np.int32)

    def events(first: int, v: NDArray[np.int32], out: NDArray[np.uint64]) -> None:
        numbers = (timesteps, p.bias, p.threshold, p.reset)
        narrow.gate_fire(words, gates, gains, *numbers, frame.width, first, v, out, p.dynamics)

    return events


FIRE: dict[type[Layer], Callable[[Prepared, Frame, tuple[NarrowSpikes, ...], int], _Fire]] = {
    Conv: _fire_conv,
    Gate: _fire_gate,
}
"""How declared neurons with narrow spikes fire, by the kind of layer that gives their current."""


def _gates(p: Prepared, frame: Frame, padded: int) -> NDArray[np.int32]:
    """λ·(x - 1) for every pixel, rounded once to the channel's grid, int32 (C, rows, padded columns)."""
    gates = np.zeros((p.stage.channels, frame.height, padded), np.int32)
    for c in range(p.stage.channels):
        weights = gate_weights(frame.plane[c], p.stage.gate[c], p.stage.integer.exponent[c])
        gates[c, :, : frame.width] = weights.astype(np.int32)
    return gates


def _narrow_stepped(
    prepared: Prepared,
    frame: Frame,
    area: Rect,
    sources: tuple[NarrowSpikes, ...],
    out: NarrowSpikes,
    v_out: NDArray[np.int32],
) -> None:
    p, stage, timesteps, width = prepared, prepared.stage, frame.integers.timesteps, frame.width

    kept = threading.local()

    def rows(first: int, last: int) -> None:
        stepped = stepped_neurons(kept, p, (last - first) * width, frame.integers)
        analog = stage.layer.sources == (IMAGE,)
        masks = offsets = None
        if analog:
            currents = np.zeros((stage.channels, last - first, -(-width // 64) * 64), np.int32)
            narrow.analog_rows(frame.plane, _pair(-p.radius, -p.radius), p.size, p.weights, p.bias[0], first, currents)
            stepped.current[:] = currents[:, :, :width].transpose(1, 2, 0).reshape(-1, stage.channels)
        else:
            masks = _narrow_masks(p, frame, last - first)
            offsets = narrow_offsets(p, masks.shape[2])
        for t in range(frame.integers.steps):
            post = int(t >= timesteps)
            if analog:
                if t == timesteps:
                    stepped.current[:] = 0
            else:
                kernel = p.weights[p.phase(t, timesteps)]
                _spread(p, frame, sources, t, first, masks)
                bias = p.bias[post]
                narrow.conv_current_step(masks, offsets, kernel.shape[1], kernel, bias, width, stepped.current)
            fired = stepped.fire(t)
            stepped.check(t)
            narrow.pack(fired, width, t, first, out.words)

    if stage.neuron.scope == "layer":
        rows(area.y0, area.y1)
        return
    frame.each(rows, area.y0, area.y1, NARROW_ROWS)
