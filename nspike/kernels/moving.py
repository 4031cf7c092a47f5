"""Moving packed spikes to other channels and pixels, eight at a time by tables; and numbers, one at a time."""

import numpy as np

from nspike.kernels._jit import kernel


@kernel
def move(spikes, at, down, up, entries, ends, tables, out, pad, block):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of what moves spikes.

    spikes uint64 (rows, columns, steps, words); out the same at another resolution, with `pad` rows and columns around, its bits
    not set. Output (y, x), counted from at[:2], reads the down × down pixels from (y·down // up, x·down // up) on, counted
    from row and column at[2:]. entries int64 (n, 3): a word, by how much it is shifted right, and the number of a table, for 8
    bits of a pixel; tables uint64 (n, 256): which bits of a word of the output they become. ends int64 (up², down², words +
    1): which entries belong to each of its words, at a position modulo `up` and of a pixel that it reads.
    """
    steps, words, out_words = spikes.shape[2], spikes.shape[3], out.shape[3]
    flat, flat_out, flat_tables = spikes.reshape(-1), out.reshape(-1), tables.reshape(-1)
    for y in range(block[0], block[1]):
        row = y + at[0]
        for x in range(block[2], block[3]):
            column = x + at[1]
            phase = row % up * up + column % up
            target = ((y + pad) * out.shape[1] + x + pad) * steps * out_words
            for i in range(down * down):
                source_y, source_x = row * down // up + i // down + at[2], column * down // up + i % down + at[3]
                source = (source_y * spikes.shape[1] + source_x) * steps * words
                for word in range(out_words):
                    first, last = ends[phase, i, word], ends[phase, i, word + 1]
                    for t in range(steps if last > first else 0):
                        moved = np.uint64(0)
                        for entry in range(first, last):
                            bits = flat[source + t * words + entries[entry, 0]] >> np.uint64(entries[entry, 1])
                            moved |= flat_tables[entries[entry, 2] * 256 + np.int64(bits & np.uint64(255))]
                        flat_out[target + t * out_words + word] |= moved


@kernel
def spread(x, index, factor, out):
    """Each pixel of x (M, H, W, K) to factor × factor pixels of out (M, H·factor, W·factor, C): index int64 (factor², C) says
    which channel each of theirs is."""
    for m in range(x.shape[0]):
        for y in range(out.shape[1]):
            for column in range(out.shape[2]):
                read, into = x[m, y // factor, column // factor], out[m, y, column]
                where = index[y % factor * factor + column % factor]
                for c in range(where.size):
                    into[c] = read[where[c]]


@kernel
def gather(x, index, factor, out):
    """The reverse: x (M, H·factor, W·factor, C) to out (M, H, W, K)."""
    for m in range(x.shape[0]):
        for y in range(x.shape[1]):
            for column in range(x.shape[2]):
                read, into = x[m, y, column], out[m, y // factor, column // factor]
                where = index[y % factor * factor + column % factor]
                for c in range(where.size):
                    into[where[c]] = read[c]


@kernel
def shuffle(currents, factor, top, left, out):
    """Pixel shuffle of currents (rows, columns, C·factor²) to out (rows, columns, C).

    out[0, 0] lies at row `top` and column `left`, from where on out at (y, x, c) is currents[y // factor, x // factor,
    (c·factor + y % factor)·factor + x % factor].
    """
    channels, area = out.shape[2], factor * factor
    for y in range(out.shape[0]):
        row, dy = (top + y) // factor, (top + y) % factor
        for x in range(out.shape[1]):
            read, write = currents[row, (left + x) // factor], out[y, x]
            phase = dy * factor + (left + x) % factor
            for c in range(channels):
                write[c] = read[c * area + phase]
