"""A plain network as a PyTorch module, in float32: every kind of layer, batch norm, activations with ceilings and QCFS.

In training, batch norm takes the statistics of the batch and follows them with momentum 0.1, as PyTorch's does; and the ReLU at
the end of a network that has one is left out, as what it clips would not learn.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from nspike.errors import ModelError
from nspike.graph.layer import IMAGE, Activation, Add, Constant, Conv, Gate, Layer
from nspike.graph.mode import restored
from nspike.graph.plain_layer import Attention, GlobalPool, LayerNorm, MaxPool, Multiply, Pointwise
from nspike.model.model import Model
from nspike.twin.modules import SAME, Twin, constant, correlate, through

_MOMENTUM = 0.1


class PlainTwin(Twin):
    """A model's plain network; its spiking form, if it has one, is not kept.

    Raises ModelError for a layer of a kind that is not here.
    """

    def __init__(self, model: Model) -> None:
        if unknown := [layer.name for layer in model.network.layers if type(layer) not in LAYERS]:
            raise ModelError(f"network {model.network.name}: {', '.join(unknown)} cannot be made in PyTorch")
        super().__init__(model, "plain")

    def forward(self, images: Any, sigma: Any = None) -> Any:
        """The restored images (N, C, H, W), not clipped.

        images : floats (N, C, H, W), black 0 and white 1, with sides that the network's `size_multiple` divides.
        sigma : the noise level, of 255, one or (N,), for a network that is told it; by default what it was made with.
        """
        network = self.model.network
        output = self.all(images, sigma)[network.output]
        if network.rectify and not self.training:
            output = torch.relu(output)
        return restored(network.mode, images, output)

    def all(self, images: Any, sigma: Any = None) -> dict[str, Any]:
        """What every layer gives, (N, C, H, W), by name; the image under "image"."""
        self.constrain()
        network = self.model.network
        known = {IMAGE: self.image(images)}
        for layer in network.layers:
            read = [known[source] for source in layer.sources]
            known[layer.name] = LAYERS[type(layer)](self, layer, read, images, sigma)
        return known

    def own(self, name: str) -> Any:
        """The parameters of a layer."""
        return self.layers[name.replace(".", "/")]


def _conv(net: PlainTwin, conv: Conv, read: list[Any], image: Any, sigma: Any) -> Any:
    own = net.own(conv.parameters)
    x = correlate(conv, read[0], own.weight)
    if conv.bias:
        x = x + own.bias[:, None, None]
    if conv.batch_norm_eps is None:
        return x
    norm = net.own(conv.name)
    numbers = (norm.bn_mean, norm.bn_var, norm.bn_weight, norm.bn_bias, net.training, _MOMENTUM, conv.batch_norm_eps)
    return functional.batch_norm(x, *numbers)


def _activation(net: PlainTwin, layer: Activation, read: list[Any], image: Any, sigma: Any) -> Any:
    x = read[0]
    if layer.ceiling is None:
        return x if layer.signed else torch.relu(x)
    top = net.own(layer.name).ceiling[:, None, None]
    low = -1.0 if layer.signed else 0.0
    if layer.levels is None:
        return torch.where(x >= top, top, torch.where(x <= low * top, low * top, x))
    # λ·r(x/λ): what r rounds is passed straight through within the range (QCFS)
    levels = float(layer.levels)
    whole = torch.floor(x.detach() * (levels / top.detach()) + 0.5).clamp(low * levels, levels) / levels
    part = x / top
    return top * through(whole, torch.where((part > low) & (part < 1), part, part.detach().clamp(low, 1.0)))


def _layer_norm(net: PlainTwin, layer: LayerNorm, read: list[Any], image: Any, sigma: Any) -> Any:
    x, own = read[0], net.own(layer.name)
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    scaled = (x - mean if layer.bias else x) / torch.sqrt(variance + layer.eps) * own.weight[:, None, None]
    return scaled + own.bias[:, None, None] if layer.bias else scaled


def _attention(net: PlainTwin, layer: Attention, read: list[Any], image: Any, sigma: Any) -> Any:
    count, channels, height, width = read[0].shape
    q, k, v = (x.reshape(count, layer.heads, channels // layer.heads, -1) for x in read)
    scores = functional.normalize(q, dim=3) @ functional.normalize(k, dim=3).transpose(2, 3)
    weights = torch.softmax(scores * net.own(layer.name).temperature[:, None, None], 3)
    return (weights @ v).reshape(count, channels, height, width)


_FUNCTIONS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "leaky_relu": lambda net, layer, x: functional.leaky_relu(x, layer.slope),
    "prelu": lambda net, layer, x: functional.prelu(x, net.own(layer.name).weight),
    "sigmoid": lambda net, layer, x: torch.sigmoid(x),
    "tanh": lambda net, layer, x: torch.tanh(x),
    "gelu": lambda net, layer, x: functional.gelu(x),
    "silu": lambda net, layer, x: functional.silu(x),
    "hard_sigmoid": lambda net, layer, x: functional.hardsigmoid(x),
    "hard_swish": lambda net, layer, x: functional.hardswish(x),
}

LAYERS: Mapping[type[Layer], Callable[..., Any]] = {
    Conv: _conv,
    Activation: _activation,
    Gate: lambda net, layer, read, image, _: read[0] * (image - 1.0) + 1.0,
    Add: lambda net, layer, read, *_: sum(read),
    Constant: lambda net, layer, read, _, sigma: constant(layer, read[0], sigma),
    Pointwise: lambda net, layer, read, *_: _FUNCTIONS[layer.function](net, layer, read[0]),
    MaxPool: lambda net, layer, read, *_: functional.max_pool2d(read[0], layer.size),
    GlobalPool: lambda net, layer, read, *_: read[0].mean((2, 3), keepdim=True),
    LayerNorm: _layer_norm,
    Multiply: lambda net, layer, read, *_: read[0] * read[1],
    Attention: _attention,
    **dict.fromkeys(SAME, lambda net, layer, read, *_: SAME[type(layer)](layer, read)),
}
"""(the network, the layer, what it reads, the image, the noise level) -> its value, for every kind."""
