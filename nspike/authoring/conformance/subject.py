"""What is checked: a neuron, and what its author says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nspike.contracts import answers
from nspike.contracts.course import course
from nspike.contracts.neuron import NEVER, Neuron
from nspike.integer.dynamics import Dynamics, dynamics
from nspike.integer.grid import NEVER_FIRES, on_grid
from nspike.integer.rounding import Stage

Ints = NDArray[np.int32]

TRACE_EXPONENT = 4


@dataclass(frozen=True)
class HandWorked:
    """A run of one neuron, worked out by hand, in integers: what meets a threshold is one.

    Parameters
    ----------
    inputs : the input of each step, the post steps last.
    spikes : 0 or 1 for each step; with several planes, a tuple for each step.
    membranes : v after each step; empty not to check them.
    theta : the threshold θ, to which the other numbers relate.
    parameters : of the neuron, where they are not the defaults.
    """

    inputs: Sequence[int]
    spikes: Sequence[int | tuple[int, ...]]
    membranes: Sequence[int] = ()
    theta: int = 16
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A neuron with its parameters' values, its traces, and whether it keeps charge (None: not said)."""

    neuron: Neuron
    values: Mapping[str, float]
    traces: tuple[HandWorked, ...]
    conserves: bool | None


Check = Callable[[Subject], str]
"""Returns what was found, or raises `report.Fault` or `report.Skip`."""


@dataclass(frozen=True)
class Cells:
    """Neurons of C channels on their grids, as an `integers.Stage` has them.

    v0 (C,); theta (C,); threshold and reset (steps, C); params (K, C) of a neuron with a kernel of its own; dynamics of a
    declared one.
    """

    neuron: Neuron
    timesteps: int
    theta: Ints
    v0: Ints
    threshold: Ints
    reset: Ints
    params: Ints
    dynamics: Dynamics

    @property
    def steps(self) -> int:
        """T and the post steps."""
        return self.timesteps + self.neuron.post_steps


def cells(neuron: Neuron, values: Mapping[str, float], theta: Sequence[int], timesteps: int) -> Cells:
    """Neurons with the given integer thresholds."""
    exponent = np.full(len(theta), TRACE_EXPONENT, np.int64)
    floats = np.ldexp(np.asarray(theta, np.float64), -exponent)
    steps = range(1, timesteps + neuron.post_steps + 1)
    fractions = (
        [answers.fire(neuron, values, t, timesteps) for t in steps] if neuron.step is None else [NEVER] * len(steps)
    )
    threshold = [
        np.full(len(theta), NEVER_FIRES, np.int32)
        if f == NEVER
        else on_grid(floats * f, exponent) + np.int32(neuron.strict)
        for f in fractions
    ]
    reset = np.stack([on_grid(floats * answers.amplitude(neuron, values, t, timesteps), exponent) for t in steps])
    own_dynamics = dynamics(neuron, course(neuron, values, timesteps))
    if own_dynamics.most > 1:
        reset = np.where(np.stack(threshold) == NEVER_FIRES, 0, np.maximum(reset, 1)).astype(np.int32)
    own = np.zeros((0, len(theta)), np.int32)
    return Cells(
        neuron=neuron,
        timesteps=timesteps,
        theta=np.asarray(theta, np.int32),
        v0=on_grid(floats * answers.initial(neuron, values), exponent),
        threshold=np.stack(threshold),
        reset=reset,
        params=own if neuron.step is None else answers.step_parameters(neuron, values, floats, exponent),
        dynamics=own_dynamics,
    )


def of_stage(stage: Stage, timesteps: int) -> Cells:
    """The neurons of a stage of an integer network."""
    numbers = (stage.integer.theta, stage.v0, stage.threshold, stage.reset, stage.params)
    return Cells(stage.neuron, timesteps, *numbers, stage.dynamics)
