from fractions import Fraction

import numpy as np
import pytest

from nspike.errors import ModelError
from nspike.integer.grid import (
    ANALOG_LIMIT,
    RANGE,
    SPIKE_LIMIT,
    UNBOUNDED,
    kernel_bounds,
    largest_exponent,
    on_grid,
    weights_on_grid,
)
from tests import naive


def exponents(weights, bias, theta, *, gain=1, limit=SPIKE_LIMIT):
    """Of one layer of neurons by itself."""
    largest, total = kernel_bounds(weights, bias, gain)
    each = (largest_exponent(largest, limit), largest_exponent(total, RANGE), largest_exponent(theta, RANGE))
    return np.min(each, axis=0)


def random_layer(draw, scale):
    phases, channels, read, size = (int(draw.integers(1, n)) for n in (3, 5, 9, 3))
    size = 2 * size - 1
    weights = draw.normal(0, 1, (phases, channels, read, size, size)) * scale
    bias, theta = draw.normal(0, 1, channels) * draw.choice([0, 1, 50]), draw.uniform(0.05, 2, channels)
    return weights, bias, theta


@pytest.mark.parametrize("scale", [0.0, 1e-41, 1e-12, 1e-3, 0.1, 1.0, 30.0, 1e6])
@pytest.mark.parametrize(("gain", "limit"), [(1, SPIKE_LIMIT), (4, ANALOG_LIMIT)])
def test_the_largest_exponent_within_three_bounds(scale, gain, limit):
    draw = np.random.default_rng(0)
    for _ in range(10):
        weights, bias, theta = random_layer(draw, scale)
        exponent = exponents(weights, bias, theta, gain=gain, limit=limit)
        expected = naive.grid(weights, bias, theta, gain, limit)
        assert exponent.tolist() == expected.exponent
        rounded = weights_on_grid(weights, exponent)
        np.testing.assert_array_equal(rounded, expected.weights)
        np.testing.assert_array_equal(on_grid(bias, exponent), expected.bias.ravel())
        for c, k in enumerate(exponent):

            def fits(unit, c=c, weights=weights, bias=bias, theta=theta):
                each = np.abs(weights[:, c])
                sums = gain * each.sum(axis=(1, 2, 3)) + abs(bias[c])
                return each.max() * unit <= limit and theta[c] * unit <= 2**24 and sums.max() * unit <= 2**24

            assert fits(2.0**k)
            assert not fits(2.0 ** (k + 1))
        assert np.abs(rounded.astype(int)).max() <= limit


def test_gains_of_several_planes_are_summed_exactly():
    draw = np.random.default_rng(0)
    weights = draw.normal(size=(2, 3, 5, 3, 3)) * 10.0 ** draw.integers(-9, 9, (2, 3, 5, 3, 3))
    gains = np.array([[0, 1, 2, 3, 126], [63, 7, 127, 4095, 5], [0, 0, 0, 0, 1]])
    _, total = kernel_bounds(weights, np.zeros(3), gains)
    for c in range(3):
        each = [
            sum(
                int(g) * Fraction(abs(float(w))) for g, own in zip(gains[c], phase[c], strict=True) for w in own.ravel()
            )
            for phase in weights
        ]
        assert total[c] == max(float(one) for one in each)


def single(weight, bias=0.0, theta=1.0, **options):
    return int(exponents(np.full((1, 1, 1, 1, 1), weight), np.array([bias]), np.array([theta]), **options)[0])


def test_each_bound_by_itself_and_just_past_it():
    assert single(4095.0, theta=1e-9) == 0
    assert single(np.nextafter(4095.0, 1e9), theta=1e-9) == -1
    assert single(32767.0, theta=1e-9, limit=32767) == 0
    assert single(32767.0, theta=1e-9, limit=32767, gain=4) == 0
    assert single(0.0, theta=2.0**24) == 0
    assert single(0.0, theta=np.nextafter(2.0**24, 1e9)) == -1
    assert single(0.0, bias=-(2.0**24), theta=1e-9) == 0
    assert single(0.0, bias=np.nextafter(2.0**24, 1e9), theta=1e-9) == -1
    assert single(2.0**10, bias=2.0**24 - 2.0**12, theta=1e-9, gain=4) == 0
    assert single(2.0**10, bias=2.0**24 - 2.0**12 + 1, theta=1e-9, gain=4) == -1
    assert single(1e-41) == 24  # a dead filter: θ alone decides
    assert single(0.0) == 24
    assert largest_exponent(np.zeros(2), 4095).tolist() == [UNBOUNDED] * 2


def test_rounding_is_half_to_even():
    k = np.array([1, 0, -1])
    for value in (0.25, 0.75, 0.5, 1.5, 2.5, -0.5, -1.5, 1.0, 3.0, 5.0, -3.0):
        expected = [naive.on_grid(value, int(e)) for e in k]
        assert on_grid(np.full(3, value), k).tolist() == expected
    assert on_grid(np.array([0.5, 1.5, 2.5, -0.5, -1.5]), np.zeros(5, int)).tolist() == [0, 2, 2, 0, -2]
    assert naive.half_even(5, 2) == 2
    assert naive.half_even(7, 2) == 4
    assert naive.half_even(-5, 2) == -2


def test_what_has_no_grid():
    one = np.ones((1, 1, 1, 1, 1))
    for weights, bias in ((one * np.nan, [0.0]), (one, [np.inf])):
        with pytest.raises(ModelError, match="NaN or infinity"):
            kernel_bounds(weights, np.array(bias))
    for value in (2.0**31, -(2.0**31), np.nan):
        with pytest.raises(ModelError, match="does not fit"):
            on_grid(np.array([value]), np.zeros(1, int))
    assert on_grid(np.array([2.0**31 - 1]), np.zeros(1, int)).tolist() == [2**31 - 1]
