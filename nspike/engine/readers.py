"""Who reads the spikes of a layer, and how many accumulations they cause there: directly, or through what moves them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nspike.engine.digit_spikes import AnySpikes
from nspike.engine.plan import Plan
from nspike.engine.spikes import WideSpikes
from nspike.engine.window import Rect
from nspike.graph.arrange import move, parts
from nspike.graph.geometry import fan, geometry
from nspike.graph.layer import Conv, Layer
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.model.model import OUTPUT

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that reads spikes of some neurons.

    layer : a convolution or gate, or the head as a convolution. tensor, at : what it reads, the neurons' own spikes or what
    has moved them, and the layer at whose resolution that lies. origin : of moved spikes, which come from these neurons,
    bool (C, rows, columns), repeated along rows and columns; None for all.
    """

    layer: Layer
    tensor: str
    at: str
    origin: Bools | None = None


def readers(integers: IntegerNetwork, plan: Plan) -> dict[str, tuple[Reader, ...]]:
    """The readers of every stage, in the order of the layers; one that reads spikes twice is there twice."""
    network = integers.network
    read: dict[str, list[Reader]] = {stage.name: [] for stage in integers.stages}
    origins = _origins(integers, plan)
    names = list(read)
    for op in plan.ops:
        part = op.stage if op.stage is not None and op.stage.fused else op.writer
        if part is None or not op.reads:
            continue
        for source in part.sources:
            if source in read:
                read[source].append(Reader(part.layer, source, source))
                continue
            for number in np.unique(origins[source]).tolist():
                origin = _smallest(origins[source] == number)
                read[names[number]].append(Reader(part.layer, source, source, origin))
    if integers.head.kernel:
        channels = network.widths[network.output]
        head = Conv("head", OUTPUT, channels, channels, integers.head.kernel)
        read[OUTPUT].append(Reader(head, OUTPUT, network.output))
    return {name: tuple(each) for name, each in read.items()}


def _origins(integers: IntegerNetwork, plan: Plan) -> dict[str, NDArray[np.int64]]:
    """Of every tensor of spikes over a block of the size multiple, the number of the stage that each comes from."""
    network = integers.network
    names = [stage.name for stage in integers.stages]
    shapes = network.shapes(network.size_multiple, network.size_multiple)
    origins: dict[str, NDArray[np.int64]] = {}
    for op in plan.ops:
        if op.name == OUTPUT:
            break
        if op.stage is not None:
            origins[op.name] = np.full(shapes[op.at], names.index(op.name), np.int64)
        elif plan.carries[op.name] == "spikes":
            read = [origins[source] for source in parts(network, op.name)]
            origins[op.name] = move(op.layer, [np.concatenate(read)])
    return origins


def _smallest(origin: Bools) -> Bools | None:
    """The smallest block that a pattern repeats; None if it is everywhere."""
    if origin.all():
        return None
    for size in range(1, origin.shape[1] + 1):
        if origin.shape[1] % size == 0 and origin.shape[2] % size == 0:
            block = origin[:, :size, :size]
            if (np.tile(block, (1, origin.shape[1] // size, origin.shape[2] // size)) == origin).all():
                break
    return np.ascontiguousarray(block)


def tally(
    stage: Stage, readers: Sequence[Reader], spikes: AnySpikes, at: tuple[int, int], core: Rect, size: tuple[int, int]
) -> tuple[Counts, Counts]:
    """Count a stage's spikes in a tensor over a tile's core, which begins at row and column `at` of them.

    readers : of that stage and tensor, perhaps none. core, size : at the tensor's resolution: the rectangle, and height and
    width of the whole, at whose border a spike has fewer targets. Returns the spikes of each plane int64 (planes, steps),
    and the accumulations in each reader int64 (readers, steps), a spike being as many as its neuron says.
    """
    layers = [reader.layer for reader in readers]
    rows = np.zeros((len(layers), core.height), np.int64)
    columns = np.zeros((len(layers), core.width), np.int64)
    for i, layer in enumerate(layers):
        rows[i], columns[i] = _fan(layer, size[0])[core.y0 : core.y1], _fan(layer, size[1])[core.x0 : core.x1]
    targets = np.array([geometry(layer).targets(layer) for layer in layers], np.int64)[:, None]
    origin = readers[0].origin if readers else None
    each = np.array(stage.neuron.accumulations, np.int64)
    if origin is None:
        events, weighted = spikes.count(at, len(each), rows, columns)
    else:
        assert isinstance(spikes, WideSpikes)
        events, weighted = _some(spikes, len(each), origin, at, core, rows, columns)
    return events, np.tensordot(each, weighted, 1) * targets


@lru_cache(maxsize=256)
def _fan(layer: Layer, size: int) -> Counts:
    """As `fan`, not to be changed."""
    return fan(layer, size)


def _some(
    spikes: WideSpikes, planes: int, origin: Bools, at: tuple[int, int], core: Rect, rows: Counts, columns: Counts
) -> tuple[Counts, Counts]:
    """As `spikes.count`, of those that `origin` says."""
    period = origin.shape[1]
    ones = np.ones((1, core.height), np.int64), np.ones((1, core.width), np.int64)
    total = np.zeros((planes, 1 + len(rows), spikes.words.shape[2]), np.int64)
    for y, x in np.ndindex(period, period):
        if origin[:, y, x].any():
            wanted = np.kron(np.eye(planes, dtype=np.bool_), origin[:, y, x])
            there = _every(np.concatenate([ones[0], rows]), y, period, core.y0)
            across = _every(np.concatenate([ones[1], columns]), x, period, core.x0)
            total += spikes.count_some(at, wanted, there, across)[1]
    return total[:, 0], total[:, 1:]


def _every(values: Counts, number: int, period: int, first: int) -> Counts:
    """Zeros but for the positions that are `number` modulo `period`; values[:, 0] are at position `first`."""
    return np.where((first + np.arange(values.shape[1])) % period == number, values, 0)
