"""The gradient of a firing rate, neuron by neuron, in plain Python."""

import numpy as np
import pytest

from nspike.kernels import counting


@pytest.mark.parametrize(("least", "most"), [(0, 5), (-5, 5), (-7, 3)])
@pytest.mark.parametrize("added", [0.0, 0.75])
@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True), (False, False)])
def test_back_to_charge(least, most, added, given):
    draw = np.random.default_rng(0)
    pixels, channels = 400, 3
    theta = np.array([0.5, 1.0, 2.0], np.float32)
    charge = draw.uniform(-9, 9, (pixels, channels)).astype(np.float32)
    counts = np.clip(np.rint(charge / theta) + draw.integers(-1, 2, charge.shape), least, most).astype(np.float32)
    spikes, end = (draw.normal(size=charge.shape).astype(np.float32)[: pixels * one] for one in given)
    out, of_theta = np.empty_like(charge), np.zeros(channels)
    arguments = (spikes, np.float32(added), end, charge, counts, theta, np.float32(least), np.float32(most))
    for part in ((0, 150), (150, pixels)):
        counting.back_to_charge(*arguments, out, of_theta, *part)
    below = 0
    expected, sums = np.zeros(charge.shape), np.zeros(channels)
    for p, c in np.ndindex(charge.shape):
        left = float(end[p, c]) if given[1] else 0.0
        follows = (charge[p, c] > theta[c] * least or counts[p, c] > least) and charge[p, c] < theta[c] * most
        if follows:
            firing_more = -added if charge[p, c] < 0 and least < 0 else added
            below += firing_more < 0
            of_count = firing_more + (float(spikes[p, c]) if given[0] else 0.0)
            expected[p, c] = left + of_count / theta[c] - left
        else:
            expected[p, c] = left
        sums[c] -= counts[p, c] * expected[p, c]
    assert (below > 50) == (least < 0 and added > 0), "an energy price on spikes below zero pushes the charge up"
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_theta, sums, rtol=1e-4, atol=1e-3)
