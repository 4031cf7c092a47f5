import numba
import numpy as np
import pytest
from nspike_plugins import lif


def run(step, drive, tau, steps, v0=0):
    """Membranes and spikes of one neuron with θ = 16."""
    params = lif.step_parameters({"tau": tau}, np.ones(1), np.full(1, 4))
    v, state = np.full((1, 1), v0, np.int32), np.zeros((0, 1, 1), np.int32)
    membranes, fired = [], []
    for t in range(steps):
        out = np.zeros((1, 1, 1), np.int8)
        step(v, np.full((1, 1), drive, np.int32), state, params, np.array([t, 0], np.int32), out)
        membranes.append(int(v[0, 0]))
        fired.append(int(out[0, 0, 0]))
    return membranes, fired


@pytest.mark.parametrize("step", [lif.step, numba.njit(lif.step)])
def test_hand_worked_trace(step):
    # τ = 2 halves, halves of odd numbers round up: 10; 5 + 10; 8 + 10 = 18 -> fires, 2; 1 + 10; 6 + 10 = 16 -> fires, 0
    assert run(step, 10, 2.0, 5) == ([10, 15, 2, 11, 0], [0, 0, 1, 0, 1])
    # an arithmetic shift: -1.5 -> -1, -.5 -> 0
    assert run(step, 0, 2.0, 3, v0=-3) == ([-1, 0, 0], [0, 0, 0])


@pytest.mark.parametrize("step", [lif.step, numba.njit(lif.step)])
def test_large_membranes_do_not_overflow(step):
    membranes, _ = run(step, 0, 16.0, 1, v0=-(2**30))
    assert membranes == [-(2**30) // 16 * 15]


def test_parameters():
    params = lif.step_parameters(lif.NEURON.values(), np.array([1.0, 0.5]), np.array([4, 10]))
    assert params.dtype == np.int32
    assert params.tolist() == [[16, 512], [61440, 61440]]
    assert lif.step_parameters({"tau": 1.0}, np.ones(1), np.full(1, 4))[1, 0] == 0
