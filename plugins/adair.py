"""AdaIR (Cui et al. 2025): Restormer's blocks, and features of the image's low and high frequencies mixed in on the way up.

Reads c-yn/AdaIR, whose files hold arrays that no layer uses (`fre1.conv`, `fre1.score_gen`). Three modules `fre1` (on the
latent), `fre2` (after `decoder_level3`) and `fre3` (after `decoder_level2`) compute, for the image shrunk to their size,

    low, high = frequencies(conv1 image)     in and out of a box whose sides follow from the features' mean
    high ← attention(q of high, k and v of x);   low ← attention(q of low, k and v of x)
    mixed = conv(high·channel gate(low) + low·spatial gate(high))
    x ← para1·attention(q of x, k and v of mixed) + para2·x

In the code the attention called `l` is given the high frequencies, and `h` the low ones. On features of less than 128 pixels on a
side the box is empty, so that low is 0 and its attention is uniform.
"""

from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels
from nspike_plugins._restormer import Build, Place, Sizes, sizes_of
from nspike_plugins._restormer import read as parameters

from nspike import (
    IMAGE,
    Activation,
    Add,
    Architecture,
    ChannelPool,
    Conv,
    FrequencySplit,
    GlobalPool,
    Multiply,
    Network,
    Pointwise,
    Shrink,
    Slice,
    hookimpl,
)

NAME = "adair"

Module = tuple[int, int, int]
"""The channels between the convolutions of the rate and those of the channel gate, and the attentions' heads."""


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(sizes: Sizes, modules: dict[int, Module]) -> tuple[Network, Build]:
    """The network, and where its parameters are in a file."""
    build = Build(sizes)
    one, two, three, top = build.encoder()
    width = sizes.width
    top = _frequencies(build, "fre1", top, 8 * width, 8, modules[1])
    top = build.decoder_level(3, top, 8 * width, three)
    top = _frequencies(build, "fre2", top, 4 * width, 4, modules[2])
    top = build.decoder_level(2, top, 4 * width, two)
    top = _frequencies(build, "fre3", top, 2 * width, 2, modules[3])
    top = build.decoder_level(1, top, 2 * width, one)
    return build.end(NAME, top), build


def _frequencies(build: Build, own: str, x: str, channels: int, factor: int, module: Module) -> str:
    """A module on x, which is 1/factor as large as the image; the layer `own`."""
    rate, gate, heads = module
    image = build.add(Shrink(f"{own}_image", IMAGE, factor))
    feature = build.conv(f"{own}_conv1", image, build.sizes.channels, channels, 3, f"{own}.conv1")
    top = build.add(GlobalPool(f"{own}_mean", feature))
    top = build.conv(f"{own}_rate1", top, channels, rate, 1, f"{own}.rate_conv.0")
    top = build.add(Pointwise(f"{own}_gelu", top, rate, "gelu"))
    top = build.conv(f"{own}_rate2", top, rate, 2, 1, f"{own}.rate_conv.2")
    share = build.add(Pointwise(f"{own}_share", top, 2, "sigmoid"))
    split = build.add(FrequencySplit(f"{own}_split", (feature, share), channels))
    low = build.add(Slice(f"{own}_low", split, 0, channels))
    high = build.add(Slice(f"{own}_high", split, channels, channels))
    high = _crossed(build, f"{own}_cross_l", high, x, channels, heads, f"{own}.channel_cross_l")
    low = _crossed(build, f"{own}_cross_h", low, x, channels, heads, f"{own}.channel_cross_h")
    mixed = _refined(build, own, low, high, channels, gate)
    crossed = _crossed(build, f"{own}_cross_agg", x, mixed, channels, heads, f"{own}.channel_cross_agg")
    for i in (1, 2):
        build.published[f"{own}.para{i}"] = (channels, 1, 1)
    weight = f"{crossed}.weight"
    build.places[weight] = Place(build.places[weight].key, (channels, channels, 1, 1), factor=f"{own}.para1")
    kept = build.add(Conv(f"{own}_kept", x, channels, channels, 1, bias=False, groups=channels))
    build.places[f"{kept}.weight"] = Place(f"{own}.para2", (channels, 1, 1, 1))
    build.unused[f"{own}.conv.weight"] = (channels, build.sizes.channels, 3, 3)
    build.unused[f"{own}.score_gen.weight"] = (2, 2, 7, 7)
    build.unused[f"{own}.score_gen.bias"] = (2,)
    return build.add(Add(own, (crossed, kept)))


def _crossed(build: Build, name: str, of: str, over: str, channels: int, heads: int, key: str) -> str:
    """Attention with q of one layer, k and v of another, and the projection after it."""
    (q,) = build.parts([f"{name}_q"], of, channels, channels, f"{key}.q", f"{key}.q_dwconv")
    k, v = build.parts([f"{name}_k", f"{name}_v"], over, channels, channels, f"{key}.kv", f"{key}.kv_dwconv")
    return build.attention(name, q, k, v, channels, heads, key)


def _refined(build: Build, own: str, low: str, high: str, channels: int, gate: int) -> str:
    """conv(high·channel gate(low) + low·spatial gate(high)); the gate's two convolutions see mean and maximum alike."""
    key = f"{own}.frequency_refine"
    gates = []
    for kind in ("mean", "max"):
        name = f"{own}_gate_{kind}"
        top = build.add(GlobalPool(name, low, kind))
        if kind == "mean":
            top = build.conv(f"{name}_conv1", top, channels, gate, 1, f"{key}.ChannelGate.mlp.0")
            top = build.add(Activation(f"{name}_relu", top, gate))
            gates.append(build.conv(f"{name}_conv2", top, gate, channels, 1, f"{key}.ChannelGate.mlp.2"))
        else:
            tied = f"{own}_gate_mean_conv"
            top = build.add(Conv(f"{name}_conv1", top, channels, gate, 1, bias=False, tied=f"{tied}1"))
            top = build.add(Activation(f"{name}_relu", top, gate))
            gates.append(build.add(Conv(f"{name}_conv2", top, gate, channels, 1, bias=False, tied=f"{tied}2")))
    top = build.add(Add(f"{own}_gate_sum", tuple(gates)))
    channel = build.add(Pointwise(f"{own}_gate_channel", top, channels, "sigmoid"))
    top = build.add(ChannelPool(f"{own}_gate_pool", high))
    top = build.conv(f"{own}_gate_conv", top, 2, 1, 7, f"{key}.SpatialGate.spatial")
    spatial = build.add(Pointwise(f"{own}_gate_spatial", top, 1, "sigmoid"))
    top = build.add(Multiply(f"{own}_gated_high", (high, channel)))
    other = build.add(Multiply(f"{own}_gated_low", (low, spatial)))
    top = build.add(Add(f"{own}_gated", (other, top)))
    return build.conv(f"{own}_refined", top, channels, channels, 1, f"{key}.proj", bias=True)


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    image_channels(NAME, keys.size("patch_embed.proj.weight", 1, 3))
    sizes = sizes_of(NAME, keys)
    modules = {
        i: (
            keys.size(f"fre{i}.rate_conv.0.weight", 0, (sizes.width << (4 - i)) // 8),
            keys.size(f"fre{i}.frequency_refine.ChannelGate.mlp.0.weight", 0, (sizes.width << (4 - i)) // 16),
            keys.size(f"fre{i}.channel_cross_l.temperature", 0, sizes.heads["encoder_level3"]),
        )
        for i in (1, 2, 3)
    }
    network, build = graph(sizes, modules)
    return parameters(keys, build, network)


ARCHITECTURE = Architecture(
    name=NAME,
    summary="Restormer's blocks with the image's frequencies mixed in, for several tasks at once; plain, as a teacher",
    source="Cui et al. 2025, arXiv:2403.14614",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("fre1",),
)
