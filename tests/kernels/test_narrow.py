"""The kernels for a few channels, called by themselves, against `tests.naive`."""

import numpy as np
import pytest

from nspike.kernels import narrow
from tests import naive
from tests.kernels.test_wide import fire

WIDTHS = [1, 2, 31, 63, 64, 65, 127, 128, 130]


def pack(spikes):
    """bool (steps, C, H, W) -> uint64 (steps, C, H, words)."""
    out = np.zeros((*spikes.shape[:3], -(-spikes.shape[3] // 64)), np.uint64)
    for x in range(spikes.shape[3]):
        out[..., x // 64] |= spikes[..., x].astype(np.uint64) << np.uint64(x % 64)
    return out


def unpack(words, width):
    return np.stack([(words[..., x // 64] >> np.uint64(x % 64)) & np.uint64(1) for x in range(width)], -1).astype(bool)


def columns(width):
    return -(-width // 64) * 64


def layer(draw, channels, read, size, limit=4095, low=-4095):
    return draw.integers(low, limit, (channels, read, size, size), endpoint=True)


def taps_and_offsets(weights, padded):
    """Taps (dy, channel, dx), in fours; where each lies in the flat masks (rows, channels, padded)."""
    channels, read, size, _ = weights.shape
    taps = weights.transpose(0, 2, 1, 3).reshape(channels, -1)
    offsets = [(dy * read + i) * padded + dx for dy in range(size) for i in range(read) for dx in range(size)]
    more = -len(offsets) % 4
    return np.pad(taps, ((0, 0), (0, more))).astype(np.int16), np.array(offsets + [0] * more, np.int32)


def masks_of(parts, step, first, rows, size, width):
    """As the engine lays them out: each source in turn in channels of its own."""
    radius = size // 2
    out = np.full((rows + 2 * radius, sum(p.shape[1] for p in parts), columns(width) + 64 * (radius > 0)), 99, np.int16)
    channel = 0
    for part in parts:
        narrow.spread_source(pack(part), step, first - radius, radius, width, channel, out)
        channel += part.shape[1]
    return out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("radius", [0, 1, 3, 32])
def test_spread_source(width, radius):
    draw = np.random.default_rng(width)
    spikes = draw.random((2, 3, 4, width)) < 0.5
    masks = np.full((6, 5, columns(width) + 64 * (radius > 0)), 99, np.int16)
    narrow.spread_source(pack(spikes), 1, -1, radius, width, 2, masks)
    expected = np.zeros((6, 3, masks.shape[2] + 64), np.int16)
    expected[1:5, :, radius : radius + width] = -spikes[1].transpose(1, 0, 2).astype(np.int16)
    np.testing.assert_array_equal(masks[:, 2:], expected[..., : masks.shape[2]])
    assert (masks[:, :2] == 99).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("size", "channels", "reads"), [(1, 1, (1,)), (3, 3, (3,)), (5, 2, (3, 1)), (7, 8, (8, 2, 5))])
@pytest.mark.parametrize("low", [-4095, 4095])
def test_conv_step(width, size, channels, reads, low):
    draw = np.random.default_rng(width + size)
    rate = 1.0 if low > 0 else 0.4
    parts = [draw.random((2, n, 5, width)) < rate for n in reads]
    weights = layer(draw, channels, sum(reads), size, low=low)
    bias, threshold, reset, v0 = (draw.integers(1, 4000, channels).astype(np.int32) for _ in range(4))
    whole = np.concatenate(parts, axis=1)
    currents = np.stack([naive.convolve(x, weights) + bias[:, None, None] for x in whole])
    spikes, v = fire(currents, v0, [threshold] * 2, [reset] * 2)
    out = np.full((2, channels, 5, columns(width) // 64), 2**64 - 1, np.uint64)
    membranes = []
    for first, last in ((0, 2), (2, 5)):
        rows = last - first
        held = np.zeros((rows, channels, columns(width)), np.int32)
        held[:] = v0[:, None]
        for t in range(2):
            masks = masks_of(parts, t, first, rows, size, width)
            taps, offsets = taps_and_offsets(weights, masks.shape[2])
            numbers = (taps, bias, threshold, reset, held, width, t, first, out)
            narrow.conv_fire_step(masks, offsets, taps.shape[1], *numbers)
            flat = np.zeros((rows * width, channels), np.int32)
            narrow.conv_current_step(masks, offsets, taps.shape[1], taps, bias, width, flat)
            found = flat.reshape(rows, width, channels).transpose(2, 0, 1)
            np.testing.assert_array_equal(found, currents[t][:, first:last])
        membranes.append(held[..., :width].transpose(1, 0, 2))
    np.testing.assert_array_equal(out, pack(spikes))  # nothing past the last column
    np.testing.assert_array_equal(np.concatenate(membranes, axis=1), v)


@pytest.mark.parametrize("gains", [(1, -1), (1, 2, 4), (3,)])
def test_a_gate_counts_each_spike_as_often_as_its_gain(gains):
    draw, width, channels = np.random.default_rng(len(gains)), 66, 2
    spikes = draw.random((1, len(gains), channels, 3, width)) < 0.5
    gates = np.zeros((channels, 3, columns(width)), np.int32)
    gates[..., :width] = draw.integers(-5000, 5000, (channels, 3, width))
    bias, threshold, reset = (draw.integers(1, 4000, channels).astype(np.int32) for _ in range(3))
    v, out = (
        np.zeros((3, channels, columns(width)), np.int32),
        np.zeros((1, channels, 3, columns(width) // 64), np.uint64),
    )
    packed = pack(spikes.reshape(1, -1, 3, width))
    narrow.gate_fire_step(packed, gates, np.array(gains, np.int32), bias, threshold, reset, v, width, 0, 0, out)
    counts = sum(gain * spikes[:, p].astype(np.int64) for p, gain in enumerate(gains))
    currents = counts * gates[..., :width].astype(np.int64) + bias[:, None, None]
    fired, after = fire(currents, np.zeros(channels, np.int64), [threshold], [reset])
    np.testing.assert_array_equal(out, pack(fired))
    np.testing.assert_array_equal(v[..., :width].transpose(1, 0, 2), after)


@pytest.mark.parametrize("width", WIDTHS)
def test_gate_and_constant_current(width):
    draw = np.random.default_rng(width)
    spikes = draw.random((2, 3, 4, width)) < 0.5
    gates = np.full((3, 4, columns(width)), 10**6, np.int32)  # what lies past the row does not count
    gates[..., :width] = draw.integers(-5000, 5000, (3, 4, width))
    bias, threshold, reset, v0 = (draw.integers(1, 4000, 3).astype(np.int32) for _ in range(4))
    v = np.zeros((2, 3, columns(width)), np.int32)
    v[:] = v0[:, None]
    constant = v.copy()
    out, other = (np.full((2, 3, 4, columns(width) // 64), 2**64 - 1, np.uint64) for _ in range(2))
    currents = np.ascontiguousarray(gates[:, 1:3])
    for t in range(2):
        narrow.gate_fire_step(pack(spikes), gates, np.ones(1, np.int32), bias, threshold, reset, v, width, t, 0, out)
        narrow.fire_step(currents, bias, threshold, reset, constant, width, t, 2, other)
    inside = gates[..., :width].astype(np.int64)
    gated, after = fire(spikes[:, :, :2] * inside[:, :2] + bias[:, None, None], v0, [threshold] * 2, [reset] * 2)
    np.testing.assert_array_equal(out[:, :, :2], pack(gated))
    np.testing.assert_array_equal(v[..., :width].transpose(1, 0, 2), after)
    steady, after = fire(np.stack([inside[:, 1:3] + bias[:, None, None]] * 2), v0, [threshold] * 2, [reset] * 2)
    np.testing.assert_array_equal(other[:, :, 2:], pack(steady))
    np.testing.assert_array_equal(constant[..., :width].transpose(1, 0, 2), after)


@pytest.mark.parametrize(("width", "size", "read"), [(1, 1, 1), (5, 7, 3), (64, 3, 1), (65, 5, 2)])
def test_analog_rows(width, size, read):
    draw = np.random.default_rng(width)
    plane = draw.integers(-4 * 65535, 4 * 65535, (read, 6, width), dtype=np.int32)
    weights, bias = layer(draw, 3, read, size, 32767, -32767), draw.integers(-99, 99, 3).astype(np.int32)
    out = np.zeros((3, 4, columns(width)), np.int32)
    narrow.analog_rows(plane, np.array([-(size // 2)] * 2), size, weights, bias, 2, out)
    expected = naive.image_current(plane, weights)[:, 2:6] + bias[:, None, None]
    np.testing.assert_array_equal(out[..., :width], expected)
    assert not out[..., width:].any()


@pytest.mark.parametrize("width", WIDTHS)
def test_pack_count_and_blocks(width):
    draw = np.random.default_rng(width)
    spikes = draw.random((2, 6, 5, width)) < 0.3
    words = np.full((2, 6, 5, columns(width) // 64), 2**64 - 1, np.uint64)
    for t in range(2):
        fired = np.ascontiguousarray(spikes[t].transpose(1, 2, 0).reshape(-1, 6)).astype(np.int8)
        narrow.pack(fired, width, t, 0, words)
    np.testing.assert_array_equal(words, pack(spikes))

    for first in {0, width // 3}:
        shape = (3, width - first)
        fans = [(draw.integers(1, 8, (2, shape[0])), draw.integers(1, 8, (2, shape[1])))]
        fans.append((np.full((2, shape[0]), 3), np.full((2, shape[1]), 3)))
        fans[1][1][:, [0, -1]] = 2  # as at a border
        for fan_y, fan_x in fans:
            events, weighted = np.ones(2, np.int64), np.ones((2, 2), np.int64)
            narrow.count(words, np.array([1, first]), np.array([2, 5]), fan_y, fan_x, events, weighted)
            part = spikes[:, 2:5, 1:4, first:]
            np.testing.assert_array_equal(events, 1 + part.sum(axis=(1, 2, 3)))
            for r in range(2):
                expected = 1 + (part * fan_y[r][:, None] * fan_x[r]).sum(axis=(1, 2, 3))
                np.testing.assert_array_equal(weighted[r], expected)
        for size in (min(64, shape[1]), min(10, shape[1])):  # what lies right of a block is not part of it
            out = np.zeros((6, 2), np.uint64)
            narrow.block_bits(words, np.array([1, first]), 1, 2, size, 0, 6, out)
            np.testing.assert_array_equal(out, pack(spikes[1:, :, 1:3, first : first + size])[0, ..., 0])
