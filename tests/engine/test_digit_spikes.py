"""Spikes that are held as numbers, against the same spikes in bits."""

import numpy as np
import pytest

from nspike.engine import digit_spikes
from nspike.engine.digit_spikes import DigitSpikes
from nspike.runtime import buffers
from tests.engine.test_spikes import wide_of

KINDS = [(2, False), (3, True), (5, False), (6, True), (7, False)]
SHAPES = [(1, 1, 16), (4, 63, 16), (2, 66, 48), (5, 7, 64), (1, 130, 80)]


def drawn(shape, digits, signed):
    """Whole numbers (rows, columns, C), a third of them 0."""
    draw, most = np.random.default_rng(digits), 2**digits - 1
    n = draw.integers(-most if signed else 0, most, shape, endpoint=True)
    return n * (draw.random(shape) < 2 / 3)


def dense_of(n, digits, signed):
    """bool (1, planes·C, rows, columns)."""
    planes = [np.maximum(sign * n, 0) >> k & 1 for sign in (1, -1)[: 1 + signed] for k in range(digits)]
    return np.concatenate(planes, axis=2).transpose(2, 0, 1)[None].astype(bool)


def both(shape, digits, signed, pad):
    """The numbers and the bits of the same spikes."""
    n = drawn(shape, digits, signed)
    spikes = DigitSpikes.empty(*shape, pad, digits, signed)
    spikes.array()[:] = n + 64 * signed
    return spikes, wide_of(dense_of(n, digits, signed), 1)


@pytest.mark.parametrize(("digits", "signed"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pad", [0, 2])
def test_the_same_as_in_bits(shape, digits, signed, pad):
    spikes, bits = both(shape, digits, signed, pad)
    height, width, _ = shape
    planes = digits * (1 + signed)
    assert spikes.planes == planes
    np.testing.assert_array_equal(spikes.dense(), bits.dense())
    np.testing.assert_array_equal(spikes.step(0).dense(), bits.dense())
    y, x = height // 2, width // 3
    np.testing.assert_array_equal(spikes.rows(y, height).dense(), bits.dense()[:, :, y:])
    np.testing.assert_array_equal(spikes.rows(0, y).dense(), bits.dense()[:, :, :y])
    for border in (0, 3):
        part = spikes.packed((y, x), height - y, width - x, border)
        np.testing.assert_array_equal(part.words, wide_of(bits.dense()[..., y:, x:], border).words)
        assert part.channels == bits.channels
    for at in ((0, 0), (y, x)):
        size = height - at[0], min(64, width - at[1])
        np.testing.assert_array_equal(spikes.block(at, 0, *size), bits.block(at, 0, *size))


@pytest.mark.parametrize(("digits", "signed"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_counts(shape, digits, signed):
    """Of all, of what is behind a position, and of a rectangle within."""
    spikes, bits = both(shape, digits, signed, 1)
    draw, (height, width, _) = np.random.default_rng(digits), shape
    for y, x, y1, x1 in ((0, 0, height, width), (height // 2, width // 3, height, width), (0, 0, 1, (width + 1) // 2)):
        for readers, low in np.ndindex(4, 4):  # with 3, as many targets everywhere
            fan_y, fan_x = draw.integers(low, 4, (readers, y1 - y)), draw.integers(low, 4, (readers, x1 - x))
            found, expected = (each.count((y, x), spikes.planes, fan_y, fan_x) for each in (spikes, bits))
            for one, other in zip(found, expected, strict=True):
                assert one.shape == other.shape
                np.testing.assert_array_equal(one, other)


def silence(spikes):
    """Whether all around the array is silent."""
    around = spikes.padded().copy()
    pad, (height, width, _) = spikes.pad, spikes.shape
    around[pad : pad + height, pad : pad + width] = 64 * spikes.signed
    return (around == 64 * spikes.signed).all()


@pytest.mark.parametrize("pad", [0, 1, 3])
def test_silence_around(monkeypatch, pad):
    """Of memory that is used again too, for numbers of another shape and with another sign."""
    monkeypatch.setattr(buffers, "LEAST", 1)
    monkeypatch.setattr(digit_spikes, "MEMORY", buffers.Pool())
    spikes = DigitSpikes.empty(9, 12, 64, 3, 5, True)
    memory = spikes.flat
    for shape in ((9, 12, 64), (9, 11, 64), (4, 5, 16), (8, 7, 48), (1, 1, 16), (2, 30, 32)):
        for signed in (True, False, True):
            spikes.flat[:] = 255
            spikes.give_back()
            spikes = DigitSpikes.empty(*shape, pad, 5, signed)
            assert np.shares_memory(spikes.flat, memory)
            assert silence(spikes)
            spikes.array()[:] = 64 * signed + 1
            assert silence(spikes)
            assert spikes.flat[spikes.index(0, 0)] == 64 * signed + 1
            assert spikes.dense().sum() == np.prod(shape)


def test_memory_that_is_in_use_is_not_used_again(monkeypatch):
    monkeypatch.setattr(buffers, "LEAST", 1)
    monkeypatch.setattr(digit_spikes, "MEMORY", buffers.Pool())
    one, other = (DigitSpikes.empty(3, 4, 16, 1, 5, True) for _ in range(2))
    assert not np.shares_memory(one.flat, other.flat)
    one.give_back()
    third = DigitSpikes.empty(3, 4, 16, 1, 5, True)
    assert np.shares_memory(third.flat, one.flat)
    assert not np.shares_memory(third.flat, other.flat)


def test_what_kernels_read_behind_the_last_pixel_is_there():
    """A tile's pixels at the largest stride, wherever the last row's last tile begins."""
    for channels in (16, 64):
        spikes = DigitSpikes.empty(1, 1, channels, 0, 5, False)
        tile = max(digit_spikes.WIDE_PIXELS, 16)
        assert spikes.flat.size >= (1 + (tile - 1) * digit_spikes.MOST_STRIDE) * channels


def test_other_planes_and_steps_than_there_are():
    spikes, _ = both((2, 3, 16), 5, True, 0)
    with pytest.raises(AssertionError):
        spikes.count((0, 0), 5, np.ones((1, 2), np.int64), np.ones((1, 3), np.int64))
    with pytest.raises(AssertionError):
        spikes.step(1)
