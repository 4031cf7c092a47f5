"""IRCNN's denoiser (Zhang et al. 2017): seven convolutions, dilated by 1, 2, 3, 4, 3, 2, 1; y = x - f(x).

Reads KAIR's exports: one network (`model.0`, `model.2`, ..., `model.12`), or 25 of them, for noise levels of 2, 4, ..., 50,
under their numbers, of which the noise level that is told says one.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import Activation, Architecture, BadInputError, Conv, Network, Option, hookimpl, shorten

DILATIONS = (1, 2, 3, 4, 3, 2, 1)


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int) -> Network:
    """The network conv1, relu1, ..., conv7."""
    layers: list[Conv | Activation] = []
    for i, dilation in enumerate(DILATIONS, 1):
        sizes = (channels if i == 1 else width, channels if i == len(DILATIONS) else width)
        layers.append(Conv(f"conv{i}", layers[-1].name if layers else "image", *sizes, 3, dilation=dilation))
        if i < len(DILATIONS):
            layers.append(Activation(f"relu{i}", f"conv{i}", width))
    return Network("ircnn", channels, tuple(layers), layers[-1].name, "subtract")


def read(tensors: Tensors, told: Mapping[str, Any]) -> tuple[Network, Parameters]:
    """A checkpoint's tensors, and the noise level where it holds several networks -> the network and its parameters."""
    keys = Keys(_of_level(tensors, told))
    if "0.weight" not in keys:
        raise BadInputError(f"ircnn: missing keys: numbered layers such as 0.weight; unknown keys: {shorten(tensors)}")
    channels, width = image_channels("ircnn", keys.size("0.weight", 1, 1)), keys.size("0.weight", 0, 64)
    return keys.read(graph(channels, width), {f"conv{i + 1}": str(2 * i) for i in range(len(DILATIONS))})


def _of_level(tensors: Tensors, told: Mapping[str, Any]) -> Tensors:
    """The tensors of one network; of several the one that was trained for the noise level, or the next above."""
    several = {int(match[1]) for key in tensors if (match := re.match(r"(\d{1,2})\.model\.", key))}
    if not several:
        return tensors
    sigma = told.get("sigma")
    if not isinstance(sigma, int | float):
        raise BadInputError(
            f"ircnn: the file holds networks for {len(several)} noise levels; say for which one: "
            '--sigma 25, or from Python degradation={"sigma": 25}, say'
        )
    number = max(0, math.ceil(sigma / 2) - 1)
    if number not in several:
        raise BadInputError(
            f"ircnn: the file holds no network for a noise level of {sigma:g}, at most {2 * max(several) + 2}"
        )
    start = f"{number}."
    return {key.removeprefix(start): array for key, array in tensors.items() if key.startswith(start)}


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(options["channels"], options["width"])


ARCHITECTURE = Architecture(
    name="ircnn",
    summary="residual denoiser of seven dilated convolutions",
    source="Zhang et al. 2017, doi:10.1109/CVPR.2017.300",
    task="denoise",
    colour="gray",
    read=read,
    told=True,
    same_keys=("DnCNN of 7 layers (no dilation)",),
    hints=("ircnn",),
    options=(
        Option("width", 64, "channels", low=1, high=65536),
        Option("channels", 1, "of the image", choices=(1, 3)),
    ),
    make=make,
)
