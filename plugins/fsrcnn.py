"""FSRCNN (Dong et al. 2016): convolutions with PReLUs on the small image, and a transposed 9×9 one that enlarges it.

Reads `first_part`, `mid_part.N`, `last_part` (yjn870/FSRCNN-pytorch), at any widths and depth. No file says the factor that
it enlarges by. One that is trained from scratch has ReLUs, so that it can be converted.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels, scale_told

from nspike import Activation, Architecture, Conv, Network, Option, PixelShuffle, Pointwise, hookimpl

_KERNEL = 9


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, inner: int, depth: int, scale: int, activation: str) -> Network:
    """The network conv1, act1, ..., up, shuffle: `depth` 3×3 convolutions of `inner` channels between two of 1×1."""
    sizes = [channels, width, *[inner] * (depth + 1), width]
    kernels = [5, 1, *[3] * depth, 1]
    layers: list[Any] = []
    for i, kernel in enumerate(kernels, 1):
        source = layers[-1].name if layers else "image"
        layers.append(Conv(f"conv{i}", source, sizes[i - 1], sizes[i], kernel))
        name, of = f"act{i}", f"conv{i}"
        layers.append(
            Activation(name, of, sizes[i]) if activation == "relu" else Pointwise(name, of, sizes[i], "prelu")
        )
    side, padding = _as_convolution(scale)
    layers.append(Conv("up", layers[-1].name, width, channels * scale**2, side, padding=padding))
    layers.append(PixelShuffle("shuffle", "up", scale))
    return Network("fsrcnn", channels, tuple(layers), "shuffle", "image")


def _as_convolution(scale: int) -> tuple[int, tuple[int, int] | None]:
    """The side and the padding of the convolution that the transposed one is, padded by 4."""
    first, last = (_KERNEL - 1 - _KERNEL // 2) // scale, (scale - 1 + _KERNEL // 2) // scale
    side = first + last + 1
    return side, None if first == (side - 1) // 2 else (first, last)


def read(tensors: Tensors, told: Mapping[str, Any]) -> tuple[Network, Parameters]:
    """A checkpoint's tensors, and the factor that it enlarges by -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("fsrcnn", keys.size("first_part.0.weight", 1, 1))
    width, inner = keys.size("first_part.0.weight", 0, 56), keys.size("mid_part.0.weight", 0, 12)
    depth = max(0, keys.count("mid_part.{}.", 12) // 2 - 2)
    network = graph(channels, width, inner, depth, scale_told("fsrcnn", told), "prelu")
    stems = {"conv1": "first_part.0", "act1": "first_part.1", "up": "last_part"}
    for i in range(depth + 2):
        stems |= {f"conv{i + 2}": f"mid_part.{2 * i}", f"act{i + 2}": f"mid_part.{2 * i + 1}"}
    return keys.read(network, stems, transposed={"up": (_KERNEL, _KERNEL // 2)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(
        options["channels"],
        options["width"],
        options["inner"],
        options["depth"],
        options["scale"],
        options["activation"],
    )


ARCHITECTURE = Architecture(
    name="fsrcnn",
    summary="super-resolution of the small image's luma, enlarged by a transposed convolution",
    source="Dong et al. 2016, doi:10.1007/978-3-319-46475-6_25",
    task="superres",
    colour="y",
    read=read,
    told=True,
    hints=("fsrcnn",),
    options=(
        Option("scale", 3, "the factor that it enlarges by", low=2, high=8),
        Option("width", 56, "channels at the ends", low=1, high=65536),
        Option("inner", 12, "channels between", low=1, high=65536),
        Option("depth", 4, "3×3 convolutions between", low=1, high=100),
        Option("channels", 1, "of the image", choices=(1, 3)),
        Option("activation", "relu", "after each; a network with PReLUs cannot spike", choices=("relu", "prelu")),
    ),
    make=make,
)
