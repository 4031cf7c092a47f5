"""Numbers whose digits are spikes: every kernel, compiled and in plain Python, against the definition."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from nspike.kernels import digits
from nspike.kernels._jit import INTERPRETED, compile_afresh, kernel
from nspike.kernels.digits import BASE, FIRED, KEPT, MORE
from tests.naive_neurons import declared

NEVER = 2**31 - 1
UNTOUCHED, NO_NUMBER = 10**9, 200
KINDS = [(2, False), (3, True), (4, False), (5, True), (6, False), (6, True), (7, False)]


@kernel
def compiled_finish(sums, at, does, base, base_at, more, more_at, kept, kept_at, form, fired, fired_at, channels):
    digits.finish(sums, at, does, base, base_at, more, more_at, kept, kept_at, form, fired, fired_at, channels)


TILES = {
    "convolve_wide": (digits.WIDE, digits.WIDE_PIXELS),
    "convolve_narrow": (digits.NARROW, digits.NARROW_PIXELS),
    "wide_32": (digits.WIDE, digits.WIDE_PIXELS),
    "wide_64": (digits.WIDE, digits.WIDE_PIXELS),
    "wide_128": (digits.WIDE, digits.WIDE_PIXELS),
    "narrow_16": (digits.NARROW, digits.NARROW_PIXELS),
    "narrow_64": (digits.NARROW, digits.NARROW_PIXELS),
}
"""The intrinsics that convolve a tile: for how many channels and pixels."""


def plain(function):
    return getattr(function, "py_func", function)


@pytest.fixture(params=["compiled", "plain Python"])
def kernels(request, monkeypatch):
    """The kernels, and the same kernels of what is there for runs without the compiler."""
    if request.param == "compiled":
        return SimpleNamespace(convolve=digits.convolve, fire=digits.fire, finish=compiled_finish)
    for name, (lanes, pixels) in TILES.items():
        monkeypatch.setattr(digits, name, digits._python_convolve(lanes, pixels))
    monkeypatch.setattr(digits, "_tile", plain(digits._tile))
    monkeypatch.setattr(digits, "finish", digits._python_finish)
    return SimpleNamespace(convolve=plain(digits.convolve), fire=plain(digits.fire), finish=digits._python_finish)


def drawn(draw, shape, planes, signed):
    """Whole numbers, the last channel's the largest, and the first's the smallest."""
    most = 2**planes - 1
    n = draw.integers(-most if signed else 0, most, shape, endpoint=True)
    n[..., -1], n[..., 0] = most, -most if signed else 0
    return n


NO_FORM = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0), 0)


def form(v0, threshold, reset, most, signed):
    """What `fire` asks for."""
    fires = threshold < NEVER
    top = np.minimum(threshold + reset * (most - 1), NEVER).astype(np.int32)
    shift, inverse = np.where(fires, threshold - reset - 0.5, 0), np.where(fires, 1 / np.maximum(reset, 1), 0)
    return v0, top, shift, inverse, int(signed)


class Neurons:
    """C neurons that fire digits, some of which never do; `large`: by how much their numbers are larger than 400."""

    def __init__(self, channels, planes, signed, most=None, large=1):
        draw = np.random.default_rng(planes)
        self.planes, self.signed, self.most = planes, signed, most or 2**planes - 1
        self.v0 = draw.integers(-300, 300, channels).astype(np.int32)
        self.threshold = large * draw.integers(1, 400, channels)
        self.reset = large * draw.integers(1, 400, channels)
        self.reset[1], self.reset[2] = 2**24, 1
        self.threshold[5::7], self.reset[5::7] = NEVER, 0

    def currents(self, draw, *shape):
        """Of all sizes, and at the first pixels of a row where neurons just fire once or as often as they may, or just do not."""
        channels = len(self.v0)
        out = draw.integers(-10, (1.2 * self.most * self.reset).astype(np.int64) + 10, (*shape, channels))
        just = self.threshold + self.reset * draw.integers(0, self.most, out.shape) + draw.integers(-1, 1, out.shape)
        out = np.where(draw.random(out.shape) < 0.4, just, out)
        last = self.threshold + self.reset * (self.most - 1)
        for x, value in enumerate((self.threshold, self.threshold - 1, last, last - 1, last + 1)):
            out[..., x, :] = value
        out = np.where(self.threshold < NEVER, out, 2**30)
        if self.signed:
            out *= draw.choice([-1, 1], out.shape)
        out = np.clip(out, -(2**30), 2**30) - self.v0
        out[..., -2, :], out[..., -1, :] = 2**30, -(2**30)
        return out.astype(np.int32)

    def expected(self, currents):
        """Numbers int64 (H, W, C) of currents (H, W, C)."""
        kind = {"up": self.planes, "down": self.planes * self.signed, "most": self.most}
        given = currents.transpose(2, 0, 1)[None]
        spikes = declared(given, self.v0, self.threshold[None], self.reset[None], **kind)[0][0]
        worth = 2 ** np.arange(self.planes)
        return np.tensordot(np.concatenate([worth, -worth][: 1 + self.signed]), spikes, 1).transpose(1, 2, 0)

    @property
    def form(self):
        return form(self.v0, self.threshold, self.reset, self.most, self.signed)


def framed(inner, rows, columns, fill):
    """A flat array with `inner` (H, W, C) in it, so many rows and columns of something else around; and its place."""
    height, width, channels = inner.shape
    whole = np.full((height + 2 * rows, width + 2 * columns, channels), fill, inner.dtype)
    whole[rows : rows + height, columns : columns + width] = inner
    return whole.ravel(), [(rows * whole.shape[1] + columns) * channels, whole.shape[1] * channels]


def inside(flat, rows, columns, shape, fill):
    """The opposite; what lies around is as it was."""
    height, width, channels = shape
    whole = flat.reshape(height + 2 * rows, width + 2 * columns, channels)
    inner = whole[rows : rows + height, columns : columns + width].copy()
    whole[rows : rows + height, columns : columns + width] = fill
    assert (whole == fill).all()
    return inner


# ----- Neurons -----


@cache
def firing(channels, planes, signed, most):
    """Neurons, a current and the numbers that they fire from it."""
    neurons = Neurons(channels, planes, signed, most)
    given = neurons.currents(np.random.default_rng(channels), 2, 12)
    return neurons, given, neurons.expected(given)


@pytest.mark.parametrize(("planes", "signed"), KINDS)
@pytest.mark.parametrize("channels", [16, 48, 128])
def test_numbers_are_fired(kernels, channels, planes, signed):
    """From known currents, in bands of rows and a part of the columns."""
    shape = (2, 12, channels)
    for most in (2**planes - 1, max(2, 2**planes - 3)):
        neurons, given, expected = firing(channels, planes, signed, most)
        assert set(abs(expected).ravel().tolist()) >= {0, 1, most - 1, most}
        assert expected.min() == -most * signed
        currents, read = framed(given, 1, 2, UNTOUCHED)
        fired, into = framed(np.full(shape, NO_NUMBER, np.uint8), 2, 1, NO_NUMBER)
        for first, last in ((0, 1), (1, 2)):
            where, block = np.array([read, into]), np.array([first, last, shape[1]])
            kernels.fire(currents, where, channels, neurons.form, fired, block)
        np.testing.assert_array_equal(inside(fired, 2, 1, shape, NO_NUMBER), expected + 64 * signed)


def greedy(u, threshold, reset, most):
    """How often u reaches the threshold, `reset` being taken from it each time."""
    n = np.zeros(u.shape, np.int64)
    for _ in range(most):
        n += u - n * reset >= threshold
    return n


RESETS = [1, 2, 3, 5, 7, 127, 2**24, 2**24 - 3, 2**24 + 43, 16777183, 2**30, NEVER]
"""Some are odd primes."""


@pytest.mark.parametrize(("planes", "signed"), [(2, False), (5, True), (6, False), (6, True), (7, False)])
def test_one_multiplication_is_the_greedy_definition(kernels, planes, signed):
    """At each number that neurons fire, where they just reach it, and one below and above."""
    draw, channels, most = np.random.default_rng(planes), 16 * 40, 2**planes - 1
    reset = draw.integers(1, 2 ** draw.integers(1, 25, channels), endpoint=True)
    reset[::4] = draw.choice(RESETS, len(reset[::4]))
    reset[: len(RESETS)] = RESETS
    threshold = draw.integers(1, 2 ** draw.integers(1, 25, channels), endpoint=True)
    threshold[::5] = draw.choice([1, 2, 2**24, 2**24 - 1], len(threshold[::5]))
    v0 = draw.integers(-(2**23), 2**23, channels).astype(np.int32)
    limits = threshold + reset * np.arange(most + 1)[:, None]
    u = (limits[:, None] + np.array([-1, 0, 1])[:, None]).reshape(-1, channels)
    u = np.concatenate([np.minimum(u, 2**31 - 2**23 - 1), np.tile(np.array([[0], [-1], [1], [-(2**30)]]), channels)])
    u = np.concatenate([u, -u]) if signed else u
    expected = np.sign(u) * greedy(abs(u), threshold, reset, most) if signed else greedy(u, threshold, reset, most)
    assert set(expected.ravel().tolist()) == set(range(-most if signed else 0, most + 1))
    fired, where = np.full(u.size, NO_NUMBER, np.uint8), np.array([[0, 0], [0, 0]])
    numbers = form(v0, threshold, reset, most, signed)
    kernels.fire((u - v0).astype(np.int32).ravel(), where, channels, numbers, fired, np.array([0, 1, len(u)]))
    np.testing.assert_array_equal(fired.reshape(u.shape), expected + 64 * signed)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [16, 48])
def test_what_is_done_with_the_current_of_a_pixel(kernels, channels, signed):
    """Each of its parts, and the sum being kept where one of those that are added lay."""
    (neurons, currents, numbers), draw = firing(channels, 5, signed, 31), np.random.default_rng(channels)
    whole = currents[0]
    for pixel, does in np.ndindex(12, 16):
        parts = draw.integers(-(2**24), 2**24, (2, channels))
        own = whole[pixel] - parts[0] * (does & BASE > 0) - parts[1] * (does & MORE > 0)
        sums, base, more = (np.pad(each, (n, 3), constant_values=5).astype(np.int32)
                            for n, each in ((1, own), (2, parts[0]), (3, parts[1])))  # fmt: skip
        for reused in (None, base, more):
            read = [base.copy(), more.copy()]
            kept = np.full(channels + 7, UNTOUCHED, np.int32)
            kept, at = (kept, 4) if reused is None else (read[0], 2) if reused is base else (read[1], 3)
            before, fired = kept.copy(), np.full(channels + 9, NO_NUMBER, np.uint8)
            kernels.finish(sums, 1, does, read[0], 2, read[1], 3, kept, at, neurons.form, fired, 5, channels)
            if does & KEPT:
                before[at : at + channels] = whole[pixel]
            np.testing.assert_array_equal(kept, before)
            expected = np.full(channels + 9, NO_NUMBER)
            if does & FIRED:
                expected[5:-4] = numbers[0, pixel] + 64 * signed
            np.testing.assert_array_equal(fired, expected)
        assert sums[[0, *range(-3, 0)]].tolist() == [5] * 4
        np.testing.assert_array_equal(sums[1:-3], own)


# ----- Convolutions -----


class Case:
    """A convolution of numbers; `read` has the channels of each source, and whether it has a sign.

    factor : by what its current is shuffled; bases : how many currents are added; fires : whether its neurons have a sign,
    None where there are none.
    """

    def __init__(self, planes, channels, *read, size=3, stride=1, padding=1, shape=(4, 7), extreme=0, factor=1, bases=0,
                 fires=None, most=None):  # fmt: skip
        draw = np.random.default_rng([planes, channels, size, len(read)])
        self.planes, self.channels, self.size, self.stride, self.padding = planes, channels, size, stride, padding
        self.read, self.shape, self.factor = read, shape, factor
        self.n = [drawn(draw, (*shape, c), planes, signed) for c, signed in read]
        wide, self.count = sum(c for c, _ in read), channels * factor**2
        self.weights = draw.integers(-127, 127, (self.count, wide, size, size), endpoint=True)
        self.bias = draw.integers(-9999, 9999, self.count)
        if extreme:
            self.weights[:], self.weights[::2] = -127, 127
            for (_, signed), n in zip(read, self.n, strict=True):
                n[:] = extreme * (2**planes - 1) if signed or extreme > 0 else 0
        self.rows, self.columns = ((side + 2 * padding - size) // stride + 1 for side in shape)
        self.made = (self.rows * factor, self.columns * factor, channels)
        self.bases = [draw.integers(-(2**20), 2**20, self.made).astype(np.int32) for _ in range(bases)]
        self.currents = self.shuffled() + sum(self.bases)
        self.neurons = None
        if fires is not None:
            large = max(1, int(abs(self.currents).mean() / (100 * 2**planes)))
            self.neurons = Neurons(channels, planes, fires, most, large)
            self.numbers = self.neurons.expected(self.currents) + 64 * fires
            assert 0.1 < (self.numbers != 64 * fires).mean() < 0.9

    def shuffled(self):
        """int64 (rows·factor, columns·factor, C): channel c·factor² + i·factor + j goes to row i and column j of channel c."""
        both = self.padding
        n = np.pad(np.concatenate(self.n, axis=-1), ((both, both), (both, both), (0, 0)))
        sums = np.zeros((self.rows, self.columns, self.count), np.int64) + self.bias
        for dy, dx in np.ndindex(self.size, self.size):
            seen = n[dy : dy + self.stride * (self.rows - 1) + 1 : self.stride]
            seen = seen[:, dx : dx + self.stride * (self.columns - 1) + 1 : self.stride]
            sums += seen @ self.weights[:, :, dy, dx].T
        out, f = np.zeros(self.made, np.int64), self.factor
        for c, i, j in np.ndindex(self.channels, f, f):
            out[i::f, j::f, c] = sums[..., (c * f + i) * f + j]
        return out

    def source(self):
        """The numbers, silence around them, and 255 wherever nothing may depend on them; and where the first ones are."""
        both, parts = self.padding, []
        for n, (_, signed) in zip(self.n, self.read, strict=True):
            parts.append(np.pad(n + 64 * signed, ((both, both), (both, both), (0, 0)), constant_values=64 * signed))
        flat, where = framed(np.concatenate(parts, axis=-1).astype(np.uint8), 1, 2, 255)
        behind = np.full(digits.SEGMENT * sum(c for c, _ in self.read), 255, np.uint8)
        return np.concatenate([flat, behind]), where

    def layout(self):
        """The kernel's arguments from `taps` to `constant`."""
        lanes = 16 if self.count <= 16 else digits.WIDE
        blocks, wide, f = -(-self.count // lanes), self.weights.shape[1], self.factor
        offset = np.repeat([64 * signed for _, signed in self.read], [c for c, _ in self.read])
        constants = self.bias - np.tensordot(self.weights.sum(axis=(2, 3)), offset, 1)
        table = np.zeros((blocks, self.size, self.size * wide // 4, lanes, 4), np.int8)
        constant = np.zeros(blocks * lanes, np.int32)
        for i, j, c in np.ndindex(f, f, self.channels):
            to, own = (i * f + j) * self.channels + c, (c * f + i) * f + j
            row = self.weights[own].transpose(1, 2, 0).reshape(self.size, -1, 4)  # (dy, dx and channel)
            table[to // lanes, :, :, to % lanes], constant[to] = row, constants[own]
        taps = np.array([self.size, self.stride, wide, f, self.channels])
        return taps, table.ravel(), lanes, constant

    def check(self, kernels, bands=None, width=None, does=None):
        """What the kernel makes of these rows, by default all, and of the last `width` columns, is as defined.

        does : whether the sum is kept and whether neurons fire, by default all that there is.
        """
        does = ({KEPT} if self.neurons is None else {KEPT, FIRED}) if does is None else does
        width, f = width or self.columns, self.factor
        left = self.columns - width
        bands = [(0, self.rows)] if bands is None else bands
        numbers, where = self.source()
        rows = [[where[0] + left * self.stride * self.weights.shape[1], where[1]]]
        arrays = []
        for i in range(2):
            flat, at = np.zeros(0, np.int32), [7, 7]
            if i < len(self.bases):
                flat, at = framed(self.bases[i], i, 2 - i, UNTOUCHED)
            arrays.append(flat)
            rows.append([at[0] + left * f * self.channels, at[1]])
        found = []
        for asked, kind, fill in ((KEPT in does, np.int32, UNTOUCHED), (FIRED in does, np.uint8, NO_NUMBER)):
            flat, at = np.zeros(0, kind), [7, 7]
            if asked:
                flat, at = framed(np.full(self.made, fill, kind), 2, 1, fill)
            found.append(flat)
            rows.append([at[0] + left * f * self.channels, at[1]])
        neurons = self.neurons.form if FIRED in does else NO_FORM
        for first, last in bands:
            block = np.array([first, last, width])
            kernels.convolve(numbers, np.array(rows), *self.layout(), *arrays, found[0], neurons, found[1], block)
        made = np.zeros(self.made[:2], bool)
        for first, last in bands:
            made[first * f : last * f, left * f :] = True
        if KEPT in does:
            kept = inside(found[0], 2, 1, self.made, UNTOUCHED)
            np.testing.assert_array_equal(kept, np.where(made[..., None], self.currents, UNTOUCHED))
        if FIRED in does:
            fired = inside(found[1], 2, 1, self.made, NO_NUMBER)
            np.testing.assert_array_equal(fired, np.where(made[..., None], self.numbers, NO_NUMBER))


CASES = {
    "two planes": Case(2, 16, (16, False)),
    "three planes": Case(3, 3, (48, False), padding=0),
    "four planes": Case(4, 40, (32, True), size=2),
    "five planes": Case(5, 64, (64, False)),
    "six planes and a sign": Case(6, 32, (128, True), shape=(2, 5)),
    "seven planes": Case(7, 1, (16, False), size=1, padding=0),
    "point": Case(5, 40, (48, True), size=1, padding=0),
    "padded point": Case(5, 3, (32, False), size=1),
    "not padded": Case(5, 3, (48, False), padding=0),
    "even": Case(5, 40, (32, True), size=2),
    "strided": Case(5, 17, (32, True), stride=2),
    "strided, even": Case(5, 64, (64, False), size=2, stride=2, padding=0, shape=(6, 8)),
    "strided point": Case(6, 16, (16, True), size=1, stride=2, padding=0, shape=(5, 9)),
    "sources": Case(5, 33, (16, True), (64, False), (48, True), (32, False)),
    "sources, strided": Case(2, 16, (32, False), (16, True), size=2, stride=2, padding=1),
    "one pixel": Case(5, 16, (16, True), shape=(1, 1)),
    "128 channels, few": Case(5, 16, (128, False), size=2, padding=0),
    "strided by four": Case(5, 48, (16, False), stride=4, shape=(5, 22)),
    "shuffled": Case(5, 16, (32, True), factor=2),
    "shuffled, no multiple of 16": Case(5, 3, (16, False), factor=2, shape=(3, 5)),
    "shuffled by three": Case(5, 1, (16, True), size=1, padding=0, factor=3),
    "shuffled by three, many": Case(6, 48, (48, False), size=2, stride=2, factor=3, shape=(3, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_currents(kernels, name):
    """All rows at once, and in bands."""
    case = CASES[name]
    case.check(kernels)
    case.check(kernels, [(0, 1), (1, case.rows)])


PASSES = {
    "16": (5, 16, [(16, False)], {"fires": False}),
    "16, and a sign": (6, 16, [(64, True)], {"fires": True, "size": 2}),
    "32, strided": (5, 32, [(32, True)], {"fires": True, "stride": 2, "shape": (5, 8)}),
    "48": (2, 48, [(16, True)], {"fires": False}),
    "64": (7, 64, [(64, False)], {"fires": False, "size": 1, "padding": 0, "shape": (3, 14)}),
    "128, of sources": (5, 128, [(16, True), (32, False)], {"fires": False, "stride": 2, "shape": (4, 6)}),
    "shuffled": (5, 16, [(32, False)], {"fires": True, "factor": 2, "shape": (3, 5)}),
    "shuffled, few spikes": (5, 32, [(16, True)], {"fires": False, "factor": 2, "shape": (2, 5), "most": 28}),
    "shuffled by three": (
        4,
        16,
        [(16, False)],
        {"fires": False, "factor": 3, "size": 1, "padding": 0, "shape": (3, 4)},
    ),
    "two segments": (5, 16, [(16, True)], {"fires": True, "shape": (1, 99), "size": 2}),
    "two segments, shuffled": (5, 16, [(16, False)], {"fires": True, "shape": (1, 99), "size": 1, "factor": 2}),
}


@cache
def pass_of(name, bases):
    planes, channels, read, options = PASSES[name]
    return Case(planes, channels, *read, bases=bases, **options)


@pytest.mark.parametrize("name", PASSES)
def test_every_pass(kernels, name):
    """With none, one and two currents that are added; the sum kept, fired, or both."""
    for bases in range(3):
        case = pass_of(name, bases)
        for does in ({KEPT, FIRED}, {KEPT}, {FIRED}):
            case.check(kernels, [(0, case.rows // 2), (case.rows // 2, case.rows)], does=does)


def test_a_band_of_rows_leaves_the_others_alone(kernels):
    case = Case(5, 16, (16, True), shape=(5, 6), factor=2, bases=1, fires=True)
    case.check(kernels, [(1, 2), (3, 4)])
    case.check(kernels, [(2, 4)], width=3)


WIDTHS = sorted(
    {n + more for n in (1, digits.WIDE_PIXELS, digits.NARROW_PIXELS, digits.SEGMENT) for more in (-1, 0, 1)}
)


@pytest.mark.parametrize(("channels", "read"), [(16, 16), (40, 16), (16, 64), (33, 32)])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_width_of_a_tile_and_of_a_segment(kernels, channels, read, stride):
    widths = [*WIDTHS[1:], 2 * digits.SEGMENT + 5]
    case = Case(5, channels, (read, True), size=2, padding=0, stride=stride, shape=(2, stride * max(widths) + 1))
    for width in widths:
        case.check(kernels, width=width)


def test_fired_at_every_width(kernels):
    case = Case(5, 16, (16, False), size=1, padding=0, shape=(1, 110), bases=2, fires=True)
    for width in WIDTHS[1:]:
        case.check(kernels, width=width)


@pytest.mark.parametrize("read", [((64, False),), ((128, True),), ((64, True), (64, False))])
@pytest.mark.parametrize("extreme", [-1, 1])
@pytest.mark.parametrize("channels", [16, 64])
def test_the_largest_numbers(kernels, read, extreme, channels):
    planes = 6 if any(signed for _, signed in read) else 7
    case = Case(planes, channels, *read, extreme=extreme)
    assert extreme < 0 or np.abs(case.currents).max() > 9 * 64 * (2**planes - 1) * 127 - 9999
    case.check(kernels)


HERE = digits._features


@pytest.mark.skipif(INTERPRETED, reason="there is no other processor without the compiler")
@pytest.mark.parametrize("features", [("avx512vnni",), ("avx512bw",), ("avx2",), ()])
@pytest.mark.parametrize(("lanes", "apart"), [(16, 0), (16, 16), (32, 0), (32, 16)])
def test_every_processor_adds_the_same(monkeypatch, features, lanes, apart):
    """With pixels as far apart as is known beforehand, and as the kernel is told."""
    if not all(HERE.get(feature) for feature in features):
        pytest.skip("this machine's processor is another")
    monkeypatch.setattr(digits, "_features", dict.fromkeys(features, True))
    draw, pixels, length = np.random.default_rng(lanes), 3, 5
    convolve = digits._make_convolve(lanes, pixels, apart)

    @compile_afresh
    def run(x, rows, at, stride, weights, first, length, constant, group, sums, out, step):
        convolve(x, rows, at, stride, weights, first, length, constant, group, sums, out, step)

    rows, constant = np.array([90, 7]), draw.integers(-9999, 9999, lanes + 16).astype(np.int32)
    for low, high in ((0, 127), (127, 127)):
        x = draw.integers(low, high, 200, np.uint8, endpoint=True)
        weights = draw.integers(-127, 127, 3 + 2 * length * lanes * 4, np.int8, endpoint=True)
        if low == high:
            weights[:] = np.where(np.arange(weights.size) // 4 % 2 == 0, 127, -127)
        expected = np.full(4 + pixels * (lanes + 1), 7)
        for p, lane in np.ndindex(pixels, lanes):
            place = [(d, q, j) for d in range(2) for q in range(length) for j in range(4)]
            read = [int(x[rows[d] + 2 + 16 * p + 4 * q + j]) for d, q, j in place]
            kernel_at = [3 + 4 * lanes * (d * length + q) + 4 * lane + j for d, q, j in place]
            total = sum(n * int(weights[k]) for n, k in zip(read, kernel_at, strict=True))
            expected[4 + p * (lanes + 1) + lane] = constant[16 + lane] + total
        for f in (run, digits._python_convolve(lanes, pixels, apart)):
            sums = np.full(expected.shape, 7, np.int32)
            f(x, rows, 2, 16, weights, 3, length, constant, 16, sums, 4, lanes + 1)
            np.testing.assert_array_equal(sums, expected)
