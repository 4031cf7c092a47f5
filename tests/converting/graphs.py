"""Small networks of the kinds that convert: residual blocks that enlarge, a U-Net, and one of many kinds of layers."""

import numpy as np
from scipy.ndimage import gaussian_filter

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
    PixelShuffle,
    PixelUnshuffle,
)
from nspike.graph.network import Network
from nspike.model.model import Info, Model
from tests.ann.networks import random_parameters


def residual(blocks=2, width=8):
    layers, source = [Conv("head", IMAGE, 1, width, 3)], "head"
    for i in range(blocks):
        layers += [
            Conv(f"first{i}", source, width, width, 3),
            Activation(f"relu{i}", f"first{i}", width),
            Conv(f"second{i}", f"relu{i}", width, width, 3),
            Add(f"sum{i}", (source, f"second{i}")),
        ]
        source = f"sum{i}"
    layers += [Conv("up", source, width, 4, 3), PixelShuffle("shuffle", "up", 2)]
    return Network("residual", 1, tuple(layers), "shuffle", "image")


def unet(width=8):
    layers = (
        Conv("enter", IMAGE, 1, width, 3),
        Activation("relu1", "enter", width),
        Conv("down", "relu1", width, 2 * width, 3, stride=2),
        Activation("relu2", "down", 2 * width),
        Conv("up", "relu2", 2 * width, 4 * width, 1),
        PixelShuffle("shuffle", "up", 2),
        Add("skip", ("shuffle", "relu1")),
        Conv("leave", "skip", width, width, 3),
        Activation("relu3", "leave", width),
        Concat("all", ("relu3", IMAGE)),
        Conv("end", "all", width + 1, 1, 3),
    )
    return Network("unet", 1, layers, "end", "subtract")


def many(width=8):
    layers = (
        PixelUnshuffle("small", IMAGE, 2),
        Constant("noise", "small", (0.1,), "sigma"),
        Concat("all", ("small", "noise")),
        Conv("enter", "all", 5, width, 3),
        Activation("relu1", "enter", width),
        Conv("depthwise", "relu1", width, width, 3, groups=width),
        Conv("pointwise", "depthwise", width, width, 1),
        Activation("relu2", "pointwise", width),
        Conv("grouped", "relu2", width, width, 3, groups=2, dilation=2),
        Activation("relu3", "grouped", width),
        ChannelShuffle("mixed", "relu3", 2),
        AveragePool("pool", "mixed", 2),
        Conv("deep", "pool", width, width, 3),
        Bilinear("larger", "deep"),
        Add("sum", ("larger", "relu3")),
        Activation("relu4", "sum", width),
        PixelShuffle("shuffle", "relu4", 2),
        Conv("end", "shuffle", width // 4, 1, 3),
    )
    return Network("many", 1, layers, "end", "subtract")


def model_of(network, seed=3, **info):
    parameters = random_parameters(network, seed)
    return Model(Info("test", info.pop("task", "denoise"), "gray", **info), network, parameters)


def images(count=3, height=32, width=36):
    draw = np.random.default_rng(0)
    smooth = gaussian_filter(draw.random((count, 1, height, width)), (0, 0, 2, 2))
    return list(np.clip(3 * smooth - 1, 0, 1).astype(np.float32))
