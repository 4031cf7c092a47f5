"""The kernels for many channels, called by themselves, against `tests.naive`."""

import numpy as np
import pytest

from nspike.kernels import wide
from tests import naive

NEVER = np.int32(2**31 - 1)


def words_of(channels):
    return -(-channels // 64)


def pack(spikes, pad):
    """bool (steps, C, H, W) -> uint64 (H + 2·pad, W + 2·pad, steps, words), channel by channel."""
    steps, channels, height, width = spikes.shape
    out = np.zeros((height + 2 * pad, width + 2 * pad, steps, words_of(channels)), np.uint64)
    for c in range(channels):
        out[pad : pad + height, pad : pad + width, :, c // 64] |= spikes[:, c].transpose(1, 2, 0).astype(np.uint64) << (
            np.uint64(c % 64)
        )
    return out


def unpack(words, pad, channels):
    inner = words[pad : words.shape[0] - pad, pad : words.shape[1] - pad]
    return np.stack([(inner[..., c // 64] >> np.uint64(c % 64)) & np.uint64(1) for c in range(channels)]).astype(bool)


def table(weights, columns):
    """int64 (C, I, k, k) -> int16 flat: rows (dy, dx, word, bit) and one of zeros."""
    channels, read, size, _ = weights.shape
    rows = words_of(read) * 64
    out = np.zeros((size * size * rows + 1, columns), np.int16)
    for dy, dx, i in np.ndindex(size, size, read):
        out[(dy * size + dx) * rows + i, :channels] = weights[:, i, dy, dx]
    return out.ravel()


def padded(values, columns, fill=0):
    out = np.full((*np.shape(values)[:-1], columns), fill, np.int32)
    out[..., : np.shape(values)[-1]] = values
    return out


class Case:
    """A random layer: its spikes, weights in two phases, and the numbers of its neurons."""

    def __init__(self, seed, read, channels, size, shape, rate, extreme=False):
        draw = np.random.default_rng(seed)
        self.steps, self.timesteps, self.channels, self.size = 4, 3, channels, size
        self.columns = -(-channels // 16) * 16
        self.spikes = draw.random((self.steps, read, *shape)) < rate
        low, high = (4095, 4095) if extreme else (-4095, 4095)
        self.weights = draw.integers(low, high, (2, channels, read, size, size), endpoint=True)
        self.bias = draw.integers(-3000, 3000, (2, channels))
        self.v0 = draw.integers(-3000, 3000, channels)
        self.threshold = draw.integers(1, 6000, (self.steps, channels))
        self.reset = draw.integers(1, 6000, (self.steps, channels))

    def currents(self):
        post = [int(t >= self.timesteps) for t in range(self.steps)]
        return np.stack(
            [
                naive.convolve(x, self.weights[p]) + self.bias[p][:, None, None]
                for x, p in zip(self.spikes, post, strict=True)
            ]
        )

    def numbers(self):
        return (
            padded(self.v0, self.columns),
            padded(self.threshold, self.columns, NEVER),
            padded(self.reset, self.columns),
        )


def fire(currents, v0, threshold, reset):
    """Spikes (steps, C, H, W), and the membranes at the end."""
    v = np.broadcast_to(v0[:, None, None], currents.shape[1:]).astype(np.int64)
    spikes = []
    for current, at, by in zip(currents, threshold, reset, strict=True):
        v = v + current
        spikes.append(v >= at[:, None, None])
        v = v - spikes[-1] * by[:, None, None]
    return np.stack(spikes), v


CASES = [
    # read, channels, kernel, shape, rate
    (1, 1, 1, (1, 1), 1.0),
    (3, 9, 3, (1, 13), 0.3),
    (16, 17, 5, (9, 1), 0.1),
    (64, 64, 3, (4, 5), 0.05),
    (64, 16, 1, (3, 70), 0.5),
    (65, 70, 3, (3, 4), 0.2),
    (48, 65, 7, (3, 4), 0.1),
    (130, 96, 3, (2, 3), 0.9),
    (17, 48, 3, (5, 64), 0.0),
    (70, 64, 3, (2, 150), 0.2),  # more columns than are listed at a time
    (70, 130, 3, (2, 3), 1.0),
]


@pytest.mark.parametrize(("read", "channels", "size", "shape", "rate"), CASES)
@pytest.mark.parametrize("extra", [0, 2])
def test_conv_fire(read, channels, size, shape, rate, extra):
    case = Case(1, read, channels, size, shape, rate)
    pad = size // 2 + extra
    at = np.array([extra, extra])
    flat = np.stack([table(w, case.columns) for w in case.weights])
    out = np.zeros((shape[0] + 2, shape[1] + 2, case.steps, words_of(channels)), np.uint64)
    v_out = np.zeros((*shape, channels), np.int32)
    bias = padded(case.bias, case.columns)
    for rows in ((0, shape[0] // 2), (shape[0] // 2, shape[0])):
        block = np.array([*rows, 0, shape[1]])
        numbers = (flat, 0, case.timesteps, bias, *case.numbers())
        wide.conv_fire(pack(case.spikes, pad), at, size, *numbers, out, np.array([1, 1]), v_out, block)
    currents = case.currents()
    spikes, v = fire(currents, case.v0, case.threshold, case.reset)
    np.testing.assert_array_equal(unpack(out, 1, channels).transpose(3, 0, 1, 2), spikes)
    np.testing.assert_array_equal(v_out.transpose(2, 0, 1), v)
    assert not out[[0, -1]].any()
    assert not out[:, [0, -1]].any()
    received = currents.sum(axis=0)
    spent = (spikes * case.reset[:, :, None, None]).sum(axis=0)
    np.testing.assert_array_equal(received, spent + v_out.transpose(2, 0, 1) - case.v0[:, None, None])


def test_conv_fire_in_part_of_a_tile():
    case = Case(2, 20, 33, 3, (9, 11), 0.2)
    flat = np.stack([table(w, case.columns) for w in case.weights])
    out = np.zeros((9, 11, case.steps, 1), np.uint64)
    block, at, into = np.array([2, 7, 3, 10]), np.array([0, 0]), np.array([0, 0])
    numbers = (flat, 0, case.timesteps, padded(case.bias, case.columns), *case.numbers())
    wide.conv_fire(pack(case.spikes, 1), at, 3, *numbers, out, into, np.zeros((9, 11, 0), np.int32), block)
    expected, _ = fire(case.currents(), case.v0, case.threshold, case.reset)
    inside = np.zeros((9, 11), bool)
    inside[2:7, 3:10] = True
    np.testing.assert_array_equal(unpack(out, 0, 33).transpose(3, 0, 1, 2), expected & inside)


def test_the_largest_weights_do_not_overflow_16_bits():
    """Every spike fires with the largest weight: groups of eight reach 32760."""
    case = Case(3, 64, 80, 3, (3, 4), 1.0, extreme=True)
    flat = np.stack([table(w, case.columns) for w in case.weights])
    out = np.zeros((3 * 4, 80), np.int32)
    bias = padded(case.bias[0], case.columns)
    block = np.array([0, 3, 0, 4])
    wide.conv_current(pack(case.spikes, 1), np.array([0, 0]), 3, flat[0], 0, bias, block, out)
    np.testing.assert_array_equal(out.reshape(3, 4, 80).transpose(2, 0, 1), case.currents()[0])
    assert out.max() > 4095 * 576 - 3001


@pytest.mark.parametrize(("read", "channels", "size", "shape", "rate"), CASES)
def test_conv_current(read, channels, size, shape, rate):
    case = Case(4, read, channels, size, shape, rate)
    words = pack(case.spikes, size // 2)
    for t in (0, case.steps - 1):
        post = int(t >= case.timesteps)
        out = np.zeros((shape[0] * shape[1], channels), np.int32)
        bias = padded(case.bias[post], case.columns)
        flat, block = table(case.weights[post], case.columns), np.array([0, shape[0], 0, shape[1]])
        wide.conv_current(words, np.array([0, 0]), size, flat, t, bias, block, out)
        np.testing.assert_array_equal(out.reshape(*shape, channels).transpose(2, 0, 1), case.currents()[t])


@pytest.mark.parametrize(
    ("read", "channels", "size", "shape"), [(1, 9, 3, (5, 6)), (3, 65, 1, (1, 1)), (2, 16, 7, (3, 9))]
)
def test_analog(read, channels, size, shape):
    case = Case(5, read, channels, size, shape, 0)
    draw = np.random.default_rng(0)
    plane = draw.integers(-4 * 65535, 4 * 65535, (read, *shape), dtype=np.int32)
    kernel = case.weights[0]
    flat = np.zeros((size * size * read, case.columns), np.int64)
    flat[:, :channels] = kernel.transpose(2, 3, 1, 0).reshape(-1, channels)
    constant = naive.image_current(plane, kernel) + case.bias[0][:, None, None]
    at, block = np.array([-(size // 2)] * 2), np.array([0, shape[0], 0, shape[1]])
    bias = padded(case.bias[0], case.columns)
    out = np.zeros((shape[0] * shape[1], channels), np.int32)
    wide.analog_current(plane, at, size, flat, bias, block, out)
    np.testing.assert_array_equal(out.reshape(*shape, channels).transpose(2, 0, 1), constant)
    words = np.zeros((*shape, case.steps, words_of(channels)), np.uint64)
    wide.analog_fire(plane, at, size, flat, case.timesteps, bias, *case.numbers(), words, np.array([0, 0]), block)
    currents = np.stack([constant * (t < case.timesteps) for t in range(case.steps)])
    expected, _ = fire(currents, case.v0, case.threshold, case.reset)
    np.testing.assert_array_equal(unpack(words, 0, channels).transpose(3, 0, 1, 2), expected)


@pytest.mark.parametrize("channels", [1, 9, 64, 65, 130])
def test_pack_count_and_blocks(channels):
    draw = np.random.default_rng(channels)
    spikes = draw.random((2, channels, 7, 70)) < 0.3
    words = np.full((9, 72, 2, words_of(channels)), 2**64 - 1, np.uint64)  # what was there is replaced
    for t in range(2):
        fired = np.ascontiguousarray(spikes[t].transpose(1, 2, 0).reshape(-1, channels)).astype(np.int8)
        wide.pack(fired, t, words, np.array([1, 1]), np.array([0, 7, 0, 70]))
    np.testing.assert_array_equal(words[1:-1, 1:-1], pack(spikes, 0))

    ranges = (
        (channels // 3, channels),
        (0, channels // 2),
        (channels // 2, channels),
        (0, 0),
    )  # of some the words overlap
    bits = np.zeros((len(ranges), words_of(channels) * 64), np.uint8)
    for group, (low, high) in enumerate(ranges):
        bits[group, low:high] = 1
    masks = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    fan_y, fan_x = draw.integers(1, 8, (2, 5)), draw.integers(1, 8, (2, 60))
    events, weighted = np.ones((len(ranges), 2), np.int64), np.ones((len(ranges), 2, 2), np.int64)  # added to
    wide.count(words, np.array([2, 4]), masks, fan_y, fan_x, events, weighted)
    for group, (low, high) in enumerate(ranges):
        part = spikes[:, low:high, 1:6, 3:63]
        np.testing.assert_array_equal(events[group], 1 + part.sum(axis=(1, 2, 3)))
        for r in range(2):
            expected = 1 + (part * fan_y[r][:, None] * fan_x[r]).sum(axis=(1, 2, 3))
            np.testing.assert_array_equal(weighted[group, r], expected)

    for height, width in ((7, 64), (3, 5), (1, 1)):
        out = np.zeros((channels, height), np.uint64)
        wide.block_bits(words, np.array([1, 3]), 1, height, width, channels, out)
        found = (out[..., None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        np.testing.assert_array_equal(found[..., :width].astype(bool), spikes[1, :, :height, 2 : 2 + width])
        assert not found[..., width:].any()


@pytest.mark.parametrize("channels", [8, 24, 64, 72, 128, 200])
def test_pack_eights(channels):
    """The same as `pack`, and it tells what is not a spike."""
    draw = np.random.default_rng(channels)
    fired = (draw.random((6, channels)) < 0.4).astype(np.int8)
    fired[0], fired[1] = 0, 1
    expected, out = (np.full((4, 5, 3, -(-channels // 64)), 7, np.uint64) for _ in range(2))
    at, block = np.array([1, 1], np.int64), np.array([0, 2, 1, 4], np.int64)
    wide.pack(fired, 2, expected, at, block)
    assert int(wide.pack_eights(fired.view(np.uint64), 2, out, at, block)) & 0xFEFEFEFEFEFEFEFE == 0
    np.testing.assert_array_equal(out, expected)
    for wrong in (2, 3, -1, 127):
        fired[5, channels - 1] = wrong
        assert int(wide.pack_eights(fired.view(np.uint64), 2, out, at, block)) & 0xFEFEFEFEFEFEFEFE != 0


@pytest.mark.parametrize(("read", "channels", "size", "shape", "rate"), CASES)
@pytest.mark.parametrize("kept", [True, False])
def test_conv_fire_notes_how_far_membranes_are_from_their_thresholds(read, channels, size, shape, rate, kept):
    """For training: x before the firing test, with the spikes or without, the membranes at the end in any case."""
    case = Case(6, read, channels, size, shape, rate)
    pad, at, into = size // 2, np.array([0, 0]), np.array([1, 1])
    flat = np.stack([table(w, case.columns) for w in case.weights])
    out = np.zeros((shape[0] + 2, shape[1] + 2, case.steps, words_of(channels)) if kept else (0, 0, 0, 0), np.uint64)
    v_out = np.zeros((*shape, channels), np.int32)
    scale = np.ldexp(np.float32(1), -np.arange(case.columns) % 20).astype(np.float32)
    trace = np.full((*shape, case.steps, channels), np.nan, np.float32)
    numbers = (flat, 0, case.timesteps, padded(case.bias, case.columns), *case.numbers())
    for rows in ((0, shape[0] // 2), (shape[0] // 2, shape[0])):
        block = np.array([*rows, 0, shape[1]])
        wide.conv_fire(pack(case.spikes, pad), at, size, *numbers, out, into, v_out, block, trace, scale)
    spikes, v = fire(case.currents(), case.v0, case.threshold, case.reset)
    np.testing.assert_array_equal(v_out.transpose(2, 0, 1), v)
    if kept:
        np.testing.assert_array_equal(unpack(out, 1, channels).transpose(3, 0, 1, 2), spikes)
    before = np.broadcast_to(case.v0[:, None, None], spikes.shape[1:])
    for t, current in enumerate(case.currents()):
        x = before + current - case.threshold[t][:, None, None]
        exact = x.astype(np.float32) * scale[:channels, None, None]
        np.testing.assert_array_equal(trace[:, :, t].transpose(2, 0, 1), exact)
        before = before + current - spikes[t] * case.reset[t][:, None, None]
