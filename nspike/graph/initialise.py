"""Parameters to train a network from: kernels N(0, 2/(k²·C_in)), biases 0 (He et al. 2015), from a seed.

Ours: the output layer starts at a tenth of that, so that a residual network begins near the identity; and the convolution
whose activation K a gate reads, K·(x - 1) + 1, starts at a tenth with biases 1, so that its image comes out as it went in.
Networks are made without batch norm: `Conv.batch_norm_eps` of what a plugin makes is left out.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.graph.geometry import GEOMETRY
from nspike.graph.layer import Conv, Gate, Layer
from nspike.graph.network import Network
from nspike.graph.plain_layer import Attention, LayerNorm, Pointwise, Prompt, StepAttention

SMALL = 0.1

Parameters = dict[str, NDArray[np.float32]]


def without_batch_norm(network: Network) -> Network:
    """The same network with biases in place of batch norm."""

    def biased(conv: Conv) -> Conv:
        return conv if conv.batch_norm_eps is None else replace(conv, bias=True, batch_norm_eps=None, normed_together=1)

    return network.changed(Conv, biased)


def initial_parameters(network: Network, seed: int) -> Parameters:
    """Random parameters for a network without batch norm."""
    draw = np.random.default_rng(seed)
    parameters: Parameters = {}
    for layer in network.layers:
        parameters |= INITIAL[type(layer)](layer, network, draw)
    return parameters


def _conv(conv: Conv, network: Network, draw: np.random.Generator) -> Parameters:
    gates = {gate.source for gate in network.of_kind(Gate)}
    gated = any(a.name in gates and a.source == conv.name for a in network.activations)
    if conv.tied is not None:
        return {}
    spread = math.sqrt(2 / math.prod(conv.kernel_shape[1:]))
    spread *= SMALL if gated or conv.name == network.output else 1.0
    parameters = {f"{conv.name}.weight": draw.normal(0, spread, conv.kernel_shape).astype(np.float32)}
    if conv.bias:
        parameters[f"{conv.name}.bias"] = np.full(conv.kernel_shape[0], float(gated), np.float32)
    return parameters


def _pointwise(layer: Pointwise, *_: Any) -> Parameters:
    return {f"{layer.name}.weight": np.full(layer.channels, 0.25, np.float32)} if layer.function == "prelu" else {}


def _layer_norm(layer: LayerNorm, *_: Any) -> Parameters:
    weight = {f"{layer.name}.weight": np.ones(layer.channels, np.float32)}
    return weight | ({f"{layer.name}.bias": np.zeros(layer.channels, np.float32)} if layer.bias else {})


def _attention(layer: Attention, *_: Any) -> Parameters:
    return {f"{layer.name}.temperature": np.ones(layer.heads, np.float32)}


def _step_attention(layer: StepAttention, _: Network, draw: np.random.Generator) -> Parameters:
    return {
        f"{layer.name}.{part}": draw.normal(0, math.sqrt(1 / math.prod(shape[1:])), shape).astype(np.float32)
        for part, shape in layer.parameter_shapes.items()
    }


def _prompt(layer: Prompt, network: Network, draw: np.random.Generator) -> Parameters:
    shape = (layer.count, layer.channels, layer.size, layer.size)
    return {f"{layer.name}.weight": draw.random(shape, np.float32)}


def _nothing(*_: Any) -> Parameters:
    return {}


INITIAL: dict[type[Layer], Callable[[Any, Network, np.random.Generator], Parameters]] = {
    **dict.fromkeys(GEOMETRY, _nothing),
    Conv: _conv,
    Pointwise: _pointwise,
    LayerNorm: _layer_norm,
    Attention: _attention,
    StepAttention: _step_attention,
    Prompt: _prompt,
}
"""How each kind of layer starts: (layer, network, generator) -> its parameters by name."""
