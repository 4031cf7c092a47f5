"""The contract of a converter plugin: from an ANN and pictures to scales and thresholds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.network import Network


@dataclass(frozen=True)
class Option:
    """One option of a converter: its default, what it does, and the values or the type allowed."""

    name: str
    default: Any
    summary: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Calibration:
    """What a converter works with.

    network; parameters: the ANN's with batch norm folded; timesteps T; activations(): yields, picture by picture, a dict
    from activation name, and "output", to its ANN values float32 (C, H, W).
    """

    network: Network
    parameters: Mapping[str, NDArray[np.float32]]
    timesteps: int
    activations: Callable[[], Iterable[dict[str, NDArray[np.float32]]]]


@dataclass(frozen=True)
class Scales:
    """What a converter decides.

    scales and thresholds as in `nspike.model.Spiking`; neuron_parameters: values for the neuron's parameters (such as
    v_init) where the neuron has them.
    """

    scales: dict[str, NDArray[np.float64]]
    thresholds: dict[str, NDArray[np.float64]]
    neuron_parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """A converter: name, summary, source, its options, and scales: (Calibration, option values) -> Scales."""

    name: str
    summary: str
    source: str
    options: tuple[Option, ...]
    scales: Callable[[Calibration, Mapping[str, Any]], Scales]
