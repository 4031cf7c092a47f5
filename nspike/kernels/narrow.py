"""Convolution and firing for layers of a few channels, such as AOD-Net's three: the lanes are the pixels of a row.

Spikes are bits along the row, uint64 (steps, channels, rows, words), bit x % 64 of word x // 64 being column x. For each
step, the source rows around a block of output rows are spread to int16 masks (0 or -1); a tap then adds weight & mask for
64 pixels at once. Every row is computed in full; what lies beyond a tile's reach is never read.
"""

import numpy as np

from nspike.kernels._jit import inline, kernel
from nspike.kernels.firing import fire_row
from nspike.kernels.unit import UNIT
from nspike.kernels.vector import count_bits, gate, spread, sum_masked

ALL = np.uint64(2**64 - 1)


@inline
def _bits_at(row, first, columns):
    """64 bits of a row from column `first` on, which may be negative; zero outside 0 .. columns."""
    word = first // 64
    shift = first - word * 64
    words = row.shape[0]
    value = np.uint64(0)
    if 0 <= word < words:
        value = row[word] >> np.uint64(shift)
    if shift > 0 and 0 <= word + 1 < words:
        value |= row[word + 1] << np.uint64(64 - shift)
    if first + 64 > columns:
        left = columns - first
        if left <= 0:
            return np.uint64(0)
        value &= (np.uint64(1) << np.uint64(left)) - np.uint64(1)
    return value


@inline
def _spread_rows(spikes, step, first_row, rows, radius, columns, channel, masks):
    """Spread source rows first_row .. first_row + rows into masks (rows, channels, padded columns), from column -radius on."""
    height = spikes.shape[2]
    for r in range(rows):
        y = first_row + r
        for c in range(spikes.shape[1]):
            target = masks[r, channel + c]
            if not 0 <= y < height:
                target[:] = 0
                continue
            row = spikes[step, c, y]
            for b in range(target.shape[0] // 64):
                spread(_bits_at(row, b * 64 - radius, columns), target, b * 64)


@kernel
def spread_source(spikes, step, first_row, radius, columns, channel, masks):
    """Spread one source of a convolution into its channels of `masks` int16 (rows, channels, padded columns)."""
    _spread_rows(spikes, step, first_row, masks.shape[0], radius, columns, channel, masks)


@inline
def _last_word(columns):
    used = columns % 64
    return (np.uint64(1) << np.uint64(used)) - np.uint64(1) if used else ~np.uint64(0)


@inline
def _place(words, step, channel, row):
    """Where the first word of a row lies in the flat words (steps, channels, rows, words)."""
    return ((step * words.shape[1] + channel) * words.shape[2] + row) * words.shape[3]


@inline
def _plane(words, channels):
    """How many words after those of a plane of spikes the next one's lie."""
    return channels * words.shape[2] * words.shape[3]


@kernel
def conv_fire_step(
    masks, offsets, taps, weights, bias, threshold, reset, v, columns, step, first_row, out, dynamics=None
):
    """One step of a block of rows.

    masks int16 (rows + 2·radius, channels, padded columns); offsets int32 (n,): of each tap into the flat masks of an
    output row; taps: n, a multiple of four; weights int16 (C, n); bias, threshold, reset int32 (C,); v int32 (rows, C,
    padded columns), changed; out uint64 (steps, planes·C, rows, words), written from row first_row on; dynamics: of the
    neurons, see `nspike.kernels.firing`.
    """
    rows, channels, padded = v.shape
    flat_v, flat_out, plane = v.reshape(-1), out.reshape(-1), _plane(out, channels)
    stride = masks.shape[1] * masks.shape[2]
    flat = masks.reshape(-1)
    flat_weights = weights.reshape(-1)
    current = np.empty(64, np.int32)
    blocks = (columns + 63) // 64
    last = _last_word(columns)
    for y in range(rows):
        for c in range(channels):
            for b in range(blocks):
                sum_masked(flat, y * stride + b * 64, offsets, flat_weights, c * weights.shape[1], taps, current)
                mask = last if b == blocks - 1 else ALL
                at, into = (y * channels + c) * padded + b * 64, _place(out, step, c, first_row + y) + b
                fire_row(
                    flat_v,
                    at,
                    current,
                    0,
                    bias[c],
                    threshold[c],
                    reset[c],
                    dynamics,
                    mask,
                    flat_out,
                    into,
                    plane,
                )


@kernel
def conv_current_step(masks, offsets, taps, weights, bias, columns, out):
    """The currents of a block of rows, int32 (rows·columns, C), for a neuron with its own kernel; else as above."""
    channels = weights.shape[0]
    rows = out.shape[0] // columns
    stride = masks.shape[1] * masks.shape[2]
    flat = masks.reshape(-1)
    flat_weights = weights.reshape(-1)
    current = np.empty(64, np.int32)
    for y in range(rows):
        for c in range(channels):
            for b in range((columns + 63) // 64):
                sum_masked(flat, y * stride + b * 64, offsets, flat_weights, c * weights.shape[1], taps, current)
                for x in range(b * 64, min(columns, b * 64 + 64)):
                    out[y * columns + x, c] = current[x - b * 64] + bias[c]


@kernel
def gate_fire_step(spikes, gates, gains, bias, threshold, reset, v, columns, step, first_row, out, dynamics=None):
    """One step of a gated block of rows: each spike adds its pixel's weight, as often as the gain of its plane says.

    spikes uint64 (steps, planes·C, rows, words); gates int32 (C, rows, padded columns) in the same rows; gains int32 (planes,);
    else as `conv_fire_step`.
    """
    rows, channels, padded = v.shape
    flat_v, flat_out, plane = v.reshape(-1), out.reshape(-1), _plane(out, channels)
    current, more = np.empty(64, np.int32), np.empty(64, np.int32)
    blocks = (columns + 63) // 64
    last = _last_word(columns)
    for y in range(rows):
        for c in range(channels):
            for b in range(blocks):
                gate(spikes[step, c, first_row + y, b], gates[c, first_row + y], b * 64, current)
                if gains[0] != 1:
                    current *= gains[0]
                for p in range(1, len(gains)):
                    word = spikes[step, p * channels + c, first_row + y, b]
                    gate(word, gates[c, first_row + y], b * 64, more)
                    for x in range(64):
                        current[x] += gains[p] * more[x]
                mask = last if b == blocks - 1 else ALL
                at, into = (y * channels + c) * padded + b * 64, _place(out, step, c, first_row + y) + b
                fire_row(
                    flat_v,
                    at,
                    current,
                    0,
                    bias[c],
                    threshold[c],
                    reset[c],
                    dynamics,
                    mask,
                    flat_out,
                    into,
                    plane,
                )


@kernel
def fire_step(currents, bias, threshold, reset, v, columns, step, first_row, out, dynamics=None):
    """One step of a block of rows with a constant current int32 (C, rows, padded columns); else as `conv_fire_step`."""
    rows, channels, padded = v.shape
    flat_v, flat_out, plane = v.reshape(-1), out.reshape(-1), _plane(out, channels)
    flat_currents = currents.reshape(-1)
    blocks = (columns + 63) // 64
    last = _last_word(columns)
    for y in range(rows):
        for c in range(channels):
            for b in range(blocks):
                mask = last if b == blocks - 1 else ALL
                at, into = (y * channels + c) * padded + b * 64, _place(out, step, c, first_row + y) + b
                fire_row(
                    flat_v,
                    at,
                    flat_currents,
                    (c * rows + y) * padded + b * 64,
                    bias[c],
                    threshold[c],
                    reset[c],
                    dynamics,
                    mask,
                    flat_out,
                    into,
                    plane,
                )


@kernel
def conv_fire(
    spikes, radius, offsets, weights, steps, bias, threshold, reset, columns, first_row, masks, v, out, dynamics=None
):
    """A block of rows at all steps, in one call: every call takes the interpreter's lock, which the threads share.

    spikes uint64 (steps, channels, rows, words): the sources one after the other; weights int16 (phases, C, n); steps: T,
    after which the last phase holds; bias int32 (2, C): up to T, and after; threshold, reset int32 (steps, C); masks: room
    for those of one step; else as `conv_fire_step`.
    """
    for t in range(threshold.shape[0]):
        late = 1 if t >= steps else 0
        kernel_at = weights[min(late, weights.shape[0] - 1)]
        _spread_rows(spikes, t, first_row - radius, masks.shape[0], radius, columns, 0, masks)
        conv_fire_step(
            masks,
            offsets,
            kernel_at.shape[1],
            kernel_at,
            bias[late],
            threshold[t],
            reset[t],
            v,
            columns,
            t,
            first_row,
            out,
            dynamics,
        )


@kernel
def gate_fire(spikes, gates, gains, steps, bias, threshold, reset, columns, first_row, v, out, dynamics=None):
    """A gated block of rows at all steps; as `conv_fire` and `gate_fire_step`."""
    for t in range(threshold.shape[0]):
        late = 1 if t >= steps else 0
        gate_fire_step(
            spikes, gates, gains, bias[late], threshold[t], reset[t], v, columns, t, first_row, out, dynamics
        )


@kernel
def fire(currents, steps, threshold, reset, columns, first_row, v, out, dynamics=None):
    """A block of rows at all steps with a constant current up to step T = `steps`, and none after; it is set to zero."""
    nothing = np.zeros(v.shape[1], np.int32)
    for t in range(threshold.shape[0]):
        if t == steps:
            currents[:] = 0
        fire_step(currents, nothing, threshold[t], reset[t], v, columns, t, first_row, out, dynamics)


@kernel
def analog_rows(plane, at, size, weights, bias, first_row, out):
    """The constant current of a block of rows from the image, int32 (C, rows, padded columns).

    plane int32 (channels, rows, columns); at (2,): the source row and column of output (0, 0)'s first tap, what lies
    outside being zero; weights int64 (C, channels, k, k); bias int32 (C,). Rounding as in `wide`.
    """
    channels, height, width = plane.shape
    total = np.empty(width, np.int64)
    for c in range(out.shape[0]):
        for y in range(out.shape[1]):
            total[:] = 0
            for i in range(channels):
                for dy in range(size):
                    row = first_row + y + at[0] + dy
                    if row < 0 or row >= height:
                        continue
                    for dx in range(size):
                        shift = at[1] + dx
                        w = weights[c, i, dy, dx]
                        for x in range(max(0, -shift), min(width, width - shift)):
                            total[x] += w * plane[i, row, x + shift]
            for x in range(width):
                out[c, y, x] = np.int32(np.rint(total[x] / UNIT)) + bias[c]


@kernel
def convolve(padded, weights, out):
    """Add to out (C_out, H, W) the convolution of padded (C_in, H + k - 1, W + k - 1) with weights (C_out, C_in, k, k).

    All of one integer type that holds the sums.
    """
    height, width = out.shape[1:]
    channels, size = weights.shape[1:3]
    for o in range(out.shape[0]):
        for y in range(height):
            total = out[o, y]
            for i in range(channels):
                for dy in range(size):
                    row = padded[i, y + dy]
                    for dx in range(size):
                        w = weights[o, i, dy, dx]
                        for x in range(width):
                            total[x] += w * row[x + dx]


@kernel
def pack(fired, columns, step, first_row, out):
    """Pack fired int8 (rows·columns, C·planes) of one step into out uint64 (steps, C·planes, rows, words)."""
    rows = fired.shape[0] // columns
    for y in range(rows):
        for c in range(fired.shape[1]):
            target = out[step, c, first_row + y]
            target[:] = np.uint64(0)
            for x in range(columns):
                if fired[y * columns + x, c] != 0:
                    target[x // 64] |= np.uint64(1) << np.uint64(x % 64)


@kernel
def count(spikes, at, planes, fan_y, fan_x, events, weighted):
    """Count the spikes of channels planes[0] .. planes[1] of a core; the arguments are those of `wide.count`.

    A word's columns count alike but near the image's border, where fan_x differs from column to column.
    """
    steps, _, _, words = spikes.shape
    readers, height = fan_y.shape
    width = fan_x.shape[1]
    alike = np.ones((readers, (width + 63) // 64), np.bool_)
    for r in range(readers):
        for x in range(width):
            if fan_x[r, x] != fan_x[r, min(x // 64 * 64 + 32, width - 1)]:
                alike[r, x // 64] = False
    for t in range(steps):
        for c in range(planes[0], planes[1]):
            for y in range(height):
                row = spikes[t, c, y + at[0]]
                for first in range(0, width, 64):
                    size = min(64, width - first)
                    word = _bits_at(row, at[1] + first, words * 64)
                    if size < 64:
                        word &= (np.uint64(1) << np.uint64(size)) - np.uint64(1)
                    n = count_bits(word)
                    events[t] += n
                    for r in range(readers):
                        sum_x = n * fan_x[r, first]
                        if not alike[r, first // 64]:
                            sum_x = np.int64(0)
                            for x in range(size):
                                sum_x += fan_x[r, first + x] * np.int64((word >> np.uint64(x)) & np.uint64(1))
                        weighted[r, t] += sum_x * fan_y[r, y]


@kernel
def block_bits(spikes, at, step, height, width, first_channel, channels, out):
    """One block of up to 64 columns in canonical order: out uint64 (channels, height), bit x of a word being column x."""
    for c in range(channels):
        for y in range(height):
            value = _bits_at(spikes[step, first_channel + c, y + at[0]], at[1], at[1] + width)
            out[c, y] = value
