"""Convolutions of any stride, dilation, groups and padding, of spikes and of the image.

Positions are those of the layers: output (y, x) reads y·stride - padding + tap·dilation, where what lies outside the source
is zero. `taps` is int64 (4,): k, stride, dilation, padding. `places` is int64 (6,): the row and column in the source's array of
its position (0, 0), those in the output's array, and the source's rows and columns in all.

The output channels of a few whole groups are a block of `lanes` sums. The bits that a block reads are cut into pieces: runs
of up to 64 bits of a pixel's words, and several kernel rows of a run side by side as long as they fit in 64 bits. Each event
of a piece adds one row of weights to the sums of its block. With stride 1, each column is listed once for all outputs that read
it, as in `nspike.kernels.wide`: those that lie `dilation` columns apart are done one after the other.
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.firing import fire_pixel, sum_fire_pixel
from nspike.kernels.vector import GROUP, NARROW, WIDE, fill, list_bits, sum_rows_narrow, sum_rows_wide

SEGMENT = 64
"""How many columns of an output row are listed at a time: lists that stay in the cache, of a bounded size."""


@kernel
def convolve(
    spikes,
    places,
    taps,
    pieces,
    ends,
    weights,
    rows,
    lanes,
    step,
    whole,
    steps,
    bias,
    block,
    out,
    v0=None,
    threshold=None,
    reset=None,
    dynamics=None,
    v_out=None,
):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output at all steps, as currents or fired.

    spikes uint64 (rows, columns, steps, words); pieces int64 (pieces, 5): first kernel row, how many, first bit, how many bits,
    first row of weights; ends int64 (blocks,): the end of each block's pieces; weights int16 (phases, blocks·(k·rows + 1)·lanes):
    for each block `rows` rows for each kernel column, and a row of zeros; lanes: a multiple of 16; step: from each block's first
    channel to the next one's; whole: whether each piece is a word, or all of it that is used, of one row; steps: T, after which
    the last phase holds; bias int32 (2, C): up to T, and after.

    Without v0, out int32 (steps, rows, columns, C) are the currents. With it the neurons fire: v0 int32 (columns,); threshold,
    reset int32 (steps, columns), `columns` being C padded to a multiple of 16, as is that of bias; out uint64 (rows, columns,
    steps, words); dynamics: see `nspike.kernels.firing`; v_out int32 (rows, columns, columns') or empty: the membranes at
    the end, at the places of `out`, its border left out: places[2:4] are then those of v_out, and of out with its border added.
    """
    size, stride, dilation, padding = taps
    total_steps, words, blocks = spikes.shape[2], spikes.shape[3], ends.shape[0]
    shared = stride == 1
    residues = dilation if shared else 1
    number = bias.shape[1]
    flat_spikes, flat_weights, flat_bias, flat_out = (
        spikes.reshape(-1),
        weights.reshape(-1),
        bias.reshape(-1),
        out.reshape(-1),
    )
    of_block, of_phase = (size * rows + 1) * lanes, weights.shape[1]
    late_phase = weights.shape[0] - 1
    alone = False
    if v0 is not None:
        alone = blocks == 1  # all sums of a pixel stay in registers
        flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
        v = np.empty(number, np.int32)
        out_words = out.shape[3]
        border = (out.shape[1] - v_out.shape[1]) // 2
    count, entries = pieces.shape[0], pieces[:, 1].sum()
    piece_rows, piece_bits, piece_base = pieces[:, 1].copy(), pieces[:, 3].copy(), pieces[:, 4].copy()
    piece_low, piece_mask = np.empty(count, np.uint64), np.empty(count, np.uint64)
    piece_crosses = np.empty(count, np.bool_)
    entry_row, entry_first = np.empty(entries, np.int64), np.empty(entries, np.int64)
    i = 0
    for piece in range(count):
        first_bit = pieces[piece, 2]
        piece_low[piece] = np.uint64(first_bit % 64)
        piece_mask[piece] = ~np.uint64(0) >> np.uint64(64 - piece_bits[piece])
        piece_crosses[piece] = first_bit % 64 + piece_bits[piece] > 64
        for r in range(piece_rows[piece]):
            entry_row[i], entry_first[i] = pieces[piece, 0] + r, first_bit // 64
            i += 1
    columns_read = 1 if shared else size
    entry_word = np.empty(columns_read * entries, np.int64)
    most = piece = 0
    for b in range(blocks):
        bits_of_block = 0
        while piece < ends[b]:
            bits_of_block += pieces[piece, 1] * pieces[piece, 3]
            piece += 1
        most = max(most, bits_of_block)
    room = ((SEGMENT + size - 1) if shared else size) * most + 2 * GROUP
    lists = total_steps * blocks
    events = np.empty(lists * room if shared else room, np.int32)
    starts = np.zeros(size * lists, np.int64)
    stops = np.zeros(lists, np.int64)
    current = np.zeros(blocks * step + lanes + number, np.int32)
    word = np.zeros(1, np.uint64)
    every = (block[3] - block[2] + residues - 1) // residues
    segments = (every + SEGMENT - 1) // SEGMENT
    for segment in range((block[1] - block[0]) * residues * segments):
        y = block[0] + segment // (residues * segments)
        left = block[2] + segment // segments % residues + segment % segments * SEGMENT * residues
        wide = min(SEGMENT, (block[3] - left + residues - 1) // residues)
        for i in range(lists):
            stops[i] = i * room
        for c in range(wide + size - 1 if shared else wide):
            x = c - size + 1 if shared else c
            if v0 is not None:
                v[:] = v0
            for dx in range(columns_read):
                source_x = (left + c * residues) * stride - padding + dx * dilation
                inside = 0 <= source_x < places[5]
                for i in range(entries):
                    source_y = y * stride - padding + entry_row[i] * dilation
                    pixel = (source_y + places[0]) * spikes.shape[1] + source_x + places[1]
                    found = inside and 0 <= source_y < places[4]
                    entry_word[dx * entries + i] = pixel * total_steps * words + entry_first[i] if found else -1
            for t in range(total_steps):
                late = t >= steps
                piece = entry = 0
                for b in range(blocks):
                    at = t * blocks + b
                    end = stops[at] if shared else 0
                    if shared:
                        starts[c % size * lists + at] = end
                    first_piece, first_entry, last_piece = piece, entry, ends[b]
                    for dx in range(columns_read):
                        base = (c if shared else dx) * rows
                        entry = first_entry
                        for piece in range(first_piece, last_piece):
                            where = dx * entries + entry
                            entry += piece_rows[piece]
                            if whole:
                                if entry_word[where] >= 0:
                                    index = entry_word[where] + t * words
                                    end += list_bits(
                                        flat_spikes, index, np.int32(base + piece_base[piece]), events, end
                                    )
                                continue
                            bits, low, mask = piece_bits[piece], piece_low[piece], piece_mask[piece]
                            gathered = np.uint64(0)
                            for r in range(piece_rows[piece]):
                                index = entry_word[where + r]
                                if index >= 0:
                                    index += t * words
                                    seen = flat_spikes[index] >> low
                                    if piece_crosses[piece]:
                                        seen |= flat_spikes[index + 1] << (np.uint64(64) - low)
                                    gathered |= (seen & mask) << np.uint64(r * bits)
                            word[0] = gathered
                            end += list_bits(word, 0, np.int32(base + piece_base[piece]), events, end)
                    piece = last_piece
                    fill(np.int32(size * rows + (x * rows if shared else 0)), events, end)
                    stops[at] = end
                    if x >= 0 and not alone:
                        first = starts[(c + 1) % size * lists + at] if shared else 0
                        offset = (late_phase if late else 0) * of_phase + b * of_block
                        if shared:
                            offset -= x * rows * lanes
                        column = 0
                        while column + WIDE <= lanes:
                            sum_rows_wide(
                                events,
                                first,
                                end - first,
                                flat_weights,
                                offset + column,
                                lanes,
                                current,
                                b * step + column,
                            )
                            column += WIDE
                        while column < lanes:
                            sum_rows_narrow(
                                events,
                                first,
                                end - first,
                                flat_weights,
                                offset + column,
                                lanes,
                                current,
                                b * step + column,
                            )
                            column += NARROW
                if x < 0:
                    continue
                row, column = y + places[2], left + x * residues + places[3]
                biased = number if late else 0
                if v0 is not None:
                    target = (((row + border) * out.shape[1] + column + border) * total_steps + t) * out_words
                    if alone:
                        first = starts[(c + 1) % size * lists + t] if shared else 0
                        offset = (late_phase if late else 0) * of_phase - (x * rows * lanes if shared else 0)
                        sum_fire_pixel(
                            events,
                            first,
                            stops[t] - first,
                            flat_weights,
                            offset,
                            flat_bias,
                            biased,
                            v,
                            flat_threshold,
                            flat_reset,
                            t * number,
                            number,
                            dynamics,
                            flat_out,
                            target,
                            out_words,
                        )
                        continue
                    fire_pixel(
                        current,
                        0,
                        flat_bias,
                        biased,
                        v,
                        flat_threshold,
                        flat_reset,
                        t * number,
                        number,
                        dynamics,
                        flat_out,
                        target,
                        out_words,
                    )
                else:
                    into, added = out[t, row, column], bias[1 if late else 0]
                    for i in range(into.size):
                        into[i] = current[i] + added[i]
            if v0 is not None:
                for i in range(v_out.shape[2] if x >= 0 else 0):
                    v_out[y + places[2], left + x * residues + places[3], i] = v[i]
