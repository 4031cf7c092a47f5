"""Dense float32 convolution, for the plain ANN. No spike is decided here.

Pixels are rows of channels (y, x, channel), with zeros around the image; the k·C_in numbers that one kernel row sees are
then contiguous. A tile of a few pixels by `lanes` output channels is kept in vector registers while one kernel row is
added to it. Every output is summed in the same order (kernel row, column, input channel), so that neither threads nor
tiles change a bit.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from nspike.kernels._jit import INTERPRETED, kernel

_FLOAT = ir.FloatType()
# Twelve vector registers of sums on every machine: 6 pixels × 2 registers, or 12 × 1 for a few channels.
WIDE = 32 if llvm.get_host_cpu_features().get("avx512f") else 16
WIDE_PIXELS = 6
NARROW = WIDE // 2
NARROW_PIXELS = 12


def _make_accumulate(lanes, pixels):
    vector = ir.VectorType(_FLOAT, lanes)
    first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    undefined = ir.Constant(vector, ir.Undefined)

    @intrinsic
    def accumulate(typingctx, x, at, stride, weights, first, length, sums, out, step):
        signature = types.void(x, types.intp, types.intp, weights, types.intp, types.intp, sums, types.intp, types.intp)

        def codegen(context, builder, signature, args):
            _, at, stride, _, first, length, _, out, step = args

            def data(i, offset):
                array = context.make_array(signature.args[i])(context, builder, args[i])
                return builder.gep(array.data, [offset])

            def load(pointer):
                value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
                value.align = 4
                return value

            def along(start, size):
                return [builder.add(start, builder.mul(size, ir.Constant(start.type, p))) for p in range(pixels)]

            sources = [data(0, offset) for offset in along(at, stride)]
            targets = [data(6, offset) for offset in along(out, step)]
            rows = data(3, first)
            totals = [cgutils.alloca_once_value(builder, load(target)) for target in targets]
            with cgutils.for_range(builder, length) as loop:
                row = load(builder.gep(rows, [builder.mul(loop.index, ir.Constant(length.type, lanes))]))
                for source, total in zip(sources, totals, strict=True):
                    scalar = builder.load(builder.gep(source, [loop.index]))
                    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
                    spread = builder.shuffle_vector(one, undefined, first_lane)
                    term = builder.fmul(spread, row, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, totals, strict=True):
                pointer = builder.bitcast(target, vector.as_pointer())
                builder.store(builder.load(total), pointer).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return accumulate


def _python_accumulate(lanes, pixels):
    def accumulate(x, at, stride, weights, first, length, sums, out, step):
        rows = weights[first : first + length * lanes].reshape(length, lanes)
        for p in range(pixels):
            start = at + p * stride
            sums[out + p * step : out + p * step + lanes] += x[start : start + length] @ rows

    return accumulate


_make = _python_accumulate if INTERPRETED else _make_accumulate
accumulate_wide = _make(WIDE, WIDE_PIXELS)
"""(x, at, stride, weights, first, length, sums, out, step): for each pixel p of a tile, with all arrays flat float32,
sums[out + p·step :][:lanes] += Σ_j x[at + p·stride + j] · weights[first + j·lanes :][:lanes]."""
accumulate_narrow = _make(NARROW, NARROW_PIXELS)


@kernel
def convolve_rows(x, origin, row, channels, weights, size, bias, rectify, out, first, last, sums):
    """Rows first .. last-1 of a convolution, in place in out (H, W, C_out).

    x flat float32, readable `SLACK`·channels past the last pixel; origin: where the top left of the first row's field is;
    row: distance between its rows; weights flat (groups, k, k·C_in, lanes); bias (groups·lanes,); sums: scratch of at least
    (W + NARROW_PIXELS)·groups·lanes.
    """
    width, kept = out.shape[1], out.shape[2]
    padded = bias.shape[0]
    narrow = padded == NARROW
    lanes = NARROW if narrow else WIDE
    pixels = NARROW_PIXELS if narrow else WIDE_PIXELS
    length = size * channels
    for y in range(first, last):
        for p in range((width + pixels - 1) // pixels * pixels):
            sums[p * padded : (p + 1) * padded] = bias
        for dy in range(size):
            start = origin + (y + dy) * row
            for group in range(padded // lanes):
                at = (group * size + dy) * length * lanes
                for p in range(0, width, pixels):
                    if narrow:
                        accumulate_narrow(
                            x, start + p * channels, channels, weights, at, length, sums, p * padded, padded
                        )
                    else:
                        target = p * padded + group * lanes
                        accumulate_wide(x, start + p * channels, channels, weights, at, length, sums, target, padded)
        for p in range(width):
            found, into = sums[p * padded : p * padded + kept], out[y, p]
            for c in range(kept):
                into[c] = np.float32(0) if rectify and found[c] < 0 else found[c]


SLACK = 2 * NARROW_PIXELS
"""How many pixels past the end of its rows a convolution may read; what it reads there is not used."""


def pack(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Float32 (C_out, C_in, k, k) as `convolve_rows` takes it: flat (groups, k, k·C_in, lanes), and C_out padded."""
    out, channels, size, _ = weights.shape
    lanes = NARROW if out <= NARROW else WIDE
    groups = -(-out // lanes)
    padded = np.zeros((groups * lanes, channels, size, size), np.float32)
    padded[:out] = weights
    padded[np.abs(padded) < 1e-30] = 0  # dead filters hold denormal numbers, which some processors multiply very slowly
    parts = padded.reshape(groups, lanes, channels, size, size).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(parts).ravel(), groups * lanes
