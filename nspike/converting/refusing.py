"""Layers that no spiking network has: which they are, why, and what to train instead."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import UsageError
from nspike.graph.layer import Activation, Layer
from nspike.graph.network import Network
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

Floats = NDArray[np.float32]

_RELU = "replace it by ReLU and fine-tune the plain network"
_LITE = "keep it as a plain network (`nspike run --ann`), or train spikerir_lite, which runs in integers"
_TEACHER = "keep this network as the teacher, and distil a network of convolutions and ReLUs from it"

INSTEAD: Mapping[type[Layer], Callable[[Any], tuple[str, str]]] = {
    Pointwise: lambda layer: (
        ("neurons cannot give a gate between 0 and 1 times another value", _TEACHER)
        if layer.function in ("sigmoid", "tanh", "hard_sigmoid")
        else ("neurons give nothing below their threshold, as a ReLU does", _RELU)
    ),
    MaxPool: lambda layer: (
        "the largest of several spike counts is known only after the last step",
        "train a convolution of stride 2 or an average pool in its place",
    ),
    GlobalPool: lambda layer: ("what it takes of the whole image is not local", _TEACHER),
    LayerNorm: lambda layer: (
        "it divides by a standard deviation that each pixel has for itself",
        "train with batch norm, which folds into the convolution, or: " + _TEACHER,
    ),
    Multiply: lambda layer: ("a product of two values is no sum of spikes", _TEACHER),
    Attention: lambda layer: ("a product of two values is no sum of spikes", _TEACHER),
    StepAttention: lambda layer: (
        "its gates are sigmoids of means and largest values over the whole image and all steps, and a current times such a "
        "gate is no sum of spikes",
        _LITE,
    ),
    Leaky: lambda layer: (
        "neurons in floats, their steps side by side: they spike already, but not in integers",
        _LITE,
    ),
    StepMean: lambda layer: ("a mean over steps that stand side by side", _LITE),
    Shrink: lambda layer: (
        "it leaves out pixels between those that it takes",
        "train an average pool or a convolution with a stride in its place",
    ),
    ChannelPool: lambda layer: ("the largest of several spike counts is known only after the last step", _TEACHER),
    Prompt: lambda layer: ("its planes are weighted by a softmax over the whole image", _TEACHER),
    FrequencySplit: lambda layer: (
        "a Fourier transform looks at the whole image, and spikes have no absolute value",
        _TEACHER,
    ),
}
"""For each kind of layer that only plain networks have: (why it has no spiking form, what to train instead)."""


def refuse(network: Network) -> None:
    """Raise UsageError with every layer that has no spiking form; nothing if there is none."""
    refused = [layer for layer in network.layers if type(layer) in INSTEAD]
    if not refused:
        return
    lines: dict[tuple[str, str, str], list[str]] = {}
    for layer in refused:
        what = str(getattr(layer, "function", type(layer).__name__))
        lines.setdefault((what, *INSTEAD[type(layer)](layer)), []).append(repr(layer.name))
    listed = "".join(
        f"\n  {what} {', '.join(names)}: {why}; {instead}" for (what, why, instead), names in lines.items()
    )
    raise UsageError(
        f"network {network.name} cannot be converted: {len(refused)} of its layers have no spiking form:{listed}"
    )


def without_flat_slopes(network: Network, parameters: Mapping[str, Floats]) -> tuple[Network, dict[str, Floats]]:
    """The network with ReLUs in place of leaky and parametric ones whose slopes are all 0."""

    def is_flat(layer: Pointwise) -> bool:
        if layer.function == "prelu":
            return not np.any(parameters[f"{layer.name}.weight"])
        return layer.function == "leaky_relu" and layer.slope == 0

    flat = {layer.name for layer in network.of_kind(Pointwise) if is_flat(layer)}
    changed = replace(
        network,
        layers=tuple(
            Activation(layer.name, layer.sources[0], network.widths[layer.name]) if layer.name in flat else layer
            for layer in network.layers
        ),
    )
    return changed, {name: array for name, array in parameters.items() if name.rsplit(".", 1)[0] not in flat}
