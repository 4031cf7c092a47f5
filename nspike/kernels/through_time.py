"""A spiking layer for training: the engine's integers with a trace of every membrane, and back-propagation through time.

Forward, as in `nspike.kernels.wide`, each step also notes x = (u - fire(t)·θ)·2^-k, the distance from the threshold in
floats. Backward, t descending, with g_v = ∂L/∂v, φ the surrogate derivative at x, s = [x >= 0], f = fire(t), a = amplitude(t):

    G = ∂L/∂s - a·θ·g_v;   g_u = g_v + G·φ;   ∂L/∂I = g_u;   ∂L/∂θ -= f·G·φ + a·g_v·s;   g_v <- g_u

Spikes of an image are packed as uint64 (rows, columns, steps, words) with a border of zeros; its trace is float32
(rows, columns, steps, channels), its gradients float32 (steps, rows, columns, channels).
"""

import numpy as np

from nspike.kernels._jit import kernel
from nspike.kernels.vector import count_bits


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
