"""What a neuron does at every step of a run: its functions, asked once and checked.

f(t) is the firing threshold as a fraction of θ, a(t) what a spike is worth; see `nspike.contracts.neuron`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts import answers
from nspike.contracts.neuron import NEVER, Neuron, Parameters
from nspike.errors import PluginError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """Of steps 1, 2, ...: f, `NEVER` where the neuron is silent, and a, float64 (steps,); v(0) as a fraction of θ.

    keep, input_factor, most : of every step; most spikes of either sign.
    """

    fires: Floats
    amplitudes: Floats
    initial: float
    keep: float = 1.0
    input_factor: float = 1.0
    most: int = 1


def course(
    neuron: Neuron, values: Parameters, timesteps: int, steps: int | None = None, *, fires: bool = True
) -> Course:
    """The course of a neuron with the parameters `values`.

    After its own post steps, and everywhere unless it `fires`, it is silent, and a is 1 there. `steps` : how many, by
    default T and its post steps. Raises PluginError for answers that cannot be (`nspike.contracts.answers`).
    """
    own = timesteps + neuron.post_steps
    steps = own if steps is None else steps
    asked = range(1, (min(own, steps) if fires else 0) + 1)
    rest = steps - len(asked)
    return Course(
        np.array([answers.fire(neuron, values, t, timesteps) for t in asked] + [NEVER] * rest),
        np.array([answers.amplitude(neuron, values, t, timesteps) for t in asked] + [1.0] * rest),
        answers.initial(neuron, values),
        answers.keep(neuron, values),
        answers.input_factor(neuron, values),
        answers.most_spikes(neuron, values),
    )


def worth(neuron: Neuron, values: Mapping[str, float], timesteps: int) -> tuple[float, float]:
    """What a spike is worth up to T, and after; the same where there are no post steps.

    Raises PluginError where a changes within one of the two.
    """
    amplitudes = course(neuron, values, timesteps).amplitudes
    before = set(amplitudes[:timesteps].tolist())
    after = set(amplitudes[timesteps:].tolist()) or before
    if len(before) != 1 or len(after) != 1:
        raise PluginError(f"neuron {neuron.name}: the amplitude may change only once, after T")
    return next(iter(before)), next(iter(after))
