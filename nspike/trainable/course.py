"""What a neuron does at each step, as training needs it: f(t), a(t) and v(0), and their slopes in the neuron's parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class FloatCourse:
    """f (negative where silent) and a at every step, float64 (steps,), v(0)/θ, and what is kept of the membrane."""

    fires: Doubles
    amplitudes: Doubles
    initial: float
    keep: float = 1.0


def course(neuron: Neuron, values: Mapping[str, float], timesteps: int, steps: int) -> FloatCourse:
    """The course of a neuron; one with its own kernel may fire at any step."""
    declared = neuron.step is None
    fires = np.array([neuron.fire(values, t, timesteps) if declared else 1.0 for t in range(1, steps + 1)])
    fires[~np.isfinite(fires)] = -1.0
    amplitudes = np.array([neuron.amplitude(values, t, timesteps) for t in range(1, steps + 1)])
    return FloatCourse(fires, amplitudes, neuron.initial(values), neuron.keep(values) if neuron.keep else 1.0)


def slopes(neuron: Neuron, values: Mapping[str, float], name: str, timesteps: int, steps: int) -> FloatCourse:
    """The derivative of a course with respect to the parameter `name`: differences of plain functions, within its range.

    Raises PluginError for a parameter on which the input factor depends.
    """
    value, h = values[name], 1e-6 * max(1.0, abs(values[name]))
    own = next(parameter for parameter in neuron.parameters if parameter.name == name)
    above, below = min(value + h, own.high), max(value - h, own.low)
    width = 2 * h if (above, below) == (value + h, value - h) else above - below
    up, down = (course(neuron, {**values, name: end}, timesteps, steps) for end in (above, below))
    factor = neuron.input_factor
    if factor is not None and factor({**values, name: above}) != factor({**values, name: below}):
        raise PluginError(
            f"neuron {neuron.name}: its input factor depends on {name!r}, which is declared trainable; training does not "
            "follow it, so leave `trainable` out"
        )
    return FloatCourse(
        (up.fires - down.fires) / width,
        (up.amplitudes - down.amplitudes) / width,
        (up.initial - down.initial) / width,
        (up.keep - down.keep) / width,
    )
