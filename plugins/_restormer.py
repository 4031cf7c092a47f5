"""The transformer blocks of Restormer (Zamir et al. 2022), which PromptIR and AdaIR share, and their keys in published files.

    x ← x + project(attention(norm(x)))      attention over channels; q, k, v: 1×1, then depthwise 3×3
    x ← x + project(gelu(a)·b)               a, b of norm(x): 1×1 to more channels, then depthwise 3×3

A file keeps q, k, v (and a, b) in one array each; here each is a convolution of its own, of which a pass over the image computes
only what it needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nspike_plugins._keyed import Keys, Parameters, Tensors

from nspike import (
    IMAGE,
    Add,
    Attention,
    BadInputError,
    Concat,
    Conv,
    LayerNorm,
    ModelError,
    Multiply,
    Network,
    PixelShuffle,
    PixelUnshuffle,
    Pointwise,
    UsageError,
    take,
)

EXPANSION = 2.66
BLOCKS = (4, 6, 6, 8)
REFINEMENT = 4
HEADS = (1, 2, 4, 8)
MOST_BLOCKS = 100

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """What differs between networks of the same build.

    width : channels of the first level; blocks : of each level; hidden : of the feed-forward parts, by level or block; heads :
    by level or block; bias : whether norms take away the mean and have biases.
    """

    channels: int
    width: int
    blocks: tuple[int, ...]
    refinement: int
    bias: bool
    hidden: Mapping[str, int]
    heads: Mapping[str, int]


@dataclass(frozen=True)
class Place:
    """Where a layer's parameter is in a file: rows `first` .. of the array `key`, in another shape, times the array `factor`."""

    key: str
    shape: Shape
    first: int = 0
    factor: str | None = None


class Build:
    """Layers as they are added, and the arrays of a published file that hold their parameters.

    published : key -> shape of every array that is used; unused : of those that files hold beside.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.layers: list[Any] = []
        self.published: dict[str, Shape] = {}
        self.unused: dict[str, Shape] = {}
        self.places: dict[str, Place] = {}

    def add(self, layer: Any) -> str:
        """Add a layer; its name."""
        self.layers.append(layer)
        return str(layer.name)

    def place(self, parameter: str, key: str, whole: Shape, place: Place | None = None) -> None:
        """Say that `parameter` is (a part of) the array `key` of shape `whole`."""
        self.published[key] = whole
        self.places[parameter] = place or Place(key, whole)

    def conv(
        self, name: str, source: str, inputs: int, outputs: int, kernel: int, key: str = "", *, bias: bool = False
    ) -> str:
        """A convolution whose weight is the array KEY.weight."""
        key = key or name
        self.place(f"{name}.weight", f"{key}.weight", (outputs, inputs, kernel, kernel))
        if bias:
            self.place(f"{name}.bias", f"{key}.bias", (outputs,))
        return self.add(Conv(name, source, inputs, outputs, kernel, bias))

    def parts(self, names: Sequence[str], source: str, inputs: int, outputs: int, key: str, deep: str) -> list[str]:
        """Several 1×1 convolutions that share an array, each followed by its part of a depthwise 3×3 one; the last names."""
        made, count = [], len(names)
        for i, name in enumerate(names):
            at = i * outputs
            own = Place(f"{key}.weight", (outputs, inputs, 1, 1), at)
            self.place(f"{name}_in.weight", f"{key}.weight", (count * outputs, inputs, 1, 1), own)
            self.add(Conv(f"{name}_in", source, inputs, outputs, 1, bias=False))
            own = Place(f"{deep}.weight", (outputs, 1, 3, 3), at)
            self.place(f"{name}.weight", f"{deep}.weight", (count * outputs, 1, 3, 3), own)
            made.append(self.add(Conv(name, f"{name}_in", outputs, outputs, 3, bias=False, groups=outputs)))
        return made

    def norm(self, name: str, source: str, channels: int, key: str) -> str:
        """A layer norm over channels."""
        for part in ("weight", "bias") if self.sizes.bias else ("weight",):
            self.place(f"{name}.{part}", f"{key}.body.{part}", (channels,))
        return self.add(LayerNorm(name, source, channels, self.sizes.bias))

    def attention(self, name: str, q: str, k: str, v: str, channels: int, heads: int, key: str) -> str:
        """Attention over channels and the projection after it; its last name is NAME_out."""
        own = Place(f"{key}.temperature", (heads,))
        self.place(f"{name}.temperature", f"{key}.temperature", (heads, 1, 1), own)
        self.add(Attention(name, (q, k, v), channels, heads))
        return self.conv(f"{name}_out", name, channels, channels, 1, f"{key}.project_out")

    def block(self, name: str, source: str, channels: int, level: str, key: str) -> str:
        """A transformer block; its last layer is called `name`."""
        heads, hidden = self.sizes.heads[level], self.sizes.hidden[level]
        own = f"{name}_attention"
        norm = self.norm(f"{name}_norm1", source, channels, f"{key}.norm1")
        names = [f"{own}_{part}" for part in "qkv"]
        q, k, v = self.parts(names, norm, channels, channels, f"{key}.attn.qkv", f"{key}.attn.qkv_dwconv")
        middle = self.add(Add(f"{name}_middle", (source, self.attention(own, q, k, v, channels, heads, f"{key}.attn"))))
        norm = self.norm(f"{name}_norm2", middle, channels, f"{key}.norm2")
        names = [f"{name}_ffn_{part}" for part in "ab"]
        a, b = self.parts(names, norm, channels, hidden, f"{key}.ffn.project_in", f"{key}.ffn.dwconv")
        gated = self.add(Multiply(f"{name}_gated", (self.add(Pointwise(f"{name}_gelu", a, hidden, "gelu")), b)))
        out = self.conv(f"{name}_ffn_out", gated, hidden, channels, 1, f"{key}.ffn.project_out")
        return self.add(Add(name, (middle, out)))

    def level(self, name: str, source: str, channels: int, count: int) -> str:
        """The blocks of a level; the last layer is called as the level."""
        for i in range(count):
            source = self.block(name if i == count - 1 else f"{name}_{i}", source, channels, name, f"{name}.{i}")
        return source

    def down(self, name: str, source: str, channels: int) -> str:
        """Half the size, twice the channels."""
        conv = self.conv(f"{name}_conv", source, channels, channels // 2, 3, f"{name}.body.0")
        return self.add(PixelUnshuffle(name, conv, 2))

    def up(self, name: str, source: str, channels: int) -> str:
        """Twice the size, half the channels."""
        conv = self.conv(f"{name}_conv", source, channels, 2 * channels, 3, f"{name}.body.0")
        return self.add(PixelShuffle(name, conv, 2))

    def encoder(self) -> list[str]:
        """The layers patch_embed ... latent; the last layers of the four levels."""
        width, ends = self.sizes.width, []
        top = self.conv("patch_embed", IMAGE, self.sizes.channels, width, 3, "patch_embed.proj")
        for i, name in enumerate(("encoder_level1", "encoder_level2", "encoder_level3", "latent")):
            if i:
                top = self.down(f"down{i}_{i + 1}", top, width << (i - 1))
            top = self.level(name, top, width << i, self.sizes.blocks[i])
            ends.append(top)
        return ends

    def decoder_level(self, number: int, source: str, channels: int, skip: str) -> str:
        """Up to a level from a layer of so many channels, and its blocks; the layer decoder_levelNUMBER."""
        width = self.sizes.width << (number - 1)
        top = self.up(f"up{number + 1}_{number}", source, channels)
        top = self.add(Concat(f"skip{number}", (top, skip)))
        given = channels // 2 + width
        if number > 1:
            top = self.conv(f"reduce_chan_level{number}", top, given, width, 1)
            given = width
        return self.level(f"decoder_level{number}", top, given, self.sizes.blocks[number - 1])

    def end(self, name: str, source: str) -> Network:
        """The refinement, the last convolution, and the network."""
        width = 2 * self.sizes.width
        top = self.level("refinement", source, width, self.sizes.refinement)
        last = self.conv("output_conv", top, width, self.sizes.channels, 3, "output")
        try:
            return Network(name, self.sizes.channels, tuple(self.layers), last, "add")
        except ModelError as error:
            raise BadInputError(f"{name}: its arrays make no network: {error}") from error


def usual(
    width: int, channels: int, blocks: Sequence[int] = BLOCKS, refinement: int = REFINEMENT, *, bias: bool = True
) -> Sizes:
    """The sizes of a network of which only these are said."""
    widths = {f"encoder_level{i}": width << (i - 1) for i in (1, 2, 3)} | {"latent": 8 * width}
    widths |= {"decoder_level3": 4 * width, "decoder_level2": 2 * width}
    widths |= {"decoder_level1": 2 * width, "refinement": 2 * width}
    heads = {f"{side}_level{i}": HEADS[i - 1] for side in ("encoder", "decoder") for i in (1, 2, 3)}
    heads |= {"latent": HEADS[3], "refinement": HEADS[0]}
    hidden = {name: int(EXPANSION * wide) for name, wide in widths.items()}
    return Sizes(channels, width, tuple(blocks), refinement, bias, hidden, heads)


def sizes_of(name: str, keys: Keys, more: Mapping[str, tuple[str, int]] | None = None) -> Sizes:
    """The sizes of a network in a file.

    more : blocks beside those of Restormer -> (the stem of their keys, their usual channels). Raises BadInputError.
    """
    width = keys.size("patch_embed.proj.weight", 0, 48)
    levels = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
    blocks = [keys.count(f"{level}.{{}}.", count) for level, count in zip(levels, BLOCKS, strict=True)]
    refinement = keys.count("refinement.{}.", REFINEMENT)
    if max(*blocks, refinement) > MOST_BLOCKS or not 2 <= width <= 4096 or width % 2:
        raise BadInputError(
            f"{name}: has up to {max(*blocks, refinement)} blocks a level and {width} channels, expected at most "
            f"{MOST_BLOCKS} and an even number; is it this network?"
        )
    sizes = usual(width, keys.size("patch_embed.proj.weight", 1, 3), blocks, refinement)
    places = {level: (f"{level}.0", 0) for level in sizes.heads} | dict(more or {})
    hidden, heads = {}, {}
    for level, (stem, channels) in places.items():
        usually = sizes.hidden.get(level, int(EXPANSION * channels))
        hidden[level] = keys.size(f"{stem}.ffn.project_out.weight", 1, usually)
        heads[level] = keys.size(f"{stem}.attn.temperature", 0, sizes.heads.get(level, HEADS[2]))
    bias = "encoder_level1.0.norm1.body.weight" not in keys or "encoder_level1.0.norm1.body.bias" in keys
    return Sizes(sizes.channels, width, tuple(blocks), refinement, bias, hidden, heads)


def read(keys: Keys, build: Build, network: Network) -> tuple[Network, Parameters]:
    """The network and its parameters from a file. Raises BadInputError as `nspike.take` does."""
    return network, parameters_of(network.name, keys.tensors, keys.original, build)


def parameters_of(name: str, tensors: Tensors, original: Mapping[str, str], build: Build) -> Parameters:
    """The parameters of a build from the arrays of a file; those that no layer uses may be missing."""
    wanted = {key: (original.get(key, key), shape) for key, shape in build.published.items()}
    for key in build.unused.keys() & original.keys():
        wanted[key] = (original[key], tensors[original[key]].shape)
    arrays = take(name, tensors, wanted)
    parameters: Parameters = {}
    for parameter, place in build.places.items():
        rows = arrays[place.key].reshape(-1) if place.first == 0 else arrays[place.key][place.first :].reshape(-1)
        values = rows[: int(np.prod(place.shape))].reshape(place.shape)
        if place.factor is not None:
            values = values * arrays[place.factor].reshape(-1, *(1,) * (len(place.shape) - 1))
        parameters[parameter] = np.ascontiguousarray(values)
    return parameters


def block_counts(text: str) -> tuple[int, ...]:
    """The blocks of four levels from text such as 4,6,6,8. Raises UsageError."""
    parts = text.split(",")
    if len(parts) == 4 and all(part.strip().isdigit() and 1 <= int(part) <= MOST_BLOCKS for part in parts):
        return tuple(int(part) for part in parts)
    raise UsageError(f"blocks {text!r}: expected four numbers from 1 to {MOST_BLOCKS}, such as 4,6,6,8")


def count(shapes: Iterable[Shape]) -> int:
    """How many numbers arrays of these shapes hold."""
    return sum(int(np.prod(shape)) for shape in shapes)
