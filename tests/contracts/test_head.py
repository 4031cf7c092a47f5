from fractions import Fraction

import numpy as np
import pytest

from nspike.contracts.head import OutputLayer, convolve_spikes
from nspike.registry.plugins import registry


@pytest.mark.parametrize(
    ("channels", "size", "shape"), [(1, 1, (1, 1)), (3, 3, (4, 5)), (2, 5, (1, 7)), (3, 1, (3, 2))]
)
def test_convolution_in_fractions(channels, size, shape):
    draw = np.random.default_rng(size)
    spikes = draw.integers(0, 127, (channels, *shape), dtype=np.int32)
    weight = draw.normal(size=(channels, channels, size, size)) * draw.choice([1e-3, 1, 900], (channels, 1, 1, 1))
    found = convolve_spikes(spikes, weight)
    r = size // 2
    for o, y, x in np.ndindex(found.shape):
        largest = Fraction(float(np.abs(weight[o]).max()))
        unit = Fraction(1)  # the largest weight takes 15 bits: 2^14 <= largest / unit < 2^15
        while largest / unit >= 2**15:
            unit *= 2
        while largest / unit < 2**14:
            unit /= 2
        total = Fraction(0)
        for i, dy, dx in np.ndindex(channels, size, size):
            yy, xx = y + dy - r, x + dx - r
            if 0 <= yy < shape[0] and 0 <= xx < shape[1]:
                total += round(Fraction(float(weight[o, i, dy, dx])) / unit) * unit * int(spikes[i, yy, xx])
        assert Fraction(float(found[o, y, x])) == total


def test_a_dead_and_a_plain_kernel():
    spikes = np.array([[[1, 2], [3, 4]]], np.int32)
    np.testing.assert_array_equal(convolve_spikes(spikes, np.zeros((1, 1, 3, 3))), np.zeros((1, 2, 2)))
    identity = np.zeros((1, 1, 3, 3))
    identity[0, 0, 1, 1] = 1
    np.testing.assert_array_equal(convolve_spikes(spikes, identity), spikes)


def test_units_are_exact():
    values = np.array([[[1, -(2**31)]], [[3, 5]]])
    none = np.zeros((2, 1, 2), np.int32)
    layer = OutputLayer(values, none, none, np.ones(2, np.int64), np.array([24, -2]), 4)
    np.testing.assert_array_equal(layer.to_units(values), [[[2.0**-24, -128.0]], [[12.0, 20.0]]])


def test_sums_beyond_int32():
    """Counts and kernels as large as they come: a sum in 32 bits would wrap."""
    spikes = np.full((80, 3, 3), 126, np.int32)
    weight = np.full((1, 80, 3, 3), 1.0 - 2.0**-15)
    whole = 80 * 9 * 126 * (2**15 - 1)
    assert whole >= 2**31
    assert convolve_spikes(spikes, weight)[0, 1, 1] == whole / 2**15
    assert convolve_spikes(spikes, -weight)[0, 1, 1] == -whole / 2**15


@pytest.mark.parametrize("head", ["cpm", "mapper", "recycling"])
def test_gradients_of_a_heads_parameters(head):
    """A head is linear in its kernel and bias: a difference of any width is the derivative, but for the kernel's rounding."""
    head, draw = registry().heads[head], np.random.default_rng(0)
    counts = draw.integers(0, 5, (2, 4, 3), dtype=np.int32)
    residual = draw.integers(-9, 9, (2, 4, 3), dtype=np.int32)
    layer = OutputLayer(counts.astype(np.int64), counts, residual, np.array([16, 20]), np.array([4, 4]), 5)
    parameters = {key: draw.normal(size=array.shape) for key, array in head.initial(2).items()}
    g = draw.normal(size=counts.shape)
    gradients = head.gradient(layer, parameters, g)
    assert set(parameters) <= set(gradients)
    for key, array in parameters.items():
        for at in np.ndindex(array.shape):
            step = np.zeros(array.shape)
            step[at] = 0.5
            ends = [(g * head.read(layer, parameters | {key: array + sign * step})).sum() for sign in (1, -1)]
            assert gradients[key][at] == pytest.approx(ends[0] - ends[1], abs=2e-3), (key, at)
