"""Spikes that are held as numbers: counted, packed and put together, compiled and in plain Python, against the definition."""

from types import SimpleNamespace

import numpy as np
import pytest

from nspike.kernels import numbers
from nspike.kernels._jit import kernel
from nspike.kernels.numbers import DIGITS
from tests.kernels.test_digits import KINDS, drawn, framed, inside, plain
from tests.kernels.test_wide import pack as packed

NO_NUMBER = 255
"""Memory that nothing may depend on: every digit of it is set."""


@kernel
def count_plain(given, at, blocks, out):
    numbers.count_plain(given, at, blocks, out)


@kernel
def count_signed(given, at, blocks, out):
    numbers.count_signed(given, at, blocks, out)


@kernel
def few_plain(given, at, blocks, out):
    numbers.few_plain(given, at, blocks, out)


@kernel
def few_signed(given, at, blocks, out):
    numbers.few_signed(given, at, blocks, out)


@kernel
def spell_plain(given, at, out):
    numbers.spell_plain(given, at, out)


@kernel
def spell_signed(given, at, out):
    numbers.spell_signed(given, at, out)


@kernel
def wide_plain(given, at, out):
    numbers.wide_plain(given, at, out)


@kernel
def wide_signed(given, at, out):
    numbers.wide_signed(given, at, out)


COUNTERS = {
    (64, False): (count_plain, "count_plain"),
    (64, True): (count_signed, "count_signed"),
    (16, False): (few_plain, "few_plain"),
    (16, True): (few_signed, "few_signed"),
}
SPELLERS = {
    (16, False): (spell_plain, "spell_plain"),
    (16, True): (spell_signed, "spell_signed"),
    (64, False): (wide_plain, "wide_plain"),
    (64, True): (wide_signed, "wide_signed"),
}


KERNELS = ("count", "pack", "columns", "put_together")


@pytest.fixture(params=["compiled", "plain Python"])
def kernels(request, monkeypatch):
    """The kernels, and the same kernels of what is there for runs without the compiler."""
    if request.param == "compiled":
        return SimpleNamespace(**{name: getattr(numbers, name) for name in KERNELS})
    for (lanes, signed), (_, name) in COUNTERS.items():
        monkeypatch.setattr(numbers, name, numbers._python_count(lanes, signed))
    for (lanes, signed), (_, name) in SPELLERS.items():
        monkeypatch.setattr(numbers, name, numbers._python_spell(lanes, signed))
    return SimpleNamespace(**{name: plain(getattr(numbers, name)) for name in KERNELS})


def spelt(n, digits, signed):
    """Spikes bool (planes, ...) of whole numbers (...)."""
    up = [np.maximum(n, 0) >> k & 1 for k in range(digits)]
    return np.array(up + [np.maximum(-n, 0) >> k & 1 for k in range(digits)] if signed else up, bool)


def in_order(n, signed):
    """The same with `DIGITS` for each sign, those that there are not being silent: bool (2·DIGITS, ...)."""
    spikes = spelt(n, DIGITS, signed)
    return spikes if signed else np.concatenate([spikes, np.zeros_like(spikes)])


def every(signed, count):
    """So many numbers, among them all that there are."""
    n = np.arange(-63, 64) if signed else np.arange(128)
    return np.random.default_rng(count).permutation(np.resize(n, count))


@pytest.mark.parametrize(("lanes", "signed"), COUNTERS)
@pytest.mark.parametrize("blocks", [0, 1, 5, 9])
def test_digits_of_numbers_are_counted(lanes, signed, blocks):
    """To what was counted before."""
    n = every(signed, lanes * blocks)
    given = np.pad(n + 64 * signed, (5, 9), constant_values=NO_NUMBER).astype(np.uint8)
    for count in (COUNTERS[lanes, signed][0], numbers._python_count(lanes, signed)):
        out = np.arange(2 * DIGITS)
        count(given, 5, blocks, out)
        expected = in_order(n, signed).sum(axis=1)
        np.testing.assert_array_equal(out - np.arange(2 * DIGITS), expected)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lanes", [16, 64])
def test_numbers_are_spelt(lanes, signed):
    n = every(signed, lanes * 9)
    given = np.pad(n + 64 * signed, (3, 5), constant_values=NO_NUMBER).astype(np.uint8)
    told = [k + half * DIGITS for half in range(1 + signed) for k in range(DIGITS - signed)]
    for spell in (SPELLERS[lanes, signed][0], numbers._python_spell(lanes, signed)):
        for first in range(0, len(n), lanes):
            out = np.full(2 * DIGITS, 7, np.uint64)
            spell(given, 3 + first, out)
            expected = [
                sum(int(bit) << i for i, bit in enumerate(row)) for row in in_order(n[first : first + lanes], signed)
            ]
            assert out[told].tolist() == [expected[k] for k in told]


def runs_of(fan_x):
    columns = fan_x.shape[1]
    return np.array([0, *(x for x in range(1, columns) if (fan_x[:, x] != fan_x[:, x - 1]).any()), columns])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [16, 48, 64, 80, 128])
@pytest.mark.parametrize("readers", [0, 1, 3])
def test_counts(kernels, readers, channels, signed):
    """Where a spike has as many targets everywhere, fewer at the borders, or others in each row and column."""
    draw = np.random.default_rng(channels)
    height, width = 3, 9
    n = drawn(draw, (height, width, channels), 6, signed)
    given, where = framed((n + 64 * signed).astype(np.uint8), 2, 1, NO_NUMBER)
    spikes = in_order(n, signed).sum(axis=3)
    ends, alternating = np.repeat([2, 3, 2], [1, width - 2, 1]), np.arange(width) % 2
    for across in (np.full(width, 9), ends, alternating, draw.integers(0, 3, width), None):
        fan_x = draw.integers(1, 6, (readers, width)) if across is None else np.tile(across, (readers, 1))
        fan_y = draw.integers(1, 6, (readers, height))
        events, weighted = np.arange(2 * DIGITS), 100 * np.arange(readers * 2 * DIGITS).reshape(-1, 2 * DIGITS)
        kernels.count(
            given, np.array(where), channels, int(signed), height, runs_of(fan_x), fan_y, fan_x, events, weighted
        )
        np.testing.assert_array_equal(events - np.arange(2 * DIGITS), spikes.sum(axis=(1, 2)))
        for i in range(readers):
            expected = (spikes * fan_y[i][:, None] * fan_x[i]).sum(axis=(1, 2))
            np.testing.assert_array_equal(weighted[i] - 100 * np.arange(i * 2 * DIGITS, (i + 1) * 2 * DIGITS), expected)


def words_of(n, digits, signed, pad=0):
    return packed(spelt(n, digits, signed).transpose(0, 3, 1, 2).reshape(1, -1, *n.shape[:2]), pad)


@pytest.mark.parametrize(("digits", "signed"), KINDS)
@pytest.mark.parametrize(("channels", "pad"), [(16, 0), (48, 2), (64, 1), (128, 0)])
def test_packed_and_put_together_again(kernels, channels, pad, digits, signed):
    """Of some rows and columns, beside other numbers of the same pixels."""
    draw, silent = np.random.default_rng(channels), 64 * signed
    n = drawn(draw, (4, 5, channels), digits, signed)
    given, where = framed((n + silent).astype(np.uint8), 1, 2, NO_NUMBER)
    expected = words_of(n, digits, signed, pad)
    words = np.zeros_like(expected)
    kernels.pack(given, np.array(where), channels, int(signed), digits, words, pad)
    np.testing.assert_array_equal(words, expected)

    shape, before, behind = (3, 4, channels), 16, 32
    out = np.full((*shape[:2], before + channels + behind), 200, np.uint8)
    flat, (first, row) = framed(out, 1, 1, 200)
    for block in ([0, 1, 4], [1, 3, 4]):
        at, into = np.array([1 + pad, 1 + pad]), np.array([first + before, row])
        kernels.put_together(words, at, channels, int(signed), digits, out.shape[2], flat, into, np.array(block))
    found = inside(flat, 1, 1, out.shape, 200)
    np.testing.assert_array_equal(found[..., before:-behind], n[1:, 1:] + silent)
    assert (found[..., :before] == 200).all()
    assert (found[..., -behind:] == 200).all()


@pytest.mark.parametrize(("digits", "signed"), KINDS)
@pytest.mark.parametrize(("channels", "width"), [(16, 64), (48, 1), (64, 13), (16, 63)])
def test_columns_as_bits(kernels, channels, width, digits, signed):
    """What lies beyond the width is silent, whatever is there."""
    n = drawn(np.random.default_rng(width), (3, width, channels), digits, signed)
    given, where = framed((n + 64 * signed).astype(np.uint8), 1, 2, NO_NUMBER)
    expected = spelt(n, digits, signed).transpose(0, 3, 1, 2).reshape(-1, 3, width)
    out = np.full(expected.shape[:2], 7, np.uint64)
    kernels.columns(given, np.array(where), channels, int(signed), digits, width, out)
    found = np.unpackbits(out.astype("<u8").view(np.uint8).reshape(*out.shape, 8), axis=-1, bitorder="little")
    np.testing.assert_array_equal(found[..., :width], expected)
    assert not found[..., width:].any()


def test_spikes_of_both_signs_are_added_up(kernels):
    """As given spikes may have them, which no neuron fires."""
    spikes = np.random.default_rng(0).random((2, 4, 16, 3, 5)) < 0.5
    assert spikes.all(axis=0).any()
    worth = (2 ** np.arange(4))[:, None, None, None]
    expected = 64 + (spikes[0] * worth).sum(axis=0) - (spikes[1] * worth).sum(axis=0)
    words, out = packed(spikes.reshape(1, -1, 3, 5), 0), np.zeros(16 * 15, np.uint8)
    at, where = np.array([0, 0]), np.array([0, 16 * 5])
    kernels.put_together(words, at, 16, 1, 4, 16, out, where, np.array([0, 3, 5]))
    np.testing.assert_array_equal(out.reshape(3, 5, 16), expected.transpose(1, 2, 0))
