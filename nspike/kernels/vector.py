"""Vector operations that plain Numba does not reach, as target-independent LLVM, each with a plain-Python body.

Sums of int16 rows are taken in groups of eight as int16 and then added to int32: `nspike.integer.grid.SPIKE_LIMIT` (4095) makes
this exact, and it halves both the arithmetic and the traffic from the second-level cache, which is what limits the
event-driven convolution. Next to it, what costs at low firing rates is branches that depend on how many spikes there are.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED

GROUP = 8
FEW = 4
TAIL = 4
WIDE = 64
NARROW = 16

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))


def data(context, builder, signature, args, i, offset=None):
    """A pointer to element `offset` of array argument `i`, by default the first."""
    array = context.make_array(signature.args[i])(context, builder, args[i])
    return array.data if offset is None else builder.gep(array.data, [offset])


def load(builder, pointer, vector, align):
    """The vector of type `vector` at a pointer to its first element."""
    value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    value.align = align
    return value


def store(builder, value, pointer, align):
    """Store a vector at a pointer to its first element."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = align


def broadcast(builder, scalar, vector):
    """A vector of type `vector`, all of whose elements are `scalar`."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    zeros = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def grouped(builder, count, term, wide):
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


def sum_events(builder, index, count, rows, stride, lanes):
    """The sum of the int16 rows index[0] .. index[count-1] as an int32 vector, count rounded up to a multiple of GROUP."""
    intp = count.type
    narrow, wide = ir.VectorType(_I16, lanes), ir.VectorType(_I32, lanes)
    total = cgutils.alloca_once_value(builder, ir.Constant(wide, None))
    groups = builder.lshr(builder.add(count, ir.Constant(intp, GROUP - 1)), ir.Constant(intp, 3))
    with cgutils.for_range(builder, groups) as loop:
        first = builder.gep(index, [builder.mul(loop.index, ir.Constant(intp, GROUP))])

        def row(i):
            at = builder.sext(builder.load(builder.gep(first, [ir.Constant(intp, i)])), intp)
            return load(builder, builder.gep(rows, [builder.mul(at, stride)]), narrow, 2)

        part = row(0)
        for i in range(1, GROUP):
            part = builder.add(part, row(i))
        builder.store(builder.add(builder.load(total), builder.sext(part, wide)), total)
    return builder.load(total)


def _make_sum_rows(lanes):
    @intrinsic
    def sum_rows(typingctx, events, first, count, weights, offset, stride, out, at):
        intp = types.intp
        signature = types.void(events, intp, intp, weights, intp, intp, out, intp)

        def codegen(context, builder, signature, args):
            _, first, count, _, offset, stride, _, at = args
            index = data(context, builder, signature, args, 0, first)
            rows = data(context, builder, signature, args, 3, offset)
            total = sum_events(builder, index, count, rows, stride, lanes)
            store(builder, total, data(context, builder, signature, args, 6, at), 4)
            return context.get_dummy_value()

        return signature, codegen

    return sum_rows


def _make_list_bits(unconditional):
    @intrinsic
    def list_bits(typingctx, words, index, base, events, at):
        signature = types.intp(words, types.intp, types.int32, events, types.intp)

        def codegen(context, builder, signature, args):
            _, index, base, _, at = args
            intp = at.type
            word = builder.load(data(context, builder, signature, args, 0, index))
            start = data(context, builder, signature, args, 3, at)
            left = cgutils.alloca_once_value(builder, word)

            def put(k):
                bits = builder.load(left)
                bit = builder.trunc(builder.cttz(bits, ir.Constant(_I1, 0)), _I32)
                builder.store(builder.add(base, bit), builder.gep(start, [k]))
                builder.store(builder.and_(bits, builder.sub(bits, ir.Constant(_I64, 1))), left)

            for i in range(unconditional):  # nearly always enough, and then no branch depends on the number of bits
                put(ir.Constant(intp, i))
            count = builder.ctpop(word)
            more = builder.sub(count, ir.Constant(intp, unconditional))
            with cgutils.for_range(builder, more) as loop:
                put(builder.add(loop.index, ir.Constant(intp, unconditional)))
            return count

        return signature, codegen

    return list_bits


BITS_OF_BYTES = np.argsort(~np.arange(256)[:, None] >> np.arange(8) & 1, axis=1, kind="stable")
"""The bits of each byte, those that are set first, in order."""


@intrinsic
def _list_many_bits(typingctx, words, index, base, events, at):
    """Byte by byte, from a table of the bits of every byte: no branch at all, and eight entries are stored at once."""
    signature = types.intp(words, types.intp, types.int32, events, types.intp)

    def codegen(context, builder, signature, args):
        _, index, base, _, at = args
        number = lambda n: ir.Constant(_I64, n)  # noqa: E731
        word = builder.load(data(context, builder, signature, args, 0, index))
        start = data(context, builder, signature, args, 3, at)
        places = BITS_OF_BYTES.ravel().tolist()
        table = cgutils.global_constant(builder, "bits_of_bytes", ir.Constant(ir.ArrayType(_I8, len(places)), places))
        of_byte, entries = ir.VectorType(_I8, 8), ir.VectorType(_I32, 8)
        for low in range(0, 64, 8):
            byte = builder.and_(builder.lshr(word, number(low)), number(255))
            row = load(builder, builder.gep(table, [number(0), builder.shl(byte, number(3))]), of_byte, 1)
            first = builder.add(base, ir.Constant(_I32, low))
            numbers = builder.add(builder.zext(row, entries), broadcast(builder, first, entries))
            before = builder.ctpop(builder.and_(word, number((1 << low) - 1)))
            store(builder, numbers, builder.gep(start, [before]), 4)
        return builder.ctpop(word)

    return signature, codegen


@intrinsic
def _fill(typingctx, value, out, at):
    signature = types.void(types.int32, out, types.intp)

    def codegen(context, builder, signature, args):
        filled = broadcast(builder, args[0], ir.VectorType(_I32, GROUP))
        store(builder, filled, data(context, builder, signature, args, 1, args[2]), 4)
        return context.get_dummy_value()

    return signature, codegen


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
        store(builder, masks, data(context, builder, signature, args, 1, args[2]), 2)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _sum_masked(typingctx, masks, base, offsets, weights, first, count, out):
    signature = types.void(masks, types.intp, offsets, weights, types.intp, types.intp, out)

    def codegen(context, builder, signature, args):
        _, base, _, _, first, count, _ = args
        origin = data(context, builder, signature, args, 0, base)
        offsets = data(context, builder, signature, args, 2, ir.Constant(count.type, 0))
        weights = data(context, builder, signature, args, 3, first)
        narrow = ir.VectorType(_I16, 64)

        def term(k):
            at = builder.sext(builder.load(builder.gep(offsets, [k])), count.type)
            mask = load(builder, builder.gep(origin, [at]), narrow, 2)
            return builder.and_(mask, broadcast(builder, builder.load(builder.gep(weights, [k])), narrow))

        total = grouped(builder, count, term, ir.VectorType(_I32, 64))
        store(builder, total, data(context, builder, signature, args, 6, ir.Constant(count.type, 0)), 4)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _gate(typingctx, word, gates, first, out):
    signature = types.void(types.uint64, gates, types.intp, out)

    def codegen(context, builder, signature, args):
        vector = ir.VectorType(_I32, 64)
        gates = load(builder, data(context, builder, signature, args, 1, args[2]), vector, 4)
        fired = builder.bitcast(args[0], ir.VectorType(_I1, 64))
        current = builder.select(fired, gates, ir.Constant(vector, None))
        store(builder, current, data(context, builder, signature, args, 3, ir.Constant(args[2].type, 0)), 4)
        return context.get_dummy_value()

    return signature, codegen


# ----- The same in plain Python, for runs without the compiler -----


def python_sum_rows(lanes):
    """The body of `sum_rows_wide` for `lanes` columns."""

    def sum_rows(events, first, count, weights, offset, stride, out, at):
        rows = events[first : first + -(-count // GROUP) * GROUP, None].astype(np.int64)
        out[at : at + lanes] = weights[offset + rows * stride + np.arange(lanes)].sum(axis=0, dtype=np.int32)

    return sum_rows


def pack(fired):
    """Bools as the bits of a word, the first the lowest."""
    return np.uint64(int.from_bytes(np.packbits(fired, bitorder="little").tobytes(), "little"))


def bits_of_word(word):
    """The bits of a word, uint8 (64,), the lowest first."""
    return np.unpackbits(np.frombuffer(int(word).to_bytes(8, "little"), np.uint8), bitorder="little")


def _python_list_bits(words, index, base, events, at):
    bits = np.flatnonzero(bits_of_word(words[index]))
    events[at : at + len(bits)] = base + bits
    return len(bits)


def _python_fill(value, out, at):
    out[at : at + GROUP] = value


def _python_count_bits(word):
    return int(word).bit_count()


def _python_spread(word, out, first):
    out[first : first + 64] = -bits_of_word(word).astype(np.int16)


def _python_sum_masked(masks, base, offsets, weights, first, count, out):
    lanes = np.arange(64)
    terms = masks[base + offsets[:count, None] + lanes] & weights[first : first + count, None]
    out[:64] = terms.sum(axis=0, dtype=np.int32)


def _python_gate(word, gates, first, out):
    out[:64] = np.where(bits_of_word(word) == 1, gates[first : first + 64], 0)


# ----- What the kernels call -----

sum_rows_wide = python_sum_rows(WIDE) if INTERPRETED else _make_sum_rows(WIDE)
"""(events int32, first, count, weights int16 flat, offset, stride, out int32, at): out[at:at+64] = the sum of the rows of
weights[offset:] whose numbers are events[first:first+count], count being rounded up to a multiple of GROUP."""
sum_rows_narrow = python_sum_rows(NARROW) if INTERPRETED else _make_sum_rows(NARROW)
"""The same for 16 columns."""
list_bits = _python_list_bits if INTERPRETED else _make_list_bits(GROUP)
"""(words uint64, index, base int32, events int32, at): events[at:] = base + the numbers of the bits of words[index] that
are set, ascending; returns how many.
Up to GROUP more entries are written in any case."""
list_many_bits = _python_list_bits if INTERPRETED else _list_many_bits
"""The same, faster where there are usually more than five."""
list_few_bits = _python_list_bits if INTERPRETED else _make_list_bits(FEW)
"""The same, faster where there are seldom more than FEW."""
list_rare_bits = _python_list_bits if INTERPRETED else _make_list_bits(0)
"""The same, faster where there are seldom any."""
fill = _python_fill if INTERPRETED else _fill
"""(value int32, out int32, at): out[at:at+GROUP] = value."""
count_bits = _python_count_bits if INTERPRETED else _count_bits
spread = _python_spread if INTERPRETED else _spread
"""(word, out int16, first): 64 bits to 64 masks, 0 or -1."""
sum_masked = _python_sum_masked if INTERPRETED else _sum_masked
"""(masks int16, base, offsets int32, weights int16, first, count, out int32 (64,)): Σ masks[base+offset+lane] & weight."""
gate = _python_gate if INTERPRETED else _gate
"""(word, gates int32, first, out int32 (64,)): gates where the word's bits are set, else 0."""
