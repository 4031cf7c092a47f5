"""Counts of packed spikes, and the gradient of a firing rate: what `nspike.trainable.rate_rule` needs of every neuron."""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.vector import GROUP, list_bits


@kernel
def weigh(words, pad, worth, column, gain, out, first, last):
    """Rows first .. last-1 of n = Σ worth(t)·gain·s(t), over all images; out float32 (N, rows, columns, C), zeros.

    words uint64 (N, rows, columns, steps, words) with a border of `pad`; worth float32 (steps,); for each bit of a pixel its
    column of `out`, int32, and its gain, float32.
    """
    _, rows, columns, steps, count = words.shape
    height, width, channels = out.shape[1:]
    flat, into = words.reshape(-1), out.reshape(-1)
    events = np.empty(64 + GROUP, np.int32)
    for row in range(first, last):
        source = ((row // height * rows + row % height + pad) * columns + pad) * steps * count
        target = row * width * channels
        for _ in range(width):
            for t in range(steps):
                for w in range(count):
                    fired = list_bits(flat, source, np.int32(64 * w), events, 0)
                    source += 1
                    for i in range(fired):
                        into[target + column[events[i]]] += worth[t] * gain[events[i]]
            target += channels


@kernel
def back_to_charge(spikes, added, end, charge, counts, theta, least, most, out, of_theta, first, last):
    """Pixels first .. last-1 of ∂L/∂Q, float32 (pixels, C), to `out`; Σ -n·∂L/∂Q is added to of_theta float64 (C,).

    spikes, end float32 (pixels, C) or (0, C): ∂L/∂n, ∂L/∂v at the end; added: what one more spike of either sign adds to
    ∂L/∂n; charge, counts (pixels, C): Q, n; theta (C,); least, most: the fewest and the most that a neuron can fire.
    """
    for p in range(first, last):
        for c in range(out.shape[1]):
            q, n = charge[p, c], counts[p, c]
            left = end[p, c] if end.shape[0] else np.float32(0)
            g = left
            if (q > theta[c] * least or n > least) and q < theta[c] * most:
                of_count = added if q >= 0 or least == 0 else -added
                if spikes.shape[0]:
                    of_count += spikes[p, c]
                g += of_count / theta[c] - left
            out[p, c] = g
            of_theta[c] -= n * g
