"""Parameters to train a network from: kernels N(0, 2/(k²·C_in)), biases 0 (He et al. 2015), from a seed.

Ours: the output layer starts at a tenth of that, so that a residual network begins near the identity; and the convolution
whose activation K a gate reads, K·(x - 1) + 1, starts at a tenth with biases 1, so that its image comes out as it went in.
Networks are made without batch norm: `Conv.batch_norm_eps` of what a plugin makes is left out.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nspike.graph.layer import Conv, Gate
from nspike.graph.network import Network

SMALL = 0.1


def without_batch_norm(network: Network) -> Network:
    """The same network with biases in place of batch norm."""
    layers = (
        replace(layer, bias=True, batch_norm_eps=None)
        if isinstance(layer, Conv) and layer.batch_norm_eps is not None
        else layer
        for layer in network.layers
    )
    return replace(network, layers=tuple(layers))


def initial_parameters(network: Network, seed: int) -> dict[str, NDArray[np.float32]]:
    """Random parameters for a network without batch norm."""
    draw = np.random.default_rng(seed)
    gates = {layer.source for layer in network.layers if isinstance(layer, Gate)}
    gated = {activation.source for activation in network.activations if activation.name in gates}
    found: dict[str, NDArray[np.float32]] = {}
    for conv in network.convs:
        last = conv.name == network.output or conv.name in gated
        spread = math.sqrt(2 / (conv.kernel**2 * conv.in_channels)) * (SMALL if last else 1.0)
        shape = (conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
        found[f"{conv.name}.weight"] = draw.normal(0, spread, shape).astype(np.float32)
        if conv.bias:
            found[f"{conv.name}.bias"] = np.full(conv.out_channels, float(conv.name in gated), np.float32)
    return found
