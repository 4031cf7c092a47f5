"""Pointwise convolution in small groups, and the gradient in its matrices; by `nspike.kernels.grouped_floats`, in float32.

Images are (N, H, W, C), matrices (groups, in, out).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.runtime.parallel import each

Array = NDArray[np.floating]


def serves(inputs: int, outputs: int, dtype: np.dtype[Any]) -> bool:
    """Whether there are kernels for groups of this size."""
    from nspike.kernels.grouped_floats import LARGEST

    return dtype == np.float32 and max(inputs, outputs) <= LARGEST


def multiply(x: Array, matrices: Array, out: Array) -> None:
    """Write each group's channels at every pixel times its matrix to out, C-contiguous."""
    from nspike.kernels import grouped_floats

    groups, inputs, outputs = matrices.shape
    read, into = _rows(x, groups * inputs), out.reshape(-1, groups * outputs)
    laid = np.ascontiguousarray(matrices, np.float32)

    def some(_: int, first: int, last: int) -> None:
        grouped_floats.multiply(read[first:last], laid, into[first:last], (0,) * inputs, (0,) * outputs)

    each(some, len(read))


def matrix_gradient(x: Array, g: Array, groups: int) -> Array:
    """∂L/∂w float32 (groups, in, out) from g = ∂L/∂y; summed up image by image, whatever the number of threads."""
    from nspike.kernels import grouped_floats

    inputs, outputs = x.shape[3] // groups, g.shape[3] // groups
    sums = np.zeros((len(x), groups, inputs, outputs))

    def some(_: int, first: int, last: int) -> None:
        for i in range(first, last):
            read, given = _rows(x[i], x.shape[3]), _rows(g[i], g.shape[3])
            grouped_floats.matrix_gradient(read, given, sums[i], (0,) * inputs, (0,) * outputs)

    each(some, len(x))
    return np.asarray(sums.sum(axis=0), np.float32)


def _rows(images: Array, channels: int) -> Array:
    return np.ascontiguousarray(images, np.float32).reshape(-1, channels)
