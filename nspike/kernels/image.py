"""Convolution of the image: Σ w·p of whole numbers in float64, below 2^53, so that it is exact in any order.

For a row of the output, the rows of the image that it reads are kept as float64, colours side by side. A tile of a few pixels by
16 output channels is kept in vector registers.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.digits import WIDE
from nspike.kernels.unit import UNIT
from nspike.kernels.vector import NARROW, broadcast, data, load, store

PIXELS = 8 if WIDE > NARROW else 2
_SUMS, _WHOLE = ir.VectorType(ir.DoubleType(), NARROW), ir.VectorType(ir.IntType(32), NARROW)


@intrinsic
def _vector_weigh(typingctx, x, starts, at, apart, length, weights, c, columns, bias, out, to):
    intp = types.intp
    kinds = (x, starts, intp, intp, intp, weights, intp, intp, bias, out, intp)

    def codegen(context, builder, signature, args):
        _, starts, at, apart, length, _, c, columns, _, _, to = args
        number = lambda n: ir.Constant(length.type, n)  # noqa: E731
        size = context.make_array(signature.args[1])(context, builder, starts).nitems
        first = data(context, builder, signature, args, 1)
        rows = data(context, builder, signature, args, 5, c)
        totals = [cgutils.alloca_once(builder, _SUMS) for _ in range(PIXELS)]
        for total in totals:
            builder.store(ir.Constant(_SUMS, None), total)
        with cgutils.for_range(builder, size) as part:
            begin = builder.add(builder.load(builder.gep(first, [part.index])), at)
            sources = [
                data(context, builder, signature, args, 0, builder.add(begin, builder.mul(apart, number(p))))
                for p in range(PIXELS)
            ]
            own = builder.gep(rows, [builder.mul(builder.mul(part.index, length), columns)])
            with cgutils.for_range(builder, length) as loop:
                row = load(builder, builder.gep(own, [builder.mul(loop.index, columns)]), _SUMS, 8)
                for source, total in zip(sources, totals, strict=True):
                    value = broadcast(builder, builder.load(builder.gep(source, [loop.index])), _SUMS)
                    builder.store(builder.fadd(builder.load(total), builder.fmul(value, row)), total)
        nearest = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [_SUMS]), f"llvm.rint.v{NARROW}f64"
        )
        added = load(builder, data(context, builder, signature, args, 8, c), _WHOLE, 4)
        for p, total in enumerate(totals):
            scaled = builder.fmul(builder.load(total), ir.Constant(_SUMS, [1 / UNIT] * NARROW))
            whole = builder.fptosi(builder.call(nearest, [scaled]), _WHOLE)
            place = builder.add(builder.mul(columns, number(p)), to)
            store(builder, builder.add(whole, added), data(context, builder, signature, args, 9, place), 4)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _python_weigh(x, starts, at, apart, length, weights, c, columns, bias, out, to):
    rows = weights.reshape(-1, columns)[:, c : c + NARROW]
    for p in range(PIXELS):
        seen = x[(starts[:, None] + at + p * apart + np.arange(length)).ravel()]
        whole = np.rint((seen[:, None] * rows).sum(axis=0) * (1 / UNIT)).astype(np.int32)
        out[to + p * columns :][:NARROW] = whole + bias[c : c + NARROW]


weigh = _python_weigh if INTERPRETED else _vector_weigh
"""(x float64, starts int64, at, apart, length, weights float64, c, columns, bias int32, out int32, to): for each pixel p of a
tile, out[to + p·columns:][:16] = bias[c:][:16] + the nearest integers to Σ x[starts[i] + at + p·apart + q] ·
weights[(i·length + q)·columns + c:][:16] / 65535, over all i and q < length. All are whole numbers, the quotients below
2^31: they lie at least 2^-17 from where rounding changes, the product with the reciprocal at most 2^-20 from them."""


@kernel
def image_current(plane, places, taps, weights, bias, block, out):
    """The constant currents of the image: Σ w·p, divided by 65535 and rounded once; p is on the grid 1/65535.

    plane int32 (C_in, rows, columns); weights float64 (k·k·C_in, columns), whole numbers, `columns` being C padded to a multiple
    of 16; bias int32 (C,); out int32 (1, rows, columns, C); else as `nspike.kernels.strided.convolve`. Sums stay below 2^53, so
    that they are exact. The quotient is never half-way between two integers, 65535 being odd.
    """
    size, stride, dilation, padding = taps
    colours, columns, channels = plane.shape[0], weights.shape[1], bias.shape[0]
    flat_weights, flat_plane, flat_out = weights.reshape(-1), plane.reshape(-1), out.reshape(-1)
    biases = np.zeros(columns, np.int32)
    biases[:channels] = bias
    span, width = (size - 1) * dilation + 1, block[3] - block[2]
    reach = (-(-width // PIXELS) * PIXELS - 1) * stride + span
    rows = np.zeros(span * reach * colours)
    together = size if dilation == 1 else 1  # columns of the kernel that lie side by side
    starts, length = np.empty(size * size // together, np.int64), together * colours
    made = np.empty(PIXELS * columns, np.int32)
    left = block[2] * stride - padding
    begin, end = max(left, 0), min(left + reach, places[5])
    following = block[0] * stride - padding  # the next row of the image
    for y in range(block[0], block[1]):
        top = y * stride - padding
        following = max(following, top)
        while following < top + span:
            base = following % span * reach * colours
            inside = 0 <= following < places[4]
            if not inside:
                rows[base : base + reach * colours] = 0.0
            for i in range(colours if inside else 0):
                row = (i * plane.shape[1] + following + places[0]) * plane.shape[2] + places[1]
                to = base + (begin - left) * colours + i
                for x in range(begin, end):
                    rows[to] = flat_plane[row + x]
                    to += colours
            following += 1
        for i in range(starts.size):
            dy, dx = i * together // size, i * together % size
            starts[i] = ((top + dy * dilation) % span * reach + dx * dilation) * colours
        target = ((y + places[2]) * out.shape[2] + block[2] + places[3]) * channels
        for x in range(0, width, PIXELS):
            at, count = x * stride * colours, min(PIXELS, width - x)
            direct = count == PIXELS and channels == columns
            into, to = (flat_out, target) if direct else (made, 0)
            for c in range(0, columns, NARROW):
                weigh(rows, starts, at, stride * colours, length, flat_weights, c, columns, biases, into, to + c)
            for p in range(0 if direct else count):
                for c in range(channels):
                    flat_out[target + p * channels + c] = made[p * columns + c]
            target += count * channels
