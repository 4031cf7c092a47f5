"""Sums and products of feature maps and constants. The skip of the whole network becomes its mode."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from nspike_plugins._onnx.building import Builder
from nspike_plugins._onnx.constants import spread
from nspike_plugins._onnx.functions import gated
from nspike_plugins._onnx.values import Feature, Known, Node, Noise, Unsupported, Value, whole

from nspike import IMAGE, Add, Conv, Multiply


def add(build: Builder, node: Node) -> Value:
    """Add, Sub and Sum."""
    features = [build.feature(node, i) for i, value in enumerate(node.values) if not isinstance(value, Known)]
    constants = [value for value in node.values if isinstance(value, Known)]
    minus = node.op == "Sub"
    if node.op != "Sum" and len(node.values) != 2:
        raise Unsupported(f"it reads {len(node.values)} values, expected 2")
    if constants:
        if len(features) != 1:
            raise Unsupported("it adds several feature maps and constants, expected them one after the other")
        shift = build.per_channel(features[0], sum(constants[1:], constants[0]))
        negated = minus and isinstance(node.values[0], Known)
        scale, shift = (-1.0, shift) if negated else (1.0, np.negative(shift) if minus else shift)
        return build.affine(features[0], node.base, node.readers[0], scale, shift)
    if node.core and len(features) == 2 and (skip := _skip(build, node, features)) is not None:
        return skip
    if minus:
        features[1] = build.affine(features[1], f"{node.base}_minus", 1, -1.0, 0.0)
    if len(features) == 1:
        return build.read_by(features[0], node.readers[0])
    layers, axes = together(build, node, features)
    layers = _widened(build, node, layers)
    layer = Add(build.name(node.base), tuple(layers))
    made = build.add(layer, build.sizes[layers[0]], node.readers[0])
    return replace(made, axes=axes or made.axes)


def _skip(build: Builder, node: Node, features: list[Feature]) -> Feature | None:
    """The network without the skip from the image around it; None if this is none."""
    as_it_is = whole(build.sizes[IMAGE])
    image = next((i for i, f in enumerate(features) if (f.layer, f.axes) == (IMAGE, as_it_is)), None)
    if image is None or (node.op == "Sub" and image == 1):
        return None
    other = features[1 - image]
    if build.sizes[other.layer] != build.sizes[IMAGE] or other.layer == IMAGE:
        return None
    build.mode = "subtract" if node.op == "Sub" else "add"
    return other


def together(build: Builder, node: Node, features: list[Feature]) -> tuple[list[str], tuple[object, ...] | None]:
    """The layers of several features arranged alike, and how, where none has to be rearranged for it."""
    first = features[0]
    same = all(f.axes == first.axes and build.sizes[f.layer] == build.sizes[first.layer] for f in features)
    if same:
        return [f.layer for f in features], first.axes
    return [build.arranged(f, node.base) for f in features], None


def _widened(build: Builder, node: Node, layers: list[str]) -> list[str]:
    """The layers, those of one channel copied to the channels of the others. Raises Unsupported for other sizes."""
    most = max(build.sizes[layer] for layer in layers)
    if any(build.sizes[layer][1:] != most[1:] or build.sizes[layer][0] not in (1, most[0]) for layer in layers):
        listed = ", ".join(str(build.sizes[layer]) for layer in layers)
        raise Unsupported(f"it combines feature maps of different sizes: {listed}")
    return [_copied(build, node, layer, most[0]) for layer in layers]


def _copied(build: Builder, node: Node, layer: str, channels: int) -> str:
    """A layer of one channel as one of several equal channels."""
    if build.sizes[layer][0] == channels:
        return layer
    conv = Conv(build.name(f"{node.base}_copies"), layer, 1, channels, 1, False)
    return build.add(conv, (channels, *build.sizes[layer][1:]), weight=np.ones((channels, 1, 1, 1))).layer


def multiply(build: Builder, node: Node) -> Value:
    """Mul, and Div by a constant."""
    if len(node.values) != 2:
        raise Unsupported(f"it reads {len(node.values)} values, expected 2")
    constant = next((i for i, value in enumerate(node.values) if isinstance(value, Known)), None)
    if constant is None and node.op == "Div":
        raise Unsupported("it divides by a feature map")
    if constant is not None:
        if node.op == "Div" and constant == 0:
            raise Unsupported("it divides a constant by a feature map")
        value, factor = node.values[1 - constant], node.known(constant, "factor")
        if isinstance(value, Noise):
            return _noise(value, factor, node.op)
        feature = build.feature(node, 1 - constant)
        scale = build.per_channel(feature, factor)
        with np.errstate(all="ignore"):
            return build.affine(
                feature, node.base, node.readers[0], 1 / np.asarray(scale) if node.op == "Div" else scale, 0.0
            )
    features = [build.feature(node, i) for i in range(2)]
    for value, gate in (features, features[::-1]):
        if (layer := gated(build, node, value, gate)) is not None:
            return layer
    layers, axes = together(build, node, features)
    sizes = [build.sizes[layer] for layer in layers]
    if axes is None and sizes[0][1:] == (1, 1):
        layers, sizes = layers[::-1], sizes[::-1]
    if sizes[1][1:] == (1, 1) and sizes[0][1:] != (1, 1):
        layers = [layers[0], _copied(build, node, layers[1], sizes[0][0])]
        if build.sizes[layers[1]][0] != sizes[0][0]:
            raise Unsupported(f"it multiplies feature maps of different sizes: {sizes[0]}, {sizes[1]}")
    else:
        layers = _widened(build, node, layers)
    made = build.add(Multiply(build.name(node.base), (layers[0], layers[1])), build.sizes[layers[0]], node.readers[0])
    return replace(made, axes=axes or made.axes)


def _noise(value: Noise, factor: Known, op: str) -> Noise:
    flat = np.unique(np.asarray(factor[tuple(slice(0, 1) if s == 0 else slice(None) for s in factor.strides)]))
    if flat.size != 1:
        raise Unsupported("it multiplies the noise level with constants that differ")
    number = float(flat[0])
    shape = np.broadcast_shapes(value.shape, factor.shape)
    spread(np.zeros(()), shape)
    return Noise(shape, value.factor / number if op == "Div" else value.factor * number)


def negative(build: Builder, node: Node) -> Value:
    """Neg."""
    return build.affine(build.feature(node), node.base, node.readers[0], -1.0, 0.0)


OPERATORS: dict[str, Callable[[Builder, Node], Value | list[Value]]] = {
    "Add": add,
    "Sub": add,
    "Sum": add,
    "Mul": multiply,
    "Div": multiply,
    "Neg": negative,
}
