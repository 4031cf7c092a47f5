"""Neurons with one planted fault each, for the conformance kit, by the check that must catch it."""

import itertools
import random

import numba
import numpy as np

from nspike.authoring.conformance.subject import HandWorked
from nspike.contracts.neuron import NEVER, Neuron, Parameter
from tests.own_neurons import theta_only


def declared(**parts):
    return Neuron("faulty", "", "", **parts)


def stepping(step, **parts):
    return declared(step=step, **({"step_parameters": theta_only} | parts))


# ----- kernels; the good one first -----


def good(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def changes_current(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            current[p, c] += v[p, c]


def changes_params(v, current, state, params, phase, out):
    params[0, 0] += 1


def fires_twice(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            out[p, c, 0] = v[p, c] // params[0, c]


def writes_a_second_plane(v, current, state, params, phase, out):
    out[0, 0, 1] = 1


def writes_state_it_has_not(v, current, state, params, phase, out):
    state[0, 0, 0] = 1


def raises(v, current, state, params, phase, out):
    if phase[0] == 2:
        raise ValueError("no")


counter = itertools.count()


def counts_calls(v, current, state, params, phase, out):
    good(v, current, state, params, phase, out)
    v += next(counter)


def cannot_be_compiled(v, current, state, params, phase, out):
    good(v, current, state, params, phase, out)
    if max({"v": 1}, key=lambda name: name) == "v":
        v.sort()


def takes_an_exponential(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= np.int32(params[0, c] * np.exp(0.0))


def halves(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] = int(v[p, c] / 2) + current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


@numba.njit
def _wave(u):
    return int(np.sin(u) * 0.0) + u


@numba.njit
def _waved(u):
    return _wave(u)


def calls_what_takes_a_sine(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] = _waved(v[p, c] + current[p, c])
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def overflows(v, current, state, params, phase, out):
    """A leak of 1/16 whose product does not fit int32: plain Python wraps, compiled code does not."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] = ((v[p, c] * params[1, c]) >> 4) + current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def theta_and_leak(parameters, theta, exponent):
    return np.concatenate([theta_only(parameters, theta, exponent), np.full((1, theta.size), 15, np.int32)])


def fires_on_nothing(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if v[p, c] >= 0:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def never_fires(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]


def fires_up_to_t(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if phase[1] == 0 and v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def looks_at_its_neighbour(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if v[p, c] >= params[0, c] and not (p > 0 and out[p - 1, c, 0] == 1):
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def counts_its_pixels(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c] + (v.shape[0] & 3) * (params[0, c] >> 2)
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def resets_to_zero(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] += current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] = 0


# ----- functions -----


def answers(value, until=99):
    return lambda p, t, timesteps: 1.0 if t < until else value


def fickle(parameters, step, timesteps):
    return random.uniform(0.5, 1.0)


def divides_by_t_minus_one(parameters, step, timesteps):
    return 1.0 / (timesteps - 1)


GOOD_TRACE = HandWorked(inputs=[6, 6, 6, 20], spikes=[0, 0, 1, 1], membranes=[6, 12, 2, 6])

FAULTS = [
    (
        "parameters",
        declared(parameters=(Parameter("a", 2.0, 0.0, 1.0, ""),)),
        {},
        r"the default: a = 2 is out of range",
    ),
    ("parameters", declared(parameters=(Parameter("a", 0.0, 1.0, 0.0, ""),)), {}, r"a has the range 1 \.\. 0"),
    ("parameters", declared(parameters=(Parameter("a", 0.0, 0.0, 1.0, ""),) * 2), {}, "two parameters are called 'a'"),
    ("parameters", declared(post_steps=-1), {}, "post_steps is -1; expected 0 to 125"),
    ("parameters", stepping(good, state_planes=-1), {}, "state_planes is -1"),
    ("parameters", stepping(good, planes=(1, 0)), {}, r"planes \(1, 0\)"),
    (
        "functions",
        declared(fire=answers(float("nan"), until=7)),
        {},
        "fire at step 7 of T = 10 is nan; expected a finite",
    ),
    ("functions", declared(fire=answers(-1.0, until=2)), {}, "fire at step 2 of T = 2 is -1; expected a fraction"),
    ("functions", declared(fire=divides_by_t_minus_one), {}, "fire at step 1 of T = 1 failed: ZeroDivisionError"),
    ("functions", declared(amplitude=answers(NEVER, until=1)), {}, "amplitude at step 1 of T = 1 is inf"),
    ("functions", declared(amplitude=answers(0.5, until=2)), {}, "amplitude changes between steps of T = 2: 1, 0.5"),
    ("functions", declared(initial=lambda p: 2.0), {}, "initial is 2; expected"),
    ("functions", declared(keep=lambda p: 1.5), {}, r"keep is 1.5; expected a fraction of the membrane in \[0, 1\]"),
    ("functions", declared(keep=lambda p: 1 / 0), {}, "keep failed: ZeroDivisionError"),
    ("functions", declared(input_factor=lambda p: 0.0), {}, r"input_factor is 0; expected a number in \(0, 1\]"),
    (
        "functions",
        declared(planes=(1, 2, 4), amplitude=lambda p, t, timesteps: 22.0),
        {},
        r"amplitude at step 1 of T = 1 is 22; expected a number in \(0, 21\]",
    ),
    (
        "functions",
        declared(parameters=(Parameter("tau", 2.0, 0.5, 4.0, ""),), keep=lambda p: 1 - 1 / p["tau"]),
        {},
        r"keep is -1; .*\(with tau = 0.5\)",
    ),
    (
        "functions",
        declared(parameters=(Parameter("a", 1.0, 0.0, 1.0, ""),), fire=lambda p, t, timesteps: p["a"]),
        {},
        r"fire at step 1 of T = 1 is 0; .*\(with a = 0\)",
    ),
    (
        "functions",
        stepping(good, step_parameters=lambda p, t, k: np.ones(3, np.int32)),
        {},
        r"gave \(3,\), expected \(K, 3\)",
    ),
    ("kernel", stepping(changes_current), {}, "at step 1 of T = 8 writes to `current`, `params` or `phase`"),
    ("kernel", stepping(changes_params), {}, "at step 1 of T = 8 writes to `current`, `params` or `phase`"),
    ("kernel", stepping(fires_twice), {}, r"wrote -?\d+ \.\. \d+ to `out`; a spike is 0 or 1"),
    ("kernel", stepping(writes_a_second_plane), {}, "reads or writes outside its arrays: IndexError"),
    ("kernel", stepping(writes_state_it_has_not), {}, "reads or writes outside its arrays: IndexError"),
    ("kernel", stepping(raises), {}, "at step 3 of T = 8 failed: ValueError: no"),
    ("trace", declared(), {"trace": HandWorked([6, 6, 6], [0, 0, 0])}, "step 3: spike 1, expected 0; membrane 2"),
    (
        "trace",
        stepping(good),
        {"trace": HandWorked([6, 6, 6], [0, 0, 1], [6, 12, 18])},
        "step 3: membrane 2, expected 18",
    ),
    ("trace", stepping(resets_to_zero), {"trace": GOOD_TRACE}, "step 3: membrane 0, expected 2"),
    ("trace", declared(), {"trace": [GOOD_TRACE, HandWorked([6], [1])]}, "trace 2, step 1: spike 0, expected 1"),
    ("trace", declared(), {"trace": HandWorked([6, 6], [0])}, "2 inputs, 1 spikes, 0 membranes; give as many"),
    ("trace", declared(post_steps=1), {"trace": HandWorked([6], [0])}, "at least one step and the 1 post steps"),
    (
        "trace",
        stepping(good, planes=(1, 2)),
        {"trace": HandWorked([6], [0])},
        "1 spikes given; expected one for each of the 2",
    ),
    ("trace", declared(reset="zero"), {"trace": GOOD_TRACE}, "step 3: membrane 0, expected 2"),
    ("trace", declared(keep=lambda p: 0.5), {"trace": GOOD_TRACE}, "step 2: membrane 9, expected 12"),
    ("trace", declared(planes=(1, -1)), {"trace": GOOD_TRACE}, "1 spikes given; expected one for each of the 2"),
    ("repeated", declared(fire=fickle), {}, "`fire` answers differently when asked again"),
    ("repeated", declared(keep=lambda p: fickle(p, 1, 1)), {}, "`keep` answers differently when asked again"),
    ("repeated", declared(input_factor=lambda p: fickle(p, 1, 1)), {}, "`input_factor` answers differently"),
    ("repeated", stepping(counts_calls), {}, "a second run over the same input gives other spikes or membranes"),
    ("compiled", stepping(cannot_be_compiled), {}, "`step` at step 1 of T = 8 failed"),
    ("compiled", stepping(overflows, step_parameters=theta_and_leak), {}, "an overflow of int32"),
    ("integers", stepping(takes_an_exponential), {}, r"floating-point numbers: takes_an_exponential, line \d+"),
    ("integers", stepping(halves), {}, r"floating-point numbers: halves, line \d+"),
    ("integers", stepping(calls_what_takes_a_sine), {}, r"floating-point numbers: _wave, line \d+"),
    ("silence", stepping(fires_on_nothing), {}, "fires at step 1 of T = 8 though nothing has arrived"),
    ("silence", declared(initial=lambda p: 1.0), {}, "fires at step 1 of T = 8 though nothing has arrived"),
    ("activity", stepping(never_fires), {}, "never fires, though up to 2.1 times its threshold"),
    ("activity", declared(fire=answers(NEVER, until=1)), {}, "never fires, though"),
    ("activity", stepping(fires_up_to_t, post_steps=2), {}, "declares 2 post steps, but never fires in them"),
    (
        "own pixel",
        stepping(looks_at_its_neighbour),
        {},
        "other spikes when its pixels are handed over in another order",
    ),
    ("own pixel", stepping(counts_its_pixels), {}, "other spikes when its pixels are handed over in a smaller block"),
    ("tiles and threads", stepping(looks_at_its_neighbour), {}, "change the spikes at layer1, step"),
    ("tiles and threads", stepping(counts_its_pixels), {}, "a neuron must go by its own pixel alone"),
    ("determinism", declared(fire=fickle), {}, "two runs of one network differ at layer1"),
    ("agreement", declared(fire=fickle), {}, "the definition and the engine differ at step"),
    ("agreement", stepping(never_fires), {}, "not one spike in the test networks"),
    (
        "conservation",
        stepping(resets_to_zero),
        {"conserves": True},
        r"received \d+, but threshold x spikes \d+ \+ residual",
    ),
    ("conservation", declared(reset="zero"), {"conserves": True}, r"received \d+, but threshold x spikes"),
    ("conservation", declared(keep=lambda p: 0.9), {"conserves": True}, "but threshold x spikes"),
    ("training", declared(surrogate=lambda x: x * np.nan), {}, r"the gradient of conv\d\.\w+ is not finite"),
    ("training", declared(surrogate=np.zeros_like), {}, "no gradient reaches the first layer"),
    ("training", declared(surrogate=lambda x: x[1:]), {}, "a surrogate gave .* expected one of the same shape"),
    ("training", declared(surrogate="step"), {}, "there is no surrogate 'step'"),
    ("training", declared(fire=fickle), {}, "after 0 steps: training and the engine differ at layer1, step"),
]
"""(check, neuron, arguments, message): the check must fail with this message."""
