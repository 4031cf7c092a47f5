"""The declared family of neurons back through time, and the spikes of a batch as numbers.

Spikes of an image are packed as uint64 (rows, columns, steps, words) with a border of zeros; its trace, which the forward pass
notes, is float32 (rows, columns, steps, channels), its gradients float32 (steps, rows, columns, channels). The trace holds
x = (u - fire(t)·θ)·2^-k, the distance from the threshold in floats.
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.vector import count_bits

SHORT = 128
"""Numbers that are summed up as float32."""


@kernel
def unpack(words, pad, step, out):
    """The spikes of one step, words uint64 (N, rows, columns, steps, words), as float32 (N, rows, columns, C)."""
    channels = out.shape[3]
    for n in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                row = out[n, y, x]
                for first in range(0, channels, 32):
                    bits = np.uint32(words[n, y + pad, x + pad, step, first // 64] >> np.uint64(first % 64))
                    for i in range(min(32, channels - first)):
                        row[first + i] = np.float32(np.int32((bits >> np.uint32(i)) & np.uint32(1)))


@kernel
def channel_sums(x, sums):
    """Add the sums over pixels of x float32 (pixels, C) to sums float64 (C,); as float32 over `SHORT` pixels at a time."""
    pixels, channels = x.shape
    own = np.zeros(channels, np.float32)
    for first in range(0, pixels, SHORT):
        own[:] = 0
        for p in range(first, min(first + SHORT, pixels)):
            row = x[p]
            for c in range(channels):
                own[c] += row[c]
        for c in range(channels):
            sums[c] += own[c]


@kernel
def count(words, events):
    """Add the spikes of words uint64 (N, rows, columns, steps, words) at each step to events int64 (steps,)."""
    for n in range(words.shape[0]):
        for y in range(words.shape[1]):
            for x in range(words.shape[2]):
                for t in range(words.shape[3]):
                    for w in range(words.shape[4]):
                        events[t] += count_bits(words[n, y, x, t, w])


@kernel
def backward_declared(
    trace,
    slopes,
    gradients,
    added,
    fires,
    thresholds,
    resets,
    flips,
    up,
    to_zero,
    factors,
    follow,
    g_v,
    sums,
    crossings,
    worths,
    scratch,
    first,
):
    """As `back_in_time.backward`, of any declared neuron; of several spikes at a step each has a threshold, and flips planes.

    The k-th positive spike (k from 0) is fired at x_k = x - k·a·θ >= 0, the k-th negative one at x_k = -u - f·θ - k·a·θ >= 0,
    and changes plane p by flips[p, k] in {-1, 0, 1}. With H_k = [x_k >= 0], φ_k its surrogate derivative and ± its sign,

        G_k = Σ flips·∂L/∂s_p ∓ a·θ·g_v;   g_u = g_v ± Σ G_k·φ_k;   g_v <- keep·g_u;   ∂L/∂I = input_factor·g_u
        ∂L/∂θ -= Σ (f + k·a)·G_k·φ_k ± Σ a·g_v·H_k

    and where the reset is to zero: G_k = Σ flips·∂L/∂s_p, less u·g_v at k = 0; g_u begins with 0 in place of g_v where it
    fires; and ∂L/∂θ has no second part.

    trace float32 (P, steps, C); slopes float32 (K, P, steps, C): φ_k, those of positive spikes first; gradients float32
    (steps, pixels, planes·C), whose first C become ∂L/∂I; thresholds, resets float32 (steps, C): f·θ, a·θ; flips float32
    (planes, K); up: how many of K are of positive spikes; factors float32 (2,): keep, input_factor; follow: 1, or 0 if the
    reset is not followed; the rest as there. crossings gets Σ G_k·φ_k, worths Σ k·G_k·φ_k ± Σ g_v·H_k.
    """
    pixels, steps, channels = trace.shape
    scratch[:] = np.float32(0)
    nothing = np.float32(0)
    of_u, of_spike = np.empty(channels, np.float32), np.empty(channels, np.float32)
    for p in range(pixels):
        v = g_v[p]
        for back in range(steps):
            t = steps - 1 - back
            x, g, threshold, reset = trace[p, t], gradients[t, first + p], thresholds[t], resets[t]
            crossing, worth, total = scratch[0, t], scratch[1, t], scratch[2, t]
            of_u[:] = v
            if fires[t] >= 0:
                for k in range(slopes.shape[0]):
                    positive = k < up
                    order = np.float32(k if positive else k - up)
                    sign = np.float32(1) if positive else np.float32(-1)
                    for c in range(channels):
                        x_k = sign * x[c] - (nothing if positive else threshold[c] + threshold[c]) - order * reset[c]
                        if x_k >= 0:
                            if to_zero:
                                of_u[c] = nothing
                            else:
                                worth[c] += sign * v[c]
                for k in range(slopes.shape[0]):
                    positive = k < up
                    order = np.float32(k if positive else k - up)
                    sign = np.float32(1) if positive else np.float32(-1)
                    slope = slopes[k, p, t]
                    of_spike[:] = nothing
                    for plane in range(flips.shape[0]):
                        flip = flips[plane, k]
                        if flip != 0:
                            for c in range(channels):
                                of_spike[c] += flip * (g[plane * channels + c] + added[t])
                    for c in range(channels):
                        spent = sign * reset[c]
                        if to_zero:
                            spent = x[c] + threshold[c] if order == 0 else nothing
                        crossed = (of_spike[c] - follow * spent * v[c]) * slope[c]
                        crossing[c] += crossed
                        worth[c] += order * crossed
                        of_u[c] += sign * crossed
            for c in range(channels):
                arriving = factors[1] * of_u[c]
                g[c] = arriving
                total[c] += arriving
                v[c] = factors[0] * of_u[c]
    for t in range(steps):
        for c in range(channels):
            crossings[t, c] += scratch[0, t, c]
            worths[t, c] += scratch[1, t, c]
            sums[t, c] += scratch[2, t, c]
