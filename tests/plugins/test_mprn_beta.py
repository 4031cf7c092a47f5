import pytest
from nspike_plugins.mprn_beta import NEURON

from nspike.errors import UsageError
from tests.plugins.traces import spikes, trace


def test_hand_worked_trace():
    # after 5 steps v = .875 >= .75: a spike that is worth .5, which leaves .375
    run = trace(NEURON, 0.375, parameters={"alpha": 0.75, "beta": 0.5})
    assert spikes(run) == [0, 0, 1, 0, 0, 1]
    assert run.residual["relu1"] == 0.375
    assert run.output == (1 + 0.5) / 5


def test_the_value_is_that_of_the_layer_that_fires():
    run = trace(NEURON, 0.375, parameters={"alpha": 0.75, "beta": 0.5}, weights=(1.0, 0.5, 1.0))
    assert spikes(run, "relu2") == [0, 0, 0, 0, 0, 1]  # .5 + .5·.5 = .75 >= .75
    assert run.residual["relu2"] == 0.75 - 0.5


def test_default_release_threshold_and_ranges():
    assert spikes(trace(NEURON, 0.375)) == [0, 0, 1, 0, 0, 0]  # .875 < .9
    with pytest.raises(UsageError, match=r"alpha = 0.5 .*\(0.5, 1\]"):
        NEURON.values({"alpha": 0.5})
    with pytest.raises(UsageError, match="beta"):
        NEURON.values({"beta": 0})
