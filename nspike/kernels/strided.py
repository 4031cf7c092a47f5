"""Convolutions of any stride, dilation, groups and padding, of spikes and of the image, to currents.

Positions are those of the layers: output (y, x) reads y·stride - padding + tap·dilation, where what lies outside the source,
limits (2,) rows and columns, is zero. `places` says where tensors begin: int64 (6,), the row and column of position (0, 0) in
the array of the source, those in the array of the output, and the limits. `taps` is int64 (4,): k, stride, dilation, padding.
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.unit import UNIT


@kernel
def conv_current(spikes, places, taps, weights, row, target, steps, bias, block, out):
    """The currents of rows block[0] .. block[1] and columns block[2] .. block[3] at all steps.

    spikes uint64 (rows, columns, steps, words); row, target int32 (words·64,): of each bit, the row of `weights` and the first
    output channel that it reaches, row -1 for none; weights int16 (phases, k·k, rows, C per group); steps: T, after which the
    last phase holds; bias int32 (2, C): for the steps up to T, and after; out int32 (steps, rows, columns, C).
    """
    size, stride, dilation, padding = taps
    reached = weights.shape[3]
    late_phase = weights.shape[0] - 1
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            for t in range(out.shape[0]):
                current = out[t, y + places[2], x + places[3]]
                late = 1 if t >= steps else 0
                phase = late_phase if late else 0
                current[:] = bias[late]
                for dy in range(size):
                    source_y = y * stride - padding + dy * dilation
                    if not 0 <= source_y < places[4]:
                        continue
                    for dx in range(size):
                        source_x = x * stride - padding + dx * dilation
                        if not 0 <= source_x < places[5]:
                            continue
                        pixel = spikes[source_y + places[0], source_x + places[1], t]
                        for w in range(spikes.shape[3]):
                            bits = pixel[w]
                            bit = 64 * w
                            while bits != 0:
                                if bits & np.uint64(1) and row[bit] >= 0:
                                    added = weights[phase, dy * size + dx, row[bit]]
                                    first = target[bit]
                                    for i in range(reached):
                                        current[first + i] += added[i]
                                bits >>= np.uint64(1)
                                bit += 1


@kernel
def image_current(plane, places, taps, weights, bias, block, out):
    """The constant currents of the image: Σ w·p in int64, divided by 65535 and rounded once; p is on the grid 1/65535.

    plane int32 (C_in, rows, columns); weights int64 (k·k, C_in per group, C); bias int32 (C,); out int32 (1, rows, columns, C);
    else as `conv_current`. The quotient is never half-way between two integers, 65535 being odd.
    """
    size, stride, dilation, padding = taps
    _, read, channels = weights.shape
    groups = plane.shape[0] // read
    reached = channels // groups
    total = np.empty(channels, np.int64)
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            total[:] = 0
            for dy in range(size):
                source_y = y * stride - padding + dy * dilation
                if not 0 <= source_y < places[4]:
                    continue
                for dx in range(size):
                    source_x = x * stride - padding + dx * dilation
                    if not 0 <= source_x < places[5]:
                        continue
                    for i in range(plane.shape[0]):
                        p = np.int64(plane[i, source_y + places[0], source_x + places[1]])
                        first = i // read * reached
                        for c in range(first, first + reached):
                            total[c] += p * weights[dy * size + dx, i % read, c]
            current = out[0, y + places[2], x + places[3]]
            for c in range(channels):
                current[c] = np.int32(np.rint(total[c] / UNIT)) + bias[c]
