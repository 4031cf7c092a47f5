"""A neuron with a kernel of its own: each spike raises its threshold, which then falls back by a share a step.

    a ← (a·m + 2^15) >> 16;   s = [u >= θ + a];   v = u - θ·s;   a ← a + j·s;   u = v + I, a(0) = 0

in integers on the channel's grid: m = round(keep·2^16), j = jump·θ. The shift is arithmetic. What a spike takes is θ, so
that charge is kept; that a firing neuron tires thins out spikes that come in bursts.
"""

import numpy as np

from nspike import Neuron, Parameter, hookimpl


def step(v, current, state, params, phase, out):
    """State 0: how far the threshold is raised. params: θ, j, m."""
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            theta, jump = params[0, c], params[1, c]
            raised = (np.int64(state[0, p, c]) * params[2, c] + 32768) >> 16
            u = v[p, c] + current[p, c]
            fires = u >= theta + raised
            out[p, c, 0] = fires
            v[p, c] = u - theta * fires
            state[0, p, c] = raised + jump * fires


def step_parameters(parameters, theta, exponent):
    """θ and j on the channels' grids, and m."""
    on_grid = np.maximum(np.rint(np.ldexp(theta, exponent)), 1)
    jump = np.rint(np.ldexp(theta * parameters["jump"], exponent))
    keep = np.full(theta.size, np.rint(parameters["keep"] * 65536))
    return np.stack([on_grid, jump, keep]).astype(np.int32)


NEURON = Neuron(
    name="adaptive",
    summary="integrate-and-fire with a threshold that each spike raises",
    source="the tests of nspike",
    parameters=(
        Parameter("jump", 0.125, 0.0, 1.0, "how far a spike raises the threshold, as a fraction of θ"),
        Parameter("keep", 0.75, 0.0, 1.0, "what is left of that after a step"),
    ),
    step=step,
    step_parameters=step_parameters,
    state_planes=1,
)


@hookimpl
def register_neurons(register):
    """Register the neuron."""
    register(NEURON)
