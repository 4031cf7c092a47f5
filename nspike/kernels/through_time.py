"""A spiking layer for training: the engine's integers with a trace of every membrane, and back-propagation through time.

Forward, as in `nspike.kernels.wide`, each step also notes x = (u - fire(t)·θ)·2^-k, the distance from the threshold in
floats. Backward, t descending, with g_v = ∂L/∂v, φ the surrogate derivative at x, s = [x >= 0], f = fire(t), a = amplitude(t):

    G = ∂L/∂s - a·θ·g_v;   g_u = g_v + G·φ;   ∂L/∂I = g_u;   ∂L/∂θ -= f·G·φ + a·g_v·s;   g_v <- g_u

for the plain neuron; `backward_declared` has the rest of the declared family.

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
    """As `backward`, of any declared neuron. Of several spikes at a step each has a threshold, and each crossing flips planes.

    The k-th positive spike (k from 0) is fired at x_k = x - k·a·θ >= 0, the k-th negative one at x_k = -u - f·θ - k·a·θ >= 0,
    and changes plane p by flips[p, k] in {-1, 0, 1}. With H_k = [x_k >= 0], φ_k its surrogate derivative and ± its sign,

        G_k = Σ flips·∂L/∂s_p ∓ a·θ·g_v;   g_u = g_v ± Σ G_k·φ_k;   g_v <- keep·g_u;   ∂L/∂I = input_factor·g_u
        ∂L/∂θ -= Σ (f + k·a)·G_k·φ_k ± Σ a·g_v·H_k

    and where the reset is to zero: G_k = Σ flips·∂L/∂s_p, less u·g_v at k = 0; g_u begins with 0 in place of g_v where it
    fires; and ∂L/∂θ has no second part.

    slopes float32 (K, P, steps, C): φ_k, those of positive spikes first; gradients float32 (steps, pixels, planes·C), whose
    first C become ∂L/∂I; thresholds, resets float32 (steps, C): f·θ, a·θ; flips float32 (planes, K); up: how many of K are of
    positive spikes; factors float32 (2,): keep, input_factor; follow: 1, or 0 if the reset is not followed. crossings gets
    Σ G_k·φ_k, worths Σ k·G_k·φ_k ± Σ g_v·H_k.
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
