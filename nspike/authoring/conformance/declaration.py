"""Checks of what a neuron says of itself: its parameters, and what its functions answer."""

from collections.abc import Iterator, Mapping

import numpy as np

from nspike.authoring.conformance.report import Fault
from nspike.authoring.conformance.subject import Subject
from nspike.contracts import answers
from nspike.contracts.neuron import Neuron, Parameter
from nspike.errors import NspikeError
from nspike.integer.grid import MOST_STEPS

SEVERAL_T = (1, 2, 3, 10)


def parameters(subject: Subject) -> str:
    """Names are given once, ranges are ranges, defaults lie inside."""
    neuron = subject.neuron
    seen: set[str] = set()
    for parameter in neuron.parameters:
        if parameter.name in seen:
            raise Fault(f"two parameters are called {parameter.name!r}")
        seen.add(parameter.name)
        if not np.all(np.isfinite([parameter.low, parameter.high])) or parameter.low > parameter.high:
            raise Fault(f"{parameter.name} has the range {parameter.low:g} .. {parameter.high:g}; expected low <= high")
        try:
            parameter.check(parameter.default, "the default")
        except NspikeError as error:
            raise Fault(str(error)) from error
    if neuron.post_steps < 0 or neuron.post_steps >= MOST_STEPS:
        raise Fault(f"post_steps is {neuron.post_steps}; expected 0 to {MOST_STEPS - 1}")
    if neuron.state_planes < 0 or not neuron.planes or not all(isinstance(g, int) and g for g in neuron.planes):
        raise Fault(f"state_planes is {neuron.state_planes}, planes {neuron.planes}; expected 0 or more, and gains")
    return f"{len(seen)}, defaults inside their ranges" if seen else "none"


def functions(subject: Subject) -> str:
    """At every step of several T, with parameters at the ends of their ranges too, the answers are finite and fit."""
    neuron = subject.neuron
    count = 0
    for values in _corners(subject):
        try:
            for timesteps in (*SEVERAL_T, MOST_STEPS - neuron.post_steps):
                count += _answered(neuron, values, timesteps)
        except NspikeError as error:
            named = ", ".join(f"{name} = {value:g}" for name, value in values.items())
            message = str(error).removeprefix(f"neuron {neuron.name}: ")
            raise Fault(f"{message} (with {named})" if named else message) from error
    return f"{count} steps, finite and in range"


def _corners(subject: Subject) -> Iterator[dict[str, float]]:
    """The values asked for, then each parameter at either end of its range."""
    yield dict(subject.values)
    for parameter in subject.neuron.parameters:
        for end in (_lowest(parameter), parameter.high):
            yield {**subject.values, parameter.name: end}


def _lowest(parameter: Parameter) -> float:
    """Near the low end of an open range: a thousandth of it above."""
    return parameter.low + (parameter.high - parameter.low) / 1000 if parameter.open_low else parameter.low


def _answered(neuron: Neuron, values: Mapping[str, float], timesteps: int) -> int:
    """Ask for everything once; how many steps that were."""
    steps = range(1, timesteps + neuron.post_steps + 1)
    for ask in (answers.initial, answers.keep, answers.input_factor, answers.most_spikes):
        ask(neuron, values)
    amplitudes = [answers.amplitude(neuron, values, t, timesteps) for t in steps]
    if len(set(amplitudes[:timesteps])) > 1 or len(set(amplitudes[timesteps:])) > 1:
        raise Fault(
            f"amplitude changes between steps of T = {timesteps}: {_listed(amplitudes)}; expected one value up to T and "
            "one after, since it is folded into the next layer's kernel"
        )
    if neuron.step is None:
        for t in steps:
            answers.fire(neuron, values, t, timesteps)
    else:
        answers.step_parameters(neuron, values, np.array([0.6, 1.0, 1.6]), np.array([4, 14, 24], np.int64))
    return len(steps)


def _listed(values: list[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")
