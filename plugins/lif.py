"""The leaky integrate-and-fire neuron with soft reset, its leak in integers.

    v <- (v·m + 2^15) >> 16,  m = round((1 - 1/τ)·2^16);   u = v + I;   s = [u >= θ];   v = u - θ·s;   v(0) = v_init·θ

The shift is arithmetic and its rounding is part of the definition. A leak forgets input, which a converted network never
learnt to expect, so the default is a slow one: τ = 16 (networks trained with spikes use 2) forgets about half of a charge
in 10 steps, and its m is exact. An example, too, of a neuron with a kernel of its own.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Neuron, Parameter, hookimpl


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


def step(v, current, state, params, phase, out):  # type: ignore[no-untyped-def]
    """One step of `P` neurons of `C` channels: see `nspike.contracts.neuron`. params rows: θ, m."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            # int64: the product of a membrane and a 16-bit factor does not fit int32
            u = ((np.int64(v[p, c]) * np.int64(params[1, c]) + 32768) >> 16) + np.int64(current[p, c])
            fires = u >= params[0, c]
            out[p, c, 0] = fires
            v[p, c] = u - params[0, c] if fires else u


def step_parameters(
    parameters: Mapping[str, float], theta: NDArray[np.float64], exponent: NDArray[np.int64]
) -> NDArray[np.int32]:
    """θ on the channel's grid and m, int32 (2, C)."""
    on_grid = np.maximum(np.rint(np.ldexp(theta, exponent)), 1)
    keep = np.full(on_grid.shape, np.rint((1.0 - 1.0 / parameters["tau"]) * 65536.0))
    return np.stack([on_grid, keep]).astype(np.int32)


NEURON = Neuron(
    name="lif",
    summary="leaky integrate-and-fire, soft reset, integer leak",
    source="Gerstner and Kistler 2002; decay as in SpikingJelly with decay_input=False",
    parameters=(
        Parameter("tau", 16.0, 1.0, 65536.0, "time constant of the leak in steps"),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    step=step,
    step_parameters=step_parameters,
)
