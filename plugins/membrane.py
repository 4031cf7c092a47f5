"""The membrane head: no output neuron; the mean current of the output layer over T steps (QCFS, Burst: the last layer)."""

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
    """The charge over T, Q/T, float64 (C, H, W) in units of λ."""
    return layer.to_units(layer.charge) / layer.timesteps


def gradient(
    layer: OutputLayer, parameters: Mapping[str, NDArray[np.float64]], g: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The gradient of Σ g·Q/T in the charge Q."""
    return {"charge": g / layer.timesteps}


HEAD = Head(
    name="membrane",
    summary="no output neuron: the mean current of the output layer",
    source="the usual readout of converted networks (QCFS, Burst Spikes)",
    fires=False,
    read=read,
    gradient=gradient,
)
