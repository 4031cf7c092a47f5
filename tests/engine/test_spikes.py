import numpy as np
import pytest

from nspike.engine.spikes import NarrowSpikes, WideSpikes, to_narrow, to_wide


def random_spikes(seed, *shape):
    return np.random.default_rng(seed).random(shape) < 0.4


def narrow_of(dense):
    """bool (steps, channels, rows, columns), packed by the definition: bit x % 64 of word x // 64 is column x."""
    steps, channels, height, width = dense.shape
    spikes = NarrowSpikes.empty(height, width, steps, channels)
    for t, c, y, x in zip(*np.nonzero(dense), strict=True):
        spikes.words[t, c, y, x // 64] |= np.uint64(1) << np.uint64(x % 64)
    return spikes


def wide_of(dense, pad):
    """Bit c % 64 of word c // 64 is channel c."""
    steps, channels, height, width = dense.shape
    spikes = WideSpikes.empty(height, width, steps, channels, pad)
    for t, c, y, x in zip(*np.nonzero(dense), strict=True):
        spikes.words[y + pad, x + pad, t, c // 64] |= np.uint64(1) << np.uint64(c % 64)
    return spikes


SHAPES = [(1, 1, 1, 1), (3, 2, 4, 63), (2, 8, 3, 64), (1, 9, 2, 65), (2, 64, 3, 5), (1, 65, 2, 3), (2, 130, 1, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pad", [0, 1, 3])
def test_either_packing_and_from_one_to_the_other(shape, pad):
    dense = random_spikes(0, *shape)
    narrow, wide = narrow_of(dense), wide_of(dense, pad)
    for spikes in (narrow, wide, to_narrow(wide), to_wide(narrow, pad)):
        assert spikes.channels == shape[1]
        np.testing.assert_array_equal(spikes.dense(), dense)
    np.testing.assert_array_equal(to_narrow(wide).words, narrow.words)
    np.testing.assert_array_equal(to_wide(narrow, pad).words, wide.words)
    assert to_narrow(narrow) is narrow
    assert to_wide(wide, 0) is wide


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_and_blocks(shape):
    dense = random_spikes(1, *shape)
    steps, channels, height, width = shape
    draw = np.random.default_rng(0)
    y, x = height // 2, width // 3
    fan_y, fan_x = draw.integers(1, 6, (3, height - y)), draw.integers(1, 6, (3, width - x))
    none = np.zeros((0, height - y), np.int64), np.zeros((0, width - x), np.int64)
    for spikes in (narrow_of(dense), wide_of(dense, 2)):
        for planes in (n for n in (1, 2, 3) if channels % n == 0):
            part = dense.reshape(steps, planes, channels // planes, height, width)[..., y:, x:]
            events, weighted = spikes.count((y, x), planes, fan_y, fan_x)
            assert events.tolist() == part.sum(axis=(2, 3, 4)).T.tolist()
            for r in range(3):
                expected = (part * fan_y[r][:, None] * fan_x[r]).sum(axis=(2, 3, 4))
                assert weighted[:, r].tolist() == expected.T.tolist()
            events, weighted = spikes.count((y, x), planes, *none)
            assert events.tolist() == part.sum(axis=(2, 3, 4)).T.tolist()
            assert weighted.shape == (planes, 0, steps)
        size = min(64, width - x)
        block = spikes.block((y, x), steps - 1, height - y, size)
        bits = (block[..., None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        np.testing.assert_array_equal(bits[..., :size].astype(bool), dense[-1, :, y:, x : x + size])
        assert not bits[..., size:].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_putting_steps_in_and_taking_them_out(shape):
    dense = random_spikes(2, *shape)
    steps, channels, height, width = shape
    y, x = height // 2, width // 3
    expected = np.zeros_like(dense)
    expected[..., y:, x:] = dense[..., y:, x:]
    for spikes in (
        NarrowSpikes.empty(height, width, steps, channels),
        WideSpikes.empty(height, width, steps, channels, 2),
    ):
        for step in range(steps):
            spikes.put(step, (y, x), dense[step, :, y:, x:])
        np.testing.assert_array_equal(spikes.dense(), expected)
        same = narrow_of(expected) if isinstance(spikes, NarrowSpikes) else wide_of(expected, 2)
        np.testing.assert_array_equal(spikes.words, same.words)
        for step in range(steps):
            np.testing.assert_array_equal(spikes.step(step).dense(), expected[step : step + 1])
