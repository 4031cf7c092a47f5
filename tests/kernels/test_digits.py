"""Spikes that are digits: every kernel, compiled and in plain Python, against the definition."""

import numpy as np
import pytest

from nspike.kernels import digits
from nspike.kernels._jit import INTERPRETED, compile_afresh, kernel
from tests.kernels.test_wide import pack
from tests.naive_neurons import declared

NEVER = 2**31 - 1


@kernel
def unpack_16(words, at, channels, up, down, out, to):
    digits.unpack_16(words, at, channels, up, down, out, to)


@kernel
def unpack_32(words, at, channels, up, down, out, to):
    digits.unpack_32(words, at, channels, up, down, out, to)


@kernel
def unpack_64(words, at, channels, up, down, out, to):
    digits.unpack_64(words, at, channels, up, down, out, to)


@kernel
def fire_16(sums, at, start, top, limits, worth, channels, up, down, out, to):
    digits.fire_16(sums, at, start, top, limits, worth, channels, up, down, out, to)


@kernel
def fire_32(sums, at, start, top, limits, worth, channels, up, down, out, to):
    digits.fire_32(sums, at, start, top, limits, worth, channels, up, down, out, to)


@kernel
def fire_64(sums, at, start, top, limits, worth, channels, up, down, out, to):
    digits.fire_64(sums, at, start, top, limits, worth, channels, up, down, out, to)


UNPACK = {16: unpack_16, 32: unpack_32, 64: unpack_64}
FIRE = {16: fire_16, 32: fire_32, 64: fire_64}
KINDS = [(2, False), (3, True), (4, False), (5, True), (6, False), (6, True), (7, False)]


def spelt(n, planes, signed):
    """Spikes bool (planes, ...) of whole numbers (...)."""
    up = [np.maximum(n, 0) >> i & 1 for i in range(planes)]
    return np.array(up + [np.maximum(-n, 0) >> i & 1 for i in range(planes)] if signed else up, bool)


def drawn(draw, shape, planes, signed):
    """Whole numbers, the last channel's the largest, and the first's the smallest."""
    most = 2**planes - 1
    n = draw.integers(-most if signed else 0, most, shape, endpoint=True)
    n[..., -1], n[..., 0] = most, -most if signed else 0
    return n


@pytest.mark.parametrize(("planes", "signed"), KINDS)
@pytest.mark.parametrize(("lanes", "channels"), [(16, 16), (16, 48), (32, 32), (32, 96), (64, 64), (64, 128)])
def test_numbers_are_put_together(lanes, channels, planes, signed):
    draw = np.random.default_rng(channels)
    n = drawn(draw, (1, 1, channels), planes, signed)
    words = pack(spelt(n, planes, signed).transpose(0, 3, 1, 2).reshape(1, -1, 1, 1), 0).ravel()
    read = np.concatenate([[2**64 - 1] * 2, words, [2**64 - 1]]).astype(np.uint64)
    up = (1,) * planes
    for unpack in (UNPACK[lanes], digits._python_unpack):
        out = np.full(channels + 7, 200, np.uint8)
        unpack(read, 2, channels, up, up if signed else (), out, 3)
        np.testing.assert_array_equal(out[3:-4], n.ravel() + 64 * signed)
        assert out[[0, 1, 2, -4, -3, -2, -1]].tolist() == [200] * 7


def test_planes_of_both_signs_are_added():
    """As given spikes may have them, which no neuron fires."""
    bits = np.zeros((1, 4, 16, 1, 1), bool)
    bits[0, (1, 2)] = True
    for unpack in (unpack_16, digits._python_unpack):
        out = np.zeros(16, np.uint8)
        unpack(pack(bits.reshape(1, 64, 1, 1), 0).ravel(), 0, 16, (1, 1), (1, 1), out, 0)
        assert out.tolist() == [64 + 2 - 1] * 16


class Neurons:
    """Numbers of C neurons that fire digits, some of which never do."""

    def __init__(self, channels, planes, signed, most=None):
        draw = np.random.default_rng(planes)
        self.planes, self.signed, self.most = planes, signed, most or 2**planes - 1
        self.v0 = draw.integers(-300, 300, channels).astype(np.int32)
        self.threshold, self.reset = draw.integers(1, 400, channels), draw.integers(1, 500, channels)
        self.threshold[5::7], self.reset[5::7] = NEVER, 0
        self.reset[1] = 2**24
        self.kind = {"up": planes, "down": planes * signed, "most": self.most}

    def currents(self, draw, *shape):
        """Of all sizes, and at the first pixels of a row where neurons just fire once or as often as they may, or just do not."""
        channels = len(self.v0)
        out = draw.integers(-10, (1.2 * self.most * self.reset).astype(np.int64) + 10, (*shape, channels))
        just = self.threshold + self.reset * draw.integers(0, self.most, out.shape) + draw.integers(-1, 1, out.shape)
        out = np.where(draw.random(out.shape) < 0.4, just, out)
        last = self.threshold + self.reset * (self.most - 1)
        for x, value in enumerate((self.threshold, self.threshold - 1, last, last - 1)):
            out[..., x, :] = value
        out = np.where(self.threshold < NEVER, out, 2**30)
        if self.signed:
            out *= draw.choice([-1, 1], out.shape)
        out = np.clip(out, -(2**30), 2**30) - self.v0
        out[..., -2, :], out[..., -1, :] = 2**30, -(2**30)
        return out.astype(np.int32)

    def expected(self, currents):
        """Spikes bool (planes·C, H, W) of currents (H, W, C), and the membranes (H, W, C) after them."""
        given = currents.transpose(2, 0, 1)[None]
        spikes, v = declared(given, self.v0, self.threshold[None], self.reset[None], **self.kind)
        return spikes.reshape(1, -1, *spikes.shape[3:]), v.transpose(1, 2, 0)

    @property
    def numbers(self):
        """start, top, limits and worth."""
        n = 2 ** np.arange(self.planes)[:, None]
        top, limits = self.threshold + self.reset * (self.most - 1), self.threshold + self.reset * (n - 1)
        worth = (self.reset * n).ravel()
        return self.v0, *(np.minimum(each, NEVER).ravel().astype(np.int32) for each in (top, limits, worth))

    @property
    def form(self):
        return *self.numbers, int(self.signed), (1,) * self.planes

    @property
    def dynamics(self):
        up = (1,) * self.planes
        return None, None, up, up if self.signed else (), self.most, len(self.v0)


@pytest.mark.parametrize(("planes", "signed"), KINDS)
@pytest.mark.parametrize(("lanes", "channels"), [(16, 16), (32, 32), (64, 64), (64, 128)])
def test_digits_are_fired(lanes, channels, planes, signed):
    for most in (2**planes - 1, max(2, 2**planes - 3)):
        neurons = Neurons(channels, planes, signed, most)
        sums = neurons.currents(np.random.default_rng(channels), 1, 20)
        spikes, _ = neurons.expected(sums)
        numbers = np.tensordot(2 ** np.arange(planes), spikes.reshape(-1, planes, channels, 20), (0, 1))
        assert set(numbers.ravel().tolist()) >= {0, 1, most}
        words = pack(spikes, 0)[0, :, 0]
        up = (1,) * planes
        flat = np.concatenate([np.full(3, 10**6, np.int32), sums.ravel(), np.full(3, 10**6, np.int32)])
        for fire in (FIRE[lanes], digits._python_fire):
            for x in range(20):
                out = np.full(words.shape[1] + 3, 7, np.uint64)
                fire(flat, 3 + x * channels, *neurons.numbers, channels, up, up if signed else (), out, 2)
                np.testing.assert_array_equal(out[2:-1], words[x])
                assert out[[0, 1, -1]].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("channels", "planes", "signed"), [(16, 5, False), (32, 2, True), (32, 5, False), (128, 6, True)]
)
def test_from_known_currents(channels, planes, signed):
    """In bands of rows and a part of the columns."""
    neurons, (height, width) = Neurons(channels, planes, signed), (4, 6)
    given = neurons.currents(np.random.default_rng(0), height + 1, width + 2)
    spikes, _ = neurons.expected(given[1:, 2:])
    out = np.zeros_like(pack(spikes, 2))
    for first, last in ((0, 1), (1, height)):
        at, into, block = np.array([1, 2]), np.array([2, 2]), np.array([first, last, 0, 4])
        digits.fire(given[None], at, neurons.form, out, into, block)
    digits.fire(given[None], np.array([1, 2]), neurons.form, out, np.array([2, 2]), np.array([0, height, 4, width]))
    np.testing.assert_array_equal(out, pack(spikes, 2))


class Case:
    """A convolution of numbers: `read` has the channels of each source, and whether it has a sign."""

    def __init__(self, planes, channels, *read, size=3, stride=1, padding=1, shape=(4, 7), extreme=0):
        draw = np.random.default_rng([planes, channels, size, len(read)])
        self.planes, self.channels, self.size, self.stride, self.padding = planes, channels, size, stride, padding
        self.read, self.shape = read, shape
        self.n = [drawn(draw, (*shape, c), planes, signed) for c, signed in read]
        wide = sum(c for c, _ in read)
        self.weights = draw.integers(-127, 127, (channels, wide, size, size), endpoint=True)
        self.bias = draw.integers(-9999, 9999, channels)
        if extreme:
            self.weights[:], self.weights[::2] = -127, 127
            for (_, signed), n in zip(read, self.n, strict=True):
                n[:] = extreme * (2**planes - 1) if signed or extreme > 0 else 0
        self.rows, self.columns = ((side + 2 * padding - size) // stride + 1 for side in shape)

    def currents(self):
        """int64 (rows, columns, C)."""
        both = self.padding
        n = np.pad(np.concatenate(self.n, axis=-1), ((both, both), (both, both), (0, 0)))
        out = np.zeros((self.rows, self.columns, self.channels), np.int64) + self.bias
        for dy, dx in np.ndindex(self.size, self.size):
            seen = n[dy : dy + self.stride * (self.rows - 1) + 1 : self.stride]
            seen = seen[:, dx : dx + self.stride * (self.columns - 1) + 1 : self.stride]
            out += seen @ self.weights[:, :, dy, dx].T
        return out

    def words(self, pad):
        """uint64 (rows, columns, 1, words), all bits set in the border, which is wider on the left."""
        parts = []
        for n, (_, signed) in zip(self.n, self.read, strict=True):
            spikes = spelt(n, self.planes, signed).transpose(0, 3, 1, 2)
            parts.append(pack(spikes.reshape(1, -1, *self.shape), 0))
        inner = np.concatenate(parts, axis=3)
        return np.pad(inner, ((pad, pad), (pad + 1, pad), (0, 0), (0, 0)), constant_values=2**64 - 1)

    def layout(self):
        """The kernel's arguments from `sources` to `constant`."""
        lanes = 16 if self.channels <= 16 else digits.WIDE
        blocks, wide = -(-self.channels // lanes), self.weights.shape[1]
        sources, word, first = [], 0, 0
        constant = np.zeros(blocks * lanes, np.int64)
        constant[: self.channels] = self.bias
        for c, signed in self.read:
            sources.append((word, c, int(signed)))
            word += -(-c * self.planes * (1 + signed) // 64)
            constant[: self.channels] -= 64 * signed * self.weights[:, first : first + c].sum(axis=(1, 2, 3))
            first += c
        table = np.zeros((blocks, self.size, self.size * wide // 4, lanes, 4), np.int8)
        for o in range(self.channels):
            row = self.weights[o].transpose(1, 2, 0).reshape(self.size, -1, 4)  # (dy, dx and channel)
            table[o // lanes, :, :, o % lanes] = row
        return np.array(sources), (1,) * self.planes, table.ravel(), lanes, constant.astype(np.int32)

    @property
    def taps(self):
        return np.array([self.size, self.stride, 1, self.padding])


def bands(case):
    """Blocks of the output that make up the whole."""
    middle, part = (case.rows + 1) // 2, max(1, case.columns // 3)
    return [
        [0, middle, 0, case.columns],
        [middle, case.rows, 0, part],
        [middle, case.rows, part, case.columns],
    ]


def computed(case, pad=1, blocks=None):
    out = np.full((case.rows + 2, case.columns + 3, case.channels), 10**9, np.int32)
    places, bias = np.array([pad, pad + 1, 1, 2, *case.shape]), np.zeros((2, case.channels), np.int32)
    for block in bands(case) if blocks is None else blocks:
        digits.convolve(case.words(pad), places, case.taps, *case.layout(), 1, bias, np.array(block), out[None])
    assert (out[[0, -1]] == 10**9).all()
    assert (out[:, [0, 1, -1]] == 10**9).all()
    return out[1:-1, 2:-1]


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
}


SLOW = ("three planes", "four planes")  # to compile


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES])
def test_currents(name):
    case = CASES[name]
    expected = case.currents()
    np.testing.assert_array_equal(computed(case), expected)
    np.testing.assert_array_equal(computed(case, 0, [[0, case.rows, 0, case.columns]]), expected)


TILES = sorted({digits.WIDE_PIXELS, digits.NARROW_PIXELS})


@pytest.mark.parametrize("channels", [16, 40])
@pytest.mark.parametrize("stride", [1, 2])
def test_every_width_of_a_tile_and_of_a_segment(channels, stride):
    whole = digits.SEGMENT
    widths = [n + more for n in (*TILES, whole) for more in (-1, 0, 1)] + [2 * whole + 5]
    case = Case(5, channels, (16, True), stride=stride, shape=(3, stride * max(widths)))
    expected = case.currents()
    for width in widths:
        found = computed(case, blocks=[[0, case.rows, case.columns - width, case.columns]])
        np.testing.assert_array_equal(found[:, -width:], expected[:, -width:])
        assert (found[:, :-width] == 10**9).all()


@pytest.mark.parametrize("read", [((64, False),), ((128, True),), ((64, True), (64, False))])
@pytest.mark.parametrize("extreme", [-1, 1])
@pytest.mark.parametrize("channels", [16, 64])
def test_the_largest_numbers(read, extreme, channels):
    planes = 6 if any(signed for _, signed in read) else 7
    case = Case(planes, channels, *read, extreme=extreme)
    expected = case.currents()
    assert extreme < 0 or np.abs(expected).max() > 9 * 64 * (2**planes - 1) * 127 - 9999
    np.testing.assert_array_equal(computed(case), expected)


class FiringCase(Case):
    """The same with neurons that integrate its currents."""

    def __init__(self, planes, channels, *read, signed, plain=False, **options):
        super().__init__(planes, channels, *read, **options)
        self.neurons = Neurons(channels, 1 if plain else planes, signed)
        self.neurons.threshold[self.neurons.threshold < NEVER] *= 40
        self.neurons.reset[2:] *= 20
        self.spikes, self.membranes = self.neurons.expected(self.currents())
        assert 0.01 < self.spikes.mean() < 0.9

    def fired(self, *numbers, v_out, pad=1, border=2):
        """The words of the spikes, of which there are none in the border; `v_out` begins a row and two columns before."""
        out = np.zeros_like(pack(np.pad(self.spikes, ((0, 0), (0, 0), (1, 0), (2, 0))), border))
        places = np.array([pad, pad + 1, 1, 2, *self.shape])
        bias = np.zeros((2, -(-self.channels // 16) * 16), np.int32)
        for block in bands(self):
            where = (places, self.taps, *self.layout(), 1, bias, np.array(block), out)
            digits.convolve(self.words(pad), *where, *numbers[:4], v_out, *numbers[4:])
        inner = out[border + 1 : -border, border + 2 : -border]
        spikes, inner[:] = inner.copy(), 0
        assert not out.any()
        return spikes


@pytest.mark.parametrize(("planes", "channels", "read", "signed", "options"), [
    (5, 16, [(16, False)], False, {}),
    (5, 32, [(32, True)], True, {"shape": (4, 14)}),
    (5, 128, [(16, True), (32, False)], False, {"stride": 2, "shape": (4, 6)}),
    (5, 16, [(16, True)], True, {"shape": (2, 99)}),
])  # fmt: skip
def test_fired_with_a_form(planes, channels, read, signed, options):
    case = FiringCase(planes, channels, *read, signed=signed, **options)
    nothing = np.zeros((case.rows + 1, case.columns + 2, 0), np.int32)
    found = case.fired(None, None, None, None, case.neurons.form, v_out=nothing)
    np.testing.assert_array_equal(found, pack(case.spikes, 0))


@pytest.mark.parametrize(("channels", "read", "signed", "options"), [
    (3, [(16, False)], False, {"shape": (3, 99)}),
    (40, [(32, True)], True, {"stride": 2, "shape": (5, 6)}),
    (20, [(16, True)], False, {"plain": True}),
])  # fmt: skip
def test_fired_with_membranes(channels, read, signed, options):
    case = FiringCase(5, channels, *read, signed=signed, **options)
    columns, own = -(-case.channels // 16) * 16, case.neurons
    wide = [(0, 0), (0, columns - case.channels)]
    threshold = np.pad(own.threshold[None], wide, constant_values=NEVER).astype(np.int32)
    numbers = np.pad(own.v0, wide[1]), threshold, np.pad(own.reset[None], wide).astype(np.int32)
    dynamics = None if options.get("plain") else own.dynamics
    for kept in (case.channels, 0):
        v_out = np.full((case.rows + 1, case.columns + 2, kept), 7, np.int32)
        found = case.fired(*numbers, dynamics, v_out=v_out)
        np.testing.assert_array_equal(found, pack(case.spikes, 0))
        np.testing.assert_array_equal(v_out[1:, 2:], case.membranes[:, :, :kept])
        assert (v_out[0] == 7).all()
        assert (v_out[:, :2] == 7).all()


HERE = digits._features


@pytest.mark.skipif(INTERPRETED, reason="there is no other processor without the compiler")
@pytest.mark.parametrize("features", [("avx512bw",), ("avx2",), ()])
@pytest.mark.parametrize("lanes", [16, 32])
def test_every_processor_adds_the_same(monkeypatch, features, lanes):
    if not all(HERE.get(feature) for feature in features):
        pytest.skip("this machine's processor is another")
    monkeypatch.setattr(digits, "_features", dict.fromkeys(features, True))
    draw, pixels, length = np.random.default_rng(lanes), 3, 5
    convolve = digits._make_convolve(lanes, pixels)

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
        for f in (run, digits._python_convolve(lanes, pixels)):
            sums = np.full(expected.shape, 7, np.int32)
            f(x, rows, 2, 16, weights, 3, length, constant, 16, sums, 4, lanes + 1)
            np.testing.assert_array_equal(sums, expected)
