"""The quantised clip of QCFS and its derivatives, on rows of channels; the equations: `nspike.autograd.activation`.

Jitter, if there is any, is added to x·L/λ before it is rounded: two 16-bit numbers of a hash of place and seed, less their
mean, so that it is the same on every machine and for any threads, and need not be kept for the way back.
"""

import numpy as np

from nspike.kernels._jit import inline, kernel

DEVIATION = 65536 / np.sqrt(6)
"""Of the sum of two 16-bit numbers."""


@inline
def mixed(x):
    """A hash of 32 bits (C. Wellons, lowbias32)."""
    low = np.uint64(0xFFFFFFFF)
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D) & low
    x = (x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B) & low
    return x ^ (x >> np.uint64(16))


@inline
def noise(place, key):
    """Whole, with mean 0 and standard deviation DEVIATION, triangular."""
    bits = mixed((mixed(np.uint64(place & 0xFFFFFFFF)) + key) & np.uint64(0xFFFFFFFF))
    return np.int64(bits & np.uint64(0xFFFF)) + np.int64(bits >> np.uint64(16)) - 65535


@kernel
def forward(x, scale, inverse, levels, jitter, key, out, first, last):
    """h of rows first .. last-1 of x (rows, C); scale, inverse (C,): λ and L/λ; jitter: levels for each unit of noise."""
    zero, half, most = x.dtype.type(0), x.dtype.type(0.5), x.dtype.type(levels)
    for p in range(first, last):
        for c in range(x.shape[1]):
            y = x[p, c] * inverse[c] + half
            if jitter != zero:
                y += x.dtype.type(noise(p * x.shape[1] + c, key)) * jitter
            y = min(max(np.floor(y), zero), most)
            out[p, c] = y / most * scale[c]


@kernel
def backward(g, x, scale, out, first, last):
    """∂L/∂x of rows first .. last-1."""
    zero = x.dtype.type(0)
    for p in range(first, last):
        for c in range(x.shape[1]):
            out[p, c] = g[p, c] if zero < x[p, c] < scale[c] else zero


@kernel
def backward_scale(g, h, x, scale, out, first, last):
    """Add ∂L/∂λ of rows first .. last-1, h being what `forward` gave for x, to out float64 (C,)."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for p in range(first, last):
        for c in range(x.shape[1]):
            inside = (h[p, c] - x[p, c]) / scale[c]
            slope = inside if x[p, c] < scale[c] else one
            out[c] += g[p, c] * (slope if x[p, c] > zero else zero)
