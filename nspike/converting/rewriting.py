"""How `nspike.converting.lowering` rewrites each layer.

What a layer has become is a `Tensor`: a concatenation of parts, each one kind of value. A concatenation is only made where
something reads it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.graph import geometry
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Gate,
    Layer,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """One kind of value: "image", "spikes" or "current"; the layer that gives it; whether it is never negative, or may be.

    signed : of spikes, whether their neurons also fire negative ones.
    """

    value: str
    name: str
    channels: int
    positive: bool = False
    signed: bool = False

    @property
    def kind(self) -> tuple[str, bool]:
        """What parts must have in common that are moved together."""
        return self.value, self.signed


@dataclass(frozen=True)
class Tensor:
    """Parts one after the other. joined : the layer of the network that gives them all together, if there is one."""

    parts: tuple[Part, ...]
    joined: str | None = None

    def all_are(self, *values: str) -> bool:
        """Whether every part is of one of these kinds of value."""
        return all(part.value in values for part in self.parts)


class Rewriter:
    """The layers made so far, their parameters, and what each layer of the network has become."""

    def __init__(self, network: Network, parameters: Mapping[str, Floats]) -> None:
        self.network, self.parameters = network, dict(parameters)
        self.layers: list[Layer] = []
        self.taken = {IMAGE, *(layer.name for layer in network.layers)}
        self.known = {IMAGE: Tensor((Part("image", IMAGE, network.channels),), IMAGE)}
        self.made: dict[tuple[str, str], Part] = {}

    def rewrite(self, layer: Layer) -> None:
        """Append what `layer` becomes."""
        read = [self.known[source] for source in layer.sources]
        self.known[layer.name] = LOWERING[type(layer)](self, layer, read)

    def finish(self, output: str) -> tuple[tuple[Layer, ...], str]:
        """The layers that the output needs, a current, and its name."""
        part = self.one(self.as_currents(self.known[output]), output)
        needed, kept = {part.name}, []
        for layer in self.layers[::-1]:
            if layer.name in needed:
                needed |= set(layer.sources)
                kept.append(layer)
        for owner in {conv.tied for conv in self.network.convs if conv.tied is not None} - needed:
            self.untie(owner)
        changed = {layer.name: layer for layer in self.layers}
        return tuple(changed[layer.name] for layer in kept[::-1]), part.name

    def fresh(self, wanted: str) -> str:
        """A name that no layer has."""
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}{number}"
        self.taken.add(name)
        return name

    def append(self, layer: Layer, value: str, channels: int, positive: bool = False, signed: bool = False) -> Part:
        """Append a layer; what it gives."""
        self.layers.append(layer)
        return Part(value, layer.name, channels, positive, signed)

    def part(self, like: Part, layer: Layer) -> Part:
        """Append a layer that gives what `like` is."""
        return self.append(layer, like.value, like.channels, like.positive, like.signed)

    def once(self, what: str, part: Part, make: Callable[[], Part]) -> Part:
        """What is made of a part in one way, made once."""
        if (what, part.name) not in self.made:
            self.made[what, part.name] = make()
        return self.made[what, part.name]

    def as_currents(self, tensor: Tensor) -> Tensor:
        """The tensor with identities after its parts that are no currents."""
        if tensor.all_are("current"):
            return tensor
        return Tensor(tuple(self.current(part) for part in tensor.parts))

    def current(self, part: Part, size: int = 1, name: str | None = None) -> Part:
        """A current that is the mean of blocks of size×size of the image or of spikes: with size 1 their own."""

        def make() -> Part:
            conv = Conv(
                name or self.fresh(f"{part.name}.current"), part.name, part.channels, part.channels, size, False,
                stride=size, groups=part.channels, padding=None if size == 1 else (0, 0),
            )  # fmt: skip
            self.parameters[f"{conv.name}.weight"] = np.full(conv.kernel_shape, 1 / size**2, np.float32)
            return self.append(conv, "current", part.channels, part.positive)

        return part if part.value == "current" else make() if name else self.once(f"mean{size}", part, make)

    def as_spikes(self, tensor: Tensor, reader: str) -> Tensor:
        """The tensor with neurons after its currents; the image as it is."""
        if tensor.all_are("spikes", "image"):
            return tensor
        parts = tensor.parts
        if len(parts) > 1 and tensor.all_are("current"):  # one layer of neurons for all
            parts = (self.one(tensor, reader),)
        return Tensor(tuple(self.spikes(part, reader) if part.value == "current" else part for part in parts))

    def spikes(self, part: Part, reader: str) -> Part:
        """The neurons of a current, or of the image."""
        if part.value == "spikes":
            return part
        current = self.current(part)

        def make() -> Part:
            signed = not current.positive
            layer = Activation(self.fresh(f"{reader}.in"), current.name, current.channels, signed=signed)
            return self.append(layer, "spikes", current.channels, current.positive, signed)

        return self.once("spikes", current, make)

    def one(self, tensor: Tensor, reader: str) -> Part:
        """The one layer that gives a tensor of one kind of value: concatenated if need be."""
        parts = tensor.parts
        if tensor.joined is None and len(parts) == 1:
            return parts[0]
        channels = sum(part.channels for part in parts)
        positive, signed = all(part.positive for part in parts), any(part.signed for part in parts)
        if tensor.joined is not None:
            return Part(parts[0].value, tensor.joined, channels, positive, signed)
        names = tuple(part.name for part in parts)

        def make() -> Part:
            concat = Concat(self.fresh(f"{reader}.joined"), names)
            return self.append(concat, parts[0].value, channels, positive, signed)

        return self.once(f"joined {names}", parts[0], make)

    def untie(self, owner: str) -> None:
        """Copy the parameters of convolution `owner` to those that share them: it is not going to stay as it is."""
        for conv in self.network.convs:
            if conv.tied == owner:
                for part in ("weight", *(["bias"] if conv.bias else [])):
                    self.parameters[f"{conv.name}.{part}"] = self.parameters[f"{owner}.{part}"]

        def own(layer: Any) -> Any:
            return replace(layer, tied=None) if getattr(layer, "tied", None) == owner else layer

        self.layers = [own(layer) for layer in self.layers]
        self.network = self.network.changed(Conv, own)


def _conv(rewriter: Rewriter, conv: Conv, read: list[Tensor]) -> Tensor:
    conv = next(other for other in rewriter.network.convs if other.name == conv.name)  # perhaps untied since
    tensor = rewriter.as_spikes(read[0], conv.name)
    images = [part for part in tensor.parts if part.value == "image"]
    if images and len(images) < len(tensor.parts):
        if conv.groups == 1:
            return Tensor((_split(rewriter, conv, tensor),))
        tensor = Tensor(tuple(rewriter.spikes(part, conv.name) for part in tensor.parts))
    part = rewriter.one(tensor, conv.name)
    kernel = rewriter.parameters[f"{conv.parameters}.weight"]
    bias = rewriter.parameters[f"{conv.parameters}.bias"] if conv.bias else np.zeros(1)
    positive = part.positive and bool(np.all(kernel >= 0) and np.all(bias >= 0))
    layer = conv if part.name == conv.source else replace(conv, source=part.name)
    return _joined(rewriter.append(layer, "current", conv.out_channels, positive))


def _split(rewriter: Rewriter, conv: Conv, tensor: Tensor) -> Part:
    """The sum of two convolutions, one of the image and one of spikes."""
    rewriter.untie(conv.parameters)
    kernel = rewriter.parameters.pop(f"{conv.name}.weight")
    names = []
    for value, bias in (("image", False), ("spikes", conv.bias)):
        first, chosen, parts = 0, [], []
        for part in tensor.parts:
            if part.value == value:
                chosen.append(kernel[:, first : first + part.channels])
                parts.append(part)
            first += part.channels
        weights = np.ascontiguousarray(np.concatenate(chosen, axis=1))
        name = rewriter.fresh(f"{conv.name}.{value}")
        source = rewriter.one(Tensor(tuple(parts)), name).name
        rewriter.append(
            replace(conv, name=name, source=source, in_channels=weights.shape[1], bias=bias, tied=None),
            "current", conv.out_channels,
        )  # fmt: skip
        rewriter.parameters[f"{name}.weight"] = weights
        if bias:
            rewriter.parameters[f"{name}.bias"] = rewriter.parameters.pop(f"{conv.name}.bias")
        names.append(name)
    return rewriter.append(Add(conv.name, tuple(names)), "current", conv.out_channels)


def _joined(part: Part) -> Tensor:
    return Tensor((part,), part.name)


def _activation(rewriter: Rewriter, layer: Activation, read: list[Tensor]) -> Tensor:
    tensor = read[0]
    same = all(part.positive for part in tensor.parts) or layer.signed
    if layer.ceiling is None and same and tensor.all_are("spikes"):  # a ReLU of what cannot be negative
        return tensor
    part = rewriter.one(rewriter.as_currents(tensor), layer.name)
    positive = part.positive or not layer.signed
    layer = layer if part.name == layer.source else replace(layer, source=part.name)
    return _joined(rewriter.append(layer, "spikes", layer.channels, positive, layer.signed))


def _gate(rewriter: Rewriter, layer: Gate, read: list[Tensor]) -> Tensor:
    tensor = read[0] if read[0].all_are("spikes") else rewriter.as_currents(read[0])
    part = rewriter.spikes(rewriter.one(tensor, layer.name), layer.name)
    return _joined(rewriter.append(replace(layer, source=part.name), "current", layer.channels))


def _add(rewriter: Rewriter, layer: Add, read: list[Tensor]) -> Tensor:
    parts = [rewriter.one(rewriter.as_currents(tensor), layer.name) for tensor in read]
    names = tuple(part.name for part in parts)
    positive = all(part.positive for part in parts)
    return _joined(rewriter.append(replace(layer, sources=names), "current", parts[0].channels, positive))


def _average_pool(rewriter: Rewriter, layer: AveragePool, read: list[Tensor]) -> Tensor:
    tensor = read[0]
    if tensor.all_are("current"):
        part = rewriter.one(tensor, layer.name)
        return _joined(rewriter.append(replace(layer, source=part.name), "current", part.channels, part.positive))
    if len({part.value for part in tensor.parts}) == 1:
        return _joined(rewriter.current(rewriter.one(tensor, layer.name), layer.size, layer.name))
    made = []
    for part in tensor.parts:
        name = rewriter.fresh(f"{layer.name}.{part.value}")
        if part.value == "current":
            made.append(rewriter.part(part, replace(layer, name=name, source=part.name)))
        else:
            made.append(rewriter.current(part, layer.size, name))
    return Tensor(tuple(made))


def _bilinear(rewriter: Rewriter, layer: Bilinear, read: list[Tensor]) -> Tensor:
    part = rewriter.one(rewriter.as_currents(read[0]), layer.name)
    return _joined(rewriter.append(replace(layer, source=part.name), "current", part.channels, part.positive))


def _concat(rewriter: Rewriter, layer: Concat, read: list[Tensor]) -> Tensor:
    parts = tuple(part for tensor in read for part in tensor.parts)
    if len({part.value for part in parts}) > 1:
        return Tensor(parts)
    sources = tuple(rewriter.one(tensor, layer.name).name for tensor in read)
    rewriter.layers.append(replace(layer, sources=sources))
    return Tensor(parts, layer.name)


def _moved(rewriter: Rewriter, layer: Any, read: list[Tensor]) -> Tensor:
    tensor = read[0]
    several = len({part.kind for part in tensor.parts}) > 1
    pieces = _apart(layer, tensor.parts)
    if several or (pieces is not None and len(pieces) < len(tensor.parts)):  # what is left out need not be made
        if pieces is not None:
            alone = len(pieces) == 1
            return Tensor(tuple(
                rewriter.append(replace(piece, source=part.name,
                                        name=layer.name if alone else rewriter.fresh(f"{layer.name}.{part.name}")),
                                part.value, _width(piece, part), part.positive, part.signed)
                for part, piece in pieces
            ))  # fmt: skip
        tensor = rewriter.as_currents(tensor)
    part = rewriter.one(tensor, layer.name)
    layer = layer if part.name == layer.source else replace(layer, source=part.name)
    return _joined(rewriter.append(layer, part.value, _width(layer, part), part.positive, part.signed))


def _width(layer: Layer, part: Part) -> int:
    return geometry.geometry(layer).channels(layer, [part.channels])


def _apart(layer: Layer, parts: Iterable[Part]) -> list[tuple[Part, Any]] | None:
    """How a layer moves the parts of a concatenation each by itself: (part, layer); None where they do not stay apart."""
    moves = APART[type(layer)]
    pieces, first = [], 0
    for part in parts:
        piece = moves(layer, first, part.channels)
        if piece is not None:
            pieces.append((part, piece))
        first += part.channels
    return None if any(piece is JOINED for _, piece in pieces) else pieces


JOINED = object()
"""In place of a layer: the parts do not stay apart."""


def _slice_of(layer: Slice, first: int, channels: int) -> Slice | None:
    low, high = max(layer.first, first), min(layer.first + layer.channels, first + channels)
    return replace(layer, first=low - first, channels=high - low) if low < high else None


APART: Mapping[type[Layer], Callable[[Any, int, int], Any]] = {
    Slice: _slice_of,
    ChannelShuffle: lambda *_: JOINED,
    PixelShuffle: lambda layer, first, channels: JOINED if channels % layer.factor**2 else layer,
    PixelUnshuffle: lambda layer, first, channels: layer,
    Nearest: lambda layer, first, channels: layer,
}
"""(layer, a part's first channel, its channels) -> the layer for that part alone; None if it takes nothing of it; or `JOINED`."""


def _constant(rewriter: Rewriter, layer: Constant, read: list[Tensor]) -> Tensor:
    channels = len(layer.values)
    positive = min(layer.values) >= 0
    tensor = read[0]
    if tensor.all_are("image"):
        source = tensor.joined or tensor.parts[0].name
    else:
        source = _sized(rewriter, rewriter.network.scales[layer.source])
    return _joined(rewriter.append(replace(layer, source=source), "image", channels, positive))


def _sized(rewriter: Rewriter, scale: Any) -> str:
    """The image, moved to this size."""
    part = Part("image", IMAGE, rewriter.network.channels)
    if scale.numerator > 1:
        part = rewriter.once(
            f"times {scale.numerator}", part,
            lambda: rewriter.part(part, Nearest(rewriter.fresh("image.larger"), IMAGE, scale.numerator)),
        )  # fmt: skip
    if scale.denominator > 1:
        name, factor = part.name, scale.denominator
        part = rewriter.once(
            f"over {factor}", part,
            lambda: rewriter.append(
                PixelUnshuffle(rewriter.fresh("image.smaller"), name, factor), "image", part.channels * factor**2
            ),
        )  # fmt: skip
    return part.name


LOWERING: Mapping[type[Layer], Callable[[Rewriter, Any, list[Tensor]], Tensor]] = {
    Conv: _conv,
    Activation: _activation,
    Gate: _gate,
    Add: _add,
    AveragePool: _average_pool,
    Bilinear: _bilinear,
    Concat: _concat,
    Constant: _constant,
    **dict.fromkeys((Slice, ChannelShuffle, PixelShuffle, PixelUnshuffle, Nearest), _moved),
}
"""Every kind of layer that has a spiking form: (rewriter, layer, what it reads) -> what it becomes."""
