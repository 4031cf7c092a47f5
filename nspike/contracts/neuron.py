"""The contract of a neuron plugin.

Most published converted neurons are members of one family, run by the engine's fused kernel at full speed: at step t, with
the input I(t) of spikes and biases,

    u = keep·v(t-1) + input_factor·I(t);   n(t) spikes;   v(t) = u - n(t)·amplitude(t)·θ;   v(0) = initial·θ

    one plane, (1,)           n = 1 where u >= fire(t)·θ, else 0
    signed, (1, -1)           as well n = -1 where u <= -fire(t)·θ
    burst, (1, 2, 4, ...)     as long as what is left of u is at fire(t)·θ, one spike more, up to `most_spikes`:
                              with fire = amplitude = 1, n = floor(u/θ) within 0 .. most_spikes; planes are the bits of n
    digits                    the same, but the bits of n are sent one after another, each as one spike that is worth 1, 2,
                              4, ..: one accumulation for each target, where a burst of n is n of them

With reset = "zero", v(t) = 0 instead where a neuron fires; a `strict` one fires where u > fire(t)·θ. In steps 1..T the input
and the biases arrive, then come `post_steps` more, in which only the spikes of the layer before arrive. Such a neuron is
*declared*: it gives `keep`, `input_factor`, `fire`, `amplitude` and `initial` as plain functions. A spike's amplitude is
folded into the next layer's kernel, rounded separately for the post steps; its plane's gain multiplies what is rounded.

All this is done in integers: keep·v is (v·m + 2^15) >> 16 with an arithmetic shift, m = keep·2^16 rounded half to even, and
likewise input_factor·I, of the step's whole current.

A neuron outside the family brings `step`, one plain function that Numba compiles:

    step(v, current, state, params, phase, out)

with v and current int32 (P, C), state int32 (S, P, C), params int32 (K, C) on the channel's grid, phase int32 (2,) =
(step index from 0, 1 in a post step else 0), out int8 (P, C, planes). It changes v, state and out in place and only reads
the others; `current` is the whole input of this step, and `out` comes as zeros. A row of them is a pixel, and goes by
itself alone: which pixels are handed over together depends on tiles and threads. Unless its `scope` is "layer": then the rows
are all pixels of the layer, in raster order, and each may go by all of them; such an image is run without tiles.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.errors import PluginError, UsageError

Parameters = Mapping[str, float]
"""The values of one layer's parameters by name."""

NEVER = float("inf")
"""A firing threshold that no membrane reaches."""

MOST_PLANES = 7
"""How many planes of either sign a declared neuron may have: up to 127 spikes at a step."""
MOST_GAIN = 4095
"""The largest gain that a plane of spikes may have."""


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
    keep : (parameters) -> what of the membrane is left at the next step, in [0, 1]: its leak. None keeps all.
    input_factor : (parameters) -> what the input is multiplied by, in (0, 1]. None takes it as it is.
    reset : what a spike does to the membrane: "subtract" what it is worth, or set it to "zero".
    planes : the gain of each spike plane, (1,) for plain spikes. Declared neurons have 1, 2, 4, ..., and then, if they are
        to fire negative spikes too, -1, -2, -4, ...
    most_spikes : the most spikes, of either sign, at a step of a declared neuron, a number or (parameters) -> one; by default
        the planes' sum.
    digits : whether the planes are digits, sent one after another within the step. A spike of any plane is then one
        accumulation for each target, and a neuron is updated once for each digit that `most_spikes` has.
    strict : whether a declared neuron needs more than its threshold to fire: u > fire·θ, in integers u >= that + 1.
    step : the kernel of a neuron outside the declared family; then `fire` and the five above are not used.
    step_parameters : (parameters, theta (C,) float64, exponent (C,) int) -> int32 (K, C), the `params` of `step`.
    state_planes : S, how many int32 per neuron `step` keeps besides the membrane.
    scope : what `step` is handed: "pixel", any pixels of a layer, or "layer", all of them at once.
    surrogate : the surrogate derivative to train a declared neuron with: "sigmoid", "triangle", "rectangle", "arctan", or a
        function of x = u - fire·θ (an array, in units of the layer's scale) that returns a new array of the same kind.
        One with a kernel of its own trains through its rate (`nspike.trainable.rate_rule`).
    surrogate_unit : "threshold" if x is to be in units of θ instead, u/θ - fire; the derivative is then divided by θ.
    """

    name: str
    summary: str
    source: str
    parameters: tuple[Parameter, ...] = ()
    post_steps: int = 0
    initial: Callable[[Parameters], float] = _v_init
    fire: Callable[[Parameters, int, int], float] = _one
    amplitude: Callable[[Parameters, int, int], float] = _one
    keep: Callable[[Parameters], float] | None = None
    input_factor: Callable[[Parameters], float] | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    planes: tuple[int, ...] = (1,)
    most_spikes: int | Callable[[Parameters], float] | None = None
    digits: bool = False
    strict: bool = False
    step: Callable[..., None] | None = None
    step_parameters: Callable[[Parameters, NDArray[np.float64], NDArray[np.int64]], NDArray[np.int32]] | None = None
    state_planes: int = 0
    scope: Literal["pixel", "layer"] = "pixel"
    surrogate: str | Callable[[NDArray[Any]], NDArray[Any]] = "sigmoid"
    surrogate_unit: Literal["scale", "threshold"] = "scale"

    def __post_init__(self) -> None:
        if (self.step is None) != (self.step_parameters is None):
            raise PluginError(f"neuron {self.name}: `step` and `step_parameters` come together")
        if self.reset not in ("subtract", "zero"):
            raise PluginError(f"neuron {self.name}: reset is {self.reset!r}; expected 'subtract' or 'zero'")
        if self.scope not in ("pixel", "layer") or self.surrogate_unit not in ("scale", "threshold"):
            raise PluginError(
                f"neuron {self.name}: scope is {self.scope!r}, surrogate_unit {self.surrogate_unit!r}; expected 'pixel' or "
                "'layer', and 'scale' or 'threshold'"
            )
        given = (self.keep, self.input_factor, self.most_spikes)
        declared = given != (None, None, None) or self.reset != "subtract" or self.strict or self.digits
        if self.step is not None and declared:
            raise PluginError(
                f"neuron {self.name}: `keep`, `input_factor`, `reset`, `most_spikes`, `strict` and `digits` are of declared "
                "neurons; one with a kernel of its own does such things in `step`"
            )
        if self.step is None and self.scope == "layer":
            raise PluginError(
                f"neuron {self.name}: scope 'layer' is for a neuron with a kernel of its own; a declared one never looks at "
                "other pixels"
            )
        if self.step is None:
            self._check_planes()
        if max(map(abs, self.planes), default=0) > MOST_GAIN:
            raise PluginError(f"neuron {self.name}: planes are {self.planes}; expected gains within ±{MOST_GAIN}")

    def _check_planes(self) -> None:
        up, down = self.gains
        powers = tuple(1 << i for i in range(MOST_PLANES))
        if (
            not up
            or (*up, *(-g for g in down)) != self.planes
            or {up, down} - {powers[:n] for n in range(MOST_PLANES + 1)}
        ):
            raise PluginError(
                f"neuron {self.name}: planes are {self.planes}; a declared neuron has gains 1, 2, 4, ... (up to "
                f"{powers[-1]}), and may then have -1, -2, -4, ..."
            )
        most = max(sum(up), sum(down))
        if isinstance(self.most_spikes, int) and not 1 <= self.most_spikes <= most:
            raise PluginError(
                f"neuron {self.name}: most_spikes is {self.most_spikes}; with planes {self.planes} expected 1 to {most}"
            )

    @property
    def gains(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The gains of the planes of positive spikes, and of those of negative ones, both as positive numbers."""
        return tuple(g for g in self.planes if g > 0), tuple(-g for g in self.planes if g < 0)

    @property
    def accumulations(self) -> tuple[int, ...]:
        """How many accumulations a spike of each plane is at a target: as many as its gain says, or one of a digit."""
        return tuple(1 if self.digits else abs(gain) for gain in self.planes)

    @property
    def conserves(self) -> bool:
        """Whether this declared neuron loses no charge: input = threshold × spikes + residual."""
        return self.keep is None and self.input_factor is None and self.reset == "subtract"

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
