"""Every kind of declared neuron in every kernel that fires, compiled and in plain Python, against `tests.naive_neurons`."""

import numpy as np
import pytest

from nspike.kernels import currents as known
from nspike.kernels import firing, narrow, wide
from nspike.kernels._jit import kernel
from tests import naive
from tests.kernels.test_narrow import columns as row_columns
from tests.kernels.test_narrow import masks_of, taps_and_offsets
from tests.kernels.test_narrow import pack as pack_rows
from tests.kernels.test_wide import NEVER, pack, padded, table, words_of
from tests.naive_neurons import declared

pytestmark = pytest.mark.slow

KINDS = {
    "plain": {},
    "leak": {"keep": 61440},
    "leak and input": {"keep": 32768, "factor": 32767},
    "no membrane": {"keep": 0},
    "zero": {"zero": True},
    "leak to zero": {"keep": 60001, "factor": 5537, "zero": True},
    "signed": {"up": 1, "down": 1},
    "signed leak": {"up": 1, "down": 1, "keep": 50000, "factor": 65536},
    "signed zero": {"up": 1, "down": 1, "zero": True},
    "burst": {"up": 3, "most": 7},
    "burst of five": {"up": 3, "most": 5},
    "burst of two": {"up": 2, "most": 2},
    "both": {"up": 2, "down": 3, "most": 6, "keep": 65535},
    "many": {"up": 7, "most": 127},
}


def form(channels, keep=firing.ONE, factor=firing.ONE, zero=False, up=1, down=0, most=1):
    return firing.form(channels, keep, factor, zero, up, down, most)


def planes(kind):
    return kind.get("up", 1) + kind.get("down", 0)


class Cells:
    """Numbers of C neurons at steps 1 .. 4, of which T = 3; some never fire, some just do."""

    steps, timesteps = 4, 3

    def __init__(self, seed, channels, kind):
        draw = np.random.default_rng(seed)
        self.channels, self.columns = channels, -(-channels // 16) * 16
        self.v0 = draw.integers(-3000, 3000, channels)
        self.threshold = draw.integers(1, 4000, (self.steps, channels))
        self.reset = draw.integers(1, 4000, (self.steps, channels))
        self.bias = np.stack([draw.integers(-2000, 2000, channels), draw.integers(-2000, 2000, channels)])
        silent = draw.random((self.steps, channels)) < 0.1
        self.threshold[silent], self.reset[silent] = NEVER, 0
        self.kind, self.dynamics = kind, form(channels, **kind)

    def numbers(self):
        fill = padded(self.threshold, self.columns, NEVER)
        return padded(self.v0, self.columns), fill, padded(self.reset, self.columns)

    def biased(self, currents):
        post = np.arange(len(currents)) >= self.timesteps
        return currents + np.where(post[:, None], self.bias[1], self.bias[0]).reshape(
            len(currents), self.channels, 1, 1
        )

    def expected(self, currents):
        """Spikes (steps, planes·C, H, W) and membranes (C, H, W) of currents (steps, C, H, W), the bias in them."""
        spikes, v = declared(currents, self.v0, self.threshold, self.reset, **self.kind)
        return spikes.reshape(len(spikes), -1, *spikes.shape[3:]), v


def words_to_fill(cells, shape, pad=1):
    words = words_of(cells.channels * planes(cells.kind))
    return np.full((shape[0] + 2 * pad, shape[1] + 2 * pad, cells.steps, words), 2**64 - 1, np.uint64)


def inner(words, pad=1):
    return words[pad:-pad, pad:-pad]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [5, 64, 70, 144])
@pytest.mark.parametrize("constant", [False, True])
def test_from_known_currents(name, channels, constant):
    """In bands of rows and a part of the columns, the bias not zero; with a trace, the same."""
    cells, (height, width) = Cells(channels, channels, KINDS[name]), (3, 4)
    draw = np.random.default_rng(1)
    given = draw.integers(-9000, 9000, (1 if constant else 4, channels, height, width))
    spread = np.concatenate([np.repeat(given, 3, axis=0), np.zeros_like(given)]) if constant else given
    spikes, v = cells.expected(cells.biased(spread))
    arriving = np.ascontiguousarray(given.transpose(0, 2, 3, 1), np.int32)
    trace = np.full((height, width, cells.steps, channels), np.nan, np.float32)
    scale = np.ldexp(np.float32(1), -np.arange(cells.columns) % 20).astype(np.float32)
    for noted in ((None, None), (trace, scale)):
        out, v_out = words_to_fill(cells, (height, width)), np.zeros((height, width, channels), np.int32)
        for first, last in ((0, 1), (1, 3)):
            band, at = np.ascontiguousarray(arriving[:, first:last]), np.array([-first, 0])
            numbers = (cells.timesteps, padded(cells.bias, cells.columns), *cells.numbers())
            block = np.array([first, last, 0, width])
            known.fire(band, at, *numbers, out, np.array([1, 1]), v_out, block, *noted, cells.dynamics)
        np.testing.assert_array_equal(inner(out), inner(pack(spikes, 1)))
        np.testing.assert_array_equal(v_out.transpose(2, 0, 1), v)
    before = np.broadcast_to(cells.v0[:, None, None], v.shape)
    one = {**cells.kind, "up": 1, "down": 0, "most": 1, "zero": False}
    silent = np.full((cells.steps, channels), NEVER)
    for t in range(cells.steps):
        _, u = declared(cells.biased(spread)[t : t + 1], before[:, 0, 0], silent[:1], silent[:1], **one)
        x = u[:, 0, 0] - cells.threshold[t]
        np.testing.assert_array_equal(trace[0, 0, t], x.astype(np.float32) * scale[:channels])
        _, after = declared(cells.biased(spread)[: t + 1], cells.v0, cells.threshold, cells.reset, **cells.kind)
        before = after


def test_nothing_kept():
    """Neither spikes nor membranes, only the trace."""
    cells = Cells(0, 5, KINDS["signed"])
    arriving, trace = np.full((4, 1, 1, 5), 5000, np.int32), np.zeros((1, 1, 4, 5), np.float32)
    numbers = (cells.timesteps, padded(cells.bias, 16), *cells.numbers(), np.zeros((0, 0, 4, 1), np.uint64))
    block, zero = np.array([0, 1, 0, 1]), np.zeros(2, np.int64)
    nothing = np.zeros((1, 1, 0), np.int32)
    known.fire(arriving, zero, *numbers, zero, nothing, block, trace, np.ones(16, np.float32), cells.dynamics)
    assert trace[0, 0, 0].tolist() == (cells.v0 + 5000 + cells.bias[0] - cells.threshold[0]).astype(np.float32).tolist()
    none, v_out = np.full((8, 0, 0, 0), 1, np.float32), np.zeros((1, 1, 5), np.int32)
    known.fire(arriving, zero, *numbers, zero, v_out, block, none, np.ones(16, np.float32), cells.dynamics)
    assert v_out.any()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [17, 64, 80])
def test_from_spikes(name, channels):
    cells, size, shape = Cells(channels, channels, KINDS[name]), 3, (3, 5)
    draw = np.random.default_rng(2)
    read = draw.random((cells.steps, 66, *shape)) < 0.2
    weights = draw.integers(-1500, 1500, (2, channels, 66, size, size))
    sums = np.stack([naive.convolve(x, weights[int(t >= cells.timesteps)]) for t, x in enumerate(read)])
    spikes, v = cells.expected(cells.biased(sums))
    flat = np.stack([table(w, cells.columns) for w in weights])
    numbers = (flat, 0, cells.timesteps, padded(cells.bias, cells.columns), *cells.numbers())
    trace, scale = np.zeros((*shape, cells.steps, channels), np.float32), np.ones(cells.columns, np.float32)
    for noted in ((None, None), (trace, scale)):
        out, v_out = words_to_fill(cells, shape), np.zeros((*shape, channels), np.int32)
        place = (out, np.array([1, 1]), v_out, np.array([0, *shape[:1], 0, shape[1]]))
        wide.conv_fire(pack(read, 1), np.zeros(2, np.int64), size, *numbers, *place, *noted, cells.dynamics)
        np.testing.assert_array_equal(inner(out), inner(pack(spikes, 1)))
        np.testing.assert_array_equal(v_out.transpose(2, 0, 1), v)


@pytest.mark.parametrize("name", KINDS)
def test_from_the_image(name):
    cells, shape = Cells(3, 21, KINDS[name]), (3, 4)
    draw = np.random.default_rng(3)
    plane = draw.integers(-65535, 2 * 65535, (2, *shape), dtype=np.int32)
    weights, bias = draw.integers(-6000, 6000, (21, 2, 3, 3)), cells.bias[0]
    current = naive.image_current(plane, weights) + bias[:, None, None]
    spikes, _ = cells.expected(np.stack([current] * 3 + [0 * current]))
    flat = np.zeros((18, cells.columns), np.int64)
    flat[:, :21] = weights.transpose(2, 3, 1, 0).reshape(-1, 21)
    out, at = words_to_fill(cells, shape), np.array([-1, -1])
    place = (out, np.array([1, 1]), np.array([0, shape[0], 0, shape[1]]))
    numbers = (flat, cells.timesteps, padded(bias, cells.columns), *cells.numbers())
    wide.analog_fire(plane, at, 3, *numbers, *place, cells.dynamics)
    np.testing.assert_array_equal(inner(out), inner(pack(spikes, 1)))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("width", [5, 64, 66])
def test_along_the_row(name, width):
    """From spikes, through a gate, and from a constant current."""
    cells, rows = Cells(width, 3, KINDS[name]), 4
    draw = np.random.default_rng(4)
    read = draw.random((cells.steps, 3, rows, width)) < 0.4
    bias, threshold, reset = (a.astype(np.int32) for a in (cells.bias, cells.threshold, cells.reset))
    more = row_columns(width)

    def start():
        v = np.zeros((rows, 3, more), np.int32)
        v[:] = cells.v0[:, None]
        return v, np.full((cells.steps, 3 * planes(cells.kind), rows, more // 64), 2**64 - 1, np.uint64)

    weights = draw.integers(-3000, 3000, (2, 3, 3, 3, 3))
    sums = np.stack([naive.convolve(x, weights[int(t >= cells.timesteps)]) for t, x in enumerate(read)])
    taps = np.stack([taps_and_offsets(w, 0)[0] for w in weights])
    masks = masks_of([read], 0, 0, rows, 3, width)
    _, offsets = taps_and_offsets(weights[0], masks.shape[2])
    v, out = start()
    numbers = (cells.timesteps, bias, threshold, reset, width, 0)
    narrow.conv_fire(pack_rows(read), 1, offsets, taps, *numbers, masks, v, out, cells.dynamics)
    _same_rows(cells, cells.biased(sums), v, out)

    gates = draw.integers(-5000, 5000, (3, rows, more), dtype=np.int32)
    v, out = start()
    narrow.gate_fire(pack_rows(read), gates, np.ones(1, np.int32), *numbers, v, out, cells.dynamics)
    _same_rows(cells, cells.biased(read * gates[..., :width].astype(np.int64)), v, out)

    v, out = start()
    narrow.fire(gates.copy(), cells.timesteps, threshold, reset, width, 0, v, out, cells.dynamics)
    steady = gates[..., :width].astype(np.int64)
    _same_rows(cells, np.stack([steady] * 3 + [0 * steady]), v, out)


def _same_rows(cells, currents, v, out):
    spikes, after = cells.expected(currents)
    np.testing.assert_array_equal(out, pack_rows(spikes))
    np.testing.assert_array_equal(v[..., : currents.shape[3]].transpose(1, 0, 2), after)


@kernel
def fire_pixel(current, first, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at, words):
    firing.fire_pixel(current, first, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at, words)


@kernel
def sum_fire_pixel(
    events, first, count, weights, offset, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at, words
):
    firing.sum_fire_pixel(
        events,
        first,
        count,
        weights,
        offset,
        bias,
        bias_at,
        v,
        threshold,
        reset,
        at,
        columns,
        dynamics,
        out,
        out_at,
        words,
    )


@kernel
def fire_row(v, first, current, at, bias, threshold, reset, dynamics, mask, out, out_at, stride):
    firing.fire_row(v, first, current, at, bias, threshold, reset, dynamics, mask, out, out_at, stride)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("largest", [6000, 2**24])
def test_one_step_of_a_pixel(name, largest):
    """Compiled and in plain Python; with membranes of up to 126 steps of the largest input, and with numbers at a threshold."""
    kind, channels, columns = KINDS[name], 90, 96
    draw = np.random.default_rng(5)
    v = np.append(draw.integers(-largest, largest, 80) * (100 if largest > 6000 else 1), np.zeros(16, int)).astype(
        np.int32
    )
    current, bias = (draw.integers(-largest, largest, columns + 7, dtype=np.int32) for _ in range(2))
    threshold, reset = np.full(columns, NEVER), np.zeros(columns, np.int32)
    threshold[:channels], reset[:channels] = draw.integers(1, largest // 2, (2, channels))
    arriving = current[3 : 3 + columns].astype(np.int64) + bias[5 : 5 + columns]
    u = _potentials(kind, v, arriving)
    at_it = (u[:30] > 0) & (u[:30] < 2**24)
    threshold[:30][at_it] = u[:30][at_it]
    if "down" in kind:
        below = (u[30:60] < 0) & (u[30:60] > -(2**24))
        threshold[30:60][below] = -u[30:60][below]
    numbers = (arriving[None, :channels], v, threshold[None], reset[None])
    spikes, after = declared(*numbers, **kind)
    words = words_of(channels * planes(kind))
    bits = np.zeros(64 * words, np.uint8)
    bits[: channels * planes(kind)] = spikes[0].ravel()
    expected = np.packbits(bits, bitorder="little").view("<u8")
    for f in (fire_pixel, firing._python_fire_pixel):
        mine, out = v.copy(), np.full(words + 2, 7, np.uint64)
        apart = np.append(np.zeros(2, np.int32), threshold).astype(np.int32), np.append(np.zeros(2, np.int32), reset)
        f(current, 3, bias, 5, mine, *apart, 2, columns, form(channels, **kind), out, 1, words)
        np.testing.assert_array_equal(mine[:channels], after)
        np.testing.assert_array_equal(out[1:-1], expected)
        assert out[[0, -1]].tolist() == [7, 7]


def _potentials(kind, v, arriving):
    keep, factor = kind.get("keep", 65536), kind.get("factor", 65536)
    return ((v.astype(np.int64) * keep + 32768) >> 16) + ((arriving * factor + 32768) >> 16)


@pytest.mark.parametrize("name", ["plain", "leak to zero", "both"])
def test_one_step_from_events(name):
    kind, channels, columns = KINDS[name], 90, 96
    draw = np.random.default_rng(6)
    weights = draw.integers(-4095, 4095, (20, columns), dtype=np.int16)
    events = draw.integers(0, 20, 24, dtype=np.int32)
    bias, threshold, reset = (padded(draw.integers(1, 3000, channels), columns) for _ in range(3))
    threshold[channels:], reset[channels:] = NEVER, 0
    v = draw.integers(-9000, 9000, columns, dtype=np.int32)
    current = weights[events[4:20]].sum(axis=0, dtype=np.int32)
    words = words_of(channels * planes(kind))
    results = []
    for f in (sum_fire_pixel, firing._python_sum_fire_pixel):
        mine, out = v.copy(), np.zeros(words, np.uint64)
        last = (mine, threshold, reset, 0, columns, form(channels, **kind), out, 0, words)
        f(events, 4, 16, weights.ravel(), 0, bias, 0, *last)
        results.append((mine, out))
    mine, out = v.copy(), np.zeros(words, np.uint64)
    firing._python_fire_pixel(
        current, 0, bias, 0, mine, threshold, reset, 0, columns, form(channels, **kind), out, 0, words
    )
    for other in results:
        np.testing.assert_array_equal(other[0][:channels], mine[:channels])
        np.testing.assert_array_equal(other[1], out)


@pytest.mark.parametrize("name", KINDS)
def test_one_step_of_a_row(name):
    kind, mask = KINDS[name], np.uint64(2**50 - 1)
    draw = np.random.default_rng(7)
    v, current = draw.integers(-9000, 9000, 128, dtype=np.int32), draw.integers(-9000, 9000, 70, dtype=np.int32)
    arriving = current[3:67].astype(np.int64) + 5
    threshold = max(1, int(_potentials(kind, v[32:96], arriving)[0]))
    spikes, after = [], []
    for i in range(64):
        numbers = (np.array([[arriving[i]]]), v[32 + i : 33 + i], [[threshold]], [[700]])
        fired, left = declared(*numbers, **kind)
        spikes.append(fired[0, :, 0])
        after.append(left[0])
    for f in (fire_row, firing._python_fire_row):
        mine, out = v.copy(), np.full(3 * planes(kind) + 2, 9, np.uint64)
        single = (np.int32(5), np.int32(threshold), np.int32(700), form(1, **kind), mask)
        f(mine, 32, current, 3, *single, out, 2, 3)
        np.testing.assert_array_equal(mine[32:96], after)
        np.testing.assert_array_equal(mine[:32], v[:32])
        for plane in range(planes(kind)):
            bits = int(out[2 + 3 * plane])
            assert [bits >> i & 1 for i in range(64)] == [int(s[plane]) * (i < 50) for i, s in enumerate(spikes)]
        assert out[:2].tolist() == [9, 9]
