"""The currents that depend on the image, each rounded once to its channel's grid: of the image itself, and through gates.

The engine's kernels compute the image's current in the same way, in integers (`nspike.kernels`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.images.plane import UNIT

Floats = NDArray[np.float64]


def gate_weights(plane: NDArray[Any], gate: Floats, exponent: NDArray[np.int64]) -> Floats:
    """λ·(x - 1), what a gate multiplies a spike at a pixel by, as whole numbers on the grid 2^-exponent.

    plane : on the input plane's grid; gate (λ) and exponent : of the channels, shaped to be broadcast against it.
    """
    return np.asarray(np.rint(np.ldexp((plane / UNIT - 1.0) * gate, exponent)), np.float64)


def image_current(sums: NDArray[Any]) -> Floats:
    """A convolution of the input plane by a kernel of integers, from units of 1/65535 to whole numbers on the kernel's grid.

    The quotient is never half-way between two integers, as 65535 is odd.
    """
    return np.asarray(np.rint(sums / UNIT), np.float64)
