"""SRCNN (Dong et al. 2014): three convolutions that sharpen the luma of an image that is enlarged already.

Reads the layers `conv1`, `conv2`, `conv3` (yjn870/SRCNN-pytorch), at any widths and kernels.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import Activation, Architecture, Conv, Network, Option, hookimpl


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, widths: tuple[int, int], kernels: tuple[int, int, int]) -> Network:
    """The network conv1, relu1, conv2, relu2, conv3."""
    layers = (
        Conv("conv1", "image", channels, widths[0], kernels[0]),
        Activation("relu1", "conv1", widths[0]),
        Conv("conv2", "relu1", widths[0], widths[1], kernels[1]),
        Activation("relu2", "conv2", widths[1]),
        Conv("conv3", "relu2", widths[1], channels, kernels[2]),
    )
    return Network("srcnn", channels, layers, "conv3", "image")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("srcnn", keys.size("conv1.weight", 1, 1))
    widths = (keys.size("conv1.weight", 0, 64), keys.size("conv2.weight", 0, 32))
    kernels = (keys.kernel("conv1", 9), keys.kernel("conv2", 5), keys.kernel("conv3", 5))
    return keys.read(graph(channels, widths, kernels), {f"conv{i}": f"conv{i}" for i in (1, 2, 3)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(options["channels"], (options["width"], options["width2"]), (9, 5, 5))


ARCHITECTURE = Architecture(
    name="srcnn",
    summary="super-resolution of an enlarged luma: three convolutions of 9×9, 5×5 and 5×5",
    source="Dong et al. 2014, doi:10.1007/978-3-319-10593-2_13",
    task="superres",
    colour="y",
    read=read,
    hints=("srcnn",),
    options=(
        Option("width", 64, "channels of the first convolution", low=1, high=65536),
        Option("width2", 32, "channels of the second", low=1, high=65536),
        Option("channels", 1, "of the image", choices=(1, 3)),
    ),
    make=make,
)
