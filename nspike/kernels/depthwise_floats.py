"""Depthwise convolutions of floats, and their gradients, channels last: a tap at a time, the lanes are channels.

    y[p, c·m + j] = Σ x[s·p + D·d, c]·w[d, j, c]

The images x are padded, float (H, W, C) each; kernels are w float (k, k, m, C), m being how many channels each gives.
"""

from nspike.kernels._jit import kernel


@kernel
def convolve(x, w, stride, dilation, y):
    """Write y (h, v, C·m)."""
    height, width, _ = y.shape
    size, _, m, channels = w.shape
    for row in range(height):
        for column in range(width):
            total = y[row, column]
            total[:] = 0
            for a in range(size):
                for b in range(size):
                    read = x[row * stride + a * dilation, column * stride + b * dilation]
                    for j in range(m):
                        tap = w[a, b, j]
                        for c in range(channels):
                            total[c * m + j] += read[c] * tap[c]


@kernel
def input_gradient(g, w, stride, dilation, out):
    """Add to out (H, W, C) the gradient in x from g (h, v, C·m)."""
    height, width, _ = g.shape
    size, _, m, channels = w.shape
    for row in range(height):
        for column in range(width):
            given = g[row, column]
            for a in range(size):
                for b in range(size):
                    into = out[row * stride + a * dilation, column * stride + b * dilation]
                    for j in range(m):
                        tap = w[a, b, j]
                        for c in range(channels):
                            into[c] += given[c * m + j] * tap[c]


@kernel
def kernel_gradient(x, g, stride, dilation, sums):
    """Add to sums (k, k, m, C) the gradient in w from g (h, v, C·m); row by row, so that sums of floats stay short."""
    height, width, _ = g.shape
    size, _, m, channels = sums.shape
    own = sums.copy()
    for row in range(height):
        own[:] = 0
        for column in range(width):
            given = g[row, column]
            for a in range(size):
                for b in range(size):
                    read = x[row * stride + a * dilation, column * stride + b * dilation]
                    for j in range(m):
                        tap = own[a, b, j]
                        for c in range(channels):
                            tap[c] += given[c * m + j] * read[c]
        sums += own
