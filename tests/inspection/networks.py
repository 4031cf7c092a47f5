"""Lowered networks that have every kind of layer between them, for certificates, traces and the checker."""

from dataclasses import replace

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
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking


def unet(channels=1, mode="subtract"):
    """Strides down, nearest and bilinear up, a skip that is added and one that is joined."""
    layers = (
        Conv("head", IMAGE, channels, 4, 3),
        Activation("a", "head", 4),
        Conv("down", "a", 4, 6, 2, stride=2, bias=False),
        Activation("b", "down", 6),
        Conv("deep", "b", 6, 6, 3, stride=2),
        Activation("c", "deep", 6),
        Conv("same", "c", 6, 6, 3, dilation=2),
        Bilinear("up", "same"),
        Conv("skip", "b", 6, 6, 1),
        Add("joined", ("up", "skip")),
        Activation("d", "joined", 6),
        Nearest("wide", "d"),
        Concat("both", ("wide", "a")),
        Conv("tail", "both", 10, channels, 3),
    )
    return Network("unet", channels, layers, "tail", mode)


def edsr(channels=3):
    """Residual blocks without ReLUs after their sums, so with signed neurons, and twice the size at the end."""
    layers = (
        Conv("head", IMAGE, channels, 5, 3),
        Activation("f0", "head", 5, signed=True),
        Conv("c1", "f0", 5, 5, 3),
        Activation("r1", "c1", 5),
        Conv("c2", "r1", 5, 5, 3),
        Add("s1", ("head", "c2")),
        Activation("f1", "s1", 5, signed=True),
        Conv("c3", "f1", 5, 4 * channels, 3),
        PixelShuffle("up", "c3", 2),
        Activation("f2", "up", channels, signed=True),
        Conv("tail", "f2", channels, channels, 3),
    )
    return Network("edsr", channels, layers, "tail", "image")


def ffdnet(channels=1):
    """An image taken apart, beside a map of the noise level, and put together again."""
    layers = (
        PixelUnshuffle("apart", IMAGE, 2),
        Constant("sigma", "apart", (25 / 255,), "sigma"),
        Constant("grey", "apart", (0.5, -0.25)),
        Concat("input", ("sigma", "apart", "grey")),
        Conv("first", "input", 4 * channels + 3, 6, 3),
        Activation("a", "first", 6),
        Conv("last", "a", 6, 4 * channels, 3),
        PixelShuffle("together", "last", 2),
    )
    return Network("ffdnet", channels, layers, "together", "image")


def shuffles():
    """Depthwise and grouped convolutions, channels that are shuffled, sliced, and put together as spikes; an average."""
    layers = (
        Conv("first", IMAGE, 1, 8, 3),
        Activation("a", "first", 8),
        Conv("depth", "a", 8, 8, 3, groups=8),
        Conv("point", "a", 8, 8, 1),
        Add("sum", ("depth", "point")),
        Activation("b", "sum", 8),
        ChannelShuffle("mixed", "b", 2),
        Slice("half", "mixed", 2, 4),
        PixelShuffle("large", "mixed", 2),
        Conv("small", "large", 2, 4, 3, stride=2),
        Activation("c", "small", 4, signed=True),
        Concat("again", ("half", "c")),
        Conv("grouped", "again", 8, 4, 3, groups=2),
        Activation("d", "grouped", 4),
        Conv("each", "d", 4, 4, 2, stride=2, groups=4, bias=False),
        AveragePool("mean", "grouped", 2),
        Add("more", ("mean", "each")),
        Activation("e", "more", 4),
        Nearest("back", "e", 2),
        Conv("last", "back", 4, 1, 3),
    )
    return Network("shuffles", 1, layers, "last", "add")


NETWORKS = {"unet": unet, "edsr": edsr, "ffdnet": ffdnet, "shuffles": shuffles}


def model_of(network, seed=0, *, timesteps=4, neuron="if", head="membrane", colour=None, task=None):
    """Parameters around which layers fire now and then."""
    draw = np.random.default_rng(seed)
    parameters = {}
    for conv in network.convs:
        spread = 1.2 / np.sqrt(np.prod(conv.kernel_shape[1:]))
        parameters[f"{conv.name}.weight"] = draw.normal(0, spread, conv.kernel_shape).astype(np.float32)
        if conv.bias:
            parameters[f"{conv.name}.bias"] = draw.normal(0.2, 0.2, conv.out_channels).astype(np.float32)
    widths = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    one = {a.name for layer in network.of_kind(PixelShuffle) for a in network.activations_into(layer.name)}
    scales = {name: np.full(n, 1.1) if name in one else draw.uniform(0.7, 1.4, n) for name, n in widths.items()}
    thresholds = {name: draw.uniform(0.6, 1.6, n) for name, n in widths.items()}
    spiking = Spiking(neuron, head, timesteps, scales, thresholds)
    task = task or ("superres" if network.scale > 1 else "denoise")
    colour = colour or ("rgb" if network.channels == 3 else "gray")
    return Model(Info(network.name, task, colour), network, parameters, spiking)


def told(model, sigma):
    """The same model at another noise level than its file's."""
    return replace(model, network=model.network.at_noise(sigma))
