"""The contract of a converter plugin: from an ANN and images to scales and thresholds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.plugin_code import check_functions, shortened
from nspike.errors import PluginError, UsageError, nearest
from nspike.graph.network import Network

TIMESTEPS = 10
"""T where neither a converter nor who uses it says another."""


@dataclass(frozen=True)
class Option:
    """One option of a converter: its default, what it does, and the values or the type allowed."""

    name: str
    default: Any
    summary: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None

    def check(self, value: Any, owner: str) -> Any:
        """Return `value` as the default's type. Raises UsageError for another type, outside the choices or the range."""
        expected = (
            f"a number in [{self.low:g}, {self.high:g}]" if self.low is not None and self.high is not None else None
        )
        expected = f"one of {', '.join(map(str, self.choices))}" if self.choices else expected
        try:
            value = type(self.default)(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{owner}: {self.name} = {value!r}; expected {expected or type(self.default).__name__}"
            ) from None
        low = self.low is None or self.low <= value
        high = self.high is None or value <= self.high
        if (self.choices and value not in self.choices) or not (low and high):
            raise UsageError(f"{owner}: {self.name} = {value}; expected {expected or 'another value'}")
        return value


def check_options(owner: str, options: object) -> None:
    """Raise PluginError for anything but a tuple of options with names and defaults of their own."""
    if not isinstance(options, tuple | list) or not all(isinstance(option, Option) for option in options):
        raise PluginError(f"{owner}: options is {shortened(options)}; expected a tuple of nspike.Option")
    names = [option.name for option in options]
    for option in options:
        if option.default is None:
            raise PluginError(f"{owner}: option {option.name} has no default, whose type its values have")
        if names.count(option.name) > 1:
            raise PluginError(f"{owner}: has two options called {option.name!r}")


def option_values(owner: str, options: Iterable[Option], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options' defaults, replaced by `given`. Raises UsageError for an unknown name or a bad value."""
    left = dict(given or {})
    values = {o.name: o.check(left.pop(o.name, o.default), owner) for o in options}
    if left:
        name, known = next(iter(left)), ", ".join(values) or "none"
        raise UsageError(f"{owner}: unknown option {name!r}; it has: {known}.{nearest(name, values)}")
    return values


Decide = Callable[[str, Iterable[NDArray[np.float32]]], NDArray[np.float64]]
"""(activation, its currents, float32 (T, C, H, W) of each image in turn) -> λ, float64 (C,)."""


def _not_simulated(decide: Decide, timesteps: int) -> dict[str, NDArray[np.float64]]:
    raise UsageError("these calibration images were given without a simulation with spikes (layer_by_layer)")


@dataclass(frozen=True)
class Calibration:
    """What a converter works with.

    network; parameters: the ANN's with batch norm folded; timesteps T; activations(): yields, for each tile of each
    image, a dict from activation name, and "output", to its ANN values float32 (C, H, W). It may be called again.

    layer_by_layer(decide, steps): simulates the calibration images with spikes, and returns λ of each activation as
    `decide` (`Decide`) says. Layers are asked about in order; what arrives in one are the spikes of the layers before, soft-reset
    integrate-and-fire with v(0) = 0 and the threshold λ that was decided for each, in units of the ANN's values.
    """

    network: Network
    parameters: Mapping[str, NDArray[np.float32]]
    timesteps: int
    activations: Callable[[], Iterable[dict[str, NDArray[np.float32]]]]
    layer_by_layer: Callable[[Decide, int], dict[str, NDArray[np.float64]]] = _not_simulated


@dataclass(frozen=True)
class Scales:
    """What a converter decides.

    scales and thresholds as in `nspike.model.model.Spiking`; neuron_parameters: values for the neuron's parameters (such as
    v_init) where the neuron has them; NEURON.PARAMETER is for that neuron alone.
    """

    scales: dict[str, NDArray[np.float64]]
    thresholds: dict[str, NDArray[np.float64]]
    neuron_parameters: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Converter:
    """A converter: name, summary, source, its options, and scales: (Calibration, option values) -> Scales.

    calibrates : whether it needs images. One that does not is for networks that are spiking ones already: it is given none,
    and no layer is fitted afterwards. fits : whether layers are fitted after it, where that is not turned off; not of scales that
    leave nothing to correct. timesteps : T where nobody says another.
    """

    name: str
    summary: str
    source: str
    options: tuple[Option, ...]
    scales: Callable[[Calibration, Mapping[str, Any]], Scales]
    calibrates: bool = True
    fits: bool = True
    timesteps: int = TIMESTEPS

    def __post_init__(self) -> None:
        check_functions(f"converter {self.name}", scales=self.scales)
        check_options(f"converter {self.name}", self.options)

    def values(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The options: the defaults, replaced by `given`. Raises UsageError for an unknown name or a bad value."""
        return option_values(f"converter {self.name}", self.options, given)
