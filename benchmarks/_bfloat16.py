"""Integrate-and-fire neurons through time on bfloat16 currents, channels last: forward and back, for `train_chain.py`.

bfloat16 numbers are the upper 16 bits of float32 ones, and uint16 here. Surrogate: the sigmoid of slope 4, in units of λ, as in
`nspike.kernels.back_in_time`. The reset is followed by gradients.
"""

import numpy as np
from numba import njit

_BITS = np.uint32(16)
_ONE = np.uint16(0x3F80)


@njit(cache=True, error_model="numpy", fastmath=True)
def forward(currents, bias, theta, v0, fires, timesteps, spikes, slopes):
    """Write spikes (steps, P, C), and the surrogate's values to slopes, of negative sign where a neuron fired.

    currents (steps, P, C), or (1, P, C): the same up to step T = `timesteps`, none after; bias, theta float32 (C,); v0: of θ;
    fires float32 (steps,): the threshold over θ. The bias arrives up to T.
    """
    steps, pixels, channels = spikes.shape
    shared = currents.shape[0] == 1
    u, out, word = np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.uint32)
    value, bits = word.view(np.float32), out.view(np.uint32)
    for p in range(pixels):
        for c in range(channels):
            u[c] = v0 * theta[c]
        for t in range(steps):
            arrives = np.float32(1) if t < timesteps else np.float32(0)
            if shared and t >= timesteps:
                word[:] = np.uint32(0)
            else:
                read = currents[0 if shared else t, p]
                for c in range(channels):
                    word[c] = np.uint32(read[c]) << _BITS
            f, s, d = fires[t], spikes[t, p], slopes[t, p]
            for c in range(channels):
                w = u[c] + value[c] + arrives * bias[c]
                x = w - f * theta[c]
                fired = x >= 0
                u[c] = w - (theta[c] if fired else np.float32(0))
                z = min(abs(np.float32(4) * x), np.float32(40)) * np.float32(1 / 32)
                q = z * z
                e = q * (q * (q * np.float32(1 / 720) + np.float32(1 / 24)) + np.float32(1 / 2))  # cosh(z) - 1
                e = np.float32(2) * e * (e + np.float32(2))
                e = np.float32(2) * e * (e + np.float32(2))
                e = np.float32(2) * e * (e + np.float32(2))
                e = np.float32(2) * e * (e + np.float32(2))
                e = np.float32(2) * e * (e + np.float32(2))
                slope = np.float32(4) / (np.float32(4) + np.float32(2) * e)
                out[c] = -slope if fired else slope
                s[c] = _ONE if fired else np.uint16(0)
            for c in range(channels):
                d[c] = np.uint16(bits[c] >> _BITS)


@njit(cache=True, error_model="numpy", fastmath=True)
def backward(slopes, gradients, more, theta, v0, fires, timesteps, currents, sums):
    """From ∂L/∂s (steps, P, C), and `more` of it for every spike, write ∂L/∂I to currents (steps or 1, P, C).

    sums float32 (3, C): those of the bias, of θ, and of the threshold after T over θ, are added to it.
    """
    steps, pixels, channels = slopes.shape
    shared = currents.shape[0] == 1
    v, kept, out = np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32)
    first, second = np.empty(channels, np.uint32), np.empty(channels, np.uint32)
    slope, given, bits = first.view(np.float32), second.view(np.float32), out.view(np.uint32)
    part = np.zeros((3, channels), np.float32)
    for p in range(pixels):
        if p & 1023 == 0:  # float32 sums stay short
            sums += part
            part[:] = np.float32(0)
        v[:] = np.float32(0)
        kept[:] = np.float32(0)
        for back in range(steps):
            t = steps - 1 - back
            a, b, f = slopes[t, p], gradients[t, p], fires[t]
            for c in range(channels):
                first[c] = np.uint32(a[c]) << _BITS
                second[c] = np.uint32(b[c]) << _BITS
            until = np.float32(1) if t < timesteps else np.float32(0)
            for c in range(channels):
                g = (given[c] + more - theta[c] * v[c]) * abs(slope[c])
                part[1, c] -= f * g + (v[c] if slope[c] < 0 else np.float32(0))
                part[2, c] -= (np.float32(1) - until) * theta[c] * g
                v[c] += g
                part[0, c] += until * v[c]
                kept[c] += until * v[c]
                out[c] = v[c]
            if not shared:
                write = currents[t, p]
                for c in range(channels):
                    write[c] = np.uint16((bits[c] + np.uint32(0x8000)) >> _BITS)
        for c in range(channels):
            part[1, c] += v0 * v[c]
            out[c] = kept[c]
        if shared:
            write = currents[0, p]
            for c in range(channels):
                write[c] = np.uint16((bits[c] + np.uint32(0x8000)) >> _BITS)
    sums += part
