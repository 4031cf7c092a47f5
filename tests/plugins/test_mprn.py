import numpy as np
import pytest
from nspike_plugins import if_, mprn

from tests.plugins.traces import spikes, trace

NEURON = mprn.NEURON


def test_release_threshold():
    assert mprn.alpha(0) == 0.75
    assert 0.5 < mprn.alpha(-30) < 0.5001
    assert 0.9999 < mprn.alpha(30) <= 1
    assert NEURON.fire({"beta": 0.0}, 5, 5) == 1
    assert NEURON.fire({"beta": 0.0}, 6, 5) == 0.75


def test_hand_worked_trace():
    # after 5 steps v = .875 >= .75: one spike more, which leaves -.125
    run = trace(NEURON, 0.375)
    assert spikes(run) == [0, 0, 1, 0, 0, 1]
    assert run.residual["relu1"] == -0.125
    assert run.output == 2 / 5  # divided by T, not T + 1
    # v = .625 < .75
    assert spikes(trace(NEURON, 0.125)) == [0] * 6


def test_no_image_and_no_bias_in_the_post_step():
    run = trace(NEURON, 0.0625, bias=0.0625)
    assert run.residual["relu1"] == 5 * 0.125


def test_releases_cascade():
    # the second layer has v = .5 from the first layer's spike at step 3; the release adds .5 and makes it fire
    run = trace(NEURON, 0.375, weights=(1.0, 0.5, 1.0))
    assert spikes(run, "relu1") == [0, 0, 1, 0, 0, 1]
    assert spikes(run, "relu2") == [0, 0, 0, 0, 0, 1]
    assert run.residual["relu2"] == 0
    assert run.output == 1 / 5


@pytest.mark.parametrize("beta", [-3.0, 0.0, 3.0])
def test_a_release_never_leaves_a_larger_residual(beta):
    for drive in np.random.default_rng(1).uniform(-0.2, 1.4, 40):
        before = abs(trace(if_.NEURON, drive).residual["relu1"])
        after = trace(NEURON, drive, parameters={"beta": beta}).residual["relu1"]
        assert abs(after) <= before
        if 0 <= drive <= 1:
            assert abs(after) <= mprn.alpha(beta)
