"""Event-driven convolution and firing for layers of many channels.

Spikes are words of 64 channels, uint64 (rows, columns, steps, words), with a border of zeros. The events of the k source
rows around an output row are listed once per step; those of the k columns around an output pixel are then one run of each
list, so a pixel gathers its events by copying k runs, and adds up one row of weights for each event. All steps of a pixel
are run before the next pixel: its membranes and the rows of weights just used are still at hand.

Weights are int16 (phases, k·k·words·64 + 1, columns), flat, `columns` being the output channels padded to 16; the last row
is zero. Weight row (dy, dx, word, bit) follows in that order. Phase 1 holds the kernel of the post steps.
"""

import numpy as np

from nspike.kernels._jit import inline, kernel
from nspike.kernels.vector import (
    NARROW,
    TAIL,
    WIDE,
    copy_rows,
    count_bits,
    fire_narrow,
    fire_wide,
    sum_rows_narrow,
    sum_rows_wide,
    trailing_zeros,
)

SLACK = 16
"""How many entries past their end the lists may be written to."""


@inline
def _list_events(spikes, row, step, first, columns, events, starts):
    """List the events of one source row at one step: events[starts[x]:starts[x+1]] are those of column x."""
    words = spikes.shape[3]
    count = 0
    for x in range(columns):
        starts[x] = count
        for w in range(words):
            word = spikes[row, first + x, step, w]
            base = (x * words + w) * 64
            while word != np.uint64(0):
                events[count] = base + trailing_zeros(word)
                word = word & (word - np.uint64(1))
                count += 1
    starts[columns] = count


@inline
def _gather(events, starts, top, kernel_size, step, x, words, rows):
    """The weight rows of all events that output column x sees; returns their count, padded with the row of zeros."""
    run = kernel_size * words * 64
    count = 0
    for dy in range(kernel_size):
        slot = (top + dy) % kernel_size
        first = starts[slot, step, x]
        length = starts[slot, step, x + kernel_size] - first
        copy_rows(rows, count, events[slot, step], first, length, np.int32(dy * run - x * words * 64))
        count += length
    for i in range(TAIL - 1):
        rows[count + i] = kernel_size * run
    return (count + TAIL - 1) // TAIL * TAIL


@inline
def _sum(rows, count, weights, columns, out):
    first = 0
    while first + WIDE <= columns:
        sum_rows_wide(rows, count, weights, columns, first, out)
        first += WIDE
    while first < columns:
        sum_rows_narrow(rows, count, weights, columns, first, out)
        first += NARROW


@inline
def _fire(v, current, bias, threshold, reset, columns, out):
    """Fire one pixel's neurons and write their words to out (words,)."""
    first = 0
    while first + WIDE <= columns:
        out[first // 64] = fire_wide(v, current, bias, threshold, reset, first)
        first += WIDE
    while first < columns:
        bits = fire_narrow(v, current, bias, threshold, reset, first)
        shift = np.uint64(first % 64)
        if first % 64 == 0:
            out[first // 64] = bits
        else:
            out[first // 64] |= bits << shift
        first += NARROW


@kernel
def conv_fire(spikes, at, size, weights, rows_of_weights, steps, bias, v0, threshold, reset, out, out_at, v_out, block):
    """Convolve and fire rows block[0] .. block[1] of the output, for all steps.

    spikes uint64 (rows, columns, steps, words); at (2,): the source row and column of output (0, 0)'s first tap; size: k;
    weights int16 (phases, rows_of_weights·columns); steps: T, after which phase 1 (the last) holds; bias int32
    (2, columns): for the steps up to T, and after; v0 int32 (columns,); threshold, reset int32 (steps, columns);
    out uint64 (rows, columns, steps, words), written from out_at (2,) on; v_out int32 (rows, columns, columns') or empty:
    the membranes at the end, for the first channels; block (4,): first and last row, first and last column of the output.
    """
    total_steps = threshold.shape[0]
    columns = threshold.shape[1]
    words = spikes.shape[3]
    width = block[3] - block[2]
    reach = width + size - 1
    events = np.empty((size, total_steps, reach * words * 64 + SLACK), np.int32)
    starts = np.empty((size, total_steps, reach + 1), np.int64)
    rows = np.empty(size * size * words * 64 + SLACK, np.int32)
    v = np.empty(columns, np.int32)
    current = np.empty(columns, np.int32)
    phases = weights.shape[0]
    for y in range(block[0] - size + 1, block[1]):
        row = y + at[0] + size - 1
        slot = (y + size - 1 - block[0]) % size
        for t in range(total_steps):
            _list_events(spikes, row, t, block[2] + at[1], reach, events[slot, t], starts[slot, t])
        if y < block[0]:
            continue
        top = y - block[0]
        for x in range(width):
            v[:] = v0
            for t in range(total_steps):
                post = 1 if t >= steps else 0
                count = _gather(events, starts, top, size, t, x, words, rows)
                _sum(rows, count, weights[post if phases > 1 else 0], columns, current)
                target = out[y + out_at[0], block[2] + x + out_at[1], t]
                _fire(v, current, bias[post], threshold[t], reset[t], columns, target)
            for c in range(v_out.shape[2]):
                v_out[y, block[2] + x, c] = v[c]


@kernel
def conv_current(spikes, at, size, weights, step, bias, block, out):
    """The currents of rows block[0] .. block[1] at one step, int32 (rows·columns, C), for a neuron with its own kernel.

    weights int16 flat for this step's phase; bias int32 (columns,); else as `conv_fire`.
    """
    words = spikes.shape[3]
    columns = bias.shape[0]
    width = block[3] - block[2]
    reach = width + size - 1
    events = np.empty((size, 1, reach * words * 64 + SLACK), np.int32)
    starts = np.empty((size, 1, reach + 1), np.int64)
    rows = np.empty(size * size * words * 64 + SLACK, np.int32)
    current = np.empty(columns, np.int32)
    for y in range(block[0] - size + 1, block[1]):
        slot = (y + size - 1 - block[0]) % size
        _list_events(spikes, y + at[0] + size - 1, step, block[2] + at[1], reach, events[slot, 0], starts[slot, 0])
        if y < block[0]:
            continue
        for x in range(width):
            count = _gather(events, starts, y - block[0], size, 0, x, words, rows)
            _sum(rows, count, weights, columns, current)
            pixel = (y - block[0]) * width + x
            for c in range(out.shape[1]):
                out[pixel, c] = current[c] + bias[c]


@inline
def _analog_current(plane, y, x, at, size, weights, bias, total, current):
    """One pixel's current from the picture: Σ w·p in int64, divided by 65535 and rounded once; p is on the grid 1/65535.

    The quotient is never half-way between two integers, 65535 being odd, and far too small for the division's own
    rounding to matter.
    """
    channels, height, width = plane.shape
    columns = bias.shape[0]
    total[:] = 0
    tap = 0
    for dy in range(size):
        for dx in range(size):
            row = y + at[0] + dy
            column = x + at[1] + dx
            if 0 <= row < height and 0 <= column < width:
                for i in range(channels):
                    p = np.int64(plane[i, row, column])
                    for c in range(columns):
                        total[c] += p * weights[tap + i, c]
            tap += channels
    for c in range(columns):
        current[c] = np.int32(np.rint(total[c] / 65535.0)) + bias[c]


@kernel
def analog_fire(plane, at, size, weights, steps, bias, v0, threshold, reset, out, out_at, block):
    """The first layer: convolve the picture once, fire for all steps with that constant current.

    plane int32 (C, rows, columns); weights int64 (k·k·C, columns); at: the source row and column of output (0, 0)'s first
    tap, what lies outside being zero; else as `conv_fire`.
    """
    total_steps = threshold.shape[0]
    columns = threshold.shape[1]
    total = np.empty(columns, np.int64)
    v = np.empty(columns, np.int32)
    current = np.empty(columns, np.int32)
    nothing = np.zeros(columns, np.int32)
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            _analog_current(plane, y, x, at, size, weights, bias, total, current)
            v[:] = v0
            for t in range(total_steps):
                target = out[y + out_at[0], x + out_at[1], t]
                _fire(v, current if t < steps else nothing, nothing, threshold[t], reset[t], columns, target)


@kernel
def analog_current(plane, at, size, weights, bias, block, out):
    """The constant currents of a block of the first layer, int32 (rows·columns, C)."""
    columns = bias.shape[0]
    total = np.empty(columns, np.int64)
    current = np.empty(columns, np.int32)
    pixel = 0
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            _analog_current(plane, y, x, at, size, weights, bias, total, current)
            for c in range(out.shape[1]):
                out[pixel, c] = current[c]
            pixel += 1


@kernel
def pack(fired, step, out, out_at, block):
    """Pack fired int8 (rows·columns, C·planes) of one step into out uint64 (rows, columns, steps, words)."""
    width = block[3] - block[2]
    for y in range(block[0], block[1]):
        for x in range(width):
            pixel = (y - block[0]) * width + x
            target = out[y + out_at[0], block[2] + x + out_at[1], step]
            target[:] = np.uint64(0)
            for c in range(fired.shape[1]):
                if fired[pixel, c] != 0:
                    target[c // 64] |= np.uint64(1) << np.uint64(c % 64)


@kernel
def count(spikes, at, mask, fan_y, fan_x, events, weighted):
    """Count the spikes of a core of fan_y × fan_x pixels whose first pixel lies at `at`, adding to int64 arrays.

    mask uint64 (words,): which channels to count; fan_y int64 (n, rows), fan_x int64 (n, columns): for each reader, how
    many of its taps reach the row, the column; events (steps,); weighted (n, steps) += Σ spikes·fan_y·fan_x.
    """
    steps = spikes.shape[2]
    readers, height = fan_y.shape
    width = fan_x.shape[1]
    bits = np.zeros(steps, np.int64)
    for y in range(height):
        for x in range(width):
            for t in range(steps):
                n = 0
                for w in range(mask.shape[0]):
                    n += count_bits(spikes[y + at[0], x + at[1], t, w] & mask[w])
                bits[t] = n
                events[t] += n
            for r in range(readers):
                fan = fan_y[r, y] * fan_x[r, x]
                for t in range(steps):
                    weighted[r, t] += bits[t] * fan


@inline
def _transpose(matrix):
    """Transpose a 64×64 matrix of bits in place, bit j of word i becoming bit i of word j (Hacker's Delight, 7-3)."""
    j = 32
    mask = np.uint64(0x00000000FFFFFFFF)
    while j != 0:
        shift = np.uint64(j)
        k = 0
        while k < 64:
            swap = ((matrix[k] >> shift) ^ matrix[k + j]) & mask
            matrix[k] ^= swap << shift
            matrix[k + j] ^= swap
            k = (k + j + 1) & ~j
        j >>= 1
        mask ^= mask << np.uint64(j)


@kernel
def block_bits(spikes, at, step, height, width, channels, out):
    """One block of up to 64 columns in canonical order: out uint64 (channels, height), bit x of a word being column x."""
    matrix = np.empty(64, np.uint64)
    for w in range((channels + 63) // 64):
        for y in range(height):
            matrix[:] = np.uint64(0)
            for x in range(width):
                matrix[x] = spikes[y + at[0], x + at[1], step, w]
            _transpose(matrix)
            for c in range(w * 64, min(channels, w * 64 + 64)):
                out[c, y] = matrix[c - w * 64]
