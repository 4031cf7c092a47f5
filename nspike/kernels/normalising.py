"""Batch norm of integer currents: their moments, what becomes of them, and the way back; see `nspike.trainable.time_norm`.

Of rows (pixels, C), one step of one image each; x̂ = p·x + q in a channel.
"""

import numpy as np

from nspike.kernels._jit import kernel


@kernel
def moments(x, into):
    """Σx and Σx² of each channel are added to `into` float64 (2, C); x int32 (pixels, C)."""
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = np.float64(x[i, c])
            into[0, c] += value
            into[1, c] += value * value


@kernel
def moved(x, factor, offset, most, out):
    """factor·x + offset, rounded half to even and within ±most, to out int32 (pixels, C); factor, offset float64 (C,)."""
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = np.rint(factor[c] * np.float64(x[i, c]) + offset[c])
            out[i, c] = np.int32(min(max(value, -most), most))


@kernel
def products(g, x, p, q, into):
    """Σg and Σg·x̂ of each channel are added to `into` float64 (2, C); g float32, x int32 (pixels, C)."""
    for i in range(g.shape[0]):
        for c in range(g.shape[1]):
            value = np.float64(g[i, c])
            into[0, c] += value
            into[1, c] += value * (p[c] * np.float64(x[i, c]) + q[c])


@kernel
def backward(g, x, p, q, factor, mean, slope, out):
    """factor·(g - mean - slope·x̂) to out float32 (pixels, C); all but g and x float64 (C,)."""
    for i in range(g.shape[0]):
        for c in range(g.shape[1]):
            centred = np.float64(g[i, c]) - mean[c] - slope[c] * (p[c] * np.float64(x[i, c]) + q[c])
            out[i, c] = np.float32(factor[c] * centred)
