"""Packing of spikes in either way, over many shapes and densities."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nspike.engine.spikes import NarrowSpikes, WideSpikes, to_narrow, to_wide
from tests.properties import examples

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 140), st.integers(1, 5), st.integers(1, 140))


def packed(dense, pad):
    steps, channels, height, width = dense.shape
    both = (
        NarrowSpikes.empty(height, width, steps, channels),
        WideSpikes.empty(height, width, steps, channels, pad),
    )
    for spikes in both:
        for step in range(steps):
            spikes.put(step, (0, 0), dense[step])
    return both


@examples
@given(SHAPES, st.integers(0, 3), st.floats(0, 1), st.integers(0, 9))
def test_packing_keeps_every_spike(shape, pad, density, seed):
    dense = np.random.default_rng(seed).random(shape) < density
    narrow, wide = packed(dense, pad)
    for spikes in (narrow, wide, to_narrow(wide), to_wide(narrow, pad)):
        np.testing.assert_array_equal(spikes.dense(), dense)
        np.testing.assert_array_equal(spikes.step(shape[0] - 1).dense(), dense[-1:])
        assert sum(int(word).bit_count() for word in spikes.words.ravel()) == dense.sum()
        first = seed % shape[2]
        np.testing.assert_array_equal(spikes.rows(first, shape[2]).dense(), dense[:, :, first:])
    np.testing.assert_array_equal(to_narrow(wide).words, narrow.words)
    np.testing.assert_array_equal(to_wide(narrow, pad).words, wide.words)


@examples
@given(SHAPES, st.data(), st.floats(0, 1))
def test_counts_are_sums(shape, data, density):
    dense = np.random.default_rng(0).random(shape) < density
    _, channels, height, width = shape
    y, x = (data.draw(st.integers(0, n - 1)) for n in (height, width))
    planes = data.draw(st.sampled_from([n for n in (1, 2, 3) if channels % n == 0]))
    draw = np.random.default_rng(1)
    fan_y, fan_x = draw.integers(1, 6, (2, height - y)), draw.integers(1, 6, (2, width - x))
    part = dense.reshape(-1, planes, channels // planes, height, width)[..., y:, x:]
    for spikes in packed(dense, 1):
        events, weighted = spikes.count((y, x), planes, fan_y, fan_x)
        np.testing.assert_array_equal(events, part.sum(axis=(2, 3, 4)).T)
        for reader in range(2):
            expected = (part * fan_y[reader][:, None] * fan_x[reader]).sum(axis=(2, 3, 4))
            np.testing.assert_array_equal(weighted[:, reader], expected.T)
