"""What a convolution of spikes adds up to over all steps: the membranes of neurons that neither leak nor fire.

    Q = q + Σ_t Σ_tap w_tap·s(t)

Each pixel's spikes are looked up once, in tables that hold the sums of their weights of all taps side by side (see
`nspike.kernels.streams`), and added up over the steps; an output is then one number of each pixel around it.
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.streams import AT_ONCE, look_up_one, look_up_some
from nspike.kernels.vector import NARROW


@kernel
def charge(spikes, places, size, padding, chunks, ends, tables, start, block, out):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output.

    spikes uint64 (rows, columns, steps, words); places int64 (6,) as of `nspike.kernels.strided`; size, padding: of the
    convolution, of stride 1. chunks, tables: see `streams.look_up_some`; ends int64 (passes, blocks + 1): those of each 16 sums,
    (tap, C) in order, none of which leaves 16 bits in a pass. start int32 (C,): q; out int32 (rows, columns, C).
    """
    _, wide, steps, words = spikes.shape
    channels, passes, lanes = start.shape[0], ends.shape[0], (ends.shape[1] - 1) * NARROW
    first, last = block[2] - padding, block[3] - padding + size - 1
    wanted, flat_out = (last - first) * lanes, out.reshape(-1)
    rows, parts = np.zeros(size * wanted, np.int32), passes * steps
    sums, where = np.zeros(parts * lanes, np.int16), np.zeros(1, np.int64)
    address, next_row = spikes.ctypes.data, block[0] - padding
    for y in range(block[0], block[1]):
        while next_row < y - padding + size:
            for x in range(first, last):
                into = next_row % size * wanted + (x - first) * lanes
                own = rows[into : into + lanes]
                own[:] = 0
                if not (0 <= next_row < places[4] and 0 <= x < places[5]):
                    continue
                pixel = (next_row + places[0]) * wide + x + places[1]
                where[0] = address + 8 * pixel * steps * words
                for k in range(passes):
                    for b in range(lanes // NARROW):
                        t, place = 0, k * steps * lanes + b * NARROW
                        end = k * ends.shape[1] + b
                        while t + AT_ONCE <= steps:
                            look_up_some(where, t, chunks, ends, end, 0, tables, sums, place + t * lanes, lanes)
                            t += AT_ONCE
                        while t < steps:
                            look_up_one(where, t, chunks, ends, end, 0, tables, sums, place + t * lanes, lanes)
                            t += 1
                for part in range(parts):
                    found = sums[part * lanes : (part + 1) * lanes]
                    for i in range(lanes):
                        own[i] += found[i]
            next_row += 1
        for x in range(block[2], block[3]):
            target = ((y + places[2]) * out.shape[1] + x + places[3]) * channels
            for c in range(channels):
                total = start[c]
                for dy in range(size):
                    row = (y - padding + dy) % size * wanted + (x - block[2]) * lanes + dy * size * channels + c
                    for dx in range(size):
                        total += rows[row + dx * (lanes + channels)]
                flat_out[target + c] = total
