"""Parts of a network that one pass of `nspike.kernels.streams` runs: a pointwise convolution of spikes, a shuffle of its
current, the sum with one other current, and the neurons that integrate that.

Each of them is an op of the plan and is counted as such; only the currents in between are never stored. A flow is for
declared neurons of one plane without post steps, and for multiples of 16 channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.plan import Op, Plan, finished
from nspike.graph.layer import Add, ChannelShuffle, Conv, Layer, PixelShuffle
from nspike.integer.rounding import IntegerNetwork
from nspike.kernels.streams import CHUNK
from nspike.kernels.vector import NARROW

Ints = NDArray[np.int64]

WORD = 64


@dataclass(frozen=True, eq=False)
class Flow:
    """One pass.

    name : the current that it makes; source : the spikes that it reads; base : the current that is added, or none.
    ops : of the plan that it does beside that of its name, but for the neurons.
    neurons : the op of the neurons that it fires, or none. kept : whether anything else reads the current.
    reused : whether nothing reads the base afterwards, so that its memory becomes the current's.
    factor, chunks, ends, tables, woven, bias, shift : see `nspike.kernels.streams.flow`.
    """

    name: str
    source: str
    base: str | None
    ops: tuple[str, ...]
    neurons: str | None
    kept: bool
    reused: bool
    factor: int
    chunks: Ints
    ends: Ints
    tables: NDArray[np.int16]
    woven: bool
    bias: NDArray[np.int32]
    shift: NDArray[np.int32]


def flows(integers: IntegerNetwork, plan: Plan) -> tuple[Plan, dict[str, Flow]]:
    """The flows of a plan by their names, and the plan with what is needed until they run."""
    if integers.post_steps or plan.chain:
        return plan, {}
    found = {}
    for op in plan.ops:
        flow = _flow(integers, plan, op)
        if flow is not None:
            found[flow.name] = flow
    at = {name: flow.name for flow in found.values() for name in flow.ops}
    unstored = at.keys() | {name for name, flow in found.items() if not flow.kept}
    plan = replace(plan, finished=finished(plan.ops, at), unstored=frozenset(unstored))
    done = dict(zip((op.name for op in plan.ops), plan.finished, strict=True))
    reuses = {
        name: flow.base
        for name, flow in found.items()
        if flow.base in done[name] and flow.base not in plan.constant and flow.kept
    }
    found = {name: replace(flow, reused=name in reuses) for name, flow in found.items()}
    return replace(plan, reuses=reuses), found


def _flow(integers: IntegerNetwork, plan: Plan, op: Op) -> Flow | None:
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
    laid = _laid(writer.weights[0, :, :, 0, 0], conv.groups, moved)
    channels = integers.network.widths[last.name]
    if laid is None or channels % NARROW:
        return None
    base, ops, shift = None, [op.name, last.name], np.zeros(channels, np.int64)
    if len(after) == 1 and _part(after[0], "sum") is not None and len(set(after[0].reads)) == 2 == len(after[0].reads):
        end = after[0]
        others = [name for name in end.reads if name != last.name]
        own = integers.shifts.get((end.name, last.name))
        if own is None or not own.any():
            base, last = others[0], end
            shift = integers.shifts.get((end.name, base), shift)
            after = _readers(plan, last)
    fired = next((other for other in after if _can_fire(other)), None)
    factor, chunks, ends, tables, orders, woven = laid
    return Flow(
        name=last.name,
        source=source,
        base=base,
        ops=tuple(name for name in dict.fromkeys(ops) if name != last.name),
        neurons=None if fired is None else fired.name,
        kept=len(after) > int(fired is not None) or last.name == integers.network.output,
        reused=False,
        factor=factor,
        chunks=chunks,
        ends=ends,
        tables=tables,
        woven=woven,
        bias=np.stack([writer.bias[order] for order in orders]).astype(np.int32),
        shift=np.ascontiguousarray(shift, np.int32),
    )


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


Laid = tuple[int, Ints, Ints, NDArray[np.int16], list[Ints], bool]
"""factor, chunks, ends, tables, for each position the convolution's channel that each of the current's is, woven"""


def _laid(weights: NDArray[np.int16], groups: int, moved: Any) -> Laid | None:
    """Weights int16 (C, I) in `groups` as tables, or none where no order of theirs is known here."""
    channels, each = len(weights), len(weights) // groups
    woven, orders = False, [np.arange(channels)]
    factor = 1 if moved is None else FACTORS[type(moved)](moved)
    if factor > 1:
        orders = [np.arange(channels // factor**2) * factor**2 + phase for phase in range(factor**2)]
    elif moved is not None:
        if moved.groups != groups or each > NARROW or groups < 4 or groups & groups - 1:
            return None
        woven = True
    if not woven and len(orders[0]) % NARROW:
        return None
    size = each if woven else NARROW
    chunks: list[tuple[int, int, int, int]] = []
    tables: list[NDArray[np.int16]] = []
    ends = np.zeros((len(orders), len(orders[0]) // size + 1), np.int64)
    rows = 0
    for phase, order in enumerate(orders):
        ends[phase, 0] = len(chunks)
        for block, first in enumerate(range(0, len(order), size)):
            wanted = order[first : first + size]
            for bit, table in _tables(weights, wanted, each):
                chunks.append((bit // WORD, bit % WORD, len(table) - 1, rows * NARROW))
                tables.append(table)
                rows += len(table)
            ends[phase, block + 1] = len(chunks)
    if woven:
        orders = [orders[0].reshape(groups, each).T.ravel()]
    return factor, np.array(chunks, np.int64), ends, np.concatenate(tables).ravel(), orders, woven


def _tables(weights: NDArray[np.int16], wanted: Ints, each: int) -> list[tuple[int, NDArray[np.int16]]]:
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
        bits = np.arange(1 << count)[:, None] >> np.arange(count) & 1
        parts.append((start, (bits @ matrix).astype(np.int16)))
        first += count
    return parts
