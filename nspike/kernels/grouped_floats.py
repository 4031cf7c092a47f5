"""Pointwise convolutions of floats in small groups, and the gradient in their matrices: the lanes are a group's outputs.

    y[p, g·O + o] = Σ_i x[p, g·I + i]·w[g, i, o];   ∂L/∂w[g, i, o] = Σ_p x[p, g·I + i]·∂L/∂y[p, g·O + o]

I and O are known when a kernel is compiled, so they come as tuples of that many numbers. Sums are float32 over up to `SHORT`
pixels, then float64.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.vector import broadcast, data, load, store

LARGEST = 16
"""Inputs and outputs of a group: one vector, and as many sums as there are registers."""
AT_ONCE = 4
"""Pixels, so that a sum need not wait for the one before it."""
SHORT = 256

_F32, _I64 = ir.FloatType(), ir.IntType(64)


def _make_product(pixels):
    @intrinsic
    def product(typingctx, x, at, across, w, first, out, to, out_across, inputs, outputs):
        intp = types.intp
        kinds = (x, intp, intp, w, intp, out, intp, intp, inputs, outputs)

        def codegen(context, builder, signature, args):
            _, at, across, _, first, _, to, out_across, _, _ = args
            count, lanes = len(signature.args[8]), ir.VectorType(_F32, len(signature.args[9]))
            read, rows, into = (
                data(context, builder, signature, args, i, o) for i, o in ((0, at), (3, first), (5, to))
            )
            total = [None] * pixels
            for i in range(count):
                row = load(builder, builder.gep(rows, [ir.Constant(_I64, i * lanes.count)]), lanes, 4)
                for p in range(pixels):
                    place = builder.add(builder.mul(across, ir.Constant(_I64, p)), ir.Constant(_I64, i))
                    term = builder.fmul(broadcast(builder, builder.load(builder.gep(read, [place])), lanes), row)
                    total[p] = term if i == 0 else builder.fadd(total[p], term)
            for p in range(pixels):
                store(builder, total[p], builder.gep(into, [builder.mul(out_across, ir.Constant(_I64, p))]), 4)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    return product


def _python_product(pixels):
    def product(x, at, across, w, first, out, to, out_across, inputs, outputs):
        matrix = w[first : first + len(inputs) * len(outputs)].reshape(len(inputs), len(outputs))
        for p in range(pixels):
            terms = x[at + p * across :][: len(inputs), None] * matrix
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            out[to + p * out_across :][: len(outputs)] = total

    return product


@intrinsic
def _outer_products(typingctx, x, at, across, g, to, g_across, pixels, sums, into, inputs, outputs):
    intp = types.intp
    kinds = (x, intp, intp, g, intp, intp, intp, sums, intp, inputs, outputs)

    def codegen(context, builder, signature, args):
        _, at, across, _, to, g_across, pixels, _, into, _, _ = args
        count, lanes = len(signature.args[9]), ir.VectorType(_F32, len(signature.args[10]))
        read, given, kept = (data(context, builder, signature, args, i, o) for i, o in ((0, at), (3, to), (7, into)))
        totals = [cgutils.alloca_once_value(builder, ir.Constant(lanes, None)) for _ in range(count)]
        with cgutils.for_range(builder, pixels) as loop:
            row = load(builder, builder.gep(given, [builder.mul(loop.index, g_across)]), lanes, 4)
            here = builder.gep(read, [builder.mul(loop.index, across)])
            for i, total in enumerate(totals):
                one = builder.load(builder.gep(here, [ir.Constant(_I64, i)]))
                term = builder.fmul(broadcast(builder, one, lanes), row)
                builder.store(builder.fadd(builder.load(total), term), total)
        for i, total in enumerate(totals):
            store(builder, builder.load(total), builder.gep(kept, [ir.Constant(_I64, i * lanes.count)]), 4)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _python_outer_products(x, at, across, g, to, g_across, pixels, sums, into, inputs, outputs):
    total = np.zeros((len(inputs), len(outputs)), np.float32)
    for p in range(pixels):
        total += x[at + p * across :][: len(inputs), None] * g[to + p * g_across :][: len(outputs)]
    sums[into : into + total.size] = total.reshape(-1)


_product = _python_product if INTERPRETED else _make_product
product_some, product_one = _product(AT_ONCE), _product(1)
"""(x flat float32, at, across, w flat, first, out flat, to, out_across, inputs, outputs): of one group at `AT_ONCE` pixels,
or one: its inputs lie at x[at + p·across:], its matrix (I, O) at w[first:], its outputs at out[to + p·out_across:]."""
outer_products = _python_outer_products if INTERPRETED else _outer_products
"""(x, at, across, g, to, g_across, pixels, sums flat float32, into, inputs, outputs): sums[into:][:I·O] becomes, (I, O),
Σ x·g of one group over that many pixels."""


@kernel
def multiply(x, w, out, inputs, outputs):
    """Write y float32 (pixels, G·O) of x float32 (pixels, G·I) and w float32 (G, I, O)."""
    pixels, across = x.shape
    groups, each, kept = w.shape
    read, rows, into, out_across = x.reshape(-1), w.reshape(-1), out.reshape(-1), groups * kept
    whole = pixels // AT_ONCE * AT_ONCE
    for p in range(0, whole, AT_ONCE):
        for g in range(groups):
            at, to = p * across + g * each, p * out_across + g * kept
            product_some(read, at, across, rows, g * each * kept, into, to, out_across, inputs, outputs)
    for p in range(whole, pixels):
        for g in range(groups):
            at, to = p * across + g * each, p * out_across + g * kept
            product_one(read, at, across, rows, g * each * kept, into, to, out_across, inputs, outputs)


@kernel
def matrix_gradient(x, g, sums, inputs, outputs):
    """Add ∂L/∂w to sums float64 (G, I, O), from x float32 (pixels, G·I) and ∂L/∂y float32 (pixels, G·O)."""
    pixels, across = x.shape
    groups, each, kept = sums.shape
    read, given, out_across = x.reshape(-1), g.reshape(-1), groups * kept
    own, flat = np.zeros(each * kept, np.float32), sums.reshape(-1)
    for first in range(0, pixels, SHORT):
        count = min(SHORT, pixels - first)
        for group in range(groups):
            at, to = first * across + group * each, first * out_across + group * kept
            outer_products(read, at, across, given, to, out_across, count, own, 0, inputs, outputs)
            place = group * each * kept
            for i in range(each * kept):
                flat[place + i] += own[i]
