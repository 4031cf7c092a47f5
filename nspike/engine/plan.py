"""What a program does, in order: the tensors that are made, and what each is made of.

Networks of one size whose convolutions are plain, each with neurons of its own whose spikes are no digits of numbers, are
*chains*: the spikes of all layers of a tile share one frame, and the fused kernels run them. In every other network each tensor
has its own rectangle at its own resolution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from nspike.engine.digits import reads_digits
from nspike.engine.window import Rect
from nspike.graph.arrange import parts
from nspike.graph.geometry import Interval, geometry, needed, times
from nspike.graph.layer import IMAGE, Concat, Layer
from nspike.graph.network import Network
from nspike.graph.values import Value, values
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT

MOST_KNOWN = 256
"""How many intervals a plan remembers."""


@dataclass(frozen=True)
class Op:
    """A tensor that is made.

    name : of the tensor: the activation or `OUTPUT`, else the layer. at : the layer at whose resolution and place it lies.
    layer : a stage's own activation or the output layer, else the layer itself. reads : the tensors that it is made of.
    stage, writer : of neurons, and of a convolution or gate that stands by itself.
    """

    name: str
    at: str
    layer: Layer
    reads: tuple[str, ...]
    stage: Stage | None = None
    writer: Writer | None = None


@dataclass(frozen=True)
class Plan:
    """The tensors of a network in the order in which they are made.

    network : of which; chain : see the module.
    ops : in order, that of the output layer's neurons last.
    finished : for each op, the names of the tensors that nothing reads after it.
    carries : what each layer's tensor holds; constant : the currents that are the same at every step up to T.
    head : how many pixels around the output the head reads.
    unstored : the ops whose currents are never stored; reuses : currents that take the memory of one that they add.
    numbers : the neurons whose spikes are held as the numbers whose digits they are, with `border` rows and columns around.
    known : what has been asked for along an axis: (first, last, size of the image) -> positions of each layer.
    """

    network: Network
    chain: bool
    ops: tuple[Op, ...]
    finished: tuple[tuple[str, ...], ...]
    carries: Mapping[str, Value]
    constant: frozenset[str]
    head: int
    unstored: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    border: int = 0
    reuses: Mapping[str, str] = field(default_factory=dict)
    known: dict[tuple[int, int, int], dict[str, Interval]] = field(default_factory=dict, compare=False, repr=False)

    def scale(self, at: str) -> Fraction:
        """The height of a layer over that of the image."""
        return Fraction(self.network.scales[at] or 1)

    def size(self, at: str, height: int, width: int) -> tuple[int, int]:
        """Height and width of a layer, of an image of multiples of the size multiple."""
        scale = self.network.scales[at]
        return (height, width) if scale in (1, None) else (times(height, scale), times(width, scale))

    def core(self, at: str, core: Rect) -> Rect:
        """A tile's core at a layer's resolution."""
        return core if self.network.scales[at] == 1 else core.scaled(self.scale(at))

    def regions(self, core: Rect, height: int, width: int) -> dict[str, Rect]:
        """What of each layer, and of the image, a tile of an image of height × width needs: all of its core, and halos."""
        rows = self._needed(core.y0, core.y1, height)
        columns = self._needed(core.x0, core.x1, width)
        return {name: Rect(*rows[name], *columns[name]) for name in rows}

    def _needed(self, first: int, last: int, size: int) -> dict[str, Interval]:
        key = (first, last, size)
        if key not in self.known:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[key] = self._computed(first, last, size)
        return self.known[key]

    def _computed(self, first: int, last: int, size: int) -> dict[str, Interval]:
        wanted = {}
        for op in self.ops:
            if op.stage is not None or self.carries[op.name] == "spikes":  # their spikes are counted
                scale, margin = self.scale(op.at), self.head if op.name == OUTPUT else 0
                wanted[op.at] = (int(first * scale) - margin, int(last * scale) + margin)
        need = needed(self.network.layers, size, wanted)
        gates = [need[op.at] for op in self.ops if IMAGE in op.reads]  # a gate reads the image where it lies itself
        read = [interval for interval in [need[IMAGE], *gates] if interval[0] < interval[1]]
        need[IMAGE] = min(first, *(i[0] for i in read)), max(last, *(i[1] for i in read))
        return need


def plan(integers: IntegerNetwork, given: str | None = None) -> Plan:
    """The plan of a network; `given` is a layer whose spikes are not computed, so that what only it needs is left out."""
    network, carries = integers.network, values(integers.network.layers)
    writers = {writer.name: writer for writer in integers.writers}
    stages = {stage.name: stage for stage in integers.stages}
    joined = {layer.name for layer in network.of_kind(Concat) if carries[layer.name] == "spikes"}
    ops: list[Op] = []
    for layer in network.layers:
        name, role = layer.name, geometry(layer).role
        if role == "neurons":
            if name in stages:
                ops.append(_neurons(network, stages[name], name, layer, given))
        elif role == "current":
            if name in writers:
                writer = writers[name]
                ops.append(
                    Op(name, name, layer, _reads(writer.layer, writer.sources, writer.gate.size > 0), None, writer)
                )
        elif name not in joined:
            reads = parts(network, name) if carries[name] == "spikes" else layer.sources
            ops.append(Op(name, name, layer, reads))
    ops.append(_neurons(network, stages[OUTPUT], network.output, network.layer(network.output), given))
    kept = _kept(ops, given)
    constant: set[str] = set()
    for op in kept:
        role = geometry(op.layer).role
        if carries[op.at] != "current" or op.stage is not None:
            continue
        if all(carries[name] == "image" for name in op.reads) if role == "current" else set(op.reads) <= constant:
            constant.add(op.name)
    return Plan(
        network,
        is_chain(integers),
        tuple(kept),
        finished(kept),
        carries,
        frozenset(constant),
        integers.head.kernel // 2,
    )


def _neurons(network: Network, stage: Stage, at: str, layer: Layer, given: str | None) -> Op:
    if stage.name == given:
        reads: tuple[str, ...] = ()
    elif stage.fused:
        reads = _reads(stage.layer, stage.sources, stage.gate.size > 0)
    else:
        reads = (stage.layer.name,)
    return Op(stage.name, at, layer, reads, stage)


def _reads(layer: Layer, sources: tuple[str, ...], gated: bool) -> tuple[str, ...]:
    return (sources or layer.sources) + ((IMAGE,) if gated else ())


def _kept(ops: list[Op], given: str | None) -> list[Op]:
    """The ops that neurons need; where spikes are given, those and what the output needs."""
    needed, kept = {OUTPUT, given}, []
    for op in reversed(ops):
        if op is ops[-1] or (op.stage is not None and given is None) or op.name in needed:
            kept.append(op)
            needed.update(op.reads)
    return kept[::-1]


def finished(
    ops: Sequence[Op], at: Mapping[str, str] | None = None, more: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[tuple[str, ...], ...]:
    """For each op, the names of the tensors that nothing reads after it.

    at : ops that are done later, with another; more : what ops read beside what they say.
    """
    places = {op.name: i for i, op in enumerate(ops)}
    last = {op.name: i for i, op in enumerate(ops[:-1])}
    for op in ops:
        done = places[(at or {}).get(op.name, op.name)]
        reads = (*op.reads, *(more or {}).get(op.name, ()))
        last |= {name: max(done, last.get(name, 0)) for name in reads if name != IMAGE}
    return tuple(tuple(name for name, at in last.items() if at == i) for i in range(len(ops)))


def is_chain(integers: IntegerNetwork) -> bool:
    """Whether a network is a chain, see the module."""
    network = integers.network
    names = {activation.name for activation in network.activations}
    if any(stage.fused and reads_digits(integers, stage) for stage in integers.stages):
        return False
    return (
        not integers.writers
        and all(conv.is_plain for conv in network.convs)
        and all(
            stage.fused and set(stage.sources) <= names and (stage.sources or tuple(stage.layer.sources) == (IMAGE,))
            for stage in integers.stages
        )
        and set(network.scales.values()) == {Fraction(1)}
    )


def is_plain(stage: Stage, network: Network) -> bool:
    """Whether the layer of a fused stage is a plain convolution."""
    return any(conv.is_plain for conv in network.convs if conv.name == stage.layer.name)
