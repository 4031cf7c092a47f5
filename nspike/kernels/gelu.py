"""The GELU, x·(1 + erf(x/√2))/2, for the plain ANN. No spike is decided here.

erf(z) ≈ z·P(z²)/Q(z²) for |z| ≤ 4, with the coefficients that Eigen and XLA use; ±1 beyond. In float64, which leaves
7·10⁻⁸ of erf: less than a float32 of the result holds. Sums, products and one division: every processor gives the same bits.
"""

import numpy as np

from nspike.kernels._jit import kernel

_ROOT = float(np.sqrt(0.5))


@kernel
def gelu(x, out):
    """Of every value of x (H, W, C), float32, into out."""
    for y in range(x.shape[0]):
        for p in range(x.shape[1]):
            for c in range(x.shape[2]):
                value = np.float64(x[y, p, c])
                z = value * _ROOT
                s = z * z
                above = -2.72614225801306e-10
                above = above * s + 2.77068142495902e-08
                above = above * s - 2.10102402082508e-06
                above = above * s - 5.69250639462346e-05
                above = above * s - 7.34990630326855e-04
                above = above * s - 2.95459980854025e-03
                above = above * s - 1.60960333262415e-02
                below = -1.45660718464996e-05
                below = below * s - 2.13374055278905e-04
                below = below * s - 1.68282697438203e-03
                below = below * s - 7.37332916720468e-03
                below = below * s - 1.42647390514189e-02
                inside = z * above / below
                erf = inside if s <= 16.0 else (1.0 if z > 0 else -1.0)
                out[y, p, c] = np.float32(value * (0.5 + 0.5 * erf))
