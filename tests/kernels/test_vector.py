"""Each vector operation, compiled, against its plain-Python body and against its definition."""

import numpy as np
import pytest

from nspike.kernels import vector
from nspike.kernels._jit import kernel


@kernel
def sum_wide(events, first, count, weights, offset, stride, out, at):
    vector.sum_rows_wide(events, first, count, weights, offset, stride, out, at)


@kernel
def sum_narrow(events, first, count, weights, offset, stride, out, at):
    vector.sum_rows_narrow(events, first, count, weights, offset, stride, out, at)


@kernel
def list_bits(words, index, base, events, at):
    return vector.list_bits(words, index, base, events, at)


@kernel
def list_few_bits(words, index, base, events, at):
    return vector.list_few_bits(words, index, base, events, at)


@kernel
def list_many_bits(words, index, base, events, at):
    return vector.list_many_bits(words, index, base, events, at)


@kernel
def fill(value, out, at):
    vector.fill(value, out, at)


@kernel
def bits_of(word):
    return vector.count_bits(word)


@kernel
def spread(word, out, first):
    vector.spread(word, out, first)


@kernel
def sum_masked(masks, base, offsets, weights, first, count, out):
    vector.sum_masked(masks, base, offsets, weights, first, count, out)


@kernel
def gate(word, gates, first, out):
    vector.gate(word, gates, first, out)


def bits(word, count=64):
    return (np.uint64(word) >> np.arange(count, dtype=np.uint64)) & np.uint64(1)


@pytest.mark.parametrize(("run", "plain", "lanes"), [
    (sum_wide, vector.python_sum_rows(64), 64),
    (sum_narrow, vector.python_sum_rows(16), 16),
])  # fmt: skip
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 100])
def test_sum_rows(run, plain, lanes, count):
    draw = np.random.default_rng(count)
    for low in (-4095, 4095):
        table = draw.integers(low, 4095, (50, 80), dtype=np.int16, endpoint=True)
        table[49] = 0
        rows = draw.integers(0, 49, 110, dtype=np.int32)
        rows[3 + count :] = 49  # up to seven more are added
        # the rows are numbered from the fifth, as they are for a pixel to the right of the first
        numbered = rows + np.int32(5)
        out, other = np.full(80, 7, np.int32), np.full(80, 7, np.int32)
        for f, target in ((run, out), (plain, other)):
            f(numbered, 3, count, table.ravel(), 10 - 5 * 80, 80, target, 16)
        expected = np.full(80, 7)
        flat = np.append(table, np.zeros(80, np.int16))
        expected[16 : 16 + lanes] = sum(flat[r * 80 + 10 :][:lanes].astype(np.int64) for r in rows[3 : 3 + count])
        expected[16 : 16 + lanes] += -count % 8 * flat[49 * 80 + 10 :][:lanes]
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(other, expected)


def test_bits_of_a_word():
    draw = np.random.default_rng(0)
    words = [
        0,
        1 << 63,
        1,
        0xFF,
        0x1FF,
        2**64 - 1,
        *(int(w) << int(s) for w, s in zip(draw.integers(1, 2**20, 20), range(20), strict=True)),
    ]
    packed = np.array(words, np.uint64)
    for i, word in enumerate(words):
        expected = [k for k in range(64) if word >> k & 1]
        assert bits_of(np.uint64(word)) == vector._python_count_bits(word) == len(expected)
        for f in (list_bits, list_few_bits, list_many_bits, vector._python_list_bits):
            events = np.full(3 + 64 + 8, -1, np.int32)
            assert f(packed, i, np.int32(1000), events, 3) == len(expected)
            np.testing.assert_array_equal(events[3 : 3 + len(expected)], np.array(expected, int) + 1000)
            assert (events[:3] == -1).all()
            assert (events[3 + len(expected) + 8 :] == -1).all()  # up to eight more are written in any case


def test_fill():
    for f in (fill, vector._python_fill):
        out = np.zeros(20, np.int32)
        f(np.int32(-7), out, 5)
        np.testing.assert_array_equal(out, np.where((np.arange(20) >= 5) & (np.arange(20) < 13), -7, 0))


WORDS = [0, 1, 1 << 63, 2**64 - 1, 0x123456789ABCDEF0]


@pytest.mark.parametrize("word", WORDS)
def test_spread_and_gate(word):
    gates = np.arange(-50, 50, dtype=np.int32)
    for f, g in ((spread, gate), (vector._python_spread, vector._python_gate)):
        out = np.full(70, 9, np.int16)
        f(np.uint64(word), out, 5)
        np.testing.assert_array_equal(out[5:69], -bits(word).astype(np.int16))
        assert out[[0, 4, 69]].tolist() == [9, 9, 9]
        current = np.full(65, 9, np.int32)
        g(np.uint64(word), gates, 20, current)
        np.testing.assert_array_equal(current[:64], bits(word).astype(np.int64) * gates[20:84])
        assert current[64] == 9


@pytest.mark.parametrize("count", [0, 4, 8, 12, 148])
@pytest.mark.parametrize("low", [-4095, 4095])
def test_sum_masked(count, low):
    draw = np.random.default_rng(count)
    masks = -draw.integers(0, 2, 1000, dtype=np.int16) if low < 0 else np.full(1000, -1, np.int16)
    offsets = draw.integers(0, 900, 150, dtype=np.int32)
    weights = draw.integers(low, 4095, 160, dtype=np.int16, endpoint=True)
    expected = np.zeros(64, np.int64)
    for k in range(count):
        expected -= masks[20 + offsets[k] :][:64].astype(np.int64) * weights[3 + k]
    for f in (sum_masked, vector._python_sum_masked):
        out = np.full(64, 9, np.int32)
        f(masks, 20, offsets, weights, 3, count, out)
        np.testing.assert_array_equal(out, expected)
