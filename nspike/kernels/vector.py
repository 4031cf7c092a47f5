"""Vector operations that plain Numba does not reach, as target-independent LLVM, each with a plain-Python body.

Sums of int16 rows are taken in groups of eight as int16 and then added to int32: `nspike.grid.SPIKE_LIMIT` (4095) makes
this exact, and it halves both the arithmetic and the traffic from the second-level cache, which is what limits the
event-driven convolution. All index lists are padded to a multiple of four with a row of zeros.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED

GROUP = 8
TAIL = 4
WIDE = 64
NARROW = 16

_I1, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 16, 32, 64))


def _data(context, builder, signature, args, i, offset):
    """A pointer to element `offset` of array argument `i`."""
    array = context.make_array(signature.args[i])(context, builder, args[i])
    return builder.gep(array.data, [offset])


def _load(builder, pointer, vector, align):
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = align
    return value


def _store(builder, value, pointer, align):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = align


def _broadcast(builder, scalar, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def _grouped(builder, count, term, wide):
    """The sum of term(0) .. term(count-1), int16 vectors, as an int32 vector; count is a multiple of TAIL."""
    intp = count.type
    total = cgutils.alloca_once_value(builder, ir.Constant(wide, None))

    def run(first, trips, size):
        with cgutils.for_range(builder, trips) as loop:
            k = builder.add(first, builder.mul(loop.index, ir.Constant(intp, size)))
            part = term(k)
            for i in range(1, size):
                part = builder.add(part, term(builder.add(k, ir.Constant(intp, i))))
            builder.store(builder.add(builder.load(total), builder.sext(part, wide)), total)

    groups = builder.sdiv(count, ir.Constant(intp, GROUP))
    done = builder.mul(groups, ir.Constant(intp, GROUP))
    run(ir.Constant(intp, 0), groups, GROUP)
    run(done, builder.sdiv(builder.sub(count, done), ir.Constant(intp, TAIL)), TAIL)
    return builder.load(total)


def _make_sum_rows(lanes):
    @intrinsic
    def sum_rows(typingctx, rows, count, weights, stride, first, out):
        signature = types.void(rows, types.intp, weights, types.intp, types.intp, out)

        def codegen(context, builder, signature, args):
            _, count, _, stride, first, _ = args
            index = _data(context, builder, signature, args, 0, ir.Constant(count.type, 0))
            base = _data(context, builder, signature, args, 2, first)
            narrow = ir.VectorType(_I16, lanes)

            def row(k):
                at = builder.sext(builder.load(builder.gep(index, [k])), count.type)
                return _load(builder, builder.gep(base, [builder.mul(at, stride)]), narrow, 2)

            total = _grouped(builder, count, row, ir.VectorType(_I32, lanes))
            _store(builder, total, _data(context, builder, signature, args, 5, first), 4)
            return context.get_dummy_value()

        return signature, codegen

    return sum_rows


def _make_fire(lanes):
    @intrinsic
    def fire(typingctx, v, current, bias, threshold, reset, first):
        signature = types.uint64(v, current, bias, threshold, reset, types.intp)

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(_I32, lanes)
            at = [_data(context, builder, signature, args, i, args[5]) for i in range(5)]
            membrane, current, bias, threshold, reset = (_load(builder, pointer, vector, 4) for pointer in at)
            u = builder.add(membrane, builder.add(current, bias))
            fired = builder.icmp_signed(">=", u, threshold)
            after = builder.sub(u, builder.select(fired, reset, ir.Constant(vector, None)))
            _store(builder, after, at[0], 4)
            return (
                builder.zext(builder.bitcast(fired, ir.IntType(lanes)), _I64)
                if lanes < 64
                else builder.bitcast(fired, _I64)
            )

        return signature, codegen

    return fire


@intrinsic
def _copy_rows(typingctx, out, at, events, first, count, shift):
    signature = types.void(out, types.intp, events, types.intp, types.intp, types.int32)

    def codegen(context, builder, signature, args):
        _, at, _, first, count, shift = args
        target = _data(context, builder, signature, args, 0, at)
        source = _data(context, builder, signature, args, 2, first)
        vector = ir.VectorType(_I32, 8)
        eight = ir.Constant(count.type, 8)
        shifts = _broadcast(builder, shift, vector)
        trips = builder.sdiv(builder.add(count, ir.Constant(count.type, 7)), eight)
        with cgutils.for_range(builder, trips) as loop:
            k = builder.mul(loop.index, eight)
            moved = builder.add(_load(builder, builder.gep(source, [k]), vector, 4), shifts)
            _store(builder, moved, builder.gep(target, [k]), 4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _trailing_zeros(typingctx, word):
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(_I1, 1))

    return types.int64(types.uint64), codegen


@intrinsic
def _count_bits(typingctx, word):
    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def _spread(typingctx, word, out, first):
    signature = types.void(types.uint64, out, types.intp)

    def codegen(context, builder, signature, args):
        bits = builder.bitcast(args[0], ir.VectorType(_I1, 64))
        masks = builder.sext(bits, ir.VectorType(_I16, 64))
        _store(builder, masks, _data(context, builder, signature, args, 1, args[2]), 2)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _sum_masked(typingctx, masks, base, offsets, weights, first, count, out):
    signature = types.void(masks, types.intp, offsets, weights, types.intp, types.intp, out)

    def codegen(context, builder, signature, args):
        _, base, _, _, first, count, _ = args
        origin = _data(context, builder, signature, args, 0, base)
        offsets = _data(context, builder, signature, args, 2, ir.Constant(count.type, 0))
        weights = _data(context, builder, signature, args, 3, first)
        narrow = ir.VectorType(_I16, 64)

        def term(k):
            at = builder.sext(builder.load(builder.gep(offsets, [k])), count.type)
            mask = _load(builder, builder.gep(origin, [at]), narrow, 2)
            return builder.and_(mask, _broadcast(builder, builder.load(builder.gep(weights, [k])), narrow))

        total = _grouped(builder, count, term, ir.VectorType(_I32, 64))
        _store(builder, total, _data(context, builder, signature, args, 6, ir.Constant(count.type, 0)), 4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _gate(typingctx, word, gates, first, out):
    signature = types.void(types.uint64, gates, types.intp, out)

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(_I32, 64)
        gates = _load(builder, _data(context, builder, signature, args, 1, args[2]), vector, 4)
        fired = builder.bitcast(args[0], ir.VectorType(_I1, 64))
        current = builder.select(fired, gates, ir.Constant(vector, None))
        _store(builder, current, _data(context, builder, signature, args, 3, ir.Constant(args[2].type, 0)), 4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _fire_row(typingctx, v, first, current, bias, threshold, reset):
    signature = types.uint64(v, types.intp, current, types.int32, types.int32, types.int32)

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(_I32, 64)
        at = _data(context, builder, signature, args, 0, args[1])
        current = _load(builder, _data(context, builder, signature, args, 2, ir.Constant(args[1].type, 0)), vector, 4)
        bias, threshold, reset = (_broadcast(builder, args[i], vector) for i in (3, 4, 5))
        u = builder.add(_load(builder, at, vector, 4), builder.add(current, bias))
        fired = builder.icmp_signed(">=", u, threshold)
        _store(builder, builder.sub(u, builder.select(fired, reset, ir.Constant(vector, None))), at, 4)
        return builder.bitcast(fired, _I64)

    return signature, codegen


# ----- The same in plain Python, for runs without the compiler -----


def _python_sum_rows(lanes):
    def sum_rows(rows, count, weights, stride, first, out):
        picked = weights.reshape(-1, stride)[rows[:count], first : first + lanes]
        out[first : first + lanes] = picked.sum(axis=0, dtype=np.int32)

    return sum_rows


def _pack(fired):
    return np.uint64(int.from_bytes(np.packbits(fired, bitorder="little").tobytes(), "little"))


def _bits(word):
    return np.unpackbits(np.frombuffer(int(word).to_bytes(8, "little"), np.uint8), bitorder="little")


def _python_fire(lanes):
    def fire(v, current, bias, threshold, reset, first):
        part = slice(first, first + lanes)
        u = v[part] + current[part] + bias[part]
        fired = u >= threshold[part]
        v[part] = u - np.where(fired, reset[part], 0)
        return _pack(fired)

    return fire


def _python_copy_rows(out, at, events, first, count, shift):
    out[at : at + count] = events[first : first + count] + shift


def _python_trailing_zeros(word):
    return (int(word) & -int(word)).bit_length() - 1


def _python_count_bits(word):
    return int(word).bit_count()


def _python_spread(word, out, first):
    out[first : first + 64] = -_bits(word).astype(np.int16)


def _python_sum_masked(masks, base, offsets, weights, first, count, out):
    lanes = np.arange(64)
    terms = masks[base + offsets[:count, None] + lanes] & weights[first : first + count, None]
    out[:64] = terms.sum(axis=0, dtype=np.int32)


def _python_gate(word, gates, first, out):
    out[:64] = np.where(_bits(word) == 1, gates[first : first + 64], 0)


def _python_fire_row(v, first, current, bias, threshold, reset):
    u = v[first : first + 64] + current[:64] + bias
    fired = u >= threshold
    v[first : first + 64] = u - np.where(fired, reset, 0).astype(np.int32)
    return _pack(fired)


# ----- What the kernels call -----

sum_rows_wide = _python_sum_rows(WIDE) if INTERPRETED else _make_sum_rows(WIDE)
"""(rows int32 (n,), count, weights int16 flat, stride, first, out int32): out[first:first+64] = the sum of those rows."""
sum_rows_narrow = _python_sum_rows(NARROW) if INTERPRETED else _make_sum_rows(NARROW)
"""The same for 16 columns."""
fire_wide = _python_fire(WIDE) if INTERPRETED else _make_fire(WIDE)
"""(v, current, bias, threshold, reset int32, first): integrate, compare, subtract 64 neurons; the spikes as a word."""
fire_narrow = _python_fire(NARROW) if INTERPRETED else _make_fire(NARROW)
"""The same for 16 neurons."""
copy_rows = _python_copy_rows if INTERPRETED else _copy_rows
"""(out int32, at, events int32, first, count, shift): out[at:at+count] = events[first:first+count] + shift, by eights."""
trailing_zeros = _python_trailing_zeros if INTERPRETED else _trailing_zeros
count_bits = _python_count_bits if INTERPRETED else _count_bits
spread = _python_spread if INTERPRETED else _spread
"""(word, out int16, first): 64 bits to 64 masks, 0 or -1."""
sum_masked = _python_sum_masked if INTERPRETED else _sum_masked
"""(masks int16, base, offsets int32, weights int16, first, count, out int32 (64,)): Σ masks[base+offset+lane] & weight."""
gate = _python_gate if INTERPRETED else _gate
"""(word, gates int32, first, out int32 (64,)): gates where the word's bits are set, else 0."""
fire_row = _python_fire_row if INTERPRETED else _fire_row
"""(v int32, first, current int32 (64,), bias, threshold, reset): as `fire_wide`, with the same numbers for 64 pixels."""
