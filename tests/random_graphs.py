"""Random networks of every kind of layer that spikes run through, small and with all their layers firing."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

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
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.model.model import OUTPUT
from tests import naive_network

ONE = Fraction(1)


@dataclass(frozen=True)
class Tensor:
    """What a layer gives: `kind` is "image", "spikes" or "current"; planes: which sets of planes its spikes come from."""

    name: str
    kind: str
    channels: int
    scale: Fraction = ONE
    planes: frozenset = frozenset()


class Builder:
    def __init__(self, seed):
        self.draw = np.random.default_rng([seed, 11])
        self.colours = int(self.draw.choice([1, 3]))
        self.layers, self.tensors, self.read = [], [Tensor(IMAGE, "image", self.colours)], set()

    def chance(self, p):
        return self.draw.random() < p

    def pick(self, values):
        return values[int(self.draw.integers(len(values)))]

    def of(self, kind, **same):
        """The tensors of a kind with these properties, later ones more often."""
        found = [t for t in self.tensors if t.kind == kind and all(getattr(t, k) == v for k, v in same.items())]
        return [*found, *found[-3:]]

    def add(self, kind, read, tensor_kind, width, scale=ONE, planes=frozenset(), **numbers):
        name = f"{kind.__name__.lower()}{len(self.layers)}"
        names = tuple(t.name for t in read)
        self.read |= set(names)
        where = {"sources": names} if kind in (Concat, Add) else {"source": names[0]}
        self.layers.append(kind(name=name, **where, **numbers))
        self.tensors.append(Tensor(name, tensor_kind, width, scale, planes))
        return self.tensors[-1]

    # ----- Convolutions -----

    def conv(self, source, out=None, *, stride=None, **fixed):
        out = out or self.width()
        kernel = int(self.draw.choice([1, 2, 3, 4, 5], p=[0.2, 0.15, 0.45, 0.1, 0.1]))
        dilation = int(self.draw.choice([1, 2, 3], p=[0.8, 0.15, 0.05]))
        strides = [s for s in (1, 2, 4) if source.scale / s >= Fraction(1, 8)]
        if stride is None:
            stride = int(self.pick(strides)) if self.chance(0.35) else 1
        groups = [g for g in range(1, source.channels + 1) if source.channels % g == 0 and out % g == 0]
        group = self.pick(groups) if self.chance(0.4) else 1
        if source.channels > 1 and self.chance(0.2) and "out" not in fixed:
            out = group = source.channels
        span = dilation * (kernel - 1)
        padding = None
        least = max(0, span + 1 - stride)
        if span and self.chance(0.4):
            both = int(self.draw.integers(least, span + 1))
            before = int(self.draw.integers(0, both + 1))
            padding = (before, both - before)
        numbers = {"kernel": kernel, "dilation": dilation, "stride": stride, "groups": group, "padding": padding}
        bias = self.chance(0.85)
        more = {"in_channels": source.channels, "out_channels": out, "bias": bias}
        return self.add(Conv, [source], "current", out, source.scale / stride, **numbers, **more)

    def twin(self):
        """A convolution with the weights of another, where there is something of as many channels to read."""
        owners = [x for x in self.layers if isinstance(x, Conv) and x.tied is None]
        pairs = [(x, t) for x in owners for t in self.of("spikes", channels=x.in_channels)]
        if not pairs:
            return self.conv(self.readable())
        owner, t = self.pick(pairs)
        names = ("kernel", "in_channels", "out_channels", "groups", "bias")
        numbers = {name: getattr(owner, name) for name in names}
        return self.add(Conv, [t], "current", owner.out_channels, t.scale, tied=owner.name, **numbers)

    def width(self):
        if self.chance(0.06):
            return int(self.pick([16, 64, 65, 70]))
        return int(self.draw.choice([1, 2, 3, 4, 6, 8]))

    def exactly(self, source, out):
        """A plain convolution to `out` channels."""
        numbers = {"kernel": int(self.pick([1, 3])), "in_channels": source.channels, "out_channels": out}
        return self.add(Conv, [source], "current", out, source.scale, **numbers)

    def readable(self):
        """Spikes or something like the image, that a convolution may read."""
        spikes = self.of("spikes")
        return self.pick(self.of("image")) if not spikes or self.chance(0.15) else self.pick(spikes)

    # ----- Layers that move, of any kind of tensor -----

    def moves(self, t):
        """One random layer that moves a tensor."""
        choices = ["slice", "shuffle", "concat"]
        if t.channels % 4 == 0 and t.scale <= ONE:
            choices += ["pixel_shuffle"] * 2
        if t.channels % 9 == 0 and t.scale <= Fraction(1, 3):
            choices += ["pixel_shuffle_3"] * 4
        if t.channels <= 4 and t.scale >= Fraction(1, 4):
            choices += ["pixel_unshuffle"]
        if t.scale <= Fraction(1, 2):
            choices += ["nearest"]
        kind, keep = self.pick(choices), (t.kind, t.channels)
        if kind == "slice":
            first = int(self.draw.integers(t.channels))
            count = int(self.draw.integers(1, t.channels - first + 1))
            return self.add(Slice, [t], t.kind, count, t.scale, t.planes, first=first, channels=count)
        if kind == "shuffle":
            groups = self.pick([g for g in range(1, t.channels + 1) if t.channels % g == 0])
            return self.add(ChannelShuffle, [t], *keep, t.scale, t.planes, groups=groups)
        if kind == "concat":
            others = [o for o in self.of(t.kind, scale=t.scale) if o.channels <= 16]
            read = [t, *(self.pick(others) for _ in range(int(self.draw.integers(1, 3))) if others)]
            if len(read) == 1:
                return t
            planes = frozenset().union(*(o.planes for o in read))
            return self.add(Concat, read, t.kind, sum(o.channels for o in read), t.scale, planes)
        if kind == "nearest":
            return self.add(Nearest, [t], *keep, t.scale * 2, t.planes, factor=2)
        factor = 3 if kind.endswith("3") else 2
        if kind == "pixel_unshuffle":
            return self.add(PixelUnshuffle, [t], t.kind, t.channels * 4, t.scale / 2, t.planes, factor=2)
        count = t.channels // factor**2
        return self.add(PixelShuffle, [t], t.kind, count, t.scale * factor, t.planes, factor=factor)

    def moved_spikes(self):
        """Spikes that are moved or joined once or twice."""
        t = self.pick(self.of("spikes"))
        if self.chance(0.4):
            read = [t, self.pick(self.of("spikes", scale=t.scale))]
            planes = frozenset().union(*(o.planes for o in read))
            t = self.add(Concat, read, "spikes", sum(o.channels for o in read), t.scale, planes)
        return self.moves(t) if len(t.planes) == 1 and self.chance(0.8) else t

    def like_image(self):
        t = self.pick(self.of("image"))
        if self.chance(0.5):
            values = tuple(float(v) for v in self.draw.uniform(-1, 1.5, int(self.draw.integers(1, 3))))
            t = self.add(Constant, [t], "image", len(values), t.scale, values=values)
        return self.moves(t)

    # ----- Currents -----

    def linear(self, t):
        """One random layer of currents."""
        choices = ["add", "add", "move", "move"]
        if t.scale <= ONE:
            choices += ["bilinear"]
        if t.scale >= Fraction(1, 4):
            choices += ["pool"]
        kind = self.pick(choices)
        if kind == "move":
            return self.moves(t)
        if kind == "bilinear":
            return self.add(Bilinear, [t], "current", t.channels, t.scale * 2)
        if kind == "pool":
            size = 4 if t.scale >= Fraction(1, 2) and self.chance(0.3) else 2
            return self.add(AveragePool, [t], "current", t.channels, t.scale / size, size=size)
        read = [t]
        for _ in range(int(self.draw.integers(1, 3))):
            others = self.of("current", channels=t.channels, scale=t.scale)
            sources = self.of("spikes", scale=t.scale) + self.of("image", scale=t.scale)
            if others and (self.chance(0.6) or not sources):
                read.append(self.pick(others))
            elif sources:
                read.append(self.exactly(self.pick(sources), t.channels))
        return self.add(Add, read, "current", t.channels, t.scale) if len(read) > 1 else t

    def neurons(self, t):
        signed = self.chance(0.25)
        numbers = {"channels": t.channels, "signed": signed}
        return self.add(Activation, [t], "spikes", t.channels, t.scale, frozenset([signed]), **numbers)

    def gated(self):
        found = [t for t in self.of("spikes", channels=self.colours, scale=ONE) if t.planes == {False}]
        if found:
            self.add(Gate, [self.pick(found)], "current", self.colours, channels=self.colours)

    # ----- The whole -----

    def block(self):
        t = self.readable()
        if self.chance(0.15):
            t = self.like_image()
        elif self.of("spikes") and self.chance(0.45):
            t = self.moved_spikes()
        if self.chance(0.5):
            self.gated()
        if self.of("current") and self.chance(0.15):
            t = self.pick(self.of("current"))
        else:
            t = self.twin() if self.chance(0.08) else self.conv(t)
        while self.chance(0.3):
            t = self.linear(t)
        if t.channels <= 70:
            self.neurons(t)

    def unread(self, kind):
        return [t for t in self.tensors if t.kind == kind and t.name not in self.read]

    def finish(self):
        for t in self.unread("current"):
            self.neurons(t)
        scale = ONE * int(self.draw.choice([1, 2], p=[0.85, 0.15]))
        fits = [t for t in self.of("spikes") if (scale / t.scale).denominator == 1]
        ends = [t for t in self.unread("spikes") if t in fits]
        t = ends[-1] if ends else self.pick(fits) if fits else self.neurons(self.conv(self.tensors[0], stride=1))
        factor = int(scale / t.scale)
        if factor == 1:
            t = self.exactly(t, self.colours)
        elif factor == 2 and self.chance(0.5):
            t = self.add(Bilinear, [self.exactly(t, self.colours)], "current", self.colours, scale)
        else:
            t = self.exactly(t, self.colours * factor**2)
            t = self.add(PixelShuffle, [t], "current", self.colours, scale, factor=factor)
        for other in ends[:-1][-2:]:
            if other.scale == scale:
                more = self.exactly(other, self.colours)
                t = self.add(Add, [t, more], "current", self.colours, scale)
        skips = [o for o in self.of("current", channels=self.colours, scale=scale) if o.name != t.name]
        if skips and self.chance(0.3):
            t = self.add(Add, [t, self.pick(skips)], "current", self.colours, scale)
        mode = self.pick(["image", "add", "subtract"]) if scale == 1 else "image"
        return Network("random", self.colours, tuple(self.layers), t.name, mode)


def random_graph(seed):
    """A network that can run as spikes, of two to eight layers of neurons or a few more, with a size multiple up to 24."""
    builder = Builder(seed)
    for _ in range(int(builder.draw.integers(1, 8))):
        builder.block()
    for t in builder.of("current") or [builder.conv(builder.of("image")[0], stride=1)]:
        if not builder.of("spikes"):
            builder.neurons(t)
    return builder.finish()


def ties(network):
    """Sets of (stage, channel) that must have one scale: spikes that become one channel, outputs made of one current."""
    spikes = {}
    joined = []
    for layer in network.layers:
        name = layer.name
        if naive_network.value(network, name) != "spikes":
            continue
        for c in range(naive_network.channels(network, name)):
            if isinstance(layer, Activation):
                spikes[name, c] = frozenset([(name, c)])
            else:
                spikes[name, c] = frozenset().union(*(spikes[other] for other in naive_network.feeds(network, name, c)))
                joined.append(set(spikes[name, c]))
    groups, by_component = naive_network.components(network), {}
    for c in range(network.channels):
        by_component.setdefault(min(groups[network.output, c]), set()).add((OUTPUT, c))
    joined += by_component.values()
    merged = []
    for each in (s for s in joined if len(s) > 1):
        for other in [m for m in merged if m & each]:
            merged.remove(other)
            each = each | other
        merged.append(each)
    return merged


def tie(network, scales):
    """Give tied channels of a network that can run as spikes the scale of the first of them, in place."""
    for group in ties(network) if network.is_spiking else ():
        first, *rest = sorted(group)
        for name, c in rest:
            scales[name][c] = scales[first[0]][first[1]]


def image_shape(network, seed, most=24):
    """(N, C, H, W) of multiples of the network's size multiple."""
    draw, multiple = np.random.default_rng([seed, 12]), network.size_multiple
    sides = [multiple * int(draw.integers(1, max(1, most // multiple) + 1)) for _ in range(2)]
    return (1, network.channels, *sides)
