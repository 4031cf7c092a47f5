"""The tensors of a network that is no chain over one tile, each on its own rectangle, on a pool of threads.

Spikes are packed by channel; currents are int32 (steps, rows, columns, C), or a single step of what is the same up to T;
planes like the image's are int32 (C, rows, columns). How the rows are shared out changes no spike.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine import linear
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.digit_tensors import neurons_of_numbers, run_pass
from nspike.engine.flows import Flow
from nspike.engine.linear import Source
from nspike.engine.plan import Op
from nspike.engine.prepared import Prepared
from nspike.engine.reading import fill_of, gathered, like_image, spikes_of
from nspike.engine.spikes import WideSpikes
from nspike.engine.stages import fire_block, stepped_neurons
from nspike.engine.tensors import CURRENTS, MEMORY, ROWS, Tile
from nspike.engine.window import Around, Rect
from nspike.engine.wiring import SpikeConv
from nspike.graph.geometry import Role, geometry
from nspike.images.plane import UNIT
from nspike.kernels import currents, streams, wide
from nspike.model.model import OUTPUT

Ints = NDArray[np.int32]


def run(tile: Tile, op: Op) -> Any:
    """The tensor of an op that is not one of neurons; None of a current that is never stored."""
    if op.name in tile.flows:
        return _flow(tile, op, tile.flows[op.name])
    if op.name in tile.passes:
        return run_pass(tile, op, tile.passes[op.name])
    if op.name in tile.plan.unstored:
        return None
    return MAKE[geometry(op.layer).role](tile, op)


def neurons(tile: Tile, op: Op, membranes: bool) -> tuple[WideSpikes | DigitSpikes, Ints]:
    """The spikes of an op of neurons and, if `membranes`, the membranes at the end, int32 (C, rows, columns), else nothing."""
    assert op.stage is not None
    if op.name in tile.fired:
        return tile.fired.pop(op.name), np.zeros((0, 0, 0), np.int32)
    if op.name in tile.plan.numbers:
        return neurons_of_numbers(tile, op), np.zeros((0, 0, 0), np.int32)
    stage, rect, prepared = op.stage, tile.rects[op.at], tile.prepared[op.stage.name]
    channels = stage.channels * len(stage.neuron.planes)
    out = WideSpikes.empty(rect.height, rect.width, tile.integers.steps, channels, tile.pad)
    v_out = np.zeros((rect.height, rect.width, stage.channels if membranes else 0), np.int32)
    if op.name == OUTPUT and tile.charge is not None:
        read, at = spikes_of(tile, op)
        around = Around(at, rect, tile.limits[stage.layer.sources[0]], tile.integers.timesteps)
        tile.each(tile.charge.rows(read, around, v_out), rect.height, ROWS)
    elif not stage.fused:
        name = stage.layer.name
        _fire(tile, prepared, tile.tensors[name], rect.within(tile.place(name)), out, v_out)
    elif prepared.weights.size:
        _plain(tile, op, prepared, out, v_out)
    elif isinstance(tile.wired[stage.layer.name], SpikeConv) and stage.neuron.step is None:
        _fused(tile, op, prepared, out, v_out)
    else:
        _in_bands(tile, op, prepared, out, v_out)
    return out, v_out.transpose(2, 0, 1)


def _fused(tile: Tile, op: Op, p: Prepared, out: WideSpikes, v_out: Ints) -> None:
    """A convolution of spikes with its declared neurons."""
    layer, rect = p.stage.layer, tile.rects[op.at]
    source, at = gathered(tile, op)
    around = Around(at, rect, tile.limits[layer.sources[0]], tile.integers.timesteps)
    wired = tile.wired[layer.name]
    assert isinstance(wired, SpikeConv)
    tile.each(wired.fire(source, around, p, out, v_out), rect.height, ROWS)


def _plain(tile: Tile, op: Op, p: Prepared, out: WideSpikes, v_out: Ints) -> None:
    """The same with a plain convolution, of the image too, by the kernels of chains."""
    rect, analog = tile.rects[op.at], like_image(tile, op)
    source, at = (None, tile.rects[op.reads[0]]) if analog else gathered(tile, op)
    pad = 0 if source is None else source.pad
    begin = np.array([pad - p.radius + rect.y0 - at.y0, pad - p.radius + rect.x0 - at.x0], np.int64)
    into, timesteps = np.array([out.pad, out.pad], np.int64), tile.integers.timesteps
    neurons = (p.v0, p.threshold, p.reset, out.words, into)

    def rows(first: int, last: int) -> None:
        block = np.array([first, last, 0, rect.width], np.int64)
        if source is None:
            plane = tile.tensors[op.reads[0]]
            wide.analog_fire(plane, begin, p.size, p.weights, timesteps, p.bias[0], *neurons, block, p.dynamics)
        else:
            numbers = (begin, p.size, p.weights, 0, timesteps, p.bias, *neurons)
            wide.conv_fire(source.words, *numbers, v_out, block, None, None, p.dynamics)

    tile.each(rows, rect.height, ROWS)


def _in_bands(tile: Tile, op: Op, p: Prepared, out: WideSpikes, v_out: Ints) -> None:
    """A convolution's or gate's current band by band, and the neurons at once."""
    fill, rect = fill_of(tile, op), tile.rects[op.at]
    steps = 1 if like_image(tile, op) else tile.integers.steps
    most = max(1, CURRENTS // (steps * rect.width * p.stage.channels))
    kept = threading.local()

    def rows(first: int, last: int) -> None:
        band = np.empty((steps, last - first, rect.width, p.stage.channels), np.int32)
        fill(first, last, band, 0)
        _fire_rows(tile, p, kept, band, (-first, 0), first, last, out, v_out)

    if p.stage.neuron.scope == "layer":
        rows(0, rect.height)
        return
    tile.each(rows, rect.height, min(most, ROWS))


def _fire(tile: Tile, p: Prepared, current: Ints, inside: Rect, out: WideSpikes, v_out: Ints) -> None:
    """Neurons of a current whose part `inside` they lie in."""
    kept = threading.local()

    def rows(first: int, last: int) -> None:
        _fire_rows(tile, p, kept, current, (inside.y0, inside.x0), first, last, out, v_out)

    if p.stage.neuron.scope == "layer":
        rows(0, inside.height)
        return
    tile.each(rows, inside.height, ROWS)


def _fire_rows(
    tile: Tile,
    p: Prepared,
    kept: threading.local,
    current: Ints,
    at: tuple[int, int],
    first: int,
    last: int,
    out: WideSpikes,
    v_out: Ints,
) -> None:
    """Rows first .. last-1 of neurons; the current of the first of all lies at row and column `at` of its array."""
    timesteps, width = tile.integers.timesteps, out.words.shape[1] - 2 * out.pad
    into, block = np.array([out.pad, out.pad], np.int64), np.array([first, last, 0, width], np.int64)
    if p.stage.neuron.step is None:
        none = np.zeros((2, p.columns), np.int32)  # the biases are in the current
        numbers = (none, p.v0, p.threshold, p.reset, out.words, into, v_out, block, None, None, p.dynamics)
        currents.fire(current, np.array(at, np.int64), timesteps, *numbers)
        return
    neurons = stepped_neurons(kept, p, (last - first) * width, tile.integers)
    for t in range(tile.integers.steps):
        arriving = current[t if len(current) > 1 else 0, at[0] + first : at[0] + last, at[1] : at[1] + width]
        neurons.current[:] = 0 if len(current) == 1 and t >= timesteps else arriving.reshape(neurons.current.shape)
        fire_block(neurons, t, out.words, into, block)


def _flow(tile: Tile, op: Op, flow: Flow) -> Ints | None:
    """The current of a flow, or None where nothing else reads it; its neurons' spikes are kept until they are asked for."""
    rect, steps = tile.rects[op.at], tile.integers.steps
    out = base = None
    p = next(iter(tile.prepared.values()))  # of any neurons, where none are fired
    base_at, current_at = np.zeros(2, np.int64), np.zeros(2, np.int64)
    if flow.base is not None:
        base, inside = tile.tensors[flow.base], rect.within(tile.place(flow.base))
        base_at[:] = inside.y0, inside.x0
    spikes, border = None, 0
    if flow.neurons is not None and tile.rects[flow.neurons] == rect:
        p = tile.prepared[flow.neurons]
        out = WideSpikes.empty(rect.height, rect.width, steps, p.stage.channels, tile.pad)
        tile.fired[flow.neurons], spikes, border = out, out.words, out.pad
    current = None
    if flow.kept or (out is None and flow.neurons is not None):
        if flow.reused and flow.base is not None:
            current, current_at = base, base_at
            tile.places[op.name] = tile.place(flow.base)
        else:
            current = MEMORY.take((steps, rect.height, rect.width, flow.bias.shape[1]), np.int32)
    if current is None and out is None:
        return None
    where = np.zeros((len(flow.terms), 6), np.int64)
    for i, term in enumerate(flow.terms):
        source, at = tile.tensors[term.source], tile.rects[term.source]
        _, width, _, words = source.words.shape
        begin = (source.pad - at.y0, source.pad - at.x0)
        where[i] = source.words.ctypes.data, width * steps * words, steps * words, term.factor, *begin
    chunks = flow.chunks.copy()
    chunks[:, 2] = [tile.tensors[flow.terms[term].source].words.shape[3] for term in chunks[:, 0]]
    numbers = (p.v0, p.threshold, p.reset, p.dynamics, steps)
    laid = (flow.factor, chunks.ravel(), flow.ends, flow.tables, flow.woven, flow.bias)
    added = (base, base_at, flow.shift, current, current_at, spikes, border)
    first_at = np.array([rect.y0, rect.x0], np.int64)

    def rows(first: int, last: int) -> None:
        block = np.array([first, last, 0, rect.width], np.int64)
        streams.flow(where, first_at, *laid, *added, *numbers, block)

    tile.each(rows, rect.height, ROWS)
    return current


def current(tile: Tile, op: Op) -> Ints:
    """The current that neurons integrate, or that a convolution or gate makes: over the rectangle of the op."""
    rect = tile.rects[op.at]
    if op.stage is not None and not op.stage.fused:
        name = op.stage.layer.name
        rows, columns = rect.within(tile.place(name)).slices
        return np.asarray(tile.tensors[name][:, rows, columns])
    channels = tile.integers.network.widths[op.at if op.stage is None else op.stage.layer.name]
    steps = 1 if like_image(tile, op) else tile.integers.steps
    out = MEMORY.take((steps, rect.height, rect.width, channels), np.int32)
    fill = fill_of(tile, op)
    tile.each(lambda first, last: fill(first, last, out, first), rect.height, ROWS)
    return out


def _by_step(tile: Tile, op: Op, step: Callable[[list[Source], Rect, tuple[int, int], int], Ints]) -> Ints:
    rect, limits, steps = tile.rects[op.at], tile.limits[op.reads[0]], tile.integers.steps
    read = tile.sources(op)
    if op.name in tile.plan.constant:
        steps = 1
    out = MEMORY.take((steps, rect.height, rect.width, tile.integers.network.widths[op.name]), np.int32)

    def each(first: int, last: int) -> None:
        band = Rect(rect.y0 + first, rect.y0 + last, rect.x0, rect.x1)
        for t in range(steps):
            out[t, first:last] = step(read, band, limits, t)

    tile.each(each, rect.height, ROWS)
    return out


def _linear(tile: Tile, op: Op) -> Ints:
    timesteps = tile.integers.timesteps
    return _by_step(tile, op, lambda read, rect, limits, t: linear.line(op.layer, read, rect, limits, timesteps, t))


def _arranged(tile: Tile, op: Op) -> Any:
    return ARRANGE[tile.plan.carries[op.name]](tile, op)


def _arranged_current(tile: Tile, op: Op) -> Ints:
    timesteps = tile.integers.timesteps
    return _by_step(
        tile, op, lambda read, rect, limits, t: linear.moved_current(op.layer, read, rect, limits, timesteps, t)
    )


def _arranged_planes(tile: Tile, op: Op) -> Ints:
    return linear.moved_planes(op.layer, tile.sources(op), tile.rects[op.at], tile.limits[op.reads[0]])


def _arranged_spikes(tile: Tile, op: Op) -> WideSpikes:
    rect, steps = tile.rects[op.at], tile.integers.steps
    planes, read = len(tile.integers.planes(op.name)), tile.sources(op)
    channels = tile.integers.network.widths[op.name] * planes
    out = WideSpikes.empty(rect.height, rect.width, steps, channels, tile.pad)

    tile.each(linear.move_spikes(op.layer, read, rect, planes, out), rect.height, ROWS)
    return out


ARRANGE: Mapping[str, Callable[[Tile, Op], Any]] = {
    "image": _arranged_planes,
    "spikes": _arranged_spikes,
    "current": _arranged_current,
}
"""How what a tensor holds is moved."""

MAKE: Mapping[Role, Callable[[Tile, Op], Any]] = {
    "current": current,
    "linear": _linear,
    "arrange": _arranged,
    "constant": lambda tile, op: linear.constant(op.layer, tile.rects[op.at], UNIT),
}
"""How the tensors of layers of each role are made, neurons aside."""
