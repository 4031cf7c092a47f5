"""ESPCN (Shi et al. 2016): convolutions on the small image, and a pixel shuffle that enlarges it.

Reads the layers `first_part.0`, `first_part.2`, `last_part.0` (yjn870/ESPCN-pytorch), with tanh between; the factor follows
from the channels. One that is trained from scratch has ReLUs, so that it can be converted.
"""

import math
from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import Activation, Architecture, BadInputError, Conv, Network, Option, PixelShuffle, Pointwise, hookimpl


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(
    channels: int, widths: tuple[int, int], kernels: tuple[int, int, int], scale: int, activation: str
) -> Network:
    """The network conv1, act1, conv2, act2, conv3, shuffle."""

    def act(number: int) -> Any:
        name, source, width = f"act{number}", f"conv{number}", widths[number - 1]
        return Activation(name, source, width) if activation == "relu" else Pointwise(name, source, width, "tanh")

    layers = (
        Conv("conv1", "image", channels, widths[0], kernels[0]),
        act(1),
        Conv("conv2", "act1", widths[0], widths[1], kernels[1]),
        act(2),
        Conv("conv3", "act2", widths[1], channels * scale**2, kernels[2]),
        PixelShuffle("shuffle", "conv3", scale),
    )
    return Network("espcn", channels, layers, "shuffle", "image")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    stems = ("first_part.0", "first_part.2", "last_part.0")
    channels = image_channels("espcn", keys.size("first_part.0.weight", 1, 1))
    scale = math.isqrt(keys.size("last_part.0.weight", 0, 9 * channels) // channels)
    if scale < 2:
        raise BadInputError("espcn: its last convolution has too few channels to enlarge; is it this network?")
    widths = (keys.size("first_part.0.weight", 0, 64), keys.size("first_part.2.weight", 0, 32))
    kernels = (keys.kernel(stems[0], 5), keys.kernel(stems[1], 3), keys.kernel(stems[2], 3))
    network = graph(channels, widths, kernels, scale, "tanh")
    return keys.read(network, {f"conv{i}": stem for i, stem in enumerate(stems, 1)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    widths = (options["width"], options["width2"])
    return graph(options["channels"], widths, (5, 3, 3), options["scale"], options["activation"])


ARCHITECTURE = Architecture(
    name="espcn",
    summary="super-resolution of the small image's luma, enlarged by a pixel shuffle at the end",
    source="Shi et al. 2016, doi:10.1109/CVPR.2016.207",
    task="superres",
    colour="y",
    read=read,
    hints=("espcn",),
    options=(
        Option("scale", 3, "the factor that it enlarges by", low=2, high=8),
        Option("width", 64, "channels of the first convolution", low=1, high=65536),
        Option("width2", 32, "channels of the second", low=1, high=65536),
        Option("channels", 1, "of the image", choices=(1, 3)),
        Option(
            "activation", "relu", "between the convolutions; a network with tanh cannot spike", choices=("relu", "tanh")
        ),
    ),
    make=make,
)
