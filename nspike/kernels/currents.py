"""Firing from currents that are known, whatever they were summed up from: every declared neuron, into wide spikes."""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.firing import fire_pixel, potential


@kernel
def fire(
    currents,
    at,
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
    """Fire rows block[0] .. block[1] of the output from known currents, for all steps.

    currents int32 (steps, rows, columns, C), or (1, rows, columns, C): the same at every step up to T, and none after;
    at (2,): the row and column in them of output (0, 0), negative where they begin further on. steps: T; bias int32
    (2, columns), which is added: for the steps up to T, and after; v0 int32 (columns,); threshold, reset int32 (steps,
    columns), `columns` being C padded to a multiple of 16; out uint64 (rows, columns, steps, words), written from out_at (2,)
    on, or empty; v_out int32 (rows, columns, columns') or empty: the membranes at the end; block (4,): first and last row,
    first and last column of the output. trace, scale: as of `wide.conv_fire`. dynamics: see `nspike.kernels.firing`.
    """
    total_steps, columns = threshold.shape
    _, height, width, channels = currents.shape
    constant, out_words = currents.shape[0] == 1, out.shape[3]
    kept_words = out_words if out.size else 0
    flat_currents, flat_out, flat_bias = currents.reshape(-1), out.reshape(-1), bias.reshape(-1)
    flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
    v = np.empty(columns, np.int32)
    current = np.zeros(2 * columns, np.int32)  # and then what comes after T where they are the same up to then
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            v[:] = v0
            target = ((y + out_at[0]) * out.shape[1] + x + out_at[1]) * total_steps * out_words
            source = ((y + at[0]) * width + x + at[1]) * channels
            for t in range(total_steps):
                late = t >= steps
                if t == 0 or not constant:
                    arriving = flat_currents[source : source + channels]  # an index that may be negative would be slow
                    for i in range(channels):
                        current[i] = arriving[i]
                    source += height * width * channels
                first = columns if constant and late else 0
                biased, numbers = columns if late else 0, t * columns
                if trace is not None:
                    noted, added, limit = trace[y, x, t], bias[1 if late else 0], threshold[t]
                    arriving = current[first : first + columns]
                    for i in range(noted.size):
                        u = potential(v[i], arriving[i] + added[i], dynamics)
                        noted[i] = np.float32(u - limit[i]) * scale[i]
                fire_pixel(
                    current,
                    first,
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
                v_out[y, x, i] = v[i]
