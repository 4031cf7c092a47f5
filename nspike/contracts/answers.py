"""Checked calls of a neuron plugin's functions: every failure becomes a PluginError with the cause.

Their numbers are rounded to 12 decimals before anything follows from them: a formula with exp, say, may differ in its last
bit between two systems' libraries, and then neither spikes nor certificates differ.

The bounds are those of an int32 membrane. In units of 2^24, to which thresholds and the input of one step are limited, it
starts at up to 1, changes by up to 1 a step, and a spike, at a positive membrane, takes away its amplitude.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import NEVER, Neuron, Parameters
from nspike.errors import PluginError
from nspike.runtime.explain import explain

MOST_INITIAL = 1.0
MOST_FIRE = 64.0
MOST_MEMBRANE = 127
DECIMALS = 12


def fire(neuron: Neuron, values: Parameters, step: int, timesteps: int) -> float:
    """The firing threshold at `step`, from 1, as a fraction of θ. Raises PluginError if it is none."""
    what = f"fire at step {step} of T = {timesteps}"
    value = _number(neuron, what, neuron.fire, values, step, timesteps)
    if value == NEVER or 0 < value <= MOST_FIRE:
        return value
    raise PluginError(
        f"neuron {neuron.name}: {what} is {value:g}; expected a fraction of the threshold in (0, {MOST_FIRE:g}], or NEVER"
    )


def amplitude(neuron: Neuron, values: Parameters, step: int, timesteps: int) -> float:
    """What a spike is worth at `step`. Raises PluginError if it is not positive, or could overflow the membrane."""
    what = f"amplitude at step {step} of T = {timesteps}"
    value = _number(neuron, what, neuron.amplitude, values, step, timesteps)
    most = float(MOST_MEMBRANE - (timesteps + neuron.post_steps - step))
    if neuron.step is None and len(neuron.planes) > 1:
        lowest = fire(neuron, values, step, timesteps)
        others = max(map(sum, neuron.gains)) - 1  # the last of them fires at this many amplitudes above the first
        if lowest != NEVER and others:
            most = min(most, (MOST_MEMBRANE - lowest) / others)
    if 0 < value <= most:
        return value
    raise PluginError(
        f"neuron {neuron.name}: {what} is {value:g}; expected a number in (0, {most:g}] (more overflows the membrane)"
    )


def initial(neuron: Neuron, values: Parameters) -> float:
    """v(0) as a fraction of θ. Raises PluginError outside [-1, 1]."""
    value = _number(neuron, "initial", neuron.initial, values)
    if abs(value) <= MOST_INITIAL:
        return value
    raise PluginError(f"neuron {neuron.name}: initial is {value:g}; expected a fraction of the threshold in [-1, 1]")


def keep(neuron: Neuron, values: Parameters) -> float:
    """What is left of the membrane at the next step; 1 without a leak. Raises PluginError outside [0, 1]."""
    value = 1.0 if neuron.keep is None else _number(neuron, "keep", neuron.keep, values)
    if 0 <= value <= 1:
        return value
    raise PluginError(f"neuron {neuron.name}: keep is {value:g}; expected a fraction of the membrane in [0, 1]")


def input_factor(neuron: Neuron, values: Parameters) -> float:
    """What the input is multiplied by; 1 where the neuron does not say. Raises PluginError outside (0, 1]."""
    value = 1.0 if neuron.input_factor is None else _number(neuron, "input_factor", neuron.input_factor, values)
    if 0 < value <= 1:
        return value
    raise PluginError(f"neuron {neuron.name}: input_factor is {value:g}; expected a number in (0, 1]")


def most_spikes(neuron: Neuron, values: Parameters) -> int:
    """The most spikes at a step. Raises PluginError unless it is a whole number from 1 to what the planes can say."""
    largest = max(map(sum, neuron.gains), default=1)
    if neuron.most_spikes is None or neuron.step is not None:
        return largest
    if isinstance(neuron.most_spikes, int):
        return neuron.most_spikes
    value = _number(neuron, "most_spikes", neuron.most_spikes, values)
    if value == int(value) and 1 <= value <= largest:
        return int(value)
    raise PluginError(f"neuron {neuron.name}: most_spikes is {value:g}; expected a whole number from 1 to {largest}")


def step_parameters(
    neuron: Neuron, values: Parameters, theta: NDArray[np.float64], exponent: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The `params` of a neuron's own kernel, int32 (K, C), read-only. Raises PluginError for another shape or type."""
    assert neuron.step_parameters is not None
    channels = theta.size
    given = np.asarray(_call(neuron, "step_parameters", neuron.step_parameters, values, theta.copy(), exponent.copy()))
    if given.ndim != 2 or given.shape[1] != channels:
        raise PluginError(f"neuron {neuron.name}: step_parameters gave {given.shape}, expected (K, {channels})")
    bounds = np.iinfo(np.int32)
    if given.dtype.kind not in "iu" or (given.size and (given.min() < bounds.min or given.max() > bounds.max)):
        raise PluginError(f"neuron {neuron.name}: step_parameters gave {given.dtype} that is not int32; round it first")
    params = np.array(given, np.int32, order="C")
    params.flags.writeable = False
    return params


def _number(neuron: Neuron, what: str, function: Callable[..., Any], *arguments: Any) -> float:
    answer = _call(neuron, what, function, *arguments)
    try:
        number = round(float(answer), DECIMALS)
    except (TypeError, ValueError):
        number = float("nan")
    if isfinite(number) or (number == NEVER and what.startswith("fire")):
        return number
    raise PluginError(f"neuron {neuron.name}: {what} is {_short(answer)}; expected a finite number")


def _call(neuron: Neuron, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        raise PluginError(f"neuron {neuron.name}: {what} failed: {explain(error)}") from error


def _short(answer: object) -> str:
    text = repr(answer)
    return text if len(text) <= 60 else text[:57] + "..."
