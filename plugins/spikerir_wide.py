"""SpikerIR with the paper's widths (48 to 384 channels), in ESDNet's parts: four levels, gates over time, channels and places.

The paper says little of its blocks; these give its 0.07 M parameters as `thop` counts them (68,099), and its 0.03 GFLOPs at 64².
There are 15,979,379. It runs in floats, its steps side by side, as the attention's gates have no spiking form
(`nspike_plugins._esdnet`); `spikerir_lite` spikes in integers. The keys are ESDNet's, with `latent`, `down3_4`, `up4_3`,
`reduce_chan_level3` and `refinement.I` beside.
"""

from collections.abc import Mapping
from typing import Any

from nspike_plugins._esdnet import Builder, counted_by_thop
from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import Architecture, Conv, Network, Option, hookimpl

LEVELS = 4


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(channels: int, width: int, blocks: int, refinement: int, steps: int) -> tuple[Network, Builder]:
    """The network embed, enc1_block1, ..., down1, ..., latent_block1, ..., up3, dec3_block1, ..., mean, out, and its keys."""
    build = Builder(steps)
    x, skips = build.embed(channels, width), []
    for i in range(1, LEVELS):
        skips.append(build.blocks(f"enc{i}", f"encoder_level{i}", x, width << i - 1, blocks))
        x = build.down(f"down{i}", f"down{i}_{i + 1}", skips[-1], width << i - 1)
    x = build.blocks("latent", "latent", x, width << LEVELS - 1, blocks)
    for i in range(LEVELS - 1, 0, -1):
        reduce = f"reduce_chan_level{i}" if i > 1 else None
        x = build.up(f"up{i}", f"up{i + 1}_{i}", x, width << i, skips[i - 1], reduce)
        x = build.blocks(f"dec{i}", f"decoder_level{i}", x, width << max(i - 1, 1), blocks)
    x = build.blocks("refinement", "refinement", x, 2 * width, refinement)
    build.layers.append(Conv("out", build.mean(x), 2 * width, channels, 3))
    build.stems["out"] = "output.0"
    return Network("spikerir_wide", channels, tuple(build.layers), "out", "add"), build


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("spikerir_wide", keys.size("patch_embed.proj.weight", 1, 3))
    width = keys.size("patch_embed.proj.weight", 0, 48)
    steps = keys.size("latent.0.attn.ta.sharedMLP.0.weight", 1, 4)
    refinement = keys.count("refinement.{}.residual.", 0)
    network, build = graph(channels, width, keys.count("latent.{}.", 2), refinement, steps)
    return build.read(network, keys)


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    return graph(*(options[name] for name in ("channels", "width", "blocks", "refinement", "steps")))[0]


ARCHITECTURE = Architecture(
    name="spikerir_wide",
    summary="SpikerIR's encoder-decoder at the paper's widths, in floats: 15,979,379 parameters, gates from ESDNet",
    source="SpikerIR's levels and widths; blocks of Song et al. 2024, arXiv:2405.06277",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("reduce_chan_level3",),
    options=(
        Option("width", 48, "channels at the image's size; twice as many at each half", low=2, high=4096),
        Option("blocks", 2, "of each level, on the way down and up", low=1, high=100),
        Option("refinement", 2, "blocks at the end", low=0, high=100),
        Option("steps", 4, "T", low=1, high=32),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
    thop=counted_by_thop,
)
