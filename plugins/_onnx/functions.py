"""Functions of each value."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from nspike_plugins._onnx.building import Builder
from nspike_plugins._onnx.values import Feature, Node, Unsupported, Value

from nspike import IMAGE, Activation, Pointwise


def pointwise(build: Builder, node: Node, function: Any, slope: float = 0.01, **parameters: Any) -> Feature:
    """A layer of one of the plain functions, the axes as they are."""
    feature = build.feature(node)
    channels = build.sizes[feature.layer][0]
    layer = Pointwise(build.name(node.base), feature.layer, channels, function, slope)
    made = build.add(layer, build.sizes[feature.layer], node.readers[0], **parameters)
    return Feature(made.layer, feature.axes)


def relu(build: Builder, node: Node) -> Value:
    """Relu; at the end of the network its `rectify`."""
    return _clipped(build, node, 0.0, math.inf)


def clip(build: Builder, node: Node) -> Value:
    """Clip from 0 or from -a to a; at the end of the network what happens to every image."""
    limits = [node.optional(i, what) for i, what in ((1, "lower limit"), (2, "upper limit"))]
    low, high = (
        float(limit.reshape(-1)[0]) if limit is not None and limit.size else default
        for limit, default in zip(limits, (-math.inf, math.inf), strict=True)
    )
    return _clipped(build, node, low, high)


def _clipped(build: Builder, node: Node, low: float, high: float) -> Value:
    feature = build.feature(node)
    ends = node.tail and low == 0 and high >= 1
    if ends or (low, high) == (-math.inf, math.inf):
        build.rectify |= ends and build.mode == "image"
        return build.read_by(feature, node.readers[0])
    if not (low == 0 or (low == -high and math.isfinite(high))) or not high > 0:
        raise Unsupported(f"it clips from {low:g} to {high:g}, expected from 0 or from the negative upper limit")
    channels = build.sizes[feature.layer][0]
    ceiling = (high,) if math.isfinite(high) else None
    layer = Activation(build.name(node.base), feature.layer, channels, ceiling, signed=low < 0)
    return Feature(build.add(layer, build.sizes[feature.layer], node.readers[0]).layer, feature.axes)


def leaky_relu(build: Builder, node: Node) -> Value:
    """LeakyRelu; a Relu at slope 0."""
    slope = float(node.attributes.get("alpha", 0.01))
    if slope == 0:
        return relu(build, node)
    if not 0 < slope < 1:
        raise Unsupported(f"its slope is {slope:g}, expected one between 0 and 1")
    return pointwise(build, node, "leaky_relu", slope)


def prelu(build: Builder, node: Node) -> Feature:
    """PRelu, with one slope or one for each channel."""
    feature = build.feature(node)
    slopes = build.per_channel(feature, node.known(1, "slope"))
    return pointwise(
        build, node, "prelu", weight=np.broadcast_to(slopes, build.sizes[feature.layer][:1]).astype(np.float64)
    )


def gelu(build: Builder, node: Node) -> Feature:
    """Gelu, of the exact kind."""
    if node.attributes.get("approximate", "none") != "none":
        raise Unsupported("it is the approximation by tanh, expected the exact one")
    return pointwise(build, node, "gelu")


def hard_sigmoid(build: Builder, node: Node) -> Feature:
    """HardSigmoid as PyTorch has it."""
    alpha, beta = (float(node.attributes.get(name, default)) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        raise Unsupported(f"it is clip({alpha:g}·x + {beta:g}), expected x/6 + 0.5 as PyTorch has it")
    return pointwise(build, node, "hard_sigmoid")


def plain(function: str) -> Callable[[Builder, Node], Feature]:
    """The handler of an operator that is one of the plain functions."""
    return lambda build, node: pointwise(build, node, function)


GATED = {"sigmoid": "silu", "hard_sigmoid": "hard_swish"}
"""What x times a function of x is called."""


def gated(build: Builder, node: Node, value: Feature, gate: Feature) -> Feature | None:
    """x·sigmoid(x) as one layer; None if it is something else."""
    layer = build.layers.get(gate.layer)
    if (
        type(layer) is not Pointwise
        or layer.function not in GATED
        or layer.source != value.layer
        or value.axes != gate.axes
    ):
        return None
    if build.readers[gate.layer] != 1:
        return None
    build.layers[gate.layer] = replace(layer, function=GATED[layer.function])
    build.readers[gate.layer] = node.readers[0]
    if value.layer != IMAGE:
        build.readers[value.layer] -= 1
    return gate


OPERATORS: dict[str, Callable[[Builder, Node], Value | list[Value]]] = {
    "Relu": relu,
    "Clip": clip,
    "LeakyRelu": leaky_relu,
    "PRelu": prelu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "Sigmoid": plain("sigmoid"),
    "Tanh": plain("tanh"),
    "HardSwish": plain("hard_swish"),
}
