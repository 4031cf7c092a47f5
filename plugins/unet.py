"""U-Net (Ronneberger et al. 2015): convolutions at several sizes, what was there before stacked beside on the way up.

Reads milesial/Pytorch-UNet (`inc`, `down1` ..., `up1` ..., `outc`) with transposed convolutions: max pooling and batch norm. One
that is trained from scratch has strided convolutions in place of max pooling and a skip from the image, so that it can be
converted.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import (
    Activation,
    Architecture,
    BadInputError,
    Concat,
    Conv,
    MaxPool,
    Network,
    Option,
    PixelShuffle,
    hookimpl,
)

_EPS = 1e-5


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, widths: Sequence[int], *, published: bool) -> Network:
    """The network in1, in2, down1, ..., up1, ..., out; `published` : with batch norm and max pooling, without a skip."""
    layers: list[Any] = []
    eps = _EPS if published else None

    def double(name: str, source: str, inputs: int, outputs: int) -> str:
        for i, (read, given) in enumerate(((source, inputs), (f"{name}_relu1", outputs)), 1):
            layers.append(Conv(f"{name}_conv{i}", read, given, outputs, 3, batch_norm_eps=eps))
            layers.append(Activation(f"{name}_relu{i}", f"{name}_conv{i}", outputs))
        return f"{name}_relu2"

    skips = [double("in", "image", channels, widths[0])]
    for i in range(1, len(widths)):
        if published:
            layers.append(MaxPool(f"down{i}", skips[-1], 2))
        else:
            layers.append(Conv(f"down{i}_conv0", skips[-1], widths[i - 1], widths[i - 1], 2, stride=2, padding=(0, 0)))
            layers.append(Activation(f"down{i}", f"down{i}_conv0", widths[i - 1]))
        skips.append(double(f"down{i}", f"down{i}", widths[i - 1], widths[i]))
    top = skips.pop()
    for i, width in enumerate(reversed(widths[:-1]), 1):
        wide = widths[-i]
        layers.append(Conv(f"up{i}", top, wide, 4 * width, 1))
        layers.append(PixelShuffle(f"up{i}_shuffle", f"up{i}", 2))
        above = f"up{i}_shuffle"
        if not published:
            layers.append(Activation(f"up{i}_relu0", above, width))
            above = f"up{i}_relu0"
        layers.append(Concat(f"up{i}_both", (skips.pop(), above)))
        top = double(f"up{i}", f"up{i}_both", 2 * width, width)
    layers.append(Conv("out", top, widths[0], channels, 1))
    return Network("unet", channels, tuple(layers), "out", "image" if published else "subtract")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    if "up1.conv.double_conv.0.weight" in keys and "up1.up.weight" not in keys:
        raise BadInputError(
            "unet: it enlarges bilinearly with align_corners=True, which no layer does; train it with bilinear=False"
        )
    channels = image_channels("unet", keys.size("inc.double_conv.0.weight", 1, 3))
    levels = max(1, keys.count("down{}.", 5) - 1)
    double = "maxpool_conv.1.double_conv"
    widths = [keys.size("inc.double_conv.0.weight", 0, 64)]
    widths += [keys.size(f"down{i}.{double}.0.weight", 0, widths[0] << i) for i in range(1, levels + 1)]
    if any(wide != 2 * width for width, wide in itertools.pairwise(widths)):
        raise BadInputError(
            f"unet: it has levels of {widths} channels, expected twice as many at each; is it this network?"
        )
    stems, norms = {"out": "outc.conv"}, {}
    blocks = {"in": "inc.double_conv"} | {f"down{i}": f"down{i}.{double}" for i in range(1, levels + 1)}
    blocks |= {f"up{i}": f"up{i}.conv.double_conv" for i in range(1, levels + 1)}
    for name, stem in blocks.items():
        for i, number in ((1, 0), (2, 3)):
            stems[f"{name}_conv{i}"], norms[f"{name}_conv{i}"] = f"{stem}.{number}", f"{stem}.{number + 1}"
    stems |= {f"up{i}": f"up{i}.up" for i in range(1, levels + 1)}
    network = graph(channels, widths, published=True)
    return keys.read(network, stems, norms=norms, transposed={f"up{i}": (2, 0) for i in range(1, levels + 1)})


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(options["channels"], [options["width"] << i for i in range(options["levels"] + 1)], published=False)


ARCHITECTURE = Architecture(
    name="unet",
    summary="a U-Net with concatenated skips",
    source="Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("inc",),
    options=(
        Option("width", 32, "channels at the image's size; twice as many at each half", low=1, high=4096),
        Option("levels", 2, "how often the size is halved", low=1, high=6),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
)
