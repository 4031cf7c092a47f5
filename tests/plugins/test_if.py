import numpy as np
import pytest
from nspike_plugins.if_ import NEURON

from nspike.errors import UsageError
from tests.plugins.traces import spikes, trace


def test_hand_worked_trace():
    # v: .375, .75, 1.125 -> fires, .125, .5, .875
    run = trace(NEURON, 0.375)
    assert spikes(run) == [0, 0, 1, 0, 0]
    assert run.residual["relu1"] == 0.875
    assert run.output == 1 / 5


def test_initial_membrane():
    # v: .5; .875, 1.25 -> fires, .25, .625, 1 -> fires (at the threshold), 0, .375
    run = trace(NEURON, 0.375, parameters={"v_init": 0.5})
    assert spikes(run) == [0, 1, 0, 1, 0]
    assert run.residual["relu1"] == -0.125


def test_what_is_above_the_threshold_stays_and_negative_input_counts():
    assert spikes(trace(NEURON, 1.5, timesteps=3)) == [1, 1, 1]
    assert trace(NEURON, 1.5, timesteps=3).residual["relu1"] == 1.5
    assert trace(NEURON, -0.5).residual["relu1"] == -2.5


@pytest.mark.parametrize("theta", [0.5, 1.0, 1.75])
def test_charge_is_conserved(theta):
    for drive in np.random.default_rng(0).uniform(-0.5, 1.5, 20):
        run = trace(NEURON, drive, theta=theta, bias=0.25, timesteps=9)
        left = theta * sum(spikes(run)) + run.residual["relu1"].item()
        assert left == pytest.approx(9 * (drive + 0.25), abs=1e-12)


def test_parameters_are_checked():
    with pytest.raises(UsageError, match="v_init"):
        NEURON.values({"v_init": 2})
