"""Currents against exact fractions."""

from fractions import Fraction

import numpy as np

from nspike.integer.currents import gate_weights, image_current
from tests import naive


def test_gate_weights():
    draw = np.random.default_rng(0)
    plane = draw.integers(-4 * 65535, 4 * 65535, (3, 5, 7), endpoint=True).astype(np.int32)
    gate, exponent = draw.uniform(0.1, 3.0, 3), np.array([3, 12, 20])
    weights = gate_weights(plane, gate[:, None, None], exponent[:, None, None])
    for c, y, x in np.ndindex(plane.shape):
        scaled = (float(plane[c, y, x]) / 65535.0 - 1.0) * float(gate[c]) * 2.0 ** int(exponent[c])
        assert weights[c, y, x] == round(scaled), "half to even"
    last = gate_weights(plane.transpose(1, 2, 0), gate, exponent)
    np.testing.assert_array_equal(last.transpose(2, 0, 1), weights)


def test_image_current():
    sums = np.array([0, 65535, -65535, 32767, 32768, -32768, 10**12, -(10**12) - 1])
    exact = [naive.half_even(int(n), 65535) for n in sums]
    assert image_current(sums).tolist() == exact == [round(Fraction(int(n), 65535)) for n in sums]
