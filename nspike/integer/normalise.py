"""The normalised weights of a spiking network: the one definition that the converter, trainer and engine share.

With λ of the layer that is read (1 for the image) and λ of the layer that is driven, all in float64:

    W'[o, i] = W[o, i]·λ_in[i] / λ_out[o];   b'[o] = b[o] / λ_out[o]

(Rueckauer et al. 2017, data-based normalisation). The channels of a concatenation each keep the λ of the activation that
they come from. A gate J = K·(x - 1) + 1 becomes s·(λ_in/λ_out)·(x - 1) + 1/λ_out. Kernels and biases that training has
changed (`Spiking.weights`, `Spiking.biases`) are already in these units and are taken as they are.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.layer import Gate
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Spiking

Floats = NDArray[np.float64]


def normalised_conv(
    network: Network, parameters: Mapping[str, NDArray[np.float32]], spiking: Spiking, name: str
) -> tuple[Floats, Floats]:
    """The kernel and bias of the convolution `name` in units of the scale of the layer that it drives.

    Returns
    -------
    weights : float64 (C_out, C_in, k, k)
    bias : float64 (C_out,), zeros for a convolution without bias

    Raises
    ------
    ModelError
        No such convolution, batch norm that is not folded, an array or a scale that is missing or of another shape.
    """
    conv = next((conv for conv in network.convs if conv.name == name), None)
    if conv is None:
        raise ModelError(f"network {network.name}: layer {name!r} is no convolution")
    if conv.batch_norm_eps is not None:
        raise ModelError(
            f"network {network.name}: fold the batch norm of {name!r} first (nspike.graph.folding.fold_batch_norm)"
        )
    shape = conv.kernel_shape
    scale_out = _scale(spiking, driven(network, name), conv.out_channels)
    if name in spiking.weights:
        weights = _array(spiking.weights, name, shape)
    else:
        scale_in = input_scale(network, spiking, name)
        weights = _array(parameters, f"{name}.weight", shape)
        weights = weights * scale_in[None, :, None, None] / scale_out[:, None, None, None]
    if name in spiking.biases:
        return weights, _array(spiking.biases, name, shape[:1])
    if not conv.bias:
        return weights, np.zeros(conv.out_channels)
    return weights, _array(parameters, f"{name}.bias", shape[:1]) / scale_out


def gate_scale(network: Network, spiking: Spiking, name: str) -> Floats:
    """λ_in/λ_out, float64 (C,), of the gate `name`: what one spike is worth before it meets (x - 1).

    Raises ModelError where there is no such gate, or a scale is missing.
    """
    gate = next((gate for gate in network.of_kind(Gate) if gate.name == name), None)
    if gate is None:
        raise ModelError(f"network {network.name}: layer {name!r} is no gate")
    return input_scale(network, spiking, name) / _scale(spiking, driven(network, name), gate.channels)


def input_scale(network: Network, spiking: Spiking, name: str) -> Floats:
    """λ of each channel that layer `name` reads, float64 (C_in,): 1 for the image, each slice of a concatenation its own."""
    sources = network.activations_into(name)
    if not sources:
        return np.ones(network.channels)
    return np.concatenate([_scale(spiking, source.name, source.channels) for source in sources])


def driven(network: Network, name: str) -> str:
    """The layer of neurons that convolution or gate `name` drives: an activation's name, or `OUTPUT`."""
    if name == network.output:
        return OUTPUT
    names = [layer.name for layer in network.activations if layer.source == name]
    if OUTPUT in names:
        raise ModelError(
            f"network {network.name}: no activation may be called {OUTPUT!r}: it is the output layer's name"
        )
    if len(names) != 1:
        raise ModelError(
            f"network {network.name}: {name!r} must drive exactly one activation or be the output; it drives {names}"
        )
    return names[0]


def _scale(spiking: Spiking, name: str, channels: int) -> Floats:
    """The checked λ of a layer, float64 (C,)."""
    if name not in spiking.scales:
        raise ModelError(f"the spiking form has no scale for {name!r}")
    scale = np.asarray(spiking.scales[name], np.float64)
    if scale.shape != (channels,) or not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
        raise ModelError(f"the scale of {name!r} must be {channels} positive numbers, found {scale.shape}")
    return scale


def _array(arrays: Mapping[str, NDArray[np.float32]], key: str, shape: tuple[int, ...]) -> Floats:
    """An array of the expected shape as float64."""
    if key not in arrays:
        raise ModelError(f"the model has no array {key!r}")
    array = np.asarray(arrays[key], np.float64)
    if array.shape != shape:
        raise ModelError(f"the model's array {key!r} has shape {array.shape}, expected {shape}")
    return array
