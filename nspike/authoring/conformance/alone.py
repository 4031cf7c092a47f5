"""Checks of a neuron by itself, without a network: its contract, its traces, and what it does with an input."""

import numpy as np
from numpy.typing import NDArray

from nspike.authoring.conformance.report import Fault, Skip
from nspike.authoring.conformance.subject import Cells, HandWorked, Subject, cells
from nspike.authoring.conformance.walk import Walk, walk
from nspike.integer.grid import MOST_STEPS, RANGE
from nspike.kernels import floats

THETA = (16, 1000, 70_000)
"""The thresholds of three channels."""
PIXELS = 7
TIMESTEPS = 8


def kernel(subject: Subject) -> str:
    """`step` keeps to its arrays, fires 0 or 1, and only reads `current`, `params` and `phase`."""
    if subject.neuron.step is None:
        raise Skip("declared: it has none")
    mine = _cells(subject)
    walk(mine, _random(mine))
    return "keeps to its arrays, spikes are 0 or 1"


def trace(subject: Subject) -> str:
    """Spikes and membranes are those that the author worked out."""
    if not subject.traces:
        raise Skip("none given: work one out by hand, and pass trace=HandWorked(inputs, spikes, membranes)")
    for number, given in enumerate(subject.traces, start=1):
        _follow(subject, given, f"trace {number}, " if len(subject.traces) > 1 else "")
    steps = sum(len(given.inputs) for given in subject.traces)
    return f"{steps} steps as worked out by hand"


def _follow(subject: Subject, given: HandWorked, which: str) -> None:
    neuron = subject.neuron
    steps, planes = len(given.inputs), len(neuron.planes)
    timesteps = steps - neuron.post_steps
    if timesteps < 1:
        raise Fault(f"{which}{steps} inputs; expected at least one step and the {neuron.post_steps} post steps")
    if len(given.spikes) != steps or len(given.membranes) not in (0, steps):
        raise Fault(
            f"{which}{steps} inputs, {len(given.spikes)} spikes, {len(given.membranes)} membranes; give as many"
        )
    mine = cells(neuron, neuron.values(given.parameters), [given.theta], timesteps)
    course = walk(mine, np.array(given.inputs, np.int32)[:, None, None])
    for t in range(steps):
        expected = given.spikes[t]
        wanted = tuple(expected) if isinstance(expected, tuple | list) else (expected,)
        if len(wanted) != planes:
            raise Fault(
                f"{which}step {t + 1}: {len(wanted)} spikes given; expected one for each of the {planes} planes"
            )
        fired = tuple(int(s) for s in course.spikes[t, 0, 0])
        at = f"{which}step {t + 1}{' (post)' if t >= timesteps else ''}"
        if fired != wanted:
            raise Fault(f"{at}: spike {_short(fired)}, expected {_short(wanted)}; membrane {course.membranes[t, 0, 0]}")
        if given.membranes and course.membranes[t, 0, 0] != given.membranes[t]:
            raise Fault(f"{at}: membrane {course.membranes[t, 0, 0]}, expected {given.membranes[t]}")


def silence(subject: Subject) -> str:
    """With its parameters' defaults, a neuron that receives nothing fires nothing."""
    mine = _cells(subject, defaults=True)
    course = walk(mine, np.zeros_like(_random(mine)))
    if course.spikes.any():
        t = int(np.argwhere(course.spikes)[0, 0])
        raise Fault(
            f"fires at step {t + 1} of T = {mine.timesteps} though nothing has arrived; expected silence with the defaults"
        )
    return "nothing in, nothing out"


def activity(subject: Subject) -> str:
    """A neuron that receives 0.3 to 2.1 thresholds at every step fires up to T, and in the post steps that it declares."""
    mine = _cells(subject)
    drive = np.rint(np.multiply.outer(0.3 * np.arange(1, PIXELS + 1), mine.theta)).astype(np.int32)
    course = walk(mine, np.repeat(drive[None], mine.steps, axis=0))
    if not course.spikes[: mine.timesteps].any():
        raise Fault(f"never fires, though up to 2.1 times its threshold arrives at each of {mine.timesteps} steps")
    if subject.neuron.post_steps and not course.spikes[mine.timesteps :].any():
        raise Fault(f"declares {subject.neuron.post_steps} post steps, but never fires in them; expected post_steps=0")
    return f"{course.spikes[: mine.timesteps].mean():.2f} spikes a step and plane at 0.3 to 2.1 thresholds a step"


def own_pixel(subject: Subject) -> str:
    """What a neuron does depends on its own pixel alone: not on its place among the pixels, nor on their number."""
    if subject.neuron.step is None:
        raise Skip("declared: it cannot see other pixels")
    if subject.neuron.scope == "layer":
        raise Skip("of scope layer: it is to see them")
    mine = _cells(subject)
    inputs = _random(mine)
    whole = walk(mine, inputs)
    order = np.random.default_rng(1).permutation(PIXELS)
    _same(whole.spikes[:, order], walk(mine, inputs[:, order]).spikes, "in another order")
    for first, last in ((0, 1), (1, PIXELS)):
        part = walk(mine, inputs[:, first:last])
        _same(whole.spikes[:, first:last], part.spikes, "in a smaller block")
    return "each pixel for itself"


def repeated(subject: Subject) -> str:
    """The same neuron again: the same numbers, spikes and membranes. Nothing is kept from one run to the next."""
    one, two = _cells(subject), _cells(subject)
    if one.dynamics != two.dynamics:
        named = "input_factor" if one.dynamics.keep == two.dynamics.keep else "keep"
        raise Fault(f"`{named}` answers differently when asked again; expected the same for the same arguments")
    for what in ("v0", "threshold", "reset", "params"):
        if not np.array_equal(getattr(one, what), getattr(two, what)):
            named = {"v0": "initial", "threshold": "fire", "reset": "amplitude", "params": "step_parameters"}[what]
            raise Fault(f"`{named}` answers differently when asked again; expected the same for the same arguments")
    inputs = _random(one)
    first, second = walk(one, inputs), walk(one, inputs)
    if not _equal(first, second):
        raise Fault("a second run over the same input gives other spikes or membranes: it keeps something between runs")
    return "a second run is the same"


def compiled(subject: Subject) -> str:
    """`step` compiles, and gives the same integers as plain Python, with small inputs and the largest."""
    if subject.neuron.step is None:
        raise Skip("declared: it runs in the engine's kernel")
    mine = _cells(subject)
    _both(mine, _random(mine), "")
    largest = _cells(subject, timesteps=MOST_STEPS - subject.neuron.post_steps, theta=(1, RANGE))
    for sign in (1, -1):
        inputs = np.full((largest.steps, 1, 2), sign * RANGE, np.int32)
        _both(
            largest,
            inputs,
            f" with the {'largest' if sign > 0 else 'lowest'} input at every step: an overflow of int32?",
        )
    return "compiles, and equals plain Python"


def integer(subject: Subject) -> str:
    """`step` computes with integers alone: a float's last bit is not the same on every machine."""
    if subject.neuron.step is None:
        raise Skip("declared: it has none")
    if place := floats.of_fresh(subject.neuron.step, len(subject.neuron.planes)):
        raise Fault(f"`step` computes with floating-point numbers: {place}; work them out in step_parameters, rounded")
    return "integers alone"


def _both(mine: Cells, inputs: NDArray[np.int32], when: str) -> None:
    plain, fast = walk(mine, inputs), walk(mine, inputs, compiled=True)
    if not _equal(plain, fast):
        differ = (plain.membranes != fast.membranes) | (plain.spikes != fast.spikes).any(axis=-1)
        t, p, c = np.argwhere(differ)[0]
        raise Fault(
            f"compiled and plain Python differ at step {t + 1}: membrane {fast.membranes[t, p, c]} and "
            f"{plain.membranes[t, p, c]}{when}"
        )


def _cells(
    subject: Subject, *, defaults: bool = False, timesteps: int = TIMESTEPS, theta: tuple[int, ...] = THETA
) -> Cells:
    values = subject.neuron.values() if defaults else subject.values
    return cells(subject.neuron, values, theta, timesteps)


def _random(mine: Cells) -> NDArray[np.int32]:
    """Inputs of -0.4 to 1.2 thresholds, in the post steps too."""
    draw = np.random.default_rng(0).uniform(-0.4, 1.2, (mine.steps, PIXELS, mine.theta.size))
    return np.asarray(np.rint(draw * mine.theta), np.int32)


def _same(expected: NDArray[np.bool_], actual: NDArray[np.bool_], how: str) -> None:
    if not np.array_equal(expected, actual):
        raise Fault(
            f"gives other spikes when its pixels are handed over {how}; expected each neuron to go by its own row of "
            "v, current, state and out, since tiles and threads decide which rows come together"
        )


def _equal(one: Walk, two: Walk) -> bool:
    return np.array_equal(one.spikes, two.spikes) and np.array_equal(one.membranes, two.membranes)


def _short(spikes: tuple[int, ...]) -> str:
    return str(spikes[0]) if len(spikes) == 1 else str(spikes)
