"""The quantised clip of QCFS and its derivatives, on rows of channels; the equations: `nspike.autograd.activation`.

An overshoot o, if there is any, adds 3·o·u²/(1 + 2·max(0, x·L/λ)) to x·L/λ before it is rounded, u uniform, by a hash of
place and seed, so that it is the same on every machine and for any threads.
"""

import numpy as np

from nspike.kernels._jit import inline, kernel


@inline
def mixed(x):
    """A hash of 32 bits (C. Wellons, lowbias32)."""
    low = np.uint64(0xFFFFFFFF)
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D) & low
    x = (x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B) & low
    return x ^ (x >> np.uint64(16))


@inline
def uniform(place, key):
    """A float32 in [0, 1) that depends on place and key alone."""
    bits = mixed((mixed(np.uint64(place & 0xFFFFFFFF)) + key) & np.uint64(0xFFFFFFFF))
    return np.float32(np.int32(bits >> np.uint64(8))) * np.float32(2**-24)


@kernel
def forward(x, scale, inverse, levels, low, overshoot, key, out, first, last):
    """h of rows first .. last-1 of x (rows, C); scale, inverse (C,): λ and L/λ; low: 0, or -1 if signed; overshoot: o."""
    zero, half, most, one = x.dtype.type(0), x.dtype.type(0.5), x.dtype.type(levels), x.dtype.type(1)
    size, least = overshoot * x.dtype.type(3), low * most
    for p in range(first, last):
        for c in range(x.shape[1]):
            y = x[p, c] * inverse[c]
            if overshoot != zero:
                u, drift = x.dtype.type(uniform(p * x.shape[1] + c, key)), max(y, zero)
                y += size * u * u / (one + drift + drift)
            y += half
            y = min(max(np.floor(y), least), most)
            out[p, c] = y / most * scale[c]


@kernel
def backward(g, x, scale, low, out, first, last):
    """Write ∂L/∂x of rows first .. last-1 to out: g where low·λ < x < λ, else 0."""
    zero = x.dtype.type(0)
    for p in range(first, last):
        for c in range(x.shape[1]):
            out[p, c] = g[p, c] if low * scale[c] < x[p, c] < scale[c] else zero


@kernel
def backward_scale(g, h, x, scale, low, out, first, last):
    """Add ∂L/∂λ of rows first .. last-1, h being what `forward` gave for x, to out float64 (C,)."""
    one = x.dtype.type(1)
    for p in range(first, last):
        for c in range(x.shape[1]):
            inside = (h[p, c] - x[p, c]) / scale[c]
            slope = inside if x[p, c] < scale[c] else one
            out[c] += g[p, c] * (slope if x[p, c] > low * scale[c] else low)
