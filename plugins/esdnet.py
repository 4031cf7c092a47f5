"""ESDNet (Song et al. 2024): a spiking network for deraining, three levels, attention, a refinement after the mean over T.

Reads MingTian99/ESDNet, which needs SpikingJelly, at any width, depth and T. It runs in floats, its steps side by side, as the
attention's gates have no spiking form (`nspike_plugins._esdnet`).

    refinement   (1 - t)·a + t·x,   a = σ(W₂·relu(W₁·mean x)),   t = σ(conv(relu(conv(conv(x)))))
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nspike_plugins._esdnet import Builder, counted_by_thop
from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels

from nspike import (
    Activation,
    Add,
    Architecture,
    Conv,
    GlobalPool,
    Multiply,
    Network,
    Option,
    Pointwise,
    UsageError,
    hookimpl,
)

LEVELS = 3
_REDUCTION = 8


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(
    channels: int, width: int, encoder: Sequence[int], decoder: Sequence[int], steps: int
) -> tuple[Network, Builder]:
    """The network embed, enc1_block1, ..., down1, ..., dec3_block1, ..., up2, ..., mean, refinement, out, and its keys."""
    build = Builder(steps)
    x, skips = build.embed(channels, width), []
    for i in range(1, LEVELS + 1):
        x = build.blocks(f"enc{i}", f"encoder_level{i}", x, width << i - 1, encoder[i - 1])
        if i < LEVELS:
            skips.append(x)
            x = build.down(f"down{i}", f"down{i}_{i + 1}", x, width << i - 1)
    x = build.blocks("dec3", "decoder_level3", x, width << 2, decoder[2])
    x = build.up("up2", "up3_2", x, width << 2, skips[1], "reduce_chan_level2")
    x = build.blocks("dec2", "decoder_level2", x, 2 * width, decoder[1])
    x = build.up("up1", "up2_1", x, 2 * width, skips[0], None)
    x = build.blocks("dec1", "decoder_level1", x, 2 * width, decoder[0])
    _refine(build, build.mean(x), 2 * width)
    build.layers.append(Conv("out", "refinement", 2 * width, channels, 3))
    build.stems["out"] = "output.0"
    return Network("esdnet", channels, tuple(build.layers), "out", "add"), build


def _refine(build: Builder, x: str, width: int) -> None:
    """The layers of the refinement, the last called so."""
    less, name = width // _REDUCTION, "refinement"
    build.layers += [
        GlobalPool(f"{name}_pool", x),
        Conv(f"{name}_ca1", f"{name}_pool", width, less, 1),
        Activation(f"{name}_ca_relu", f"{name}_ca1", less),
        Conv(f"{name}_ca2", f"{name}_ca_relu", less, width, 1),
        Pointwise(f"{name}_a", f"{name}_ca2", width, "sigmoid"),
        Conv(f"{name}_sa1", x, width, width, 3),
        Conv(f"{name}_sa2", f"{name}_sa1", width, less, 3),
        Activation(f"{name}_sa_relu", f"{name}_sa2", less),
        Conv(f"{name}_sa3", f"{name}_sa_relu", less, width, 3),
        Pointwise(f"{name}_t", f"{name}_sa3", width, "sigmoid"),
        Pointwise(f"{name}_rest", f"{name}_t", width, "complement"),
        Multiply(f"{name}_pooled", (f"{name}_rest", f"{name}_a")),
        Multiply(f"{name}_kept", (x, f"{name}_t")),
        Add(name, (f"{name}_pooled", f"{name}_kept")),
    ]
    build.stems |= {f"{name}_ca{i}": f"{name}.ca.{number}" for i, number in ((1, 1), (2, 3))}
    build.stems |= {f"{name}_sa{i}": f"{name}.sa.{number}" for i, number in ((1, 0), (2, 1), (3, 3))}


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    channels = image_channels("esdnet", keys.size("patch_embed.proj.weight", 1, 3))
    width = keys.size("patch_embed.proj.weight", 0, 48)
    steps = keys.size("encoder_level1.0.attn.ta.sharedMLP.0.weight", 1, 4)
    encoder = [keys.count(f"encoder_level{i}.{{}}.", count) for i, count in ((1, 4), (2, 4), (3, 8))]
    decoder = [keys.count(f"decoder_level{i}.{{}}.", 2) for i in (1, 2, 3)]
    network, build = graph(channels, width, encoder, decoder, steps)
    return build.read(network, keys)


def make(options: Mapping[str, Any]) -> Network:
    """The network to be trained from scratch."""
    counts = {part: _counts(part, options[part]) for part in ("encoder", "decoder")}
    return graph(options["channels"], options["width"], counts["encoder"], counts["decoder"], options["steps"])[0]


def _counts(part: str, text: str) -> list[int]:
    """The blocks of each level."""
    numbers = [int(word) for word in text.split("-") if word.isdecimal() and 1 <= int(word) <= 100]
    if len(numbers) != LEVELS or "-".join(map(str, numbers)) != text:
        raise UsageError(f"network esdnet: {part} = {text}; expected the blocks of {LEVELS} levels, such as 4-4-8")
    return numbers


ARCHITECTURE = Architecture(
    name="esdnet",
    summary="a spiking deraining network in floats: three levels of 48 to 192 channels, gates over time, channels, places",
    source="Song et al. 2024, arXiv:2405.06277",
    task="derain",
    colour="rgb",
    read=read,
    hints=("reduce_chan_level2",),
    options=(
        Option("width", 48, "channels at the image's size; twice as many at each half", low=8, high=4096),
        Option("encoder", "4-4-8", "blocks of each level on the way down"),
        Option("decoder", "2-2-2", "the same on the way up, the image's size first"),
        Option("steps", 4, "T", low=1, high=32),
        Option("channels", 3, "of the image", choices=(1, 3)),
    ),
    make=make,
    thop=counted_by_thop,
)
