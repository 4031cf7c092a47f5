"""The convolutional pixel mapper of SpikingIR, and the membrane potential recycling of its first report.

    O = (1/T)·Σ_{t<=T} Conv(s(t)) + v_res/(T·θ)        (equations 7-9)

s are the spikes of an integrate-and-fire output neuron, v_res its signed residual after all input has arrived; the residual
is added after the convolution. With an identity kernel O is the output layer's mean current, whatever its sign. The
convolution is linear, so it is applied to the spike counts, with its kernel rounded to a dyadic grid: integers throughout.
`cpm` is a 3×3 convolution with bias over the channels; `mapper` the same without the residual, a row of the paper's
ablation, which loses what is negative; `recycling` the earlier report's mapper, whose form the report does
not give: here 1×1, pixel by pixel, without bias.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Head, OutputLayer, convolve_spikes, convolve_spikes_gradient, hookimpl


@hookimpl
def register_heads(register: Any) -> None:
    """Register the heads."""
    register(CPM)
    register(MAPPER)
    register(RECYCLING)


def identity(channels: int, size: int) -> NDArray[np.float64]:
    """A kernel that changes nothing, float64 (C, C, size, size)."""
    weight = np.zeros((channels, channels, size, size))
    weight[np.arange(channels), np.arange(channels), size // 2, size // 2] = 1.0
    return weight


def mapped(layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Equation 7 of the paper: float64 (C, H, W), in units of λ."""
    of_spikes = convolve_spikes(layer.spikes, parameters["weight"]) / layer.timesteps
    return of_spikes + parameters["bias"][:, None, None] if "bias" in parameters else of_spikes


def read(layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Equation 9 of the paper: float64 (C, H, W), in units of λ."""
    return np.asarray(
        mapped(layer, parameters) + layer.residual / (layer.timesteps * layer.theta[:, None, None]), np.float64
    )


def gradient(
    layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]], g: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Gradients of Σ g·read by name; those left out are zero."""
    timesteps, theta = layer.timesteps, layer.to_units(layer.theta[:, None, None])
    spikes, weight = convolve_spikes_gradient(layer.spikes, parameters["weight"], g / timesteps)
    residual = g / (timesteps * theta)
    recycled = layer.to_units(layer.residual) / (timesteps * theta)
    of_theta = -(g * recycled / theta).sum(axis=(1, 2))
    gradients = {"spikes": spikes, "residual": residual, "theta": of_theta, "weight": weight}
    return gradients | ({"bias": g.sum(axis=(1, 2))} if "bias" in parameters else {})


def mapped_gradient(
    layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]], g: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Gradients of Σ g·mapped by name; those left out are zero."""
    spikes, weight = convolve_spikes_gradient(layer.spikes, parameters["weight"], g / layer.timesteps)
    return {"spikes": spikes, "weight": weight, "bias": g.sum(axis=(1, 2))}


CPM = Head(
    name="cpm",
    summary="an output neuron, a 3×3 convolution over its spikes, and the residual membrane potential",
    source="SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026), equations 7-9",
    fires=True,
    read=read,
    gradient=gradient,
    kernel=3,
    initial=lambda channels: {"weight": identity(channels, 3), "bias": np.zeros(channels)},
)

MAPPER = Head(
    name="mapper",
    summary="an output neuron and a 3×3 convolution over its spikes; negative values are lost",
    source="SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026), equation 7: its ablation",
    fires=True,
    read=mapped,
    gradient=mapped_gradient,
    kernel=3,
    initial=lambda channels: {"weight": identity(channels, 3), "bias": np.zeros(channels)},
)

RECYCLING = Head(
    name="recycling",
    summary="an output neuron, a pixel mapper over its spikes, and the recycled membrane potential",
    source="Image restoration based on Spiking Neural Network (the first report on SpikingIR), equations 1-4",
    fires=True,
    read=read,
    gradient=gradient,
    kernel=1,
    initial=lambda channels: {"weight": identity(channels, 1)},
)
