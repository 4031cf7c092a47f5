"""Kernels of any shape as the square ones, with the same padding on both axes, that the layer Conv has."""

from dataclasses import dataclass

import numpy as np
from nspike_plugins._onnx.values import Unsupported
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pair = tuple[int, int]

MOST_TAPS = 1024
MOST_WEIGHTS = 2**27


@dataclass(frozen=True)
class Square:
    """A kernel (C_out, C_in/groups, k, k), its dilation, and the zeros before and after; None for the usual halves."""

    weight: Floats
    dilation: int
    padding: Pair | None


def square(weight: Floats, stride: int, dilations: Pair, before: Pair) -> Square:
    """The square kernel that does what `weight`, dilated, with `before` zeros at the top and on the left does.

    Its output is the input's size over the stride, so that the zeros after follow.
    """
    height, width = weight.shape[2:]
    dilation = dilations[0] if width == 1 else dilations[1] if height == 1 else dilations[0]
    first = max(before)
    even = all((first - zeros) % dilation == 0 for zeros in before)
    if (height, width) == (1, 1) and even:
        dilation = 1
    elif not even or (min(height, width) > 1 and dilations[0] != dilations[1]):
        weight, dilation = dilated(weight, dilations), 1
        height, width = weight.shape[2:]
    down, right = ((first - zeros) // dilation for zeros in before)
    side = max(height + down, width + right, -(-first // dilation) + 1)
    if side > MOST_TAPS or side**2 * weight.shape[0] * weight.shape[1] > MOST_WEIGHTS:
        raise Unsupported(f"its kernel would have {side}×{side} weights for each pair of channels")
    full = np.zeros((*weight.shape[:2], side, side))
    full[:, :, down : down + height, right : right + width] = weight
    span = dilation * (side - 1)
    after = max(0, span + 1 - stride - first)
    return Square(full, dilation, None if first == span // 2 else (first, after))


def dilated(weight: Floats, dilations: Pair) -> Floats:
    """The kernel with the zeros between its taps."""
    height, width = (dilations[i] * (weight.shape[2 + i] - 1) + 1 for i in range(2))
    if max(height, width) > MOST_TAPS or height * width * weight.shape[0] * weight.shape[1] > MOST_WEIGHTS:
        raise Unsupported(f"its kernel would have {height}×{width} weights for each pair of channels")
    full = np.zeros((*weight.shape[:2], height, width))
    full[:, :, :: dilations[0], :: dilations[1]] = weight
    return full


def transposed(weight: Floats, stride: int, dilations: Pair, before: Pair, groups: int) -> tuple[Floats, Pair]:
    """A transposed convolution as a convolution to stride² times the channels, a pixel shuffle after it.

    weight : (C_in, C_out/groups, h, w); before : zeros that it takes off at the top and on the left. Returns the kernel
    (C_out·stride², C_in/groups, k, k) and its padding. Output y = stride·q + phase gets tap t of input q + (phase + before
    - t·dilation)/stride, where that is whole.
    """
    taps = [_taps(weight.shape[2 + axis], stride, dilations[axis], before[axis]) for axis in range(2)]
    offsets = [offset for axis in taps for phase in axis for _, offset in phase] or [0]
    first, last = max(0, -min(offsets)), max(0, max(offsets))
    side = first + last + 1
    inputs, each = weight.shape[0] // groups, weight.shape[1]
    if side > MOST_TAPS or side**2 * weight.shape[0] * each * stride**2 > MOST_WEIGHTS:
        raise Unsupported(f"its kernel would have {side}×{side} weights for each pair of channels")
    full = np.zeros((groups, each, stride, stride, inputs, side, side))
    for down, rows in enumerate(taps[0]):
        for right, columns in enumerate(taps[1]):
            for row, y in rows:
                for column, x in columns:
                    part = weight[:, :, row, column].reshape(groups, inputs, each)
                    full[:, :, down, right, :, first + y, first + x] = part.transpose(0, 2, 1)
    return full.reshape(groups * each * stride**2, inputs, side, side), (first, last)


def _taps(size: int, stride: int, dilation: int, before: int) -> list[list[Pair]]:
    """For each phase the (tap, offset of the input that it reads)."""
    phases: list[list[Pair]] = [[] for _ in range(stride)]
    for tap in range(size):
        for phase in range(stride):
            offset, rest = divmod(phase + before - tap * dilation, stride)
            if rest == 0:
                phases[phase].append((tap, offset))
    return phases
