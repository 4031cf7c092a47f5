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
from nspike.model.model import Model
from nspike.trainable.surrogate import SURROGATES
from nspike.twin.modules import SAME, Twin, constant, correlate, through
from nspike.twin.neurons import fire

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
    own, x = net.own(conv.parameters), read[0]
    if conv.repeats > 1:
        x = x.unflatten(1, (conv.repeats, -1)).flatten(0, 1)
    x = correlate(conv, x, own.weight)
    if conv.bias:
        x = x + own.bias[:, None, None]
    if conv.batch_norm_eps is not None:
        x = _normed(net, conv, x)
    return x.unflatten(0, (-1, conv.repeats)).flatten(1, 2) if conv.repeats > 1 else x


def _normed(net: PlainTwin, conv: Conv, x: Any) -> Any:
    """Batch norm, which takes `normed_together` channels for one."""
    own, (count, channels, height, width) = net.own(conv.name), x.shape
    together = x.reshape(count, channels // conv.normed_together, conv.normed_together * height, width)
    statistics, affine = (own.bn_mean, own.bn_var), (own.bn_weight, own.bn_bias)
    normed = functional.batch_norm(together, *statistics, *affine, net.training, _MOMENTUM, conv.batch_norm_eps or 0.0)
    return normed.reshape(x.shape)


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


def _leaky(net: PlainTwin, layer: Leaky, read: list[Any], image: Any, sigma: Any) -> Any:
    v, spikes, one = 0.0, [], torch.ones((), dtype=read[0].dtype, device=read[0].device)
    for current in read[0].chunk(layer.steps, 1):
        u = v * layer.keep + current
        spikes.append(fire(u - layer.threshold, one, SURROGATES["sigmoid"]))
        v = u * (1 - spikes[-1])
    return torch.cat(spikes, 1)


def _step_attention(net: PlainTwin, layer: StepAttention, read: list[Any], image: Any, sigma: Any) -> Any:
    own, y = net.own(layer.name), read[0].unflatten(1, (layer.steps, -1))

    def gate(kind: str, rest: tuple[int, ...]) -> Any:
        first, second = getattr(own, f"{kind}1"), getattr(own, f"{kind}2")
        answers = [torch.relu(pooled @ first.T) @ second.T for pooled in (y.mean(rest), y.amax(rest))]
        return torch.sigmoid(sum(answers))

    y = y * gate("time", (2, 3, 4))[:, :, None, None, None]
    y = y * gate("channel", (1, 3, 4))[:, None, :, None, None]
    z = y.flatten(1, 2)
    pooled = torch.cat([z.mean(1, keepdim=True), z.amax(1, keepdim=True)], 1)
    return torch.relu(torch.sigmoid(functional.conv2d(pooled, own.space, padding=layer.kernel // 2)) * z)


_FUNCTIONS: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "leaky_relu": lambda net, layer, x: functional.leaky_relu(x, layer.slope),
    "prelu": lambda net, layer, x: functional.prelu(x, net.own(layer.name).weight),
    "sigmoid": lambda net, layer, x: torch.sigmoid(x),
    "tanh": lambda net, layer, x: torch.tanh(x),
    "gelu": lambda net, layer, x: functional.gelu(x),
    "silu": lambda net, layer, x: functional.silu(x),
    "hard_sigmoid": lambda net, layer, x: functional.hardsigmoid(x),
    "hard_swish": lambda net, layer, x: functional.hardswish(x),
    "complement": lambda net, layer, x: 1 - x,
}


def _prompt(net: PlainTwin, layer: Prompt, read: list[Any], image: Any, sigma: Any) -> Any:
    size, shares = read[0].shape[2:], torch.softmax(read[1].flatten(1), 1)
    mixed = torch.einsum("nk,kchw->nchw", shares, net.own(layer.name).weight)
    return functional.interpolate(mixed, tuple(size), mode="bilinear", align_corners=False)


def _split(net: PlainTwin, layer: FrequencySplit, read: list[Any], image: Any, sigma: Any) -> Any:
    x, inside = read[0], []
    for axis in (0, 1):
        length = x.shape[2 + axis]
        half = torch.floor(length // layer.block * read[1][:, axis].flatten())[:, None]
        frequency = torch.arange(length, device=x.device)
        frequency = torch.where(frequency < (length + 1) // 2, frequency, frequency - length)
        inside.append((frequency >= -half) & (frequency < half))
    box = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    spectrum = torch.fft.fft2(x)
    return torch.cat([torch.fft.ifft2(spectrum * part).abs() for part in (box, ~box)], 1)


LAYERS: Mapping[type[Layer], Callable[..., Any]] = {
    Conv: _conv,
    Activation: _activation,
    Gate: lambda net, layer, read, image, _: read[0] * (image - 1.0) + 1.0,
    Add: lambda net, layer, read, *_: sum(read),
    Constant: lambda net, layer, read, _, sigma: constant(layer, read[0], sigma),
    Pointwise: lambda net, layer, read, *_: _FUNCTIONS[layer.function](net, layer, read[0]),
    MaxPool: lambda net, layer, read, *_: functional.max_pool2d(read[0], layer.size),
    GlobalPool: lambda net, layer, read, *_: (
        read[0].amax((2, 3), keepdim=True) if layer.function == "max" else read[0].mean((2, 3), keepdim=True)
    ),
    Shrink: lambda net, layer, read, *_: functional.interpolate(
        read[0], tuple(side // layer.factor for side in read[0].shape[2:]), mode="bilinear", align_corners=False
    ),
    ChannelPool: lambda net, layer, read, *_: torch.cat(
        [read[0].amax(1, keepdim=True), read[0].mean(1, keepdim=True)], 1
    ),
    Prompt: _prompt,
    FrequencySplit: _split,
    LayerNorm: _layer_norm,
    Multiply: lambda net, layer, read, *_: read[0] * read[1],
    Attention: _attention,
    Leaky: _leaky,
    StepAttention: _step_attention,
    StepMean: lambda net, layer, read, *_: read[0].unflatten(1, (layer.steps, -1)).mean(1),
    **dict.fromkeys(SAME, lambda net, layer, read, *_: SAME[type(layer)](layer, read)),
}
"""(the network, the layer, what it reads, the image, the noise level) -> its value, for every kind."""
