from fractions import Fraction

import numpy as np
import pytest
from nspike_plugins import if_, mprn

from tests.plugins.traces import spikes, trace

NEURON = mprn.NEURON


def test_release_threshold():
    assert mprn.alpha(0) == 0.75
    assert 0.5 < mprn.alpha(-25) < 0.5001
    assert 0.9999 < mprn.alpha(30) <= 1
    assert NEURON.fire({"beta": 0.0}, 5, 5) == 1
    assert NEURON.fire({"beta": 0.0}, 6, 5) == 0.75


def exact_alpha(beta):
    """In rational numbers: e^-β by its series, then rounded to 12 decimals."""
    small, power, term = -Fraction(beta) / 64, Fraction(1), Fraction(1)
    for n in range(1, 30):
        term *= small / n
        power += term
    whole = Fraction(1, 2) / (1 + power**64) + Fraction(1, 2)
    return round(whole * 10**12) / 10**12


@pytest.mark.parametrize(
    # where the last bit of a library's exp decides the twelfth decimal
    "beta",
    [-24.922974621092816, -23.396914308865874, 1.0759940433001631, -6.9087208854917534, 0.3, -1.7, 3.0, 30.0, -30.0],
)
def test_the_release_threshold_is_the_same_on_every_machine(beta, monkeypatch):
    monkeypatch.setattr("math.exp", lambda x: pytest.fail("a library's exp was asked"))
    assert mprn.alpha(beta) == exact_alpha(beta)


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
