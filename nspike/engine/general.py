"""The tensors of a network that is no chain over one tile, each on its own rectangle, on a pool of threads.

Spikes are packed by channel; currents are int32 (steps, rows, columns, C), or a single step of what is the same up to T;
planes like the image's are int32 (C, rows, columns). How the rows are shared out changes no spike.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine import linear
from nspike.engine.charge import Charge, DigitCharge
from nspike.engine.digit_conv import DigitConv, Placed
from nspike.engine.digit_passes import DigitPass
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.flows import Flow
from nspike.engine.linear import Source
from nspike.engine.plan import Op, Plan
from nspike.engine.prepared import Prepared
from nspike.engine.spikes import WideSpikes
from nspike.engine.stages import fire_block, stepped_neurons
from nspike.engine.window import Around, Rect
from nspike.engine.wiring import Fill, SpikeConv, Wired
from nspike.graph.geometry import Role, geometry
from nspike.graph.layer import IMAGE
from nspike.images.plane import UNIT
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.kernels import currents, digits, numbers, streams, wide
from nspike.model.model import OUTPUT
from nspike.runtime.buffers import Pool

Ints = NDArray[np.int32]

ROWS = 32
"""How many rows a thread gets at a time at most."""
CURRENTS = 1 << 18
"""How many numbers of a current a thread keeps at a time where neurons fire from it at once."""

MEMORY = Pool()
"""Of currents."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile while it runs.

    integers, plan, prepared, wired, flows, passes, charge : of the program; pad : the border of the spikes.
    rects, limits : of each layer by name, the rectangle that is needed of it, and its height and width.
    tensors : the tensors that are alive, by name. fired : spikes that were made with the current that they come from.
    places : of currents in memory that was another's, and of what shuffles make, the rectangle that they cover.
    """

    integers: IntegerNetwork
    plan: Plan
    prepared: Mapping[str, Prepared]
    wired: Mapping[str, Wired]
    flows: Mapping[str, Flow]
    passes: Mapping[str, DigitPass]
    charge: Charge | DigitCharge | None
    pad: int
    rects: Mapping[str, Rect]
    limits: Mapping[str, tuple[int, int]]
    pool: Executor
    threads: int
    tensors: dict[str, Any] = field(default_factory=dict)
    fired: dict[str, WideSpikes | DigitSpikes] = field(default_factory=dict)
    places: dict[str, Rect] = field(default_factory=dict)

    def each(self, function: Callable[[int, int], None], count: int, most: int) -> None:
        """Call function(first, last) over bands of up to `most` of `count` rows or steps."""
        size = max(1, min(most, -(-count // (2 * self.threads))))
        bands = [(first, min(first + size, count)) for first in range(0, count, size)]
        for _ in self.pool.map(lambda band: function(*band), bands):
            pass

    def place(self, name: str) -> Rect:
        """The rectangle that a tensor's array covers: that which is needed of it, or more."""
        return self.places.get(name, self.rects[name])

    def forget(self, name: str) -> None:
        """Let go of a tensor."""
        held = self.tensors.pop(name)
        if type(held) is DigitSpikes:
            held.give_back()
        elif held is not None and self.plan.carries.get(name) == "current" and not self._shared(held):
            MEMORY.give(held)

    def _shared(self, held: Ints) -> bool:
        return any(other is held for other in self.tensors.values())

    def sources(self, op: Op) -> list[Source]:
        """What an op reads, with the shifts of its currents."""
        shifts = {name: shift for (to, name), shift in self.integers.shifts.items() if to == op.name}
        return [
            Source(
                self.tensors[name],
                self.place(name),
                shifts[name].astype(np.int32) if name in shifts else None,
            )
            for name in op.reads
        ]


def run(tile: Tile, op: Op) -> Any:
    """The tensor of an op that is not one of neurons; None of a current that is never stored."""
    if op.name in tile.flows:
        return _flow(tile, op, tile.flows[op.name])
    if op.name in tile.passes:
        return _pass(tile, op, tile.passes[op.name])
    if op.name in tile.plan.unstored:
        return None
    return MAKE[geometry(op.layer).role](tile, op)


def neurons(tile: Tile, op: Op, membranes: bool) -> tuple[WideSpikes | DigitSpikes, Ints]:
    """The spikes of an op of neurons and, if `membranes`, the membranes at the end, int32 (C, rows, columns), else nothing."""
    assert op.stage is not None
    if op.name in tile.fired:
        return tile.fired.pop(op.name), np.zeros((0, 0, 0), np.int32)
    if op.name in tile.plan.numbers:
        return _numbers(tile, op), np.zeros((0, 0, 0), np.int32)
    stage, rect, prepared = op.stage, tile.rects[op.at], tile.prepared[op.stage.name]
    channels = stage.channels * len(stage.neuron.planes)
    out = WideSpikes.empty(rect.height, rect.width, tile.integers.steps, channels, tile.pad)
    v_out = np.zeros((rect.height, rect.width, stage.channels if membranes else 0), np.int32)
    if op.name == OUTPUT and tile.charge is not None:
        read, at = _read(tile, op)
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
    rect, like_image = tile.rects[op.at], _like_image(tile, op)
    source, at = (None, tile.rects[op.reads[0]]) if like_image else gathered(tile, op)
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
    fill, rect = _fill(tile, op), tile.rects[op.at]
    steps = 1 if _like_image(tile, op) else tile.integers.steps
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


def _numbers(tile: Tile, op: Op) -> DigitSpikes:
    """The spikes of neurons whose numbers are held."""
    assert op.stage is not None
    stage, rect, p = op.stage, tile.rects[op.at], tile.prepared[op.stage.name]
    out = _silent(tile, stage, rect)
    if not stage.fused:
        name = stage.layer.name
        arriving = Placed(tile.tensors[name], tile.place(name))
        where = arriving.where(rect)
        tile.each(lambda first, last: _fire_numbers(p, arriving.current, where, out, first, last), rect.height, ROWS)
        return out
    wired = tile.wired[stage.layer.name]
    if isinstance(wired, DigitConv):
        read, at = _digits(tile, op, wired)
        tile.each(wired.rows(read, at, rect, fired=out, form=p.form), rect.height, ROWS)
        return out
    fill = _fill(tile, op)

    def rows(first: int, last: int) -> None:
        band, across = np.empty((1, last - first, rect.width, stage.channels), np.int32), rect.width * stage.channels
        fill(first, last, band, 0)
        _fire_numbers(p, band, [-first * across, across], out, first, last)

    tile.each(rows, rect.height, max(1, min(CURRENTS // (rect.width * stage.channels), ROWS)))
    return out


def _fire_numbers(p: Prepared, current: Ints, where: list[int], out: DigitSpikes, first: int, last: int) -> None:
    """Rows first .. last-1 of neurons; where : the index of the current of the first of all, and how many lie from row to row."""
    assert p.form is not None
    places = np.array([where, [out.index(0, 0), out.row]], np.int64)
    block = np.array([first, last, out.shape[1]], np.int64)
    digits.fire(current.reshape(-1), places, out.shape[2], p.form, out.flat, block)


def _silent(tile: Tile, stage: Stage, rect: Rect) -> DigitSpikes:
    signed = stage.dynamics.down > 0
    digits, border = len(stage.neuron.planes) >> signed, tile.plan.border
    return DigitSpikes.empty(rect.height, rect.width, stage.channels, border, digits, signed)


def _pass(tile: Tile, op: Op, own: DigitPass) -> Ints | None:
    """The current of a pass, or None where nothing else reads it; its neurons' numbers are kept until they are asked for."""
    rect = tile.rects[own.op.at]
    made = rect if own.conv.factor == 1 else rect.scaled(Fraction(own.conv.factor))
    bases = tuple(Placed(tile.tensors[base], tile.place(base)) for base in own.bases)
    fired = kept = form = None
    if own.neurons is not None:
        p = tile.prepared[own.neurons]
        fired, form = _silent(tile, p.stage, made), p.form
        tile.fired[own.neurons], tile.places[own.neurons] = fired, made
    if own.kept:
        if own.reused is not None:
            kept = Placed(tile.tensors[own.reused], tile.place(own.reused))
        else:
            kept = Placed(MEMORY.take((1, made.height, made.width, own.conv.channels), np.int32), made)
        tile.places[op.name] = kept.rect
    read, at = _digits(tile, own.op, own.conv)
    tile.each(own.conv.rows(read, at, rect, bases, kept, fired, form), rect.height, ROWS)
    return None if kept is None else kept.current


def _like_image(tile: Tile, op: Op) -> bool:
    return all(tile.plan.carries[name] == "image" for name in op.reads)


def gathered(tile: Tile, op: Op) -> tuple[WideSpikes, Rect]:
    """The spikes that a convolution or gate reads, those of several sources side by side, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    names = part.sources
    if len(names) == 1:
        return tile.tensors[names[0]], tile.place(names[0])
    rect = linear.read_rect(part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]])
    words = []
    for name in names:
        (y, x), pad = (rect.y0 - tile.rects[name].y0, rect.x0 - tile.rects[name].x0), tile.pad
        words.append(tile.tensors[name].words[y + pad : y + pad + rect.height, x + pad : x + pad + rect.width])
    joined = np.zeros((rect.height + 2 * tile.pad, rect.width + 2 * tile.pad, *_joined(words)), np.uint64)
    inner = joined[tile.pad : tile.pad + rect.height, tile.pad : tile.pad + rect.width]
    np.concatenate(words, axis=3, out=inner)
    return WideSpikes(joined, tile.pad, joined.shape[3] * 64), rect


def _read(tile: Tile, op: Op) -> tuple[Any, Rect]:
    """The spikes that a convolution or gate reads as its kernel takes them, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    wired = tile.wired[part.layer.name]
    return _digits(tile, op, wired) if isinstance(wired, DigitConv) else gathered(tile, op)


def _digits(tile: Tile, op: Op, conv: DigitConv) -> tuple[DigitSpikes, Rect]:
    """The numbers that a convolution reads, those of several sources side by side, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    first = tile.tensors[part.sources[0]]
    if len(part.sources) == 1 and type(first) is DigitSpikes:
        return first, tile.place(part.sources[0])
    rect, border = linear.read_rect(part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]]), tile.plan.border
    whole = sum(channels for channels, _ in conv.sources)
    out, c = DigitSpikes.empty(rect.height, rect.width, whole, border, conv.digits, False), 0
    for name, (channels, signed) in zip(part.sources, conv.sources, strict=True):
        out.padded()[..., c : c + channels] = digits.OFFSET * signed
        inside, source = rect.within(tile.place(name)), tile.tensors[name]
        if type(source) is DigitSpikes:
            out.array()[..., c : c + channels] = source.array()[inside.slices]
        else:
            tile.each(_put_together(source, inside, channels, signed, out, c), rect.height, ROWS)
        c += channels
    return out, rect


def _put_together(
    source: WideSpikes, inside: Rect, channels: int, signed: bool, out: DigitSpikes, c: int
) -> Callable[[int, int], None]:
    """rows(first, last): the numbers of packed spikes from channel `c` on."""
    at = np.array([inside.y0 + source.pad, inside.x0 + source.pad], np.int64)
    where = np.array([out.index(0, 0) + c, out.row], np.int64)

    def rows(first: int, last: int) -> None:
        block = np.array([first, last, inside.width], np.int64)
        numbers.put_together(source.words, at, channels, int(signed), out.digits, out.shape[2], out.flat, where, block)

    return rows


def _joined(words: list[NDArray[np.uint64]]) -> tuple[int, int]:
    return words[0].shape[2], sum(each.shape[3] for each in words)


def _fill(tile: Tile, op: Op) -> Fill:
    """How the current of a convolution or gate is filled in."""
    part = op.stage or op.writer
    assert part is not None
    layer, rect, limits = part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]]
    wired = tile.wired[layer.name]
    if _like_image(tile, op):
        (name,) = op.reads
        return wired.fill(tile.tensors[name], Around(tile.rects[name], rect, limits, tile.integers.timesteps))
    read, source = _read(tile, op)
    if IMAGE in op.reads:
        read = read, tile.tensors[IMAGE][:, *rect.within(tile.rects[IMAGE]).slices]
    return wired.fill(read, Around(source, rect, limits, tile.integers.timesteps))


def current(tile: Tile, op: Op) -> Ints:
    """The current that neurons integrate, or that a convolution or gate makes: over the rectangle of the op."""
    rect = tile.rects[op.at]
    if op.stage is not None and not op.stage.fused:
        name = op.stage.layer.name
        rows, columns = rect.within(tile.place(name)).slices
        return np.asarray(tile.tensors[name][:, rows, columns])
    channels = tile.integers.network.widths[op.at if op.stage is None else op.stage.layer.name]
    steps = 1 if _like_image(tile, op) else tile.integers.steps
    out = MEMORY.take((steps, rect.height, rect.width, channels), np.int32)
    fill = _fill(tile, op)
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
