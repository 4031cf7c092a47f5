"""Parts of a network that one pass of `nspike.kernels.streams` runs: a pointwise convolution of spikes, a shuffle of its
current, the sum with one other current, and the neurons that integrate that.

Each of them is an op of the plan and is counted as such; only the currents in between are never stored. Nor is the other
current where a flow makes it of few tables: they are looked up again, and of a number only its spikes' bits are kept. A flow
is for declared neurons of one plane without post steps, and for multiples of 16 channels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.plan import Op, Plan, finished
from nspike.engine.tables import WORD, Listing, Table, every_sum, passes
from nspike.graph.layer import Add, ChannelShuffle, Conv, Layer, PixelShuffle
from nspike.integer.rounding import IntegerNetwork
from nspike.kernels.streams import CHUNK
from nspike.kernels.vector import NARROW

Ints = NDArray[np.int64]

MOST_LOOKED_UP = 4
"""A current that takes more tables for 16 of its channels is stored. `spikerir_lite` takes as long with 4 as with all of them
stored, in two thirds of the memory; with 12 a fifth longer, with 24 a third longer, in less than a third."""


@dataclass(frozen=True, eq=False)
class Term:
    """A pointwise convolution of spikes as tables.

    source : the spikes. factor : how much higher and wider its current is than they are.
    woven : how many blocks of channels are woven, or 0 where the blocks of 16 channels are in order.
    blocks : for each position within a factor × factor square and each block, the first input channel of each table, and the
    table, every sum of the weights of it and those after it, int16 (2^n, 16).
    bias : int32 (factor², C).
    """

    source: str
    factor: int
    woven: int
    blocks: list[list[list[tuple[int, Table]]]]
    bias: NDArray[np.int32]

    @property
    def looked_up(self) -> int:
        """In how many tables a block is looked up at most."""
        return max(len(tables) for blocks in self.blocks for tables in blocks)


@dataclass(frozen=True, eq=False)
class Flow:
    """One pass.

    name : the current that it makes; terms : what it looks up; base : the current that is added, or none.
    ops : of the plan that it does beside that of its name, but for the neurons.
    neurons : the op of the neurons that it fires, or none. kept : whether anything else reads the current.
    reused : whether nothing reads the base afterwards, so that its memory becomes the current's.
    factor, chunks, ends, tables, woven, bias, shift : see `nspike.kernels.streams.flow`.
    """

    name: str
    terms: tuple[Term, ...]
    base: str | None
    ops: tuple[str, ...]
    neurons: str | None
    kept: bool
    reused: bool
    factor: int
    chunks: Ints
    ends: Ints
    tables: NDArray[np.int16]
    woven: Ints
    bias: NDArray[np.int32]
    shift: NDArray[np.int32]

    @property
    def reads(self) -> tuple[str, ...]:
        """The tensors that it reads."""
        return (*(term.source for term in self.terms), *(() if self.base is None else (self.base,)))


@dataclass(frozen=True)
class _Part:
    """A flow before it is laid out; own : the current that its first op added, or none."""

    name: str
    terms: tuple[Term, ...]
    base: str | None
    own: str | None
    ops: tuple[str, ...]
    neurons: str | None
    shift: Ints


def flows(integers: IntegerNetwork, plan: Plan) -> tuple[Plan, dict[str, Flow]]:
    """The flows of a plan by their names, and the plan with what is needed until they run."""
    if integers.post_steps or plan.chain:
        return plan, {}
    parts: dict[str, _Part] = {}
    for op in plan.ops:
        part = _flow(integers, plan, op, parts)
        if part is not None:
            parts[part.name] = part
    stored = _stored(integers, plan, parts)
    found = {name: _laid_out(part, name in stored) for name, part in parts.items()}
    at = {name: flow.name for flow in found.values() for name in flow.ops}
    unstored = at.keys() | {name for name, flow in found.items() if not flow.kept}
    plan = replace(
        plan,
        finished=finished(plan.ops, at, {name: flow.reads for name, flow in found.items()}),
        unstored=frozenset(unstored),
    )
    done = dict(zip((op.name for op in plan.ops), plan.finished, strict=True))
    reuses = {
        name: flow.base
        for name, flow in found.items()
        if flow.base in done[name] and flow.base not in plan.constant and flow.kept
    }
    found = {name: replace(flow, reused=name in reuses) for name, flow in found.items()}
    return replace(plan, reuses=reuses), found


def _stored(integers: IntegerNetwork, plan: Plan, parts: Mapping[str, _Part]) -> set[str]:
    """The currents of flows that something else reads."""
    inside = {name: part.name for part in parts.values() for name in part.ops}
    read = {integers.network.output}
    for op in plan.ops:
        flow = parts.get(inside.get(op.name, op.name))
        for name in op.reads:
            fires = name in parts and parts[name].neurons == op.name
            if not fires and (flow is None or name == flow.base or name not in parts):
                read.add(name)
    return read & parts.keys()


def _flow(integers: IntegerNetwork, plan: Plan, op: Op, parts: Mapping[str, _Part]) -> _Part | None:
    """The flow that begins with an op, or none."""
    writer, conv = op.writer, _part(op, "convolution")
    if writer is None or conv is None or len(writer.sources) != 1 or conv.kernel_shape[2:] != (1, 1):
        return None
    source, plain = writer.sources[0], (conv.stride, conv.pads) == (1, (0, 0))
    if not plain or len(writer.weights) != 1 or integers.planes(source) != (1,):
        return None
    last, moved = op, None
    after = _readers(plan, last)
    if len(after) == 1 and _part(after[0], "move") is not None and _is_current(plan, after[0]):
        last, moved = after[0], after[0].layer
        after = _readers(plan, last)
    term = _term(source, writer.weights[0, :, :, 0, 0], writer.bias, conv.groups, moved)
    channels = integers.network.widths[last.name]
    if term is None or channels % NARROW:
        return None
    terms: tuple[Term, ...] = (term,)
    own, base, ops, shift = None, None, [op.name, last.name], np.zeros(channels, np.int64)
    if len(after) == 1 and _part(after[0], "sum") is not None and len(set(after[0].reads)) == 2 == len(after[0].reads):
        end = after[0]
        others = [name for name in end.reads if name != last.name]
        moves = integers.shifts.get((end.name, last.name))
        if moves is None or not moves.any():
            own, last = others[0], end
            shift = integers.shifts.get((end.name, own), shift)
            base, after = own, _readers(plan, last)
            before = parts.get(own)
            if before is not None and not shift.any() and sum(t.looked_up for t in before.terms) <= MOST_LOOKED_UP:
                base, terms, shift = before.base, (*before.terms, term), before.shift
    fired = next((other for other in after if _can_fire(other)), None)
    ops = [name for name in dict.fromkeys(ops) if name != last.name]
    return _Part(last.name, terms, base, own, tuple(ops), None if fired is None else fired.name, shift)


PARTS: dict[type[Layer], str] = {Conv: "convolution", ChannelShuffle: "move", PixelShuffle: "move", Add: "sum"}
"""What a layer can be in a flow."""


FACTORS: dict[type[Layer], Callable[[Any], int]] = {
    PixelShuffle: lambda layer: int(layer.factor),
    ChannelShuffle: lambda layer: 1,
}
"""By how much a move enlarges."""


def _part(op: Op, part: str) -> Any:
    """The op's layer where it can be that part of a flow, or None."""
    return op.layer if PARTS.get(type(op.layer)) == part else None


def _readers(plan: Plan, op: Op) -> list[Op]:
    return [other for other in plan.ops for name in other.reads if name == op.name]


def _is_current(plan: Plan, op: Op) -> bool:
    return op.stage is None and plan.carries[op.name] == "current"


def _can_fire(op: Op) -> bool:
    stage = op.stage
    return stage is not None and not stage.fused and stage.neuron.step is None and stage.neuron.planes == (1,)


def _term(source: str, weights: NDArray[np.int16], bias: NDArray[np.int32], groups: int, moved: Any) -> Term | None:
    """Weights int16 (C, I) in `groups` as tables, or none where no order of theirs is known here."""
    channels, each = len(weights), len(weights) // groups
    woven, orders = 0, [np.arange(channels)]
    factor = 1 if moved is None else FACTORS[type(moved)](moved)
    if factor > 1:
        orders = [np.arange(channels // factor**2) * factor**2 + phase for phase in range(factor**2)]
    elif moved is not None:
        if moved.groups != groups or each > NARROW or groups < 4 or groups & groups - 1:
            return None
        woven = groups
    if not woven and len(orders[0]) % NARROW:
        return None
    size = each if woven else NARROW
    blocks = [
        [_tables(weights, order[first : first + size], each) for first in range(0, len(order), size)]
        for order in orders
    ]
    if woven:
        orders = [orders[0].reshape(groups, each).T.ravel()]
    return Term(source, factor, woven, blocks, np.stack([bias[order] for order in orders]).astype(np.int32))


def _laid_out(part: _Part, kept: bool) -> Flow:
    """The tables of all terms one after the other, and which of them each pass looks up."""
    factor = math.lcm(*(term.factor for term in part.terms))
    channels = part.terms[0].bias.shape[1]
    squares = [
        [phase // factor % term.factor * term.factor + phase % factor % term.factor for phase in range(factor**2)]
        for term in part.terms
    ]
    kinds = list(dict.fromkeys(term.woven for term in part.terms))
    across = max(woven or channels // NARROW for woven in kinds)
    listing, woven, ends = Listing(), [], []
    for kind in kinds:
        numbered = [(i, term) for i, term in enumerate(part.terms) if term.woven == kind]
        positions = [
            [
                passes(
                    [(i, bit, table) for i, term in numbered for bit, table in term.blocks[squares[i][phase]][block]]
                )
                for block in range(kind or channels // NARROW)
            ]
            for phase in range(factor**2)
        ]
        ends.append(listing.add(positions, across))
        woven += [kind] * len(ends[-1])
    chunks, tables = listing.arrays()
    bias = sum(term.bias[square] for term, square in zip(part.terms, squares, strict=True))
    return Flow(
        name=part.name,
        terms=part.terms,
        base=part.base,
        ops=part.ops,
        neurons=part.neurons,
        kept=kept,
        reused=False,
        factor=factor,
        chunks=chunks,
        ends=np.concatenate(ends),
        tables=tables,
        woven=np.array(woven, np.int64),
        bias=np.ascontiguousarray(bias, np.int32),
        shift=np.ascontiguousarray(part.shift, np.int32),
    )


def _tables(weights: NDArray[np.int16], wanted: Ints, each: int) -> list[tuple[int, Table]]:
    """(first input channel, every sum of the weights of it and those after it, int16 (2^n, 16)) of up to 16 output channels."""
    read = weights.shape[1]
    inputs = np.unique(np.concatenate([np.arange(read) + wanted_group * read for wanted_group in wanted // each]))
    parts, first = [], 0
    while first < len(inputs):
        start = int(inputs[first])
        count = min(CHUNK, len(inputs) - first, WORD - start % WORD)
        count = next(n for n in range(count, 0, -1) if inputs[first + n - 1] == start + n - 1)
        matrix = np.zeros((count, NARROW), np.int64)
        for i, channel in enumerate(wanted):
            for j in range(count):
                if (start + j) // read == channel // each:
                    matrix[j, i] = weights[channel, (start + j) % read]
        parts.append((start, every_sum(matrix)))
        first += count
    return parts
