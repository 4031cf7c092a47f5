"""Convolutions, pooling and norms."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from nspike_plugins._onnx.building import Builder
from nspike_plugins._onnx.squares import square, transposed
from nspike_plugins._onnx.values import Atom, Feature, Node, Unsupported, Value, whole
from numpy.typing import NDArray

from nspike import AveragePool, Conv, GlobalPool, LayerNorm, MaxPool, PixelShuffle

Floats = NDArray[np.float64]


def conv(build: Builder, node: Node) -> Feature:
    """Conv."""
    weight, bias = _kernel(node, 1), _bias(node, 2)
    feature, zeros = _padded(build, node)
    channels, height, width = build.sizes[feature]
    groups = _count(node, "group")
    outputs, inputs = weight.shape[:2]
    if groups < 1 or inputs * groups != channels or outputs % groups:
        raise Unsupported(f"its weights {weight.shape} in {groups} groups do not suit {channels} channels")
    stride, dilations = _stride(node), _pair(node, "dilations")
    spans = (dilations[0] * (weight.shape[2] - 1), dilations[1] * (weight.shape[3] - 1))
    top, left, bottom, right = _pads(node, zeros, (height, width), stride, spans)
    _check_size(height, height + top + bottom - spans[0] - 1, stride, "height")
    _check_size(width, width + left + right - spans[1] - 1, stride, "width")
    if bias is not None and bias.shape != (outputs,):
        raise Unsupported(f"its bias is {bias.shape}, expected ({outputs},)")
    made = square(weight, stride, dilations, (top, left))
    layer = Conv(
        build.name(node.base), feature, channels, outputs, made.weight.shape[-1], bias is not None, stride=stride,
        dilation=made.dilation, groups=groups, padding=made.padding,
    )  # fmt: skip
    parameters = {"weight": made.weight} | ({} if bias is None else {"bias": bias})
    return build.add(layer, (outputs, height // stride, width // stride), node.readers[0], **parameters)


def _check_size(size: int, room: int, stride: int, what: str) -> None:
    """Raise Unsupported unless the output is the input's size over the stride."""
    made = room // stride + 1
    if size % stride:
        raise Unsupported(
            f"it halves a {what} of {size}; export the network for sizes that its strides divide, or dynamic ones"
        )
    if made * stride != size:
        raise Unsupported(
            f"it makes a {what} of {made} of {size} at stride {stride}, expected {size // stride}: give it zero padding, so "
            "that it keeps the size"
        )


def conv_transpose(build: Builder, node: Node) -> Feature:
    """ConvTranspose, as a convolution and a pixel shuffle."""
    feature, weight = build.plain(node), _kernel(node, 1)
    channels, height, width = build.sizes[feature]
    groups, stride, dilations = _count(node, "group"), _stride(node), _pair(node, "dilations")
    if groups < 1 or weight.shape[0] != channels or channels % groups:
        raise Unsupported(f"its weights {weight.shape} in {groups} groups do not suit {channels} channels")
    if "output_shape" in node.attributes:
        raise Unsupported("it names its output's size; export it with padding and output_padding instead")
    outputs = weight.shape[1] * groups
    spans = (dilations[0] * (weight.shape[2] - 1), dilations[1] * (weight.shape[3] - 1))
    extra = _pair(node, "output_padding", 0)
    before: list[int] = []
    for axis, size in enumerate((height, width)):
        total = spans[axis] + 1 - stride + extra[axis]
        first, last = _transposed_pads(node, axis, total)
        made = stride * (size - 1) + extra[axis] + spans[axis] + 1 - first - last
        if made != stride * size:
            raise Unsupported(f"it makes {made} of {size} pixels at stride {stride}, expected {stride * size}")
        before.append(first)
    kernel, padding = transposed(weight, stride, dilations, (before[0], before[1]), groups)
    bias = _bias(node, 2)
    if bias is not None and bias.shape != (outputs,):
        raise Unsupported(f"its bias is {bias.shape}, expected ({outputs},)")
    side = kernel.shape[-1]
    many = outputs * stride**2
    usual = None if padding[0] == (side - 1) // 2 else padding
    layer = Conv(build.name(node.base), feature, channels, many, side, bias is not None, groups=groups, padding=usual)
    parameters = {"weight": kernel} | ({} if bias is None else {"bias": np.repeat(bias, stride**2)})
    result = build.add(layer, (many, height, width), node.readers[0] if stride == 1 else 1, **parameters)
    if stride == 1:
        return result
    shuffle = PixelShuffle(build.name(f"{node.base}_shuffle"), result.layer, stride)
    return build.add(shuffle, (outputs, height * stride, width * stride), node.readers[0])


def _transposed_pads(node: Node, axis: int, total: int) -> tuple[int, int]:
    """What a transposed convolution takes off before and after; `total` for the output to be stride times the input."""
    match node.attributes.get("auto_pad", "NOTSET"):
        case "NOTSET":
            pads = [int(n) for n in node.attributes.get("pads", [0] * 4)]
            return pads[axis], pads[axis + 2]
        case "SAME_UPPER":
            return total // 2, total - total // 2
        case "SAME_LOWER":
            return total - total // 2, total // 2
        case "VALID":
            return 0, 0
        case other:
            raise Unsupported(f"its auto_pad is {other!r}")


def batch_norm(build: Builder, node: Node) -> Feature:
    """BatchNormalization, of the convolution before it where it can be."""
    if node.attributes.get("training_mode"):
        raise Unsupported("it is in training mode; export the network in evaluation mode, model.eval()")
    feature = build.feature(node)
    channels = build.sizes[feature.layer][0]
    gamma, beta, mean, variance = (node.known(i, "statistics").astype(np.float64) for i in range(1, 5))
    if any(array.shape != (channels,) for array in (gamma, beta, mean, variance)):
        raise Unsupported(f"its arrays do not suit {channels} channels")
    eps = float(node.attributes.get("epsilon", 1e-5))
    if not np.all(variance + eps > 0):
        raise Unsupported("it has a variance that is not positive")
    layer = build.layers.get(feature.layer)
    if type(layer) is Conv and layer.batch_norm_eps is None and build.readers[feature.layer] == 1 and 0 < eps < 1:
        build.layers[feature.layer] = replace(layer, batch_norm_eps=eps)
        parts = {"bn_weight": gamma, "bn_bias": beta, "bn_mean": mean, "bn_var": variance}
        build.parameters |= {f"{feature.layer}.{part}": array for part, array in parts.items()}
        build.readers[feature.layer] = node.readers[0]
        return feature
    factor = gamma / np.sqrt(variance + eps)
    return build.affine(feature, node.base, node.readers[0], factor, beta - mean * factor)


def linear(build: Builder, node: Node) -> Feature:
    """Gemm and MatMul with constant weights: a 1×1 convolution, the channels being the last axis."""
    feature = build.feature(node)
    weight = node.known(1, "second factor").astype(np.float64)
    channels = build.sizes[feature.layer][0]
    last = (Atom(0, channels),) if channels > 1 else ()
    if node.attributes.get("transA") or feature.axes[-1] != last or weight.ndim != 2:
        raise Unsupported("it multiplies something else than the channels with a matrix of weights")
    weight = weight if node.attributes.get("transB") else weight.T
    if weight.shape[1] != channels:
        raise Unsupported(f"its weights {weight.shape} do not suit {channels} channels")
    if node.op == "Gemm":
        weight = weight * float(node.attributes.get("alpha", 1.0))
    bias = None if node.op == "MatMul" or node.get(2) is None else node.known(2, "bias").astype(np.float64)
    if bias is not None:
        bias = np.broadcast_to(bias.reshape(-1) * float(node.attributes.get("beta", 1.0)), weight.shape[:1])
    layer = Conv(build.name(node.base), feature.layer, channels, len(weight), 1, bias is not None)
    parameters = {"weight": weight[:, :, None, None]} | ({} if bias is None else {"bias": bias})
    sizes = (len(weight), *build.sizes[feature.layer][1:])
    made = build.add(layer, sizes, node.readers[0], **parameters)
    return Feature(made.layer, (*feature.axes[:-1], whole(sizes)[1]))


def average_pool(build: Builder, node: Node) -> Feature:
    """AveragePool: of blocks, or as a convolution of each channel by itself."""
    feature, zeros = _padded(build, node)
    channels, height, width = build.sizes[feature]
    size, stride = _window(node), _stride(node)
    pads = _pads(node, zeros, (height, width), stride, (size - 1, size - 1))
    _check_size(height, height + pads[0] + pads[2] - size, stride, "height")
    _check_size(width, width + pads[1] + pads[3] - size, stride, "width")
    sizes = (channels, height // stride, width // stride)
    if size == stride and size > 1 and not any(pads) and size & (size - 1) == 0:
        return build.add(AveragePool(build.name(node.base), feature, size), sizes, node.readers[0])
    if any(pads) and not node.attributes.get("count_include_pad"):
        raise Unsupported("it averages fewer pixels at the border; give it count_include_pad=True, or no padding")
    made = square(np.full((channels, 1, size, size), 1 / size**2), stride, (1, 1), (pads[0], pads[1]))
    layer = Conv(
        build.name(node.base), feature, channels, channels, made.weight.shape[-1], False, stride=stride, groups=channels,
        padding=made.padding,
    )  # fmt: skip
    return build.add(layer, sizes, node.readers[0], weight=made.weight)


def max_pool(build: Builder, node: Node) -> Feature:
    """MaxPool of blocks."""
    feature, size = build.plain(node), _window(node)
    channels, height, width = build.sizes[feature]
    dilations, pads = _pair(node, "dilations"), node.attributes.get("pads", [0] * 4)
    if size != _stride(node) or dilations != (1, 1) or any(pads):
        raise Unsupported("its windows overlap or reach beyond the image, expected one for each block")
    if height % size or width % size:
        raise Unsupported(f"blocks of {size} do not fill {height}×{width}; export the network for dynamic sizes")
    sizes = (channels, height // size, width // size)
    return build.add(MaxPool(build.name(node.base), feature, size), sizes, node.readers[0])


def global_pool(build: Builder, node: Node) -> Feature:
    """GlobalAveragePool, and ReduceMean over height and width."""
    feature, keep = build.plain(node), True
    if node.op == "ReduceMean":
        axes = {axis % 4 for axis in node.numbers("axes", 1, "axes") or [1]}
        keep = bool(node.attributes.get("keepdims", 1))
        if axes != {2, 3}:
            raise Unsupported(f"it averages over axes {sorted(axes)}, expected height and width")
    channels = build.sizes[feature][0]
    pooled = build.add(GlobalPool(build.name(node.base), feature), (channels, 1, 1), node.readers[0])
    return pooled if keep else Feature(pooled.layer, pooled.axes[:2])


def layer_norm(build: Builder, node: Node) -> Feature:
    """LayerNormalization over the channels, which must be the last axis."""
    feature = build.feature(node)
    channels = build.sizes[feature.layer][0]
    rank, axis = len(feature.axes), int(node.attributes.get("axis", -1))
    if axis % rank != rank - 1 or feature.axes[-1] != whole((channels, 1, 1))[1] or len(node.readers) > 1:
        raise Unsupported("it normalises over something else than the channels of each pixel")
    weight, bias = node.known(1, "scale"), node.optional(2, "bias")
    if any(array is not None and array.size != channels for array in (weight, bias)):
        raise Unsupported(f"its arrays do not suit {channels} channels")
    eps = float(node.attributes.get("epsilon", 1e-5))
    zeros = np.zeros(channels) if bias is None else bias.reshape(-1).astype(np.float64)
    layer = LayerNorm(build.name(node.base), feature.layer, channels, True, eps)
    parameters = {"weight": weight.reshape(-1).astype(np.float64), "bias": zeros}
    made = build.add(layer, build.sizes[feature.layer], node.readers[0], **parameters)
    return Feature(made.layer, feature.axes)


def _kernel(node: Node, index: int) -> Floats:
    weight = node.known(index, "kernel").astype(np.float64)
    if weight.ndim != 4 or not weight.size:
        raise Unsupported(f"its kernel has the shape {weight.shape}, expected one of images: four axes")
    return weight


def _bias(node: Node, index: int) -> Floats | None:
    bias = node.optional(index, "bias")
    return None if bias is None else bias.astype(np.float64)


def _padded(build: Builder, node: Node) -> tuple[str, tuple[int, int, int, int]]:
    """The layer that a convolution reads, and the zeros around it."""
    feature = node.get(0)
    if not isinstance(feature, Feature) or not any(feature.pad):
        return build.plain(node), (0, 0, 0, 0)
    return build.arranged(Feature(feature.layer, feature.axes), node.base), feature.pad


def _count(node: Node, attribute: str) -> int:
    return int(node.attributes.get(attribute, 1))


def _pair(node: Node, attribute: str, default: int = 1) -> tuple[int, int]:
    numbers = [int(n) for n in node.attributes.get(attribute, (default, default))]
    if len(numbers) != 2 or min(numbers) < default or max(numbers) > 4096:
        raise Unsupported(f"its {attribute} are {numbers}, expected two numbers from {default}")
    return numbers[0], numbers[1]


def _stride(node: Node) -> int:
    down, right = _pair(node, "strides")
    if down != right:
        raise Unsupported(f"its strides are {down} and {right}, expected one for both axes")
    return down


def _window(node: Node) -> int:
    down, right = _pair(node, "kernel_shape")
    if down != right:
        raise Unsupported(f"its windows are {down}×{right}, expected square ones")
    return down


def _pads(
    node: Node, zeros: tuple[int, int, int, int], sizes: tuple[int, int], stride: int, spans: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The zeros at the top, on the left, at the bottom, on the right, those of a Pad before included."""
    auto: str = node.attributes.get("auto_pad", "NOTSET")
    given: Sequence[int] = [0] * 4
    if auto == "NOTSET":
        given = [int(n) for n in node.attributes.get("pads", given)]
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        padded = (sizes[0] + zeros[0] + zeros[2], sizes[1] + zeros[1] + zeros[3])
        totals = [max((-(-n // stride) - 1) * stride + s + 1 - n, 0) for n, s in zip(padded, spans, strict=True)]
        less = [total // 2 for total in totals]
        more = [total - part for total, part in zip(totals, less, strict=True)]
        given = [*less, *more] if auto == "SAME_UPPER" else [*more, *less]
    elif auto != "VALID":
        raise Unsupported(f"its auto_pad is {auto!r}")
    if len(given) != 4 or min(given) < 0 or max(given) > 2**16:
        raise Unsupported(f"its padding is {list(given)}, expected four numbers from 0")
    top, left, bottom, right = (a + b for a, b in zip(zeros, given, strict=True))
    return top, left, bottom, right


OPERATORS: dict[str, Callable[[Builder, Node], Value | list[Value]]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "BatchNormalization": batch_norm,
    "Gemm": linear,
    "MatMul": linear,
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_pool,
    "ReduceMean": global_pool,
    "LayerNormalization": layer_norm,
}
