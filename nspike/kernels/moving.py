"""Moving packed spikes to other channels and pixels, spike by spike."""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.vector import GROUP, list_few_bits


@kernel
def move(spikes, at, down, up, targets, out, pad, block):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of what moves spikes.

    spikes uint64 (rows, columns, steps, words); out the same at another resolution, with `pad` rows and columns around, its bits
    not set. Output (y, x), counted from at[:2], reads the down × down pixels from (y·down // up, x·down // up) on, counted
    from row and column at[2:]. targets int32 (up², down², bits): of each bit that an output at (y, x) modulo `up` reads, which of
    its own it becomes, or -1.
    """
    steps, words = spikes.shape[2], spikes.shape[3]
    flat, flat_out, flat_targets = spikes.reshape(-1), out.reshape(-1), targets.reshape(-1)
    events = np.empty(64 * words + GROUP, np.int32)
    bits, out_words = targets.shape[2], out.shape[3]
    for y in range(block[0], block[1]):
        row = y + at[0]
        for x in range(block[2], block[3]):
            column = x + at[1]
            phase = row % up * up + column % up
            target = ((y + pad) * out.shape[1] + x + pad) * steps * out_words
            for i in range(down * down):
                source_y, source_x = row * down // up + i // down + at[2], column * down // up + i % down + at[3]
                source = (source_y * spikes.shape[1] + source_x) * steps * words
                first = (phase * down * down + i) * bits
                for t in range(steps):
                    count = 0
                    for word in range(words):
                        count += list_few_bits(flat, source + word, np.int32(64 * word), events, count)
                    source += words
                    for event in range(count):
                        bit = flat_targets[first + events[event]]
                        if bit >= 0:
                            flat_out[target + t * out_words + bit // 64] |= np.uint64(1) << np.uint64(bit % 64)
