"""The one table from a kind of layer to what a plain network in training computes for it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.autograd import attention, gating, pointwise, spatial, steps
from nspike.autograd.activation import sigmoid
from nspike.autograd.convolve import conv2d
from nspike.autograd.tensor import Tensor, add, concatenate, multiply
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


class Network(Protocol):
    """What operations ask of the network that they are part of."""

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """What is trained, by name."""

    def activate(self, layer: Activation, value: Tensor) -> Tensor:
        """What an activation makes of what it reads."""

    def planes(self, layer: Constant, count: int) -> NDArray[np.float64]:
        """The value of each plane of a constant for so many images, (N, C)."""


Values = Mapping[str, Tensor]
Operation = Callable[[Network, Any, Sequence[Tensor], Values], Tensor]


def _conv(network: Network, layer: Conv, read: Sequence[Tensor], values: Values) -> Tensor:
    own, value = layer.parameters, read[0]
    batch, _, *sides = value.shape
    if layer.repeats > 1:
        value = value.reshape(batch * layer.repeats, layer.in_channels // layer.repeats, *sides)
    value = conv2d(
        value,
        network.parameters[f"{own}.weight"],
        network.parameters[f"{own}.bias"] if layer.bias else None,
        stride=layer.stride,
        padding=layer.pads,
        groups=layer.groups,
        dilation=layer.dilation,
    )
    return value.reshape(batch, layer.out_channels, *value.shape[2:]) if layer.repeats > 1 else value


def _gate(network: Network, layer: Gate, read: Sequence[Tensor], values: Values) -> Tensor:
    return read[0] * (values[IMAGE] - 1.0) + 1.0


def _sum(network: Network, layer: Add, read: Sequence[Tensor], values: Values) -> Tensor:
    total = read[0]
    for other in read[1:]:
        total = add(total, other)
    return total


def _constant(network: Network, layer: Constant, read: Sequence[Tensor], values: Values) -> Tensor:
    image = read[0].data
    planes = network.planes(layer, len(image)).astype(image.dtype)[:, :, None, None]
    return Tensor(np.broadcast_to(planes, (*planes.shape[:2], *image.shape[2:])).copy())


def _pointwise(network: Network, layer: Pointwise, read: Sequence[Tensor], values: Values) -> Tensor:
    return FUNCTIONS[layer.function](network, layer, read[0])


def _global_pool(network: Network, layer: GlobalPool, read: Sequence[Tensor], values: Values) -> Tensor:
    if layer.function == "max":
        return gating.largest(read[0], axes=(2, 3))
    return read[0].mean(axis=(2, 3)).reshape(*read[0].shape[:2], 1, 1)


def _channel_pool(network: Network, layer: ChannelPool, read: Sequence[Tensor], values: Values) -> Tensor:
    n, _, height, width = read[0].shape
    return concatenate([gating.largest(read[0], axes=(1,)), read[0].mean(axis=1).reshape(n, 1, height, width)])


def _prompt(network: Network, layer: Prompt, read: Sequence[Tensor], values: Values) -> Tensor:
    height, width = read[0].shape[2:]
    return gating.prompt(read[1], network.parameters[f"{layer.name}.weight"], (height, width))


def _layer_norm(network: Network, layer: LayerNorm, read: Sequence[Tensor], values: Values) -> Tensor:
    bias = network.parameters[f"{layer.name}.bias"] if layer.bias else None
    return attention.layer_norm(read[0], network.parameters[f"{layer.name}.weight"], bias, layer.eps)


def _attention(network: Network, layer: Attention, read: Sequence[Tensor], values: Values) -> Tensor:
    temperature = network.parameters[f"{layer.name}.temperature"]
    return attention.transposed_attention(read[0], read[1], read[2], temperature, layer.heads)


def _leaky(network: Network, layer: Leaky, read: Sequence[Tensor], values: Values) -> Tensor:
    return steps.leaky(read[0], steps=layer.steps, threshold=layer.threshold, keep=layer.keep)


def _step_attention(network: Network, layer: StepAttention, read: Sequence[Tensor], values: Values) -> Tensor:
    own = {part: network.parameters[f"{layer.name}.{part}"] for part in layer.parameter_shapes}
    return steps.attention(read[0], own, layer.steps)


def _step_mean(network: Network, layer: StepMean, read: Sequence[Tensor], values: Values) -> Tensor:
    batch, _, *sides = read[0].shape
    return read[0].reshape(batch, layer.steps, -1, *sides).mean(axis=1)


def _prelu(network: Network, layer: Pointwise, value: Tensor) -> Tensor:
    return pointwise.prelu(value, network.parameters[f"{layer.name}.weight"].reshape(-1, 1, 1))


FUNCTIONS: Mapping[str, Callable[[Network, Pointwise, Tensor], Tensor]] = {
    "leaky_relu": lambda network, layer, value: pointwise.leaky_relu(value, slope=layer.slope),
    "prelu": _prelu,
    "sigmoid": lambda network, layer, value: sigmoid(value),
    "tanh": lambda network, layer, value: pointwise.tanh(value),
    "gelu": lambda network, layer, value: pointwise.gelu(value),
    "silu": lambda network, layer, value: pointwise.silu(value),
    "hard_sigmoid": lambda network, layer, value: pointwise.hard_sigmoid(value),
    "hard_swish": lambda network, layer, value: pointwise.hard_swish(value),
    "complement": lambda network, layer, value: 1.0 - value,
}
"""The functions of `nspike.graph.plain_layer`."""

OPERATIONS: Mapping[type[Layer], Operation] = {
    Conv: _conv,
    Activation: lambda network, layer, read, values: network.activate(layer, read[0]),
    Concat: lambda network, layer, read, values: concatenate(read),
    Gate: _gate,
    Add: _sum,
    PixelShuffle: lambda network, layer, read, values: spatial.pixel_shuffle(read[0], factor=layer.factor),
    PixelUnshuffle: lambda network, layer, read, values: spatial.pixel_unshuffle(read[0], factor=layer.factor),
    ChannelShuffle: lambda network, layer, read, values: spatial.channel_shuffle(read[0], groups=layer.groups),
    Slice: lambda network, layer, read, values: spatial.channels(read[0], first=layer.first, count=layer.channels),
    Nearest: lambda network, layer, read, values: spatial.nearest(read[0], factor=layer.factor),
    Bilinear: lambda network, layer, read, values: spatial.interpolate(read[0], factor=2),
    AveragePool: lambda network, layer, read, values: spatial.average_pool(read[0], size=layer.size),
    Constant: _constant,
    Pointwise: _pointwise,
    MaxPool: lambda network, layer, read, values: spatial.max_pool(read[0], size=layer.size),
    GlobalPool: _global_pool,
    LayerNorm: _layer_norm,
    Multiply: lambda network, layer, read, values: multiply(read[0], read[1]),
    Attention: _attention,
    Leaky: _leaky,
    StepAttention: _step_attention,
    StepMean: _step_mean,
    Shrink: lambda network, layer, read, values: gating.shrink(read[0], factor=layer.factor),
    ChannelPool: _channel_pool,
    Prompt: _prompt,
    FrequencySplit: lambda network, layer, read, values: gating.frequencies(read[0], read[1], block=layer.block),
}
"""What computes each kind of layer: (the network, the layer, what it reads, all values so far) -> its value."""
