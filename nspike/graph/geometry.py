"""What follows from layers alone: shapes, sizes, parameters, what an output needs, fan-out, multiply-accumulates.

Where kinds of layers differ, `GEOMETRY` says how. Positions outside the image are zero, and no operation is counted there.
Both axes are alike, so that functions of positions take one axis.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.graph.faults import (
    bad_activation,
    bad_conv,
    bad_factor,
    bad_numbers,
    bad_plain,
    bad_pool,
    bad_steps,
    not_a_size,
)
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Gate,
    Layer,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.plain_layer import (
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    Leaky,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
    StepAttention,
    StepMean,
)

Shape = tuple[int, int, int]
"""Channels, height, width."""

Interval = tuple[int, int]
"""Positions first .. last-1 along an axis."""

Role = Literal["current", "neurons", "linear", "arrange", "constant", "plain"]
"""What a layer does in the spiking network: it makes a current of spikes or of the image; it has neurons; it makes a
current of currents; it only moves what it reads, of whichever kind; it gives planes like the image's; it cannot be there."""

EVERYWHERE: Interval = (-(1 << 40), 1 << 40)


@dataclass(frozen=True)
class Geometry:
    """What follows from a layer of one kind.

    Parameters
    ----------
    role : see `Role`.
    channels : (layer, the channels of each layer that it reads) -> its own.
    expects : (layer, how many it reads) -> the channels that it must read of each; None if any number will do.
    fault : (layer, the channels that it reads) -> what is wrong with its own numbers, in words; None if nothing is.
    broadcasts : whether it may read a single value over the whole image beside a feature map.
    scale : layer -> its height over that of what it reads; None for a single value over the whole image.
    needs : (layer, first, last) -> which positions outputs first .. last-1 are computed from, not cut off at the border.
    fan : (layer, size) -> how many outputs of one channel each of `size` input positions reaches, int64 (size,).
    reach : layer -> the same far from the border, the mean over positions, for both axes together.
    targets : layer -> how many output channels an input channel reaches.
    parameters : layer -> the shapes of its parameters by name.
    weights : layer -> how many weights of a kernel each output pixel is computed with.
    macs : (layer, height, width of what it reads) -> multiply-accumulates, those with the zero padding not counted.
    additions : (layer, its channels, how many it reads) -> additions of currents for each of its pixels and steps.
    """

    role: Role
    channels: Callable[[Any, Sequence[int]], int] = lambda layer, read: read[0]
    expects: Callable[[Any, int], Sequence[int] | None] = lambda layer, count: None
    fault: Callable[[Any, Sequence[int]], str | None] = lambda layer, read: None
    broadcasts: bool = False
    scale: Callable[[Any], Fraction | None] = lambda layer: Fraction(1)
    needs: Callable[[Any, int, int], Interval] = lambda layer, first, last: (first, last)
    fan: Callable[[Any, int], NDArray[np.int64]] = lambda layer, size: np.ones(size, np.int64)
    reach: Callable[[Any], Fraction] = lambda layer: Fraction(1)
    targets: Callable[[Any], int] = lambda layer: 1
    parameters: Callable[[Any], dict[str, tuple[int, ...]]] = lambda layer: {}
    weights: Callable[[Any], int] = lambda layer: 0
    macs: Callable[[Any, int, int], int] = lambda layer, height, width: 0
    additions: Callable[[Any, int, int], int] = lambda layer, channels, count: 0


def _conv_parameters(conv: Conv) -> dict[str, tuple[int, ...]]:
    if conv.tied is not None:
        return {}
    each = conv.kernel_shape[:1]
    shapes: dict[str, tuple[int, ...]] = {"weight": conv.kernel_shape}
    if conv.bias:
        shapes["bias"] = each
    if conv.batch_norm_eps is not None:
        normed = (conv.kernel_shape[0] // conv.normed_together,)
        shapes |= {f"bn_{part}": normed for part in ("weight", "bias", "mean", "var")}
    return shapes


def _conv_fan(conv: Conv, size: int) -> NDArray[np.int64]:
    fan = np.zeros(size, np.int64)
    starts = np.arange(-(-size // conv.stride), dtype=np.int64) * conv.stride - conv.pads[0]
    for tap in range(conv.kernel):
        at = starts + tap * conv.dilation
        np.add.at(fan, at[(at >= 0) & (at < size)], 1)
    return fan


def _conv_macs(conv: Conv, height: int, width: int) -> int:
    channels = conv.repeats * math.prod(conv.kernel_shape[:2])
    return channels * int(_conv_fan(conv, height).sum()) * int(_conv_fan(conv, width).sum())


def _conv_needs(conv: Conv, first: int, last: int) -> Interval:
    return first * conv.stride - conv.pads[0], (last - 1) * conv.stride - conv.pads[0] + conv.span + 1


def _enlarged(factor: int, first: int, last: int) -> Interval:
    return first // factor, -(-last // factor)


def _blocks(size: int, first: int, last: int) -> Interval:
    return first * size, last * size


def _ones(layer: Any, count: int) -> Sequence[int]:
    return [layer.channels] * count


GEOMETRY: dict[type[Layer], Geometry] = {
    Conv: Geometry(
        role="current",
        channels=lambda conv, read: conv.out_channels,
        expects=lambda conv, count: [conv.in_channels],
        fault=lambda conv, read: bad_conv(conv),
        scale=lambda conv: Fraction(1, conv.stride),
        needs=_conv_needs,
        fan=_conv_fan,
        reach=lambda conv: Fraction(conv.kernel**2, conv.stride**2),
        targets=lambda conv: conv.out_channels // (conv.groups * conv.repeats),
        parameters=_conv_parameters,
        weights=lambda conv: conv.repeats * math.prod(conv.kernel_shape),
        macs=_conv_macs,
    ),
    Activation: Geometry(role="neurons", expects=_ones, fault=lambda layer, read: bad_activation(layer)),
    Gate: Geometry(role="current", expects=_ones),
    Concat: Geometry(role="arrange", channels=lambda layer, read: sum(read)),
    Slice: Geometry(
        role="arrange",
        channels=lambda layer, read: layer.channels,
        fault=lambda layer, read: (
            None
            if layer.first >= 0 and layer.channels >= 1 and layer.first + layer.channels <= read[0]
            else f"layer {layer.name!r} takes channels {layer.first} .. {layer.first + layer.channels - 1} of {read[0]}"
        ),
    ),
    ChannelShuffle: Geometry(
        role="arrange",
        fault=lambda layer, read: not_a_size(layer.name, "groups", layer.groups, read[0]),
    ),
    PixelShuffle: Geometry(
        role="arrange",
        channels=lambda layer, read: read[0] // layer.factor**2,
        fault=lambda layer, read: not_a_size(layer.name, "factor", layer.factor, read[0], layer.factor**2),
        scale=lambda layer: Fraction(layer.factor),
        needs=lambda layer, first, last: _enlarged(layer.factor, first, last),
    ),
    PixelUnshuffle: Geometry(
        role="arrange",
        channels=lambda layer, read: read[0] * layer.factor**2,
        fault=lambda layer, read: not_a_size(layer.name, "factor", layer.factor),
        scale=lambda layer: Fraction(1, layer.factor),
        needs=lambda layer, first, last: _blocks(layer.factor, first, last),
    ),
    Nearest: Geometry(
        role="arrange",
        fault=lambda layer, read: not_a_size(layer.name, "factor", layer.factor),
        scale=lambda layer: Fraction(layer.factor),
        needs=lambda layer, first, last: _enlarged(layer.factor, first, last),
    ),
    Add: Geometry(
        role="linear",
        expects=lambda layer, count: None,
        fault=lambda layer, read: (
            None if len(set(read)) == 1 and len(read) > 1 else f"layer {layer.name!r} adds {list(read)} channels"
        ),
        additions=lambda layer, channels, count: channels * (count - 1),
    ),
    AveragePool: Geometry(
        role="linear",
        fault=lambda layer, read: (
            None
            if layer.size >= 2 and layer.size & (layer.size - 1) == 0
            else f"layer {layer.name!r} averages blocks of {layer.size}, expected a power of two"
        ),
        scale=lambda layer: Fraction(1, layer.size),
        needs=lambda layer, first, last: _blocks(layer.size, first, last),
        additions=lambda layer, channels, count: channels * (layer.size**2 - 1),
    ),
    Bilinear: Geometry(
        role="linear",
        scale=lambda layer: Fraction(2),
        needs=lambda layer, first, last: ((first - 1) // 2, last // 2 + 1),
        additions=lambda layer, channels, count: 3 * channels,
    ),
    Constant: Geometry(role="constant", channels=lambda layer, read: len(layer.values)),
    Pointwise: Geometry(
        role="plain",
        expects=_ones,
        fault=lambda layer, read: bad_plain(layer),
        parameters=lambda layer: {"weight": (layer.channels,)} if layer.function == "prelu" else {},
    ),
    MaxPool: Geometry(
        role="plain",
        fault=lambda layer, read: not_a_size(layer.name, "size", layer.size),
        scale=lambda layer: Fraction(1, layer.size),
        needs=lambda layer, first, last: _blocks(layer.size, first, last),
    ),
    GlobalPool: Geometry(
        role="plain",
        fault=lambda layer, read: bad_pool(layer),
        scale=lambda layer: None,
        needs=lambda *_: EVERYWHERE,
    ),
    LayerNorm: Geometry(
        role="plain",
        expects=_ones,
        parameters=lambda layer: {"weight": (layer.channels,)} | ({"bias": (layer.channels,)} if layer.bias else {}),
    ),
    Multiply: Geometry(
        role="plain",
        broadcasts=True,
        fault=lambda layer, read: (
            None
            if len(read) == 2 and read[1] in (read[0], 1)
            else f"layer {layer.name!r} multiplies {list(read)} channels"
        ),
    ),
    Attention: Geometry(
        role="plain",
        expects=_ones,
        fault=lambda layer, read: not_a_size(layer.name, "heads", layer.heads, layer.channels),
        needs=lambda *_: EVERYWHERE,
        parameters=lambda layer: {"temperature": (layer.heads,)},
        weights=lambda layer: 2 * layer.channels**2 // layer.heads,
        macs=lambda layer, height, width: 2 * layer.channels**2 // layer.heads * height * width,
    ),
    Leaky: Geometry(role="plain", expects=_ones, fault=lambda layer, read: bad_steps(layer, read[0])),
    StepAttention: Geometry(
        role="plain",
        expects=_ones,
        fault=lambda layer, read: bad_steps(layer, read[0]),
        needs=lambda *_: EVERYWHERE,
        parameters=lambda layer: layer.parameter_shapes,
        weights=lambda layer: 2 * layer.kernel**2 + 3 * layer.channels,
        macs=lambda layer, height, width: (2 * layer.kernel**2 + 3 * layer.channels) * height * width,
    ),
    StepMean: Geometry(
        role="plain",
        channels=lambda layer, read: read[0] // layer.steps,
        fault=lambda layer, read: not_a_size(layer.name, "steps", layer.steps, read[0]),
    ),
    Shrink: Geometry(
        role="plain",
        fault=lambda layer, read: bad_factor(layer),
        scale=lambda layer: Fraction(1, layer.factor),
        needs=lambda layer, first, last: _blocks(layer.factor, first, last),
    ),
    ChannelPool: Geometry(role="plain", channels=lambda layer, read: 2),
    Prompt: Geometry(
        role="plain",
        broadcasts=True,
        channels=lambda layer, read: layer.channels,
        expects=lambda layer, count: None,
        fault=lambda layer, read: (
            bad_numbers(layer, "channels", "count", "size")
            or (None if read[1:] == [layer.count] else f"layer {layer.name!r} reads {read[1:]} scores of {layer.count}")
        ),
        parameters=lambda layer: {"weight": (layer.count, layer.channels, layer.size, layer.size)},
    ),
    FrequencySplit: Geometry(
        role="plain",
        broadcasts=True,
        channels=lambda layer, read: 2 * layer.channels,
        expects=lambda layer, count: [layer.channels, 2],
        fault=lambda layer, read: bad_numbers(layer, "channels", "block"),
        needs=lambda *_: EVERYWHERE,
        macs=lambda layer, height, width: 8 * layer.channels * (width // layer.block) * height * width,
    ),
}


def geometry(layer: Layer) -> Geometry:
    """The entry of `GEOMETRY` for the kind of this layer."""
    return GEOMETRY[type(layer)]


def widths(layers: Iterable[Layer], channels: int) -> dict[str, int]:
    """The channels of every layer, and of an image with `channels`."""
    known = {IMAGE: channels}
    for layer in layers:
        known[layer.name] = geometry(layer).channels(layer, [known[source] for source in layer.sources])
    return known


def scales(layers: Iterable[Layer]) -> dict[str, Fraction | None]:
    """The height of every layer over that of the image, which is 1; None for one value over the whole image."""
    known: dict[str, Fraction | None] = {IMAGE: Fraction(1)}
    for layer in layers:
        own, read = geometry(layer).scale(layer), known[layer.sources[0]]
        known[layer.name] = None if own is None or read is None else own * read
    return known


def size_multiple(layers: Iterable[Layer]) -> int:
    """Heights and widths of images are multiples of this: those of all layers are then whole."""
    return math.lcm(*(scale.denominator for scale in scales(layers).values() if scale is not None))


def shapes(
    scales: Mapping[str, Fraction | None], widths: Mapping[str, int], height: int, width: int
) -> dict[str, Shape]:
    """The shape of every layer, and of the image, for an image height × width of multiples of the size multiple."""

    def scaled(name: str) -> Shape:
        scale = scales[name]
        return (widths[name], *((1, 1) if scale is None else (times(height, scale), times(width, scale))))

    return {name: scaled(name) for name in scales}


def times(size: int, scale: Fraction) -> int:
    """size·scale, rounded down; several times as fast as by `Fraction`."""
    return size * scale.numerator // scale.denominator


def parameter_shapes(layer: Layer) -> dict[str, tuple[int, ...]]:
    """The shapes of a layer's parameters, by their names in a model: LAYER.weight, ..."""
    return {f"{layer.name}.{part}": shape for part, shape in geometry(layer).parameters(layer).items()}


STATISTICS = ("bn_mean", "bn_var")
"""What is kept beside parameters and not trained by a gradient."""


def parameter_count(layers: Iterable[Layer]) -> int:
    """How many numbers are trained: batch norm's statistics are not, those that layers share count once."""
    return sum(
        math.prod(shape)
        for layer in layers
        for part, shape in geometry(layer).parameters(layer).items()
        if part not in STATISTICS
    )


def needed(layers: Iterable[Layer], size: int, wanted: Mapping[str, Interval]) -> dict[str, Interval]:
    """Along one axis of an image of `size` pixels: the positions of each layer, and of the image, that `wanted` ones need.

    wanted : layer name -> its positions; they are a part of the result. Layers that nothing needs have (0, 0).
    """
    layers = tuple(layers)
    limits = {name: 1 if scale is None else int(size * scale) for name, scale in scales(layers).items()}
    need: dict[str, Interval] = dict.fromkeys(limits, (0, 0))
    for name, interval in wanted.items():
        need[name] = _union(need[name], interval, limits[name])
    for layer in reversed(layers):
        first, last = need[layer.name]
        if first < last:
            read = geometry(layer).needs(layer, first, last)
            for source in layer.sources:
                need[source] = _union(need[source], read, limits[source])
    return need


def _union(one: Interval, other: Interval, limit: int) -> Interval:
    """The smallest interval around both, cut off at 0 and `limit`."""
    first, last = other if one[0] == one[1] else (min(one[0], other[0]), max(one[1], other[1]))
    return max(first, 0), min(last, limit)


def halos(layers: Iterable[Layer]) -> dict[str, int]:
    """For each layer, and the image: how many of its pixels around a region the last layer's values there need.

    The region is a block of the size multiple. Where a layer needs the whole image, these are some large numbers.
    """
    layers = tuple(layers)
    multiple = size_multiple(layers)
    at = multiple << 20
    cores = {
        name: (int(at * scale), int((at + multiple) * scale)) if scale is not None else (0, 1)
        for name, scale in scales(layers).items()
    }
    need = needed(layers, 2 * at, {layers[-1].name: cores[layers[-1].name]})
    return {
        name: max(0, core[0] - need[name][0], need[name][1] - core[1]) if need[name] != (0, 0) else 0
        for name, core in cores.items()
    }


def needs_everything(layers: Iterable[Layer]) -> bool:
    """Whether some layer looks at the whole image, so that it cannot be run in tiles."""
    return any(geometry(layer).needs(layer, 0, 1) == EVERYWHERE for layer in layers)


def fan(layer: Layer, size: int) -> NDArray[np.int64]:
    """For each of `size` input positions along one axis: how many outputs of one channel read it."""
    return geometry(layer).fan(layer, size)


def paper_reach(layer: Layer) -> Fraction:
    """How many outputs an input reaches far from the border, all channels together: k²·C_out/(groups·stride²)."""
    return geometry(layer).reach(layer) * geometry(layer).targets(layer)


def weights(layer: Layer) -> int:
    """The number of weights in its kernel, the bias not counted."""
    return geometry(layer).weights(layer)


@lru_cache(maxsize=1024)
def macs(layer: Layer, height: int, width: int) -> int:
    """Multiply-accumulates on an input of this size, products with the zero padding not counted."""
    return geometry(layer).macs(layer, height, width)


def macs_paper(layer: Layer, height: int, width: int) -> int:
    """Multiply-accumulates as papers count them: the border ignored, every weight once for each pixel of the output."""
    return weights(layer) * height * width
