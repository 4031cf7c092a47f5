"""The contract of a neuron plugin.

Most published converted neurons are members of one family, run by the engine's fused kernel at full speed: at step t

    u = v(t-1) + I(t);   s(t) = [u >= fire(t)·θ];   v(t) = u - s(t)·amplitude(t)·θ;   v(0) = initial·θ

with steps 1..T, where the input and the biases arrive, and then `post_steps` more, where only the spikes of the layer
before arrive. Such a neuron is *declared*: it gives `fire`, `amplitude` and `initial` as plain functions. A spike's
amplitude is folded into the next layer's kernel, rounded separately for the post steps.

A neuron outside the family brings `step`, one plain function that Numba compiles:

    step(v, current, state, params, phase, out)

with v and current int32 (P, C), state int32 (S, P, C), params int32 (K, C) on the channel's grid, phase int32 (2,) =
(step index from 0, 1 in a post step else 0), out int8 (P, C, planes). It changes v, state and out in place and only reads
the others; `current` is the whole input of this step, and `out` comes as zeros. A row of them is a pixel, and goes by
itself alone: which pixels are handed over together depends on tiles and threads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import PluginError, UsageError

Parameters = Mapping[str, float]
"""The values of one layer's parameters by name."""

NEVER = float("inf")
"""A firing threshold that no membrane reaches."""


@dataclass(frozen=True)
class Parameter:
    """One number of a neuron or head: its default, its range (ends included unless `open_low`), whether it is trained."""

    name: str
    default: float
    low: float
    high: float
    summary: str
    open_low: bool = False
    trainable: bool = False

    def check(self, value: float, owner: str) -> float:
        """Return `value` as a float. Raises UsageError outside the range."""
        value = float(value)
        inside = (self.low < value if self.open_low else self.low <= value) and value <= self.high
        if not inside:
            left = "(" if self.open_low else "["
            raise UsageError(
                f"{owner}: {self.name} = {value:g} is out of range; expected a number in {left}{self.low:g}, {self.high:g}]"
            )
        return value


def _one(_: Parameters, __: int, ___: int) -> float:
    return 1.0


def _v_init(parameters: Parameters) -> float:
    return parameters.get("v_init", 0.0)


@dataclass(frozen=True)
class Neuron:
    """A neuron model. See the module for the equations.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, the paper it comes from.
    parameters : the numbers that each layer has.
    post_steps : steps after T.
    initial : v(0) as a fraction of θ; by default the parameter `v_init`, or 0.
    fire : (parameters, step from 1, T) -> the threshold at this step as a fraction of θ, `NEVER` to stay silent.
    amplitude : (parameters, step from 1, T) -> what a spike is worth at this step; one value for the steps up to T, one
        for those after.
    planes : the gain of each spike plane, (1,) for plain spikes. Declared neurons have one.
    step : the kernel of a neuron outside the declared family; then `fire` is not used.
    step_parameters : (parameters, theta (C,) float64, exponent (C,) int) -> int32 (K, C), the `params` of `step`.
    state_planes : S, how many int32 per neuron `step` keeps besides the membrane.
    surrogate : the surrogate derivative to train a declared neuron with: "sigmoid", "triangle", "rectangle", "arctan", or a
        function of x = u - fire·θ (an array, in units of the layer's scale) that returns a new array of the same kind.
        One with a kernel of its own trains through its rate (`nspike.trainable.rate_rule`).
    """

    name: str
    summary: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    post_steps: int = 0
    initial: Callable[[Parameters], float] = _v_init
    fire: Callable[[Parameters, int, int], float] = _one
    amplitude: Callable[[Parameters, int, int], float] = _one
    planes: tuple[int, ...] = (1,)
    step: Callable[..., None] | None = None
    step_parameters: Callable[[Parameters, NDArray[np.float64], NDArray[np.int64]], NDArray[np.int32]] | None = None
    state_planes: int = 0
    surrogate: str | Callable[[NDArray[Any]], NDArray[Any]] = "sigmoid"

    def __post_init__(self) -> None:
        if self.step is None and self.planes != (1,):
            raise PluginError(f"neuron {self.name}: a declared neuron has one spike plane of gain 1, not {self.planes}")
        if (self.step is None) != (self.step_parameters is None):
            raise PluginError(f"neuron {self.name}: `step` and `step_parameters` come together")

    def values(self, given: Mapping[str, Any] | None = None) -> dict[str, float]:
        """The parameters of one layer: the defaults, replaced by `given`.

        Raises UsageError for an unknown name or a value out of range.
        """
        given = dict(given or {})
        values = {p.name: p.check(given.pop(p.name, p.default), f"neuron {self.name}") for p in self.parameters}
        if given:
            known = ", ".join(values) or "none"
            raise UsageError(f"neuron {self.name}: unknown parameter {next(iter(given))!r}; it has: {known}")
        return values
