"""Depthwise convolutions of float32 with stride 1, one output for each input, sixteen channels at once; images are not padded.

    y[p, c] = Σ_d x[p + d - before, c]·w[d, c];   ∂L/∂w[d, c] = Σ_p x[p + d - before, c]·∂L/∂y[p, c]

What lies outside an image is 0. The gradient in x is the same convolution of ∂L/∂y with the kernel turned by half. Kernels are
w (k, k, C); the number of taps is known when a kernel is compiled, so they come as a tuple of that many numbers.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.vector import NARROW, data, load, store

_I64 = ir.IntType(64)
_LANES = ir.VectorType(ir.FloatType(), NARROW)


def _offsets(builder, taps, row, channels):
    """How far from the first number that a pixel reads those of each tap lie."""
    size = round(len(taps) ** 0.5)
    number = lambda n: ir.Constant(_I64, n)  # noqa: E731
    places = [divmod(tap, size) for tap in range(size * size)]
    return [builder.add(builder.mul(row, number(a)), builder.mul(channels, number(b))) for a, b in places]


@intrinsic
def _sum_taps(typingctx, x, at, row, channels, w, out, to, parts, taps):
    intp = types.intp
    kinds = (x, intp, intp, intp, w, out, intp, intp, taps)

    def codegen(context, builder, signature, args):
        _, at, row, channels, _, _, to, parts, _ = args
        offsets = _offsets(builder, signature.args[8], row, channels)
        read, into = (data(context, builder, signature, args, i, o) for i, o in ((0, at), (5, to)))
        weights = data(context, builder, signature, args, 4, ir.Constant(_I64, 0))
        with cgutils.for_range(builder, parts) as loop:
            c, total = builder.shl(loop.index, ir.Constant(_I64, 4)), None
            for tap, offset in enumerate(offsets):
                one = load(builder, builder.gep(read, [builder.add(c, offset)]), _LANES, 4)
                place = builder.add(c, builder.mul(channels, ir.Constant(_I64, tap)))
                term = builder.fmul(one, load(builder, builder.gep(weights, [place]), _LANES, 4))
                total = term if total is None else builder.fadd(total, term)
            store(builder, total, builder.gep(into, [c]), 4)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _python_sum_taps(x, at, row, channels, w, out, to, parts, taps):
    size, lanes = round(len(taps) ** 0.5), parts * NARROW
    total = None
    for tap in range(size * size):
        first = at + tap // size * row + tap % size * channels
        term = x[first : first + lanes] * w[tap * channels : tap * channels + lanes]
        total = term if total is None else total + term
    out[to : to + lanes] = total


@intrinsic
def _add_products(typingctx, x, at, row, channels, g, to, pixels, sums, parts, taps):
    intp = types.intp
    kinds = (x, intp, intp, intp, g, intp, intp, sums, intp, taps)

    def codegen(context, builder, signature, args):
        _, at, row, channels, _, to, pixels, _, parts, _ = args
        offsets = _offsets(builder, signature.args[9], row, channels)
        read, given = (data(context, builder, signature, args, i, o) for i, o in ((0, at), (4, to)))
        kept = data(context, builder, signature, args, 7, ir.Constant(_I64, 0))
        with cgutils.for_range(builder, parts) as part:
            c = builder.shl(part.index, ir.Constant(_I64, 4))
            places = [
                builder.gep(kept, [builder.add(c, builder.mul(channels, ir.Constant(_I64, tap)))])
                for tap in range(len(offsets))
            ]
            totals = [cgutils.alloca_once(builder, _LANES) for _ in places]
            for total, place in zip(totals, places, strict=True):
                builder.store(load(builder, place, _LANES, 4), total)
            with cgutils.for_range(builder, pixels) as loop:
                pixel = builder.add(c, builder.mul(loop.index, channels))
                one = load(builder, builder.gep(given, [pixel]), _LANES, 4)
                for total, offset in zip(totals, offsets, strict=True):
                    there = load(builder, builder.gep(read, [builder.add(pixel, offset)]), _LANES, 4)
                    builder.store(builder.fadd(builder.load(total), builder.fmul(one, there)), total)
            for total, place in zip(totals, places, strict=True):
                store(builder, builder.load(total), place, 4)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _python_add_products(x, at, row, channels, g, to, pixels, sums, parts, taps):
    size, lanes = round(len(taps) ** 0.5), parts * NARROW
    for p in range(pixels):
        given = g[to + p * channels :][:lanes]
        for tap in range(size * size):
            first = at + p * channels + tap // size * row + tap % size * channels
            sums[tap * channels : tap * channels + lanes] += given * x[first : first + lanes]


sum_taps = _python_sum_taps if INTERPRETED else _sum_taps
"""(x flat float32, at, row, channels, w flat, out flat, to, parts, taps): the first 16·parts channels of a pixel that reads
from x[at:] on, rows `row` numbers apart, to out[to:]."""
add_products = _python_add_products if INTERPRETED else _add_products
"""(x, at, row, channels, g, to, pixels, sums, parts, taps): to sums (taps, channels), of the first 16·parts channels, the
products of that many pixels beside each other, the first of which reads from x[at:] on and has its gradient at g[to:]."""


@kernel
def convolve(x, w, before, out, taps):
    """Write y (h, v, C) from an image (H, W, C) and w (k, k, C)."""
    height, width, channels = x.shape
    size, parts = w.shape[0], channels // NARROW
    flat, weights, into = x.reshape(-1), w.reshape(-1), out.reshape(-1)
    row, rest = width * channels, parts * NARROW
    for y in range(out.shape[0]):
        for left in range(out.shape[1]):
            top, first, total = y - before, left - before, out[y, left]
            whole = 0 <= top <= height - size and 0 <= first <= width - size
            if whole:
                at, to = top * row + first * channels, (y * out.shape[1] + left) * channels
                sum_taps(flat, at, row, channels, weights, into, to, parts, taps)
            start = rest if whole else 0
            for c in range(start, channels):
                total[c] = 0
            for a in range(max(-top, 0), min(size, height - top)):
                for b in range(max(-first, 0), min(size, width - first)):
                    read, tap = x[top + a, first + b], w[a, b]
                    for c in range(start, channels):
                        total[c] += read[c] * tap[c]


@kernel
def kernel_gradient(x, g, before, sums, taps):
    """Add ∂L/∂w to sums (k, k, C), from an image x (H, W, C) and ∂L/∂y (h, v, C); row by row, so that sums stay short."""
    height, width, channels = x.shape
    size, parts = sums.shape[0], channels // NARROW
    own = np.empty_like(sums)
    flat, given, into = x.reshape(-1), g.reshape(-1), own.reshape(-1)
    row, rest = width * channels, parts * NARROW
    low = min(before, g.shape[1])
    high = max(low, min(g.shape[1], width - size + before + 1))
    for y in range(g.shape[0]):
        top = y - before
        whole = 0 <= top <= height - size
        own[:] = 0
        for left in range(g.shape[1]):
            inside = whole and low <= left < high
            if inside and left == low:
                at, to = top * row + (left - before) * channels, (y * g.shape[1] + left) * channels
                add_products(flat, at, row, channels, given, to, high - low, into, parts, taps)
            start, first, one = rest if inside else 0, left - before, g[y, left]
            if start == channels:
                continue
            for a in range(max(-top, 0), min(size, height - top)):
                for b in range(max(-first, 0), min(size, width - first)):
                    read, tap = x[top + a, first + b], own[a, b]
                    for c in range(start, channels):
                        tap[c] += one[c] * read[c]
        sums += own
