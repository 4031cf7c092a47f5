"""The rate head: an integrate-and-fire output neuron; its firing rate n/T, which loses what is negative or above 1."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Head, OutputLayer, hookimpl


@hookimpl
def register_heads(register: Any) -> None:
    """Register the head."""
    register(HEAD)


def read(layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The firing rate n/T, float64 (C, H, W)."""
    return np.asarray(layer.spikes / layer.timesteps, np.float64)


def gradient(
    layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]], g: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The gradient of Σ g·n/T in the spikes n."""
    return {"spikes": g / layer.timesteps}


HEAD = Head(
    name="rate",
    summary="an output neuron and its firing rate; negative values are lost",
    source="the literal output layer of a converted network; the baseline of SpikingIR's ablation",
    fires=True,
    read=read,
    gradient=gradient,
)
