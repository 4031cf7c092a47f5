"""Adaptive threshold and adaptive firing, after Lan et al. (ICCV 2023).

Theirs, as far as their abstract tells, which is all that is public: the threshold is adjusted at every step from the state of
the activations, so that a given proportion of neurons fires and little charge waits for later steps; and the range of what a
neuron sends is enlarged. Everything else is ours, so that it conserves charge and is exact in integers. With the sixteenth of
a threshold ε = θ/16 of each neuron, at each step and in each layer:

    u = v + I;   j = the (1 - ρ)-quantile of ⌊u/ε⌋ over the neurons of the layer with u > 0, within j_min .. 16
    n = clip(⌊u/(j·ε)⌋, 0, N);   v = u - n·j·ε;   n·j sixteenths are sent

so the threshold is θ_t = j·θ/16, at least a share ρ of the positive neurons reaches it unless a bound holds it up, and what is
sent is n·θ_t. The quantile is an order statistic of integers: of m values the ⌈(1 - ρ)·m⌉-th from below, at least the first.
It looks at a whole layer, so that images are not tiled. N = 1 is the adaptive threshold alone, j_min = 16 the plain or, with
N above 1, the burst neuron.

n·j goes into planes of gains 1, 2, 4, ..., 64. A ledger counts their bits as spikes and their gains, in sixteenths, as
accumulations: as many additions as a device needs that cannot shift, up to 16 for a spike of θ.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Method, Neuron, Parameter, hookimpl

LEVELS = 16
SOURCE = "Lan et al. 2023 (ICCV): the idea; the equations are nspike's"


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def amplitude(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """What a unit is worth: a sixteenth."""
    return 1.0 / LEVELS


def step_parameters(
    parameters: Mapping[str, float], theta: NDArray[np.float64], exponent: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Rows: ε on the grid; 1 - ρ in units of 2^-16; j_min; N."""
    unit = np.maximum(np.rint(np.ldexp(theta, exponent) / LEVELS), 1)
    share = np.rint((1.0 - parameters["share"]) * 65536)
    lowest = np.clip(np.ceil(parameters["least"] * LEVELS), 1, LEVELS)
    rows = [unit, *(np.full_like(unit, number) for number in (share, lowest, np.rint(parameters["most"])))]
    return np.stack(rows).astype(np.int32)


def step(v, current, state, params, phase, out):  # type: ignore[no-untyped-def]
    """One step of a whole layer; see the module."""
    pixels, channels = v.shape
    counts = np.zeros(18, np.int64)
    total = 0
    for p in range(pixels):
        for c in range(channels):
            v[p, c] += current[p, c]
            if v[p, c] > 0:
                counts[min(v[p, c] // params[0, c], 17)] += 1
                total += 1
    rank = (total * np.int64(params[1, 0]) + 65535) >> 16
    level = 0
    below = counts[0]
    while level < 17 and below < rank:
        level += 1
        below += counts[level]
    level = min(max(level, params[2, 0]), 16)
    for p in range(pixels):
        for c in range(channels):
            if v[p, c] > 0:
                n = min(v[p, c] // (level * params[0, c]), params[3, c])
                if n > 0:
                    v[p, c] -= n * level * params[0, c]
                    for plane in range(7):
                        out[p, c, plane] = (n * level) >> plane & 1


NEURON = Neuron(
    name="lan",
    summary="its threshold adapts to the whole layer at every step, several spikes at a step",
    source=SOURCE,
    parameters=(
        Parameter("share", 0.1, 0.0, 1.0, "share of the neurons with a positive membrane that is to fire at a step"),
        Parameter("least", 0.1, 0.0, 1.0, "lowest threshold as a fraction of the threshold, rounded up to sixteenths"),
        Parameter("most", 4.0, 1.0, 7.0, "the most spikes at a step, rounded; 1: no adaptive firing"),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    amplitude=amplitude,
    planes=(1, 2, 4, 8, 16, 32, 64),
    step=step,
    step_parameters=step_parameters,
    scope="layer",
)

METHOD = Method(
    name="lan",
    summary="a threshold that adapts to each layer at each step, several spikes at a step",
    source=SOURCE,
    neuron=NEURON.name,
    timesteps=20,
)
