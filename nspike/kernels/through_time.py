"""A spiking layer for training: the engine's integers with a trace of every membrane, and back-propagation through time.

Forward, as in `nspike.kernels.wide`, each step also notes x = (u - fire(t)·θ)·2^-k, the distance from the threshold in
floats. Backward, t descending, with g_v = ∂L/∂v, φ the surrogate derivative at x, s = [x >= 0], f = fire(t), a = amplitude(t):

    G = ∂L/∂s - a·θ·g_v;   g_u = g_v + G·φ;   ∂L/∂I = g_u;   ∂L/∂θ -= f·G·φ + a·g_v·s;   g_v <- g_u

Spikes of an image are packed as uint64 (rows, columns, steps, words) with a border of zeros; its trace is float32
(rows, columns, steps, channels), its gradients float32 (steps, rows, columns, channels).
"""

import numpy as np

from nspike.kernels._jit import inline, kernel
from nspike.kernels.vector import (
    NARROW,
    WIDE,
    count_bits,
    fire_narrow,
    fire_wide,
)


@inline
def _step(current, bias, v, threshold, reset, scale, step, post, out, at, trace, noted, channels):
    """One step of one pixel: note x in flat `trace` from `noted` on, fire, write the words to flat `out` from `at` on."""
    columns = v.shape[0]
    numbers, biased = step * columns, post * columns
    if trace.size:
        for c in range(channels):
            u = v[c] + current[c] + bias[biased + c]
            trace[noted + c] = np.float32(u - threshold[numbers + c]) * scale[c]
    first = 0
    while first + WIDE <= columns:
        bits = fire_wide(current, first, bias, biased + first, v, threshold, reset, numbers + first)
        if out.size:
            out[at + first // 64] = bits
        first += WIDE
    while first < columns:
        bits = fire_narrow(current, first, bias, biased + first, v, threshold, reset, numbers + first)
        if out.size:
            out[at + first // 64] |= bits << np.uint64(first % 64)
        first += NARROW


@kernel
def fire(currents, steps, bias, v0, threshold, reset, scale, out, pad, v_out, trace, first, last):
    """Rows first .. last-1 of one image with known currents, as `wide.conv_fire` with a trace runs a convolution.

    currents: int32 (steps, rows, columns, C), or (1, ...), the same at every step up to T; out: the layer's spikes, all zero,
    with a border of `pad`, or empty; v_out int32 (rows, columns, C) or empty; trace (rows, columns, steps, C) or empty.
    """
    total_steps, columns = threshold.shape
    width, out_words, channels = currents.shape[2], out.shape[3], trace.shape[3]
    flat_out, flat_trace = out.reshape(-1), trace.reshape(-1)
    flat_bias, flat_threshold, flat_reset = bias.reshape(-1), threshold.reshape(-1), reset.reshape(-1)
    v = np.empty(columns, np.int32)
    current = np.zeros(columns, np.int32)
    constant = currents.shape[0] == 1
    for y in range(first, last):
        for x in range(width):
            v[:] = v0
            target = ((y + pad) * out.shape[1] + x + pad) * total_steps * out_words
            noted = (y * width + x) * total_steps * channels
            for t in range(total_steps):
                post = 1 if t >= steps else 0
                for c in range(currents.shape[3]):
                    current[c] = 0 if constant and post else currents[0 if constant else t, y, x, c]
                to, note = target + t * out_words, noted + t * channels
                _step(
                    current,
                    flat_bias,
                    v,
                    flat_threshold,
                    flat_reset,
                    scale,
                    t,
                    post,
                    flat_out,
                    to,
                    flat_trace,
                    note,
                    channels,
                )
            for i in range(v_out.shape[2]):
                v_out[y, x, i] = v[i]


@kernel
def unpack(words, pad, step, out):
    """The spikes of one step, words uint64 (N, rows, columns, steps, words), as float32 (N, rows, columns, C)."""
    for n in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                for c in range(out.shape[3]):
                    word = words[n, y + pad, x + pad, step, c // 64]
                    out[n, y, x, c] = np.float32((word >> np.uint64(c % 64)) & np.uint64(1))


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
def sigmoid_slopes(x, k, out):
    """k·σ(kx)(1 - σ(kx)) of flat float32, to 2e-6 of itself: k/(2 + 2·cosh(kx)), cosh - 1 by halving kx five times.

    With e = cosh(z) - 1, cosh(2z) - 1 = 2e(e + 2): products and sums alone, which the compiler does many at a time.
    """
    for i in range(x.size):
        z = min(abs(k * x[i]), np.float32(40.0)) * np.float32(1 / 32)
        q = z * z
        e = np.float32(1 / 3628800)
        e = q * e + np.float32(1 / 40320)
        e = q * e + np.float32(1 / 720)
        e = q * e + np.float32(1 / 24)
        e = q * e + np.float32(1 / 2)
        e = q * e
        e = np.float32(2) * e * (e + np.float32(2))
        e = np.float32(2) * e * (e + np.float32(2))
        e = np.float32(2) * e * (e + np.float32(2))
        e = np.float32(2) * e * (e + np.float32(2))
        e = np.float32(2) * e * (e + np.float32(2))
        out[i] = k / (np.float32(4) + np.float32(2) * e)


@kernel
def backward(trace, slopes, gradients, added, fires, resets, g_v, sums, crossings, worths, scratch, first):
    """Pixels first .. first + len(trace) - 1 back in time; `gradients` turn from ∂L/∂s into ∂L/∂I, in place.

    trace, slopes float32 (P, steps, C): x and φ; gradients float32 (steps, pixels, C); added float32 (steps,): more ∂L/∂s,
    the same for every neuron; fires float32 (steps,): f, below 0 where the neuron is silent; resets float32 (steps, C): a·θ,
    or zeros if the reset is not followed; g_v float32 (P, C): ∂L/∂v at the end, then ∂L/∂v(0). Added to: sums, crossings,
    worths float64 (steps, C): Σ ∂L/∂I, Σ G·φ, Σ g_v·s. scratch float32 (3, steps, C).
    """
    pixels, steps, channels = trace.shape
    scratch[:] = np.float32(0)
    for p in range(pixels):
        v = g_v[p]
        for back in range(steps):
            t = steps - 1 - back
            x, slope, g = trace[p, t], slopes[p, t], gradients[t, first + p]
            crossing, worth, total = scratch[0, t], scratch[1, t], scratch[2, t]
            reset, more = resets[t], added[t]
            if fires[t] < 0:
                for c in range(channels):
                    g[c] = v[c]
                    total[c] += v[c]
                continue
            for c in range(channels):
                spent = v[c] if x[c] >= 0 else np.float32(0)
                crossed = (g[c] + more - reset[c] * v[c]) * slope[c]
                worth[c] += spent
                crossing[c] += crossed
                u = v[c] + crossed
                total[c] += u
                g[c] = u
                v[c] = u
    for t in range(steps):
        for c in range(channels):
            crossings[t, c] += scratch[0, t, c]
            worths[t, c] += scratch[1, t, c]
            sums[t, c] += scratch[2, t, c]
