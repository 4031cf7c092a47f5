"""Event-driven convolution and firing for layers of many channels.

Spikes are words of 64 channels, uint64 (rows, columns, steps, words), with a border of zeros. For an output row, the events
of the k source rows around it are listed column by column, one list a step; those that an output pixel sees are then one
run of the list, and it adds up one row of weights for each. All steps of a pixel are run before the next pixel: its
membranes and the rows of weights just used are still at hand.

Weights are int16 (phases, k·k·words·64 + 1, columns), flat, `columns` being the output channels padded to 16; the last row
is zero. Weight row (dy, dx, word, bit) follows in that order. Phase 1 holds the kernel of the post steps.

The inner loops call no function with arrays and slice none: Numba would count references, with locked instructions.
"""

import numpy as np

from nspike.kernels._jit import inline, kernel
from nspike.kernels.firing import fire_pixel, potential, sum_fire_pixel
from nspike.kernels.unit import UNIT
from nspike.kernels.vector import (
    GROUP,
    NARROW,
    WIDE,
    count_bits,
    fill,
    list_bits,
    list_few_bits,
    list_many_bits,
    list_rare_bits,
    sum_rows_narrow,
    sum_rows_wide,
)

SEGMENT = 64
"""How many columns of an output row are listed at a time: lists that stay in the cache, of a bounded size."""


@inline
def _fewer(quarters, spikes, tap_word, first, size, words, steps):
    """Whether taps first .. first+size-1 have less than quarters/4 bits on average, in the column of a segment's first pixel."""
    bits, column = 0, size // 2 * steps * words
    for tap in range(first, first + size):
        for t in range(steps):
            bits += count_bits(spikes[tap_word[tap] + column + t * words])
    return 4 * bits < quarters * size * steps


@kernel
def conv_fire(
    spikes,
    at,
    size,
    weights,
    rows_of_weights,
    steps,
    bias,
    v0,
    threshold,
    reset,
    out,
    out_at,
    v_out,
    block,
    trace=None,
    scale=None,
    dynamics=None,
):
    """Convolve and fire rows block[0] .. block[1] of the output, for all steps.

    spikes uint64 (rows, columns, steps, words); at (2,): the source row and column of output (0, 0)'s first tap; size: k;
    weights int16 (phases, rows_of_weights·columns); steps: T, after which phase 1 (the last) holds; bias int32
    (2, columns): for the steps up to T, and after; v0 int32 (columns,); threshold, reset int32 (steps, columns);
    out uint64 (rows, columns, steps, words), written from out_at (2,) on; v_out int32 (rows, columns, columns') or empty:
    the membranes at the end, for the first channels; block (4,): first and last row, first and last column of the output;
    dynamics: of the neurons, see `nspike.kernels.firing`.

    For training: trace float32 (rows, columns, steps, C), to which x = (u - threshold)·scale of every membrane is written,
    scale float32 (columns,): 2^-k; then out may be empty. Nothing of it is compiled without it.
    """
    total_steps, columns = threshold.shape
    words, out_words = spikes.shape[3], out.shape[3]
    column_rows = words * 64
    post_kernel = (weights.shape[0] - 1) * weights.shape[1]
    flat_spikes, flat_weights, flat_out = spikes.reshape(-1), weights.reshape(-1), out.reshape(-1)
    flat_bias, flat_threshold, flat_reset = bias.reshape(-1), threshold.reshape(-1), reset.reshape(-1)
    room = (SEGMENT + size - 1) * size * words * 64 + 2 * GROUP
    events = np.empty(total_steps * room, np.int32)
    starts = np.empty(size * total_steps, np.int64)
    ends = np.empty(total_steps, np.int64)
    taps = size * words  # the words of a column of the field: of its k rows
    tap_word = np.empty(taps, np.int64)
    tap_row = np.empty(taps, np.int32)
    for tap in range(taps):  # word by word, as the first ones, of the lower planes, have the most bits
        tap_row[tap] = tap % size * size * column_rows + tap // size * 64
    v = np.empty(columns, np.int32)
    if trace is not None:
        current = np.empty(columns, np.int32)
        kept_words = out_words if out.size else 0
    # in the last segment, taps before many had more than five bits, those before dense two or more, from sparse on hardly any
    many = dense = sparse = taps
    segments = (block[3] - block[2] + SEGMENT - 1) // SEGMENT
    for segment in range((block[1] - block[0]) * segments):
        y = block[0] + segment // segments
        left = block[2] + segment % segments * SEGMENT
        for tap in range(taps):
            source = (y + at[0] + tap % size) * spikes.shape[1] + left + at[1]
            tap_word[tap] = source * total_steps * words + tap // size
        for t in range(total_steps):
            ends[t] = t * room
        for c in range(min(SEGMENT, block[3] - left) + size - 1):
            x = c - size + 1
            newest, oldest = c % size * total_steps, (c + 1) % size * total_steps
            base = np.int32(c * column_rows)
            nothing = np.int32((size * size + x) * column_rows)
            for t in range(total_steps):
                end = ends[t]
                starts[newest + t] = end
                word = (c * total_steps + t) * words
                for tap in range(many):
                    end += list_many_bits(flat_spikes, tap_word[tap] + word, tap_row[tap] + base, events, end)
                for tap in range(many, dense):
                    end += list_bits(flat_spikes, tap_word[tap] + word, tap_row[tap] + base, events, end)
                for tap in range(dense, sparse):
                    end += list_few_bits(flat_spikes, tap_word[tap] + word, tap_row[tap] + base, events, end)
                for tap in range(sparse, taps):
                    end += list_rare_bits(flat_spikes, tap_word[tap] + word, tap_row[tap] + base, events, end)
                fill(nothing, events, end)
                ends[t] = end
            if x < 0:
                continue
            v[:] = v0
            target = ((y + out_at[0]) * out.shape[1] + left + x + out_at[1]) * total_steps * out_words
            kernel_at = -x * column_rows * columns
            for t in range(total_steps):
                first = starts[oldest + t]
                count = ends[t] - first
                late = t >= steps
                chosen = kernel_at + post_kernel if late else kernel_at
                biased = columns if late else 0
                numbers = t * columns
                if trace is None:
                    sum_fire_pixel(
                        events,
                        first,
                        count,
                        flat_weights,
                        chosen,
                        flat_bias,
                        biased,
                        v,
                        flat_threshold,
                        flat_reset,
                        numbers,
                        columns,
                        dynamics,
                        flat_out,
                        target,
                        out_words,
                    )
                else:
                    column = 0
                    while column + WIDE <= columns:
                        sum_rows_wide(events, first, count, flat_weights, chosen + column, columns, current, column)
                        column += WIDE
                    while column < columns:
                        sum_rows_narrow(events, first, count, flat_weights, chosen + column, columns, current, column)
                        column += NARROW
                    noted, added, limit = trace[y, left + x, t], bias[1 if late else 0], threshold[t]
                    for i in range(noted.size):
                        u = potential(v[i], current[i] + added[i], dynamics)
                        noted[i] = np.float32(u - limit[i]) * scale[i]
                    fire_pixel(
                        current,
                        0,
                        flat_bias,
                        biased,
                        v,
                        flat_threshold,
                        flat_reset,
                        numbers,
                        columns,
                        dynamics,
                        flat_out,
                        target,
                        kept_words,
                    )
                target += out_words
            for i in range(v_out.shape[2]):
                v_out[y, left + x, i] = v[i]
        sparse = taps
        while sparse and _fewer(1, flat_spikes, tap_word, sparse - size, size, words, total_steps):
            sparse -= size
        dense = sparse
        while dense and _fewer(8, flat_spikes, tap_word, dense - size, size, words, total_steps):
            dense -= size
        many = dense
        while many and _fewer(22, flat_spikes, tap_word, many - size, size, words, total_steps):
            many -= size


@kernel
def conv_current(spikes, at, size, weights, step, bias, block, out):
    """The currents of rows block[0] .. block[1] at one step, int32 (rows·columns, C), for a neuron with its own kernel.

    weights int16 flat for this step's phase; bias int32 (columns,); else as `conv_fire`.
    """
    words = spikes.shape[3]
    columns = bias.shape[0]
    width = block[3] - block[2]
    reach = width + size - 1
    column_rows = words * 64
    events = np.empty(reach * size * words * 64 + 2 * GROUP, np.int32)
    starts = np.empty(size, np.int64)
    current = np.empty(columns, np.int32)
    flat_spikes = spikes.reshape(-1)
    for y in range(block[0], block[1]):
        end = 0
        for c in range(reach):
            x = c - size + 1
            starts[c % size] = end
            for dy in range(size):
                for w in range(words):
                    source = (y + at[0] + dy) * spikes.shape[1] + block[2] + at[1] + c
                    word = (source * spikes.shape[2] + step) * words + w
                    end += list_bits(flat_spikes, word, np.int32((dy * size + c) * column_rows + w * 64), events, end)
            fill(np.int32(size * size * column_rows + x * column_rows), events, end)
            if x < 0:
                continue
            first = starts[(c + 1) % size]
            kernel_at = -x * column_rows * columns
            column = 0
            while column + WIDE <= columns:
                sum_rows_wide(events, first, end - first, weights, kernel_at + column, columns, current, column)
                column += WIDE
            while column < columns:
                sum_rows_narrow(events, first, end - first, weights, kernel_at + column, columns, current, column)
                column += NARROW
            pixel = (y - block[0]) * width + x
            for i in range(out.shape[1]):
                out[pixel, i] = current[i] + bias[i]


@inline
def _analog_current(plane, y, x, at, size, weights, bias, total, current):
    """One pixel's current from the image: Σ w·p in int64, divided by 65535 and rounded once; p is on the grid 1/65535.

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
        current[c] = np.int32(np.rint(total[c] / UNIT)) + bias[c]


@kernel
def analog_fire(plane, at, size, weights, steps, bias, v0, threshold, reset, out, out_at, block, dynamics=None):
    """The first layer: convolve the image once, fire for all steps with that constant current.

    plane int32 (C, rows, columns); weights int64 (k·k·C, columns); at: the source row and column of output (0, 0)'s first
    tap, what lies outside being zero; else as `conv_fire`.
    """
    total_steps, columns = threshold.shape
    out_words = out.shape[3]
    total = np.empty(columns, np.int64)
    v = np.empty(columns, np.int32)
    currents = np.zeros(2 * columns, np.int32)  # up to T, and after
    current, nothing = currents[:columns], np.zeros(columns, np.int32)
    flat_out, flat_threshold, flat_reset = out.reshape(-1), threshold.reshape(-1), reset.reshape(-1)
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            _analog_current(plane, y, x, at, size, weights, bias, total, current)
            v[:] = v0
            target = ((y + out_at[0]) * out.shape[1] + x + out_at[1]) * total_steps * out_words
            for t in range(total_steps):
                fire_pixel(
                    currents,
                    columns if t >= steps else 0,
                    nothing,
                    0,
                    v,
                    flat_threshold,
                    flat_reset,
                    t * columns,
                    columns,
                    dynamics,
                    flat_out,
                    target + t * out_words,
                    out_words,
                )


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
def pack_eights(fired, step, out, out_at, block):
    """As `pack`, eight spikes at a time: fired uint64 (rows·columns, C·planes/8), whose bytes are to be 0 or 1, the first
    the lowest. Returns all numbers or'ed, in which a byte shows that is not.
    """
    width = block[3] - block[2]
    eights = fired.shape[1]
    seen = np.uint64(0)
    for y in range(block[0], block[1]):
        for x in range(width):
            pixel = (y - block[0]) * width + x
            target = out[y + out_at[0], block[2] + x + out_at[1], step]
            for w in range(target.shape[0]):
                bits = np.uint64(0)
                for i in range(8 * w, min(8 * w + 8, eights)):
                    eight = fired[pixel, i]
                    seen |= eight
                    # the lowest bits of the bytes move together: two by two, four by four, all
                    eight = (eight | (eight >> np.uint64(7))) & np.uint64(0x0003000300030003)
                    eight = (eight | (eight >> np.uint64(14))) & np.uint64(0x0000000F0000000F)
                    eight = (eight | (eight >> np.uint64(28))) & np.uint64(0xFF)
                    bits |= eight << np.uint64(8 * (i - 8 * w))
                target[w] = bits
    return seen


@kernel
def count(spikes, at, masks, fan_y, fan_x, events, weighted):
    """Count the spikes of a core of fan_y × fan_x pixels whose first pixel lies at `at`, adding to int64 arrays.

    masks uint64 (groups, words): the channels that are counted together; fan_y int64 (n, rows), fan_x int64 (n, columns): for
    each reader, how many of its taps reach the row, the column; events (groups, steps); weighted (groups, n, steps) +=
    Σ spikes·fan_y·fan_x.
    """
    _, wide, steps, words = spikes.shape
    readers, height = fan_y.shape
    width, groups = fan_x.shape[1], masks.shape[0]
    counted = 0
    for g in range(groups):
        for w in range(words):
            counted += masks[g, w] != 0
    total = steps * counted
    place, mask, whose = np.empty(total, np.int64), np.empty(total, np.uint64), np.empty(total, np.int64)
    i = 0
    for t in range(steps):
        for g in range(groups):
            for w in range(words):
                if masks[g, w] != 0:
                    place[i], mask[i], whose[i] = t * words + w, masks[g, w], g * steps + t
                    i += 1
    in_order = total == steps * words
    for i in range(total):
        in_order = in_order and place[i] == i
    flat, bits = spikes.reshape(-1), np.zeros(total, np.int64)
    flat_events, row_events = events.reshape(-1), np.zeros(groups * steps, np.int64)
    row_weighted = np.zeros((readers, groups * steps), np.int64)
    for y in range(height):
        row_events[:] = 0
        row_weighted[:] = 0
        source = ((y + at[0]) * wide + at[1]) * steps * words
        for x in range(width):  # columns of the same number of taps are counted together
            if in_order:
                for i in range(total):
                    bits[i] += count_bits(flat[source + i] & mask[i])
            else:
                for i in range(total):
                    bits[i] += count_bits(flat[source + place[i]] & mask[i])
            source += steps * words
            same = x + 1 < width
            for r in range(readers):
                same = same and fan_x[r, x] == fan_x[r, x + 1]
            if not same:
                for i in range(total):
                    row_events[whose[i]] += bits[i]
                    for r in range(readers):
                        row_weighted[r, whose[i]] += bits[i] * fan_x[r, x]
                    bits[i] = 0
        for i in range(groups * steps):
            flat_events[i] += row_events[i]
            for r in range(readers):
                weighted[i // steps, r, i % steps] += row_weighted[r, i] * fan_y[r, y]


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
