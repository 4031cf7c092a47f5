"""Networks that are no chains, by hand: U-Nets, one with residual currents, one of depthwise and grouped layers."""

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
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network


def unet(a=8, b=16):
    """Strides, dilation, an even kernel, a skip by concatenation, and a pixel shuffle of a current."""
    layers = (
        Conv("first", IMAGE, 1, a, 3),
        Activation("a", "first", a),
        Conv("down", "a", a, b, 2, stride=2),
        Activation("b", "down", b),
        Conv("deep", "b", b, b, 3, stride=2, padding=(0, 1)),
        Activation("c", "deep", b),
        Conv("wide", "c", b, b, 3, dilation=2),
        Activation("d", "wide", b),
        Conv("up", "d", b, 16 * a, 1),
        PixelShuffle("large", "up", 4),
        Activation("e", "large", a),
        Concat("skip", ("e", "a")),
        Conv("mix", "skip", 2 * a, a, 4, padding=(2, 1)),
        Activation("f", "mix", a),
        Conv("last", "f", a, 1, 3),
    )
    return Network("unet", 1, layers, "last", "subtract")


def residual(c=6, blocks=2):
    """A current that neurons and sums share, signed neurons, enlarged twice."""
    layers = [Conv("first", IMAGE, 3, c, 3)]
    stream = "first"
    for i in range(blocks):
        layers += [
            Activation(f"s{i}", stream, c, signed=True),
            Conv(f"in{i}", f"s{i}", c, c, 3),
            Activation(f"r{i}", f"in{i}", c),
            Conv(f"out{i}", f"r{i}", c, c, 3),
            Add(f"sum{i}", (stream, f"out{i}")),
        ]
        stream = f"sum{i}"
    layers += [
        Activation("t", stream, c, signed=True),
        Conv("up", "t", c, 4 * c, 3),
        PixelShuffle("large", "up", 2),
        Activation("u", "large", c, signed=True),
        Conv("last", "u", c, 3, 3),
    ]
    return Network("residual", 3, tuple(layers), "last", "image")


def grouped(c=8):
    """A noise map, unshuffled image, depthwise and grouped convolutions, shuffles of spikes, means, enlargements."""
    layers = (
        Constant("map", IMAGE, (0.1,), "sigma"),
        Concat("with_map", (IMAGE, "map")),
        PixelUnshuffle("small", "with_map", 2),
        Conv("first", "small", 8, 2 * c, 3, groups=2),
        Activation("a", "first", 2 * c),
        Conv("depth", "a", 2 * c, 2 * c, 3, groups=2 * c),
        Activation("b", "depth", 2 * c),
        ChannelShuffle("shuffled", "b", 4),
        Conv("point", "shuffled", 2 * c, 2 * c, 1, groups=4),
        AveragePool("mean", "point", 2),
        Activation("c", "mean", 2 * c),
        Nearest("near", "c", 2),
        Concat("both", ("near", "a")),
        ChannelShuffle("stirred", "both", 2),
        Conv("mixed", "stirred", 4 * c, c, 3, stride=2, groups=c),
        Bilinear("enlarged", "mixed"),
        Slice("some", "shuffled", 3, c),
        Conv("other", "some", c, c, 5),
        Add("sum", ("enlarged", "other")),
        Activation("d", "sum", c),
        PixelShuffle("spread", "d", 2),
        Conv("last", "spread", c // 4, 1, 3),
    )
    return Network("grouped", 1, layers, "last", "image")


def streams(c=16, group=4):
    """Currents that depthwise and grouped convolutions add to, their channels shuffled, at two sizes: spikerir_lite's form."""
    layers = [Conv("first", IMAGE, 3, c, 3)]

    def block(name, wide):
        source = layers[-1].name
        layers.extend(
            [
                Activation(f"{name}_a", source, wide),
                Conv(f"{name}_dw", f"{name}_a", wide, wide, 3, groups=wide),
                Activation(f"{name}_b", f"{name}_dw", wide),
                Conv(f"{name}_gp", f"{name}_b", wide, wide, 1, groups=wide // group),
                ChannelShuffle(f"{name}_shuffle", f"{name}_gp", wide // group),
                Add(name, (source, f"{name}_shuffle")),
            ]
        )

    block("one", c)
    block("two", c)
    layers.extend(
        [
            Activation("down_a", "two", c),
            PixelUnshuffle("unshuffle", "down_a", 2),
            Conv("down", "unshuffle", 4 * c, 2 * c, 1, groups=c),
        ]
    )
    block("deep", 2 * c)
    layers.extend(
        [
            Activation("up_a", "deep", 2 * c),
            Conv("up", "up_a", 2 * c, 4 * c, 1, groups=c // 2),
            PixelShuffle("large", "up", 2),
            Add("skip", ("large", "two")),
        ]
    )
    block("three", c)
    layers.extend([Activation("out_a", "three", c), Conv("out", "out_a", c, 3, 3)])
    return Network("streams", 3, tuple(layers), "out", "add")


NETWORKS = {network.name: network for network in (unet(), residual(), grouped(), streams())}
