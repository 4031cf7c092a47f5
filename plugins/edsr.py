"""EDSR (Lim et al. 2017): residual blocks without batch norm on the small image, enlarged by pixel shuffles at the end.

Reads sanghyun-son/EDSR-PyTorch (`head.0`, `body.I.body.J`, `tail.0.N`, `tail.1`, the mean as `sub_mean` and `add_mean`, on
values up to 255) and BasicSR (`conv_first`, `body.I.convJ`, `conv_after_body`, `upsample.N`, `conv_last`, the mean not in the
file), at any width and depth. Blocks of 256 channels add a tenth of what they compute, as published.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels, residual

from nspike import Add, Architecture, BadInputError, Conv, Network, Option, PixelShuffle, hookimpl

_MEAN = (0.4488, 0.4371, 0.4040)
_WIDE = 256
_WHITE = 255


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, blocks: int, factors: tuple[int, ...], *, mean: bool) -> Network:
    """The network head, block1, ..., body, skip, up1, shuffle1, ..., tail; `mean` : off before, and put back at the end."""
    layers: list[Any] = [Conv("sub_mean", "image", channels, channels, 1)] if mean else []
    layers.append(Conv("head", layers[-1].name if mean else "image", channels, width, 3))
    for i in range(1, blocks + 1):
        layers += residual(f"block{i}", layers[-1].name, width, True)
    layers += [Conv("body", layers[-1].name, width, width, 3), Add("skip", ("head", "body"))]
    for i, factor in enumerate(factors, 1):
        layers.append(Conv(f"up{i}", layers[-1].name, width, width * factor**2, 3))
        layers.append(PixelShuffle(f"shuffle{i}", f"up{i}", factor))
    layers.append(Conv("tail", layers[-1].name, width, channels, 3))
    if mean:
        layers.append(Conv("add_mean", "tail", channels, channels, 1))
    return Network("edsr", channels, tuple(layers), layers[-1].name, "image")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    basic = "conv_first.weight" in keys
    head, up = ("conv_first", "upsample.{}") if basic else ("head.0", "tail.0.{}")
    width = keys.size(f"{head}.weight", 0, 64)
    channels = image_channels("edsr", keys.size(f"{head}.weight", 1, 3))
    numbers = [2 * i for i in range((keys.count(f"{up}.", 1) + 1) // 2)]
    factors = tuple(math.isqrt(keys.size(f"{up.format(n)}.weight", 0, 4 * width) // width) for n in numbers)
    if any(factor < 2 or factor > 8 for factor in factors):
        raise BadInputError(f"edsr: it enlarges by {factors}, expected factors from 2; is it this network?")
    body = "body.{}.conv1." if basic else "body.{}.body."
    blocks = keys.count(body, 16)
    network = graph(channels, width, blocks, factors, mean=channels == 3)
    inner = ("conv1", "conv2") if basic else ("body.0", "body.2")
    stems = {f"block{i}_conv{j}": f"body.{i - 1}.{inner[j - 1]}" for i in range(1, blocks + 1) for j in (1, 2)}
    stems |= {f"up{i}": up.format(n) for i, n in enumerate(numbers, 1)}
    stems |= {
        "head": head,
        "body": "conv_after_body" if basic else f"body.{blocks}",
        "tail": "conv_last" if basic else "tail.1",
    }
    given = channels == 3 and not basic and "sub_mean.weight" in keys
    if given:
        stems |= {"sub_mean": "sub_mean", "add_mean": "add_mean"}
    network, parameters = keys.read(network, stems)
    if width >= _WIDE:
        for name in [f"block{i}_conv2.{part}" for i in range(1, blocks + 1) for part in ("weight", "bias")]:
            parameters[name] = parameters[name] * np.float32(0.1)
    return network, parameters | _shifts(parameters, channels, given)


def _shifts(parameters: Parameters, channels: int, given: bool) -> Parameters:
    """The convolutions at the ends, which take the mean off and put it back, for images up to 1."""
    if channels == 1:
        return {}
    one = np.eye(3, dtype=np.float32)[:, :, None, None]
    mean = np.array(_MEAN, np.float32)
    off, on = (parameters["sub_mean.bias"], parameters["add_mean.bias"]) if given else (-mean * _WHITE, mean * _WHITE)
    white = np.float32(_WHITE if np.abs(off).max() > 1.5 else 1)
    first, last = (parameters[f"{name}.weight"] if given else one for name in ("sub_mean", "add_mean"))
    return {
        "sub_mean.weight": first * white, "sub_mean.bias": off.astype(np.float32),
        "add_mean.weight": last / white, "add_mean.bias": (on / white).astype(np.float32),
    }  # fmt: skip


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch, without the mean."""
    scale = options["scale"]
    factors = (2,) * int(math.log2(scale)) if scale & (scale - 1) == 0 else (scale,)
    return graph(options["channels"], options["width"], options["blocks"], factors, mean=False)


ARCHITECTURE = Architecture(
    name="edsr",
    summary="super-resolution of the small image: residual blocks and pixel shuffles, 16 blocks of 64 channels",
    source="Lim et al. 2017, doi:10.1109/CVPRW.2017.151",
    task="superres",
    colour="rgb",
    read=read,
    hints=("edsr",),
    options=(
        Option("scale", 2, "the factor that it enlarges by", low=2, high=8),
        Option("blocks", 16, "residual blocks", low=1, high=1000),
        Option("width", 64, "channels", low=1, high=4096),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
)
