"""The normalised weights of a spiking network: the one definition that the converter, trainer and engine share.

With λ of the spikes that are read (1 for the image and what is like it) and λ of the current that is made, all in float64:

    W'[o, i] = W[o, i]·λ_in[i] / λ_out[o];   b'[o] = b[o] / λ_out[o]

(Rueckauer et al. 2017, data-based normalisation). Spikes that are only moved keep the λ of the activation that they come
from, channel by channel. Currents that are added to one another have one λ, see `current_scales`; a neuron with another one
that integrates them has the threshold θ·λ/λ_out. A gate J = K·(x - 1) + 1 becomes s·(λ_in/λ_out)·(x - 1) + 1/λ_out. Kernels
and biases that training has changed (`Spiking.weights`, `Spiking.biases`) are already in these units and are taken as they
are.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.arrange import origins
from nspike.graph.geometry import geometry
from nspike.graph.layer import IMAGE, Conv, Gate
from nspike.graph.network import Network
from nspike.graph.values import values
from nspike.integer.components import components
from nspike.model.model import OUTPUT, Spiking

Floats = NDArray[np.float64]


def normalised_conv(
    network: Network, parameters: Mapping[str, NDArray[np.float32]], spiking: Spiking, name: str
) -> tuple[Floats, Floats]:
    """The kernel and bias of the convolution `name` in units of the scale of the current that it makes.

    Returns
    -------
    weights : float64 (C_out, C_in/groups, k, k)
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
    scale_out = current_scales(network, spiking)[name]
    if name in spiking.weights:
        weights = _array(spiking.weights, name, shape)
    else:
        weights = _array(parameters, f"{conv.parameters}.weight", shape)
        weights = weights * weights_scale(network, spiking, conv) / scale_out[:, None, None, None]
    if name in spiking.biases:
        return weights, _array(spiking.biases, name, shape[:1])
    if not conv.bias:
        return weights, np.zeros(conv.out_channels)
    return weights, _array(parameters, f"{conv.parameters}.bias", shape[:1]) / scale_out


def gate_scale(network: Network, spiking: Spiking, name: str) -> Floats:
    """λ_in/λ_out, float64 (C,), of the gate `name`: what one spike is worth before it meets (x - 1).

    Raises ModelError where there is no such gate, or a scale is missing.
    """
    if not any(gate.name == name for gate in network.of_kind(Gate)):
        raise ModelError(f"network {network.name}: layer {name!r} is no gate")
    return input_scale(network, spiking, name) / current_scales(network, spiking)[name]


def input_scale(network: Network, spiking: Spiking, name: str) -> Floats:
    """λ of each channel that convolution or gate `name` reads, float64 (C_in,): 1 for the image and what is like it."""
    (source,) = network.layer(name).sources
    return spikes_scale(network, spiking, source)


def weights_scale(network: Network, spiking: Spiking, conv: Conv) -> Floats:
    """λ of what each weight of a convolution is multiplied with, float64 (C_out, C_in/groups, 1, 1)."""
    by_group = input_scale(network, spiking, conv.name).reshape(conv.groups, -1)
    return np.repeat(by_group, conv.out_channels // conv.groups, axis=0)[:, :, None, None]


def spikes_scale(network: Network, spiking: Spiking, name: str) -> Floats:
    """λ of each channel of spikes, or 1 for each of the image and what is like it: float64 (C,).

    name : an activation, or what moves its spikes. Raises ModelError where one channel is made of several with different λ.
    """
    if name == IMAGE or values(network.layers)[name] == "image":
        return np.ones(network.widths[name])
    layer = network.layer(name)
    if geometry(layer).role == "neurons":
        return _scale(spiking, name, network.widths[name])
    read = np.concatenate([spikes_scale(network, spiking, source) for source in layer.sources])
    feeding = read[origins(layer, [network.widths[source] for source in layer.sources])]
    if (feeding != feeding[:, :1]).any():
        raise ModelError(
            f"network {network.name}: {name!r} makes one channel of spikes of several, which must have the same scale"
        )
    return np.asarray(feeding[:, 0])


def current_scales(network: Network, spiking: Spiking) -> dict[str, Floats]:
    """λ of every current by its layer, float64 (C,).

    Of each component of channels (`nspike.integer.components`) it is that of the output layer where this integrates it, as
    heads read in its units, else that of the first neurons that do; 1 where none do. Raises ModelError where a scale is
    missing, or the output integrates a component with two.
    """
    parts = components(network)
    scales = np.full(1 + max(int(roots.max()) for roots in parts.roots.values()), np.nan)
    for stage, current in (parts.integrators[-1], *parts.integrators[:-1]):
        roots, own = parts.roots[current], _scale(spiking, stage, network.widths[current])
        free = np.isnan(scales[roots])
        scales[roots[free][::-1]] = own[free][::-1]  # the first of several channels of a component
        if stage == OUTPUT and (scales[roots] != own).any():
            raise ModelError(
                f"network {network.name}: several channels of the output are made of one current; they must have the same scale"
            )
    scales[np.isnan(scales)] = 1.0
    return {name: scales[roots] for name, roots in parts.roots.items()}


def threshold_factors(network: Network, spiking: Spiking) -> dict[str, Floats]:
    """λ/λ_out by stage, float64 (C,): what its θ is multiplied by in units of the current that it integrates; else 1."""
    scales, parts = current_scales(network, spiking), components(network)
    return {
        stage: _scale(spiking, stage, network.widths[current]) / scales[current] for stage, current in parts.integrators
    }


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
