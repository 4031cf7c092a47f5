"""Each vector operation, compiled, against its plain-Python body and against its definition."""

import numpy as np
import pytest

from nspike.kernels import vector
from nspike.kernels._jit import kernel


@kernel
def sum_wide(rows, count, weights, stride, first, out):
    vector.sum_rows_wide(rows, count, weights, stride, first, out)


@kernel
def sum_narrow(rows, count, weights, stride, first, out):
    vector.sum_rows_narrow(rows, count, weights, stride, first, out)


@kernel
def fire_wide(v, current, bias, threshold, reset, first):
    return vector.fire_wide(v, current, bias, threshold, reset, first)


@kernel
def fire_narrow(v, current, bias, threshold, reset, first):
    return vector.fire_narrow(v, current, bias, threshold, reset, first)


@kernel
def copy_rows(out, at, events, first, count, shift):
    vector.copy_rows(out, at, events, first, count, shift)


@kernel
def bits_of(word):
    return vector.trailing_zeros(word), vector.count_bits(word)


@kernel
def spread(word, out, first):
    vector.spread(word, out, first)


@kernel
def sum_masked(masks, base, offsets, weights, first, count, out):
    vector.sum_masked(masks, base, offsets, weights, first, count, out)


@kernel
def gate(word, gates, first, out):
    vector.gate(word, gates, first, out)


@kernel
def fire_row(v, first, current, bias, threshold, reset):
    return vector.fire_row(v, first, current, bias, threshold, reset)


def bits(word, count=64):
    return (np.uint64(word) >> np.arange(count, dtype=np.uint64)) & np.uint64(1)


@pytest.mark.parametrize(("run", "plain", "lanes"), [
    (sum_wide, vector._python_sum_rows(64), 64),
    (sum_narrow, vector._python_sum_rows(16), 16),
])  # fmt: skip
@pytest.mark.parametrize("count", [0, 4, 8, 12, 16, 20, 100])
def test_sum_rows(run, plain, lanes, count):
    draw = np.random.default_rng(count)
    for low in (-4095, 4095):
        table = draw.integers(low, 4095, (50, 80), dtype=np.int16, endpoint=True)
        rows = draw.integers(0, 50, 110, dtype=np.int32)
        out, other = np.full(80, 7, np.int32), np.full(80, 7, np.int32)
        for f, target in ((run, out), (plain, other)):
            f(rows, count, table.ravel(), 80, 16, target)
        expected = np.full(80, 7)
        expected[16 : 16 + lanes] = table[rows[:count], 16 : 16 + lanes].astype(np.int64).sum(axis=0)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize(("run", "plain", "lanes"), [
    (fire_wide, vector._python_fire(64), 64),
    (fire_narrow, vector._python_fire(16), 16),
])  # fmt: skip
def test_fire(run, plain, lanes):
    draw = np.random.default_rng(lanes)
    for scale in (5, 2**24):
        v, current, bias = (draw.integers(-scale, scale, 80, dtype=np.int32) for _ in range(3))
        threshold = draw.integers(1, scale, 80, dtype=np.int32)
        threshold[20:24] = (v + current + bias)[20:24]  # just at the threshold fires
        threshold[24:28] = 2**31 - 1
        reset = draw.integers(1, scale, 80, dtype=np.int32)
        expected = (v + current + bias).astype(np.int64)
        fired = expected >= threshold
        fired[: 80 - 64] = fired[16 + lanes :] = False
        expected = np.where(np.arange(80) // 16 * 16 < 16, v, expected - fired * reset)
        expected[16 + lanes :] = v[16 + lanes :]
        assert fired[20:24].all()
        for f in (run, plain):
            after = v.copy()
            word = f(after, current, bias, threshold, reset, 16)
            np.testing.assert_array_equal(after, expected)
            np.testing.assert_array_equal(bits(word, lanes).astype(bool), fired[16 : 16 + lanes])
            assert int(word) < 2**lanes


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31])
def test_copy_rows(count):
    events = np.arange(100, 160, dtype=np.int32)
    for f in (copy_rows, vector._python_copy_rows):
        out = np.zeros(60, np.int32)
        f(out, 3, events, 5, count, np.int32(-40))
        np.testing.assert_array_equal(out[3 : 3 + count], np.arange(65, 65 + count))
        assert not out[:3].any()
        assert not out[3 + count + 7 :].any()  # up to seven more may be written


def test_bits_of_a_word():
    draw = np.random.default_rng(0)
    words = [
        1 << 63,
        1,
        2**64 - 1,
        *(int(w) << int(s) for w, s in zip(draw.integers(1, 2**20, 20), range(20), strict=True)),
    ]
    for word in words:
        expected = (format(word, "b")[::-1].index("1"), format(word, "b").count("1"))
        assert bits_of(np.uint64(word)) == expected
        assert (vector._python_trailing_zeros(word), vector._python_count_bits(word)) == expected
    assert bits_of(np.uint64(0))[1] == 0


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


def test_fire_row():
    draw = np.random.default_rng(0)
    v, current = draw.integers(-100, 100, 128, dtype=np.int32), draw.integers(-100, 100, 64, dtype=np.int32)
    u = v[32:96].astype(np.int64) + current + 5
    threshold = int(u[0])
    expected = v.astype(np.int64)
    expected[32:96] = u - (u >= threshold) * 30
    for f in (fire_row, vector._python_fire_row):
        after = v.copy()
        word = f(after, 32, current, np.int32(5), np.int32(threshold), np.int32(30))
        np.testing.assert_array_equal(after, expected)
        np.testing.assert_array_equal(bits(word).astype(bool), u >= threshold)
