"""Small networks of every kind of layer, for training."""

import numpy as np

from nspike.graph.initialise import initial_parameters
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
from nspike.graph.plain_layer import (
    FUNCTIONS,
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    Leaky,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
    StepAttention,
    StepMean,
)
from nspike.model.model import Info, Model


def model_of(network, seed=0):
    """With random parameters that leave no layer near zero."""
    draw = np.random.default_rng(seed)
    parameters = {
        name: (array + draw.normal(0.1, 0.2, array.shape)).astype(np.float32)
        for name, array in initial_parameters(network, seed).items()
    }
    task = "superres" if network.scale > 1 else "denoise"
    return Model(Info(network.name, task, "rgb" if network.channels == 3 else "gray"), network, parameters)


def everything():
    """Convolutions of every kind and layers that move, on several resolutions."""
    layers = (
        PixelUnshuffle("unshuffled", IMAGE, 2),
        Constant("map", "unshuffled", (0.1, 0.3), "sigma"),
        Concat("in", ("unshuffled", "map")),
        Conv("head", "in", 6, 8, 3),
        Activation("a", "head", 8),
        Conv("deep", "a", 8, 8, 5, groups=8, dilation=2),
        Add("joined", ("deep", "head")),
        Activation("b", "joined", 8),
        ChannelShuffle("shuffled", "b", 4),
        Slice("half", "shuffled", 2, 4),
        Conv("down", "half", 4, 6, 4, stride=2, groups=2, padding=(1, 1)),
        Activation("c", "down", 6),
        Nearest("large", "c"),
        Conv("even", "large", 6, 8, 2, bias=False),
        AveragePool("pooled", "joined", 2),
        Bilinear("smooth", "pooled"),
        Add("sum", ("even", "smooth", "head")),
        Activation("d", "sum", 8),
        Conv("tail", "d", 8, 4, 3),
        PixelShuffle("out", "tail", 2),
    )
    return Network("everything", 1, layers, "out", "subtract")


def teacher():
    """The layers that only plain networks have."""
    layers = [Conv("head", IMAGE, 3, 8, 3)]
    source = "head"
    for i, function in enumerate(FUNCTIONS):
        layers += [Pointwise(function, source, 8, function), Conv(f"conv{i}", function, 8, 8, 1)]
        source = f"conv{i}"
    layers += [
        LayerNorm("norm", source, 8),
        LayerNorm("scaled", source, 8, bias=False),
        Attention("attention", ("norm", "scaled", source), 8, 2),
        Add("sum", ("attention", source)),
        GlobalPool("pooled", "sum"),
        Conv("squeeze", "pooled", 8, 8, 1),
        Multiply("weighted", ("sum", "squeeze")),
        MaxPool("half", "weighted", 2),
        Nearest("whole", "half"),
        Multiply("product", ("whole", "norm")),
        Conv("tail", "product", 8, 3, 3),
        Leaky("fired", IMAGE, 3, 3, 0.4),
        Conv("stepwise", "fired", 3, 12, 3, repeats=3),
        StepAttention("gated", "stepwise", 12, 3, 2, 3),
        StepMean("mean", "gated", 3),
        Conv("back", "mean", 4, 3, 1),
        Add("out", ("tail", "back")),
    ]
    return Network("teacher", 3, tuple(layers), "out", "add")


def gated():
    """What networks of prompts and frequencies have besides."""
    layers = (
        Conv("head", IMAGE, 3, 4, 3),
        Shrink("half", "head", 2),
        GlobalPool("mean", "half"),
        GlobalPool("most", "half", "max"),
        Multiply("both", ("mean", "most")),
        Conv("scores", "both", 4, 3, 1),
        Prompt("prompt", ("half", "scores"), 5, 3, 4),
        Slice("rate", "most", 1, 2),
        Pointwise("share", "rate", 2, "sigmoid"),
        FrequencySplit("split", ("half", "share"), 4, 3),
        Concat("all", ("prompt", "split")),
        ChannelPool("pool", "all"),
        Conv("gate", "pool", 2, 1, 3),
        Multiply("weighted", ("all", "gate")),
        Conv("up", "weighted", 13, 12, 3),
        PixelShuffle("tail", "up", 2),
    )
    return Network("gated", 3, layers, "tail", "add")


def unet(channels=1, width=8):
    """Strided down, pixel shuffle up, skips by concatenation; two convolutions with one kernel."""
    w = width
    layers = (
        Conv("in", IMAGE, channels, w, 3),
        Activation("a", "in", w),
        Conv("down", "a", w, 2 * w, 2, stride=2),
        Activation("b", "down", 2 * w),
        Conv("same", "b", 2 * w, 2 * w, 3),
        Activation("c", "same", 2 * w),
        Conv("again", "c", 2 * w, 2 * w, 3, tied="same"),
        Activation("d", "again", 2 * w),
        Conv("up", "d", 2 * w, 4 * w, 1),
        PixelShuffle("shuffled", "up", 2),
        Activation("e", "shuffled", w),
        Concat("skip", ("e", "a")),
        Conv("out", "skip", 2 * w, channels, 3),
    )
    return Network("unet", channels, layers, "out", "subtract")


def edsr(channels=3, width=8, blocks=1):
    """Residual blocks without ReLU at their end, twice the size at last; signed features where a convolution reads them."""
    w = width
    layers = [Conv("head", IMAGE, channels, w, 3)]
    stream = "head"
    for i in range(blocks):
        feature = "feature" if i == 0 else f"feature{i}"
        layers += [
            Activation(feature, stream, w, signed=True),
            Conv(f"first{i}", feature, w, w, 3),
            Activation(f"relu{i}", f"first{i}", w),
            Conv(f"second{i}", f"relu{i}", w, w, 3),
            Add(f"sum{i}", (stream, f"second{i}")),
        ]
        stream = f"sum{i}"
    layers += [
        Activation("last", stream, w, signed=True),
        Conv("up", "last", w, 4 * w, 3),
        PixelShuffle("shuffled", "up", 2),
        Activation("large", "shuffled", w, signed=True),
        Conv("tail", "large", w, channels, 3),
    ]
    return Network("edsr", channels, tuple(layers), "tail", "image")


def shortcuts(width=8, channels=3, eps=1e-5):
    """Two levels of membrane shortcuts, as SpikerIR's: depthwise and grouped convolutions, shuffles, sums of currents."""
    layers = [Conv("embed", IMAGE, channels, width, 3, False)]

    def block(name, wide):
        source = layers[-1].name
        layers.extend([
            Activation(f"{name}_lif1", source, wide),
            Conv(f"{name}_dw", f"{name}_lif1", wide, wide, 3, False, eps, groups=wide),
            Activation(f"{name}_lif2", f"{name}_dw", wide),
            Conv(f"{name}_gp", f"{name}_lif2", wide, wide, 1, False, eps, groups=wide // 4),
            ChannelShuffle(f"{name}_shuffle", f"{name}_gp", wide // 4),
            Add(name, (source, f"{name}_shuffle")),
        ])  # fmt: skip

    block("enc", width)
    layers.extend([
        Activation("down_lif", "enc", width),
        PixelUnshuffle("unshuffled", "down_lif", 2),
        Conv("down", "unshuffled", 4 * width, 2 * width, 1, False, eps, groups=width),
    ])  # fmt: skip
    block("latent", 2 * width)
    layers.extend([
        Activation("up_lif", "latent", 2 * width),
        Conv("up", "up_lif", 2 * width, 4 * width, 1, False, eps, groups=width // 2),
        PixelShuffle("up_shuffle", "up", 2),
        Add("skip", ("up_shuffle", "enc")),
    ])  # fmt: skip
    block("dec", width)
    layers.extend([Activation("out_lif", "dec", width), Conv("out", "out_lif", width, channels, 3)])
    return Network("shortcuts", channels, tuple(layers), "out", "add")
