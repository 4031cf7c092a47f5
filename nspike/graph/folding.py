"""Batch norm folded into the convolution before it.

W' = W·γ/√(σ² + ε) and b' = β + (b - μ)·γ/√(σ² + ε), in float64, with the statistics that training left.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.geometry import parameter_shapes
from nspike.graph.initialise import without_batch_norm
from nspike.graph.layer import Conv
from nspike.graph.network import Network

Floats = NDArray[np.float32]


def fold_batch_norm(network: Network, parameters: Mapping[str, Floats]) -> tuple[Network, dict[str, Floats]]:
    """The same function without batch norm: a network whose convolutions have biases instead, and its parameters.

    Raises ModelError where a batch norm cannot be folded: a variance that is negative, or zero with ε = 0.
    """
    normed = {conv.name: conv for conv in network.convs if conv.batch_norm_eps is not None}
    folded: dict[str, Floats] = {}
    for layer in network.layers:
        kept = [name for name in parameter_shapes(layer) if ".bn_" not in name]
        folded |= {name: np.asarray(parameters[name], np.float32) for name in kept}
        if layer.name in normed:
            _fold(normed[layer.name], parameters, folded)
    return without_batch_norm(network), folded


def _fold(conv: Conv, parameters: Mapping[str, Floats], folded: dict[str, Floats]) -> None:
    """Fold one batch norm into the weight and bias in `folded`."""
    assert conv.batch_norm_eps is not None
    gamma, beta, mean, variance = (
        np.repeat(np.asarray(parameters[f"{conv.name}.bn_{part}"], np.float64), conv.normed_together)
        for part in ("weight", "bias", "mean", "var")
    )
    if not np.all(variance + conv.batch_norm_eps > 0):
        raise ModelError(f"the batch norm of {conv.name!r} has a variance that is not positive")
    factor = gamma / np.sqrt(variance + conv.batch_norm_eps)
    bias = folded.get(f"{conv.name}.bias", np.zeros(conv.kernel_shape[0])).astype(np.float64)
    weight = folded[f"{conv.name}.weight"].astype(np.float64)
    folded[f"{conv.name}.weight"] = (weight * factor[:, None, None, None]).astype(np.float32)
    folded[f"{conv.name}.bias"] = (beta + (bias - mean) * factor).astype(np.float32)
