"""Operators that move values, repeat them, put them together or take them apart."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from nspike_plugins._onnx.building import Builder
from nspike_plugins._onnx.constants import shape_of, slices, split_sizes, spread, squeezed, target_shape
from nspike_plugins._onnx.values import (
    Feature,
    Known,
    Node,
    Noise,
    Unsupported,
    Value,
    channels_last,
    reshaped,
    whole,
)

from nspike import IMAGE, AveragePool, Bilinear, ChannelShuffle, Concat, Conv, Nearest, PixelShuffle, PixelUnshuffle


def same(build: Builder, node: Node) -> Value:
    """Operators that hand on what they read."""
    value = node.get(0)
    if value is None or isinstance(value, Known):
        raise Unsupported("it reads no feature map")
    return build.read_by(value, node.readers[0])


def shape(build: Builder, node: Node) -> Value:
    """Shape and Size of a feature map."""
    value = node.get(0)
    assert isinstance(value, Feature | Noise)
    return shape_of(node, value.shape) if node.op == "Shape" else np.array(math.prod(value.shape))


def reshape(build: Builder, node: Node) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze."""
    value = node.get(0)
    given = tuple(value.shape) if isinstance(value, Noise) else build.feature(node).shape
    wanted = target_shape(node, given) if node.op == "Reshape" else squeezed(node, given)
    if isinstance(value, Noise):
        return Noise(tuple(wanted), value.factor)
    feature = build.feature(node)
    build.read_by(feature, node.readers[0])
    return Feature(feature.layer, reshaped(feature.axes, wanted))


def transpose(build: Builder, node: Node) -> Value:
    """Transpose."""
    feature = build.feature(node)
    order = [int(n) for n in node.attributes.get("perm", range(len(feature.axes))[::-1])]
    if sorted(order) != list(range(len(feature.axes))):
        raise Unsupported(f"its order {order} does not suit {len(feature.axes)} axes")
    build.read_by(feature, node.readers[0])
    return Feature(feature.layer, tuple(feature.axes[axis] for axis in order))


def expand(build: Builder, node: Node) -> Value:
    """Expand and Tile: of the noise level, or of a feature map to the size that it has."""
    value, numbers = node.get(0), [int(n) for n in node.known(1, "shape").reshape(-1)]
    given = value.shape if isinstance(value, Noise) else build.feature(node).shape
    if node.op == "Tile":
        wanted = tuple(n * r for n, r in zip(given, numbers, strict=True)) if len(given) == len(numbers) else ()
    else:
        wanted = np.broadcast_shapes(given, tuple(numbers))
    if isinstance(value, Noise):
        spread(np.zeros(()), wanted)
        return Noise(wanted, value.factor)
    if wanted != given:
        raise Unsupported(f"it repeats a feature map {given} to {wanted}")
    return build.read_by(build.feature(node), node.readers[0])


def concat(build: Builder, node: Node) -> Value:
    """Concat along the channels; constants and the noise level become planes."""
    axis, features = int(node.attributes["axis"]), [v for v in node.values if isinstance(v, Feature)]
    if not features:
        raise Unsupported("it puts no feature maps together")
    sizes = [build.sizes[f.layer] for f in features]
    if len(features) == len(node.values) and all(
        f.axes == channels_last(s) and not any(f.pad) for f, s in zip(features, sizes, strict=True)
    ):
        if axis % 4 != 3 or any(s[1:] != sizes[0][1:] for s in sizes):
            raise Unsupported(
                "it puts feature maps together along something else than the channels, or of different sizes"
            )
        return Feature(_stacked(build, node, [f.layer for f in features]).layer, channels_last(_total(sizes)))
    if axis not in (1, -3):
        raise Unsupported(f"it puts feature maps together along axis {axis}, expected the channels")
    beside = build.arranged(features[0], node.base)
    layers = []
    for i, value in enumerate(node.values):
        if isinstance(value, Noise | Known):
            layers.append(build.plane(node, value, beside))
        else:
            layers.append(beside if value is features[0] else build.plain(node, i))
        if build.sizes[layers[-1]][1:] != build.sizes[beside][1:]:
            raise Unsupported(
                f"it puts feature maps of different sizes together: {build.sizes[beside]}, {build.sizes[layers[-1]]}"
            )
    return _stacked(build, node, layers)


def _total(sizes: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    return (sum(s[0] for s in sizes), *sizes[0][1:])


def _stacked(build: Builder, node: Node, layers: list[str]) -> Feature:
    if len(layers) == 1:
        build.readers[layers[0]] += node.readers[0] - 1
        return Feature(layers[0], whole(build.sizes[layers[0]]))
    sizes = _total([build.sizes[layer] for layer in layers])
    return build.add(Concat(build.name(node.base), tuple(layers)), sizes, node.readers[0])


def split(build: Builder, node: Node) -> list[Value]:
    """Split along the channels."""
    layer, axis = build.plain(node), int(node.attributes.get("axis", 0)) % 4
    if axis != 1:
        raise Unsupported(f"it splits axis {axis}, expected the channels")
    parts = split_sizes(node, build.sizes[layer][0])
    if layer != IMAGE:
        build.readers[layer] += len(parts) - 1
    firsts = [sum(parts[:i]) for i in range(len(parts))]
    return [build.sliced(layer, f"{node.base}_{i}", firsts[i], parts[i], node.readers[i]) for i in range(len(parts))]


def take(build: Builder, node: Node) -> Value:
    """Slice: some channels, or every r-th pixel of every r-th row, in two steps too."""
    value = node.get(0)
    rows = value.rows if isinstance(value, Feature) else None
    feature = replace(value, rows=None) if isinstance(value, Feature) and rows else build.feature(node)
    kept = slices(node, feature.shape)
    if all((first, last, step) == (0, n, 1) for (first, last, step), n in zip(kept, feature.shape, strict=True)):
        return build.read_by(feature, node.readers[0])
    layer = build.arranged(feature, node.base)
    channels, height, width = build.sizes[layer]
    (_, (first, last, step), down, right) = kept
    if step != 1 or last <= first:
        raise Unsupported("it takes channels that do not follow each other")
    if (down, right) == ((0, height, 1), (0, width, 1)):
        return build.sliced(layer, node.base, first, last - first, node.readers[0])
    if rows is None and down[2] > 1 and right == (0, width, 1) and (first, last) == (0, channels):
        build.read_by(feature, node.readers[0])
        return replace(feature, rows=down)
    down = rows or down
    factor = down[2]
    whole_blocks = all(0 <= at < factor and size % factor == 0 for at, size in ((down[0], height), (right[0], width)))
    if factor != right[2] or factor < 2 or not whole_blocks or down[1] <= height - factor or right[1] <= width - factor:
        raise Unsupported(f"it takes rows {_in_words(down)} and columns {_in_words(right)} of {height}×{width}")
    layer, place = _outside(build, node.base, layer, factor), down[0] * factor + right[0]
    return build.sliced(layer, node.base, place * channels + first, last - first, node.readers[0])


def _in_words(kept: tuple[int, int, int]) -> str:
    first, last, step = kept
    return f"{first} to {last}" + (f" in steps of {step}" if step != 1 else "")


def _outside(build: Builder, base: str, layer: str, factor: int) -> str:
    """The pixel unshuffle of a layer with the place in a block outside, the channel inside; made once."""
    channels, height, width = build.sizes[layer]
    made = next((n for n, k in build.layers.items() if k == PixelUnshuffle(n, layer, factor)), None)
    sizes = (channels * factor**2, height // factor, width // factor)
    if made is None:
        made = build.add(PixelUnshuffle(build.name(f"{base}_unshuffle"), layer, factor), sizes, 99).layer
    if channels == 1:
        return made
    moved = next((n for n, k in build.layers.items() if k == ChannelShuffle(n, made, channels)), None)
    return moved or build.add(ChannelShuffle(build.name(f"{base}_shuffle"), made, channels), sizes, 99).layer


def gather(build: Builder, node: Node) -> Value:
    """Gather of channels that follow each other, or of all values in their order."""
    given = build.feature(node)
    if len(given.axes) == 1 and np.array_equal(node.known(1, "indices").reshape(-1), np.arange(given.shape[0])):
        build.read_by(given, node.readers[0])
        return Feature(given.layer, reshaped(given.axes, list(node.known(1, "indices").shape)))
    layer, indices = build.plain(node), node.known(1, "indices")
    channels, axis = build.sizes[layer][0], int(node.attributes.get("axis", 0)) % 4
    taken = [int(n) % channels if -channels <= n < channels else -1 for n in indices.reshape(-1)]
    if (
        axis != 1
        or indices.ndim > 1
        or not taken
        or taken != list(range(taken[0], taken[0] + len(taken)))
        or -1 in taken
    ):
        raise Unsupported("it takes something else than channels that follow each other")
    feature = build.sliced(layer, node.base, taken[0], len(taken), node.readers[0])
    return feature if indices.ndim else Feature(feature.layer, (feature.axes[0], *feature.axes[2:]))


def pad(build: Builder, node: Node) -> Value:
    """Pad with zeros, which the convolution after it takes over."""
    value = node.get(0)
    if not isinstance(value, Feature):
        raise Unsupported("it pads something else than a feature map")
    numbers = node.numbers("pads", 1, "pads") or []
    rank = len(value.axes)
    axes = node.numbers("axes", 3, "axes") if len(node.values) > 3 else None
    axes = [axis % rank for axis in axes] if axes is not None else list(range(rank))
    if len(numbers) != 2 * len(axes):
        raise Unsupported(f"its padding {numbers} does not suit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = numbers[i], numbers[len(axes) + i]
    if not any(numbers):
        return build.read_by(value, node.readers[0])
    mode, fill = node.attributes.get("mode", "constant"), node.optional(2, "value")
    if mode != "constant" or (fill is not None and fill.size and float(fill.reshape(-1)[0]) != 0):
        kind = (
            f"by {mode}ion"
            if mode == "reflect"
            else f"in mode {mode!r}"
            if mode != "constant"
            else "with other numbers"
        )
        raise Unsupported(f"it pads {kind}; nspike's convolutions pad with zeros: train with zero padding")
    if rank != 4 or any(before[:2]) or any(after[:2]) or min(numbers) < 0 or max(numbers) > 4096:
        raise Unsupported(f"its padding {numbers} is not that of rows and columns alone")
    top, left, bottom, right = (
        a + b for a, b in zip(value.pad, (before[2], before[3], after[2], after[3]), strict=True)
    )
    build.read_by(value, node.readers[0])
    return Feature(value.layer, value.axes, (top, left, bottom, right))


def depth_to_space(build: Builder, node: Node) -> Feature:
    """DepthToSpace in either order."""
    layer, factor = build.plain(node), int(node.attributes["blocksize"])
    channels, height, width = build.sizes[layer]
    if factor < 1 or channels % factor**2:
        raise Unsupported(f"blocks of {factor} do not suit {channels} channels")
    if node.attributes.get("mode", "DCR") == "DCR" and channels > factor**2:
        layer = build.add(ChannelShuffle(build.name(node.base), layer, factor**2), build.sizes[layer]).layer
    sizes = (channels // factor**2, height * factor, width * factor)
    return build.add(PixelShuffle(build.name(node.base), layer, factor), sizes, node.readers[0])


def space_to_depth(build: Builder, node: Node) -> Feature:
    """SpaceToDepth, which puts the place in a block outside."""
    layer, factor = build.plain(node), int(node.attributes["blocksize"])
    channels, height, width = build.sizes[layer]
    if factor < 1 or height % factor or width % factor:
        raise Unsupported(f"blocks of {factor} do not fill {height}×{width}")
    sizes = (channels * factor**2, height // factor, width // factor)
    made = build.add(
        PixelUnshuffle(build.name(node.base), layer, factor), sizes, node.readers[0] if channels == 1 else 1
    )
    if channels == 1:
        return made
    return build.add(ChannelShuffle(build.name(node.base), made.layer, channels), sizes, node.readers[0])


def resize(build: Builder, node: Node) -> Value:
    """Resize by a whole number, to the nearest pixel or, twice, bilinear; and to a half."""
    layer = build.plain(node)
    channels, height, width = build.sizes[layer]
    scale = _scale(node, height, width)
    mode = node.attributes.get("mode", "nearest")
    where = node.attributes.get("coordinate_transformation_mode", "half_pixel")
    centred = where in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
    rounding = node.attributes.get("nearest_mode", "round_prefer_floor")
    if scale == 1:
        return build.read_by(Feature(layer, whole(build.sizes[layer])), node.readers[0])
    up, down = int(scale), max(1, round(1 / scale))
    name, larger = build.name(node.base), (channels, height * up, width * up)
    smaller = (channels, height // down, width // down)
    if mode == "nearest" and scale == up and (centred or (where, rounding) == ("asymmetric", "floor")):
        return build.add(Nearest(name, layer, up), larger, node.readers[0])
    if mode == "nearest" and scale * down == 1 and (where, rounding) == ("asymmetric", "floor"):
        conv = Conv(name, layer, channels, channels, 1, False, stride=down, groups=channels)
        return build.add(conv, smaller, node.readers[0], weight=np.ones((channels, 1, 1, 1)))
    if mode == "linear" and centred and scale == 2:
        return build.add(Bilinear(name, layer), larger, node.readers[0])
    if mode == "linear" and centred and scale == 0.5:
        return build.add(AveragePool(name, layer, 2), smaller, node.readers[0])
    raise Unsupported(
        f"it resizes by {scale:g} in mode {mode!r}, coordinates {where!r}; expected nearest by a whole number, or linear by "
        "2 or 0.5 with half_pixel (align_corners=False)"
    )


def _scale(node: Node, height: int, width: int) -> float:
    """The factor of both axes."""
    scales, sizes = node.optional(2, "scales"), node.optional(3, "sizes")
    axes = [int(a) % 4 for a in node.attributes.get("axes", range(4))]
    given: list[Any] = []
    if sizes is not None and sizes.size:
        shape = (1, 0, height, width)
        given = [float(n) / shape[a] if shape[a] else 1.0 for n, a in zip(sizes.reshape(-1), axes, strict=True)]
    elif scales is not None and scales.size:
        given = [float(n) for n in scales.reshape(-1)]
    by_axis = {2: 1.0, 3: 1.0} | dict(zip(axes, given, strict=True))
    if by_axis[2] != by_axis[3] or not 0 < by_axis[2] <= 64 or by_axis.get(0, 1.0) != 1:
        raise Unsupported(f"it resizes by {by_axis[2]:g} and {by_axis[3]:g}, expected one factor for both axes")
    return by_axis[2]


OPERATORS: dict[str, Callable[[Builder, Node], Value | list[Value]]] = {
    **dict.fromkeys(("Identity", "Dropout", "Cast", "CastLike"), same),
    **dict.fromkeys(("Shape", "Size"), shape),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("Expand", "Tile"), expand),
    "Transpose": transpose,
    "Concat": concat,
    "Split": split,
    "Slice": take,
    "Gather": gather,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Resize": resize,
}
