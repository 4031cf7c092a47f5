"""SpikerIR's encoder-decoder, small enough for the edge: four levels, spikes alone between analog ends.

    block    x <- x + shuffle(bn(GP(LIF(bn(DW(LIF(x)))))))
    down     x <- bn(G(unshuffle(LIF(x))))
    up       x <- bn(shuffle(G(LIF(x)))) + the encoder's x of that level
    image    input + mean over T of the output convolution of LIF(x)

DW is a 3×3 depthwise convolution, GP a 1×1 of groups of `group` channels, G a 1×1 of groups of 4; no convolution but the
last has a bias. x is a current that nothing but these sums changes (membrane shortcuts), so every batch norm can be folded.
A network that is told the noise level reads it as one more plane of the image.

The paper gives levels, widths and T; its parameter count cannot be that of its widths. Blocks and groups here are ours,
chosen to have the 0.07 M parameters that it states: 65,475, with batch norm's weights and biases.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import (
    Activation,
    Add,
    Architecture,
    BadInputError,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Network,
    Option,
    PixelShuffle,
    PixelUnshuffle,
    hookimpl,
)

_EPS = 1e-5
_SIGMA = 25.0


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, group: int, blocks: int, levels: int, told: bool) -> Network:
    """The network embed, enc1_block1, ..., down1, ..., latent_block1, ..., up1, dec1_block1, ..., out."""
    layers: list[Any] = []
    if told:
        layers = [Constant("sigma", "image", (_SIGMA / 255,), "sigma"), Concat("input", ("image", "sigma"))]
    layers.append(Conv("embed", "input" if told else "image", channels + told, width, 3, False))

    def some(stage: str, wide: int) -> str:
        for i in range(1, blocks + 1):
            name, source = f"{stage}_block{i}", layers[-1].name
            layers.extend([
                Activation(f"{name}_lif1", source, wide),
                Conv(f"{name}_dw", f"{name}_lif1", wide, wide, 3, False, _EPS, groups=wide),
                Activation(f"{name}_lif2", f"{name}_dw", wide),
                Conv(f"{name}_gp", f"{name}_lif2", wide, wide, 1, False, _EPS, groups=wide // group),
                ChannelShuffle(f"{name}_shuffle", f"{name}_gp", wide // group),
                Add(name, (source, f"{name}_shuffle")),
            ])  # fmt: skip
        return str(layers[-1].name)

    skips = []
    for i in range(1, levels):
        wide = width << i - 1
        skips.append(some(f"enc{i}", wide))
        layers += [
            Activation(f"down{i}_lif", skips[-1], wide),
            PixelUnshuffle(f"down{i}_unshuffle", f"down{i}_lif", 2),
            Conv(f"down{i}", f"down{i}_unshuffle", 4 * wide, 2 * wide, 1, False, _EPS, groups=wide),
        ]
    some("latent", width << levels - 1)
    for i in range(levels - 1, 0, -1):
        wide = width << i
        layers += [
            Activation(f"up{i}_lif", layers[-1].name, wide),
            Conv(f"up{i}", f"up{i}_lif", wide, 2 * wide, 1, False, _EPS, groups=wide // 4, normed_together=4),
            PixelShuffle(f"up{i}_shuffle", f"up{i}", 2),
            Add(f"skip{i}", (f"up{i}_shuffle", skips.pop())),
        ]
        some(f"dec{i}", width << i - 1)
    layers += [Activation("out_lif", layers[-1].name, width), Conv("out", "out_lif", width, channels, 3)]
    return Network("spikerir_lite", channels, tuple(layers), "out", "add")


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    planes = keys.size("embed.weight", 1, 3)
    told = planes in (2, 4)
    channels = image_channels("spikerir_lite", planes - told)
    width = keys.size("embed.weight", 0, 48)
    group = keys.size("latent.0.gp.weight", 1, 12)
    if width % group or width % 4:
        raise BadInputError(
            f"spikerir_lite: {width} channels in groups of {group}, expected a multiple of {group} and of 4; is it this network?"
        )
    levels = max(2, keys.count("down{}.", 4))
    network = graph(channels, width, group, keys.count("latent.{}.", 2), levels, told)
    stems, norms = {"embed": "embed", "out": "out"}, {}
    for conv in network.convs:
        if conv.name.startswith(("down", "up")):
            stems[conv.name], norms[conv.name] = f"{conv.name}.conv", f"{conv.name}.bn"
        elif conv.name not in stems:
            stage, block, kind = conv.name.split("_")
            stem = f"{stage}.{int(block.removeprefix('block')) - 1}"
            stems[conv.name], norms[conv.name] = f"{stem}.{kind}", f"{stem}.{'bn1' if kind == 'dw' else 'bn2'}"
    return keys.read(network, stems, norms=norms)


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    width, group = options["width"], options["group"]
    if width % group or width % 4:
        raise BadInputError(f"spikerir_lite: width = {width} is no multiple of group = {group} and of 4")
    told = options["noise_level"] == 1
    return graph(options["channels"], width, group, options["blocks"], options["levels"], told)


ARCHITECTURE = Architecture(
    name="spikerir_lite",
    summary="a spiking encoder-decoder of 65,475 parameters: depthwise and grouped convolutions, membrane shortcuts",
    source="SpikerIR's levels and widths; blocks of nspike",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("latent",),
    options=(
        Option("width", 48, "channels at the image's size; twice as many at each half", low=4, high=4096),
        Option("group", 12, "channels that a grouped 1×1 convolution joins", low=1, high=4096),
        Option("blocks", 2, "of each level, on the way down and up", low=1, high=100),
        Option("levels", 4, "sizes of the image, each half of the one before", low=2, high=6),
        Option("channels", 3, "of the image", choices=(1, 3)),
        Option("noise_level", 0, "1: the network is told the noise level", choices=(0, 1)),
    ),
    make=make,
    trained="spiking",
    thop=lambda network: (network.output,),
)
