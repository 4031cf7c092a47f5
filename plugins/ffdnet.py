"""FFDNet (Zhang et al. 2018): convolutions on the pixel-unshuffled image beside a plane of the noise level.

Reads KAIR's exports (`model.0`, `model.2`, ...), at any depth and width, grey or RGB.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import (
    Activation,
    Architecture,
    BadInputError,
    Concat,
    Constant,
    Conv,
    Network,
    Option,
    PixelShuffle,
    PixelUnshuffle,
    hookimpl,
)

SIGMA = 25.0


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, depth: int) -> Network:
    """The network unshuffle, sigma, input, conv1, relu1, ..., shuffle."""
    layers: list[Any] = [
        PixelUnshuffle("unshuffle", "image", 2),
        Constant("sigma", "unshuffle", (SIGMA / 255,), "sigma"),
        Concat("input", ("unshuffle", "sigma")),
    ]
    for i in range(1, depth + 1):
        sizes = (4 * channels + 1 if i == 1 else width, 4 * channels if i == depth else width)
        layers.append(Conv(f"conv{i}", layers[-1].name, *sizes, 3))
        if i < depth:
            layers.append(Activation(f"relu{i}", f"conv{i}", width))
    layers.append(PixelShuffle("shuffle", f"conv{depth}", 2))
    return Network("ffdnet", channels, tuple(layers), "shuffle", "image")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    inputs = keys.size("0.weight", 1, 5)
    if inputs % 4 != 1:
        raise BadInputError(
            f"ffdnet: its first convolution reads {inputs} channels, expected 5 or 13; is it this network?"
        )
    channels = image_channels("ffdnet", inputs // 4)
    depth = max(2, (keys.count("{}.", 29) + 1) // 2)
    network = graph(channels, keys.size("0.weight", 0, 64), depth)
    return keys.read(network, {f"conv{i + 1}": str(2 * i) for i in range(depth)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(options["channels"], options["width"], options["depth"])


ARCHITECTURE = Architecture(
    name="ffdnet",
    summary="denoiser that is told the noise level; its convolutions run at half the size",
    source="Zhang et al. 2018, doi:10.1109/TIP.2018.2839891",
    task="denoise",
    colour="gray",
    read=read,
    hints=("ffdnet", "model"),
    options=(
        Option("depth", 15, "convolutions", low=2, high=1000),
        Option("width", 64, "channels of each", low=1, high=65536),
        Option("channels", 1, "of the image", choices=(1, 3)),
    ),
    make=make,
)
