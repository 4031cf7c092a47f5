"""PromptIR (Potlapalli et al. 2023): Restormer's blocks, and learnt prompts on the way up that say what is to be undone.

Reads va1shn9v/PromptIR, whose files hold arrays that no layer uses (`chnl_reduce`, `reduce_noise_channel`). A prompt is
Σₖ wₖ·Pₖ with w = softmax of a linear map of the features' mean, resized to the features, then a convolution. Layers are named as
in `nspike_plugins.restormer`; a `decoder_level` is what comes before its prompt.
"""

from typing import Any

from nspike_plugins._keyed import Keys, Parameters, Tensors, image_channels
from nspike_plugins._restormer import Build, Place, Sizes, sizes_of
from nspike_plugins._restormer import read as parameters

from nspike import Architecture, Concat, GlobalPool, Network, Prompt, hookimpl

NAME = "promptir"
LENGTH = 5
PROMPTS = {1: (64, 64), 2: (128, 32), 3: (320, 16)}
"""Prompt -> (its channels, its side), as published."""

Prompts = dict[int, tuple[int, int, int]]
"""Prompt -> (how many planes are mixed, its channels, its side)."""


@hookimpl
def register_networks(register: Any) -> None:
    """Register the architecture."""
    register(ARCHITECTURE)


def graph(sizes: Sizes, prompts: Prompts) -> tuple[Network, Build]:
    """The network, and where its parameters are in a file."""
    build = Build(sizes)
    one, two, three, top = build.encoder()
    width = sizes.width
    for number, wide, kept, skip in ((3, 8, 4, three), (2, 4, 4, two), (1, 2, 2, one)):
        top = _prompted(build, number, prompts[number], top, wide * width, kept * width)
        top = build.decoder_level(number, top, kept * width, skip)
    for i, (outer, inner) in enumerate(((64, 64), (128, 128), (256, 320)), 1):
        build.unused[f"chnl_reduce{i}.weight"] = (outer, inner, 1, 1)
        build.unused[f"reduce_noise_channel_{i}.weight"] = (width << (i - 1), (width << (i - 1)) + outer, 1, 1)
    return build.end(NAME, top), build


def _prompted(build: Build, number: int, prompt: tuple[int, int, int], source: str, channels: int, kept: int) -> str:
    """A prompt beside `source`, a transformer block over both, and a convolution to `kept` channels."""
    count, width, side = prompt
    own, linear = f"prompt{number}", f"prompt{number}.linear_layer"
    pool = build.add(GlobalPool(f"{own}_mean", source))
    scores = build.conv(f"{own}_scores", pool, channels, count, 1, linear, bias=True)
    build.place(
        f"{scores}.weight", f"{linear}.weight", (count, channels), Place(f"{linear}.weight", (count, channels, 1, 1))
    )
    key = f"{own}.prompt_param"
    build.place(f"{own}.weight", key, (1, count, width, side, side), Place(key, (count, width, side, side)))
    build.add(Prompt(own, (source, scores), width, count, side))
    top = build.conv(f"{own}_conv", own, width, width, 3, f"{own}.conv3x3")
    top = build.add(Concat(f"{own}_both", (source, top)))
    level, wide = f"noise_level{number}", channels + width
    return build.conv(f"reduce_{level}", build.block(level, top, wide, level, level), wide, kept, 1)


def read(tensors: Tensors) -> tuple[Network, Parameters]:
    """A checkpoint's tensors -> the network and its parameters."""
    keys = Keys(tensors)
    image_channels(NAME, keys.size("patch_embed.proj.weight", 1, 3))
    prompts = {}
    for i, (width, side) in PROMPTS.items():
        at = f"prompt{i}.prompt_param"
        prompts[i] = (keys.size(at, 1, LENGTH), keys.size(at, 2, width), keys.size(at, 3, side))
    width = keys.size("patch_embed.proj.weight", 0, 48)
    more = {f"noise_level{i}": (f"noise_level{i}", f * width + prompts[i][1]) for i, f in ((1, 2), (2, 4), (3, 8))}
    network, build = graph(sizes_of(NAME, keys, more), prompts)
    return parameters(keys, build, network)


ARCHITECTURE = Architecture(
    name=NAME,
    summary="Restormer's blocks with learnt prompts, for several tasks at once; plain, as a teacher",
    source="Potlapalli et al. 2023, arXiv:2306.13090",
    task="denoise",
    colour="rgb",
    read=read,
    hints=("prompt1",),
)
