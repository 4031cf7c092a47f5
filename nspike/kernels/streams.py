"""A current that is a sum of pointwise convolutions of spikes and of another current, and the neurons that integrate it.

    x'(t) = x(t)·2^shift + b + Σ_k P_k Σ_j w_kj·s_kj(t)

The weights are looked up: for the bits of up to `CHUNK` neighbouring input channels a table holds every sum of their weights, of
16 output channels each. P_k is the order in which these blocks' channels become those of x: as they are, or woven as a
channel shuffle does, the first of each block, then the second of each.

Sums are taken in passes as int16, woven as such, and added up as int32; the chunks of a pass are chosen so that none of its
sums leaves 16 bits. Outputs may be `factor` times as high and wide as some spikes; then each position within a factor × factor
square has its own tables, as a pixel shuffle needs.
"""

import ctypes
import sys

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.firing import dynamics_of, fire_vector, python_step
from nspike.kernels.vector import NARROW, data, load, pack, store

CHUNK = 6
"""The most bits that a table is looked up by."""
AT_ONCE = 4
"""How many steps are looked up at once."""

COLUMNS = 6
"""Numbers of a chunk."""

_I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
_LANES, _ROW = ir.VectorType(_I32, NARROW), ir.VectorType(_I16, NARROW)


def _make_look_up(steps, blocks):
    @intrinsic
    def look_up(typingctx, where, first, chunks, ends, end, apart, tables, out, at, stride):
        intp = types.intp
        kinds = (where, intp, chunks, ends, intp, intp, tables, out, intp, intp)

        def codegen(context, builder, signature, args):
            _, first, _, _, end, apart, _, _, at, stride = args
            number = lambda n: ir.Constant(_I64, n)  # noqa: E731
            places, numbers = (data(context, builder, signature, args, i) for i in (0, 2))
            rows = builder.bitcast(data(context, builder, signature, args, 6), _I8.as_pointer())
            bounds, into = (data(context, builder, signature, args, i, o) for i, o in ((3, end), (7, at)))
            total = [[cgutils.alloca_once(builder, _ROW) for _ in range(steps)] for _ in range(blocks)]
            for block in range(blocks):
                for sums in total[block]:
                    builder.store(ir.Constant(_ROW, None), sums)
                place = builder.gep(bounds, [builder.mul(apart, number(block))])
                chunk, last = (builder.load(builder.gep(place, [number(i)])) for i in (0, 1))
                with cgutils.for_range(builder, builder.sub(last, chunk)) as loop:
                    here = builder.gep(numbers, [builder.mul(builder.add(chunk, loop.index), number(COLUMNS))])
                    term, word, across, low, mask, table = (
                        builder.load(builder.gep(here, [number(i)])) for i in range(COLUMNS)
                    )
                    spikes = builder.inttoptr(builder.load(builder.gep(places, [term])), _I64.as_pointer())
                    here = builder.gep(spikes, [builder.add(word, builder.mul(first, across))])
                    there = builder.gep(rows, [table])
                    for t, sums in enumerate(total[block]):
                        bits = builder.load(builder.gep(here, [builder.mul(across, number(t))]))
                        index = builder.and_(builder.lshr(bits, low), mask)
                        row = load(builder, builder.gep(there, [builder.shl(index, number(5))]), _ROW, 2)
                        builder.store(builder.add(builder.load(sums), row), sums)
            for t in range(steps):
                made = [builder.load(sums[t]) for sums in total]
                while len(made) > 1:  # in pairs, the first with that half of them further on
                    half = len(made) // 2
                    made = [_woven(builder, made[i], made[i + half]) for i in range(half)]
                store(builder, made[0], builder.gep(into, [builder.mul(stride, number(t))]), 2)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    return look_up


def _woven(builder, one, other):
    """The elements of two vectors in turn."""
    count = one.type.count
    places = [n // 2 + n % 2 * count for n in range(2 * count)]
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_I32, 2 * count), places))


def _python_look_up(steps, blocks):
    def look_up(where, first, chunks, ends, end, apart, tables, out, at, stride):
        numbers = chunks.reshape(-1, COLUMNS)
        flat_ends = ends.reshape(-1)
        for t in range(steps):
            total = np.zeros((blocks, NARROW), np.int16)
            for block in range(blocks):
                place = end + block * apart
                for term, word, across, low, mask, table in numbers[flat_ends[place] : flat_ends[place + 1]].tolist():
                    bits = ctypes.c_uint64.from_address(int(where[term]) + 8 * (word + (first + t) * across)).value
                    row = table // 2 + NARROW * (bits >> low & mask)
                    total[block] += tables[row : row + NARROW]
            out[at + t * stride : at + t * stride + blocks * NARROW] = total.T.ravel()

    return look_up


@intrinsic
def _interleave(typingctx, numbers, one, other, at):
    intp = types.intp

    def codegen(context, builder, signature, args):
        _, one, other, at = args
        both = [load(builder, data(context, builder, signature, args, 0, o), _ROW, 2) for o in (one, other)]
        store(builder, _woven(builder, *both), data(context, builder, signature, args, 0, at), 2)
        return context.get_dummy_value()

    return types.void(numbers, intp, intp, intp), codegen


def _python_interleave(numbers, one, other, at):
    numbers[at : at + 2 * NARROW : 2] = numbers[one : one + NARROW]
    numbers[at + 1 : at + 2 * NARROW : 2] = numbers[other : other + NARROW]


@intrinsic
def _settle(
    typingctx,
    sums,
    passes,
    across,
    bias,
    bias_at,
    base,
    base_at,
    base_across,
    shift,
    current,
    current_at,
    current_across,
    v0,
    threshold,
    reset,
    dynamics,
    fired,
    fired_at,
    fired_across,
    steps,
    parts,
):
    """See `settle` below."""
    intp, none = types.intp, types.NoneType
    kinds = (sums, intp, intp, bias, intp, base, intp, intp, shift, current, intp, intp)
    neurons = (v0, threshold, reset, dynamics, fired, intp, intp, intp, intp)

    def codegen(context, builder, signature, args):
        _, passes, across, _, bias_at, _, base_at, base_across, _, _, current_at, current_across, *rest = args
        *_, fired_at, fired_across, steps, parts = rest
        number = lambda n: ir.Constant(_I64, n)  # noqa: E731
        pointer = lambda i, o: data(context, builder, signature, args, i, o)  # noqa: E731
        arriving, biases = pointer(0, number(0)), pointer(3, bias_at)
        if not isinstance(base, none):
            added, shifts = pointer(5, base_at), pointer(8, number(0))
        if not isinstance(current, none):
            kept = pointer(9, current_at)
        if not isinstance(fired, none):
            dynamic = dynamics_of(builder, dynamics, args[15])
            starts, limits = pointer(12, number(0)), [pointer(i, number(0)) for i in (13, 14)]
            into = builder.bitcast(pointer(16, fired_at), _I16.as_pointer())
            v = cgutils.alloca_once(builder, _LANES)
            columns = builder.shl(parts, number(4))
        with cgutils.for_range(builder, parts) as part:
            c = builder.shl(part.index, number(4))

            def vector(p, step, stride, c=c):
                return load(builder, builder.gep(p, [builder.add(c, builder.mul(step, stride))]), _LANES, 4)

            bias = vector(biases, number(0), across)
            if not isinstance(base, none):
                shift = vector(shifts, number(0), across)
            if not isinstance(fired, none):
                builder.store(vector(starts, number(0), across), v)
            with cgutils.for_range(builder, steps) as loop:
                t = loop.index
                summed = cgutils.alloca_once_value(builder, ir.Constant(_LANES, None))
                builder.store(bias, summed)
                with cgutils.for_range(builder, passes) as each:
                    place = builder.mul(builder.add(builder.mul(each.index, steps), t), across)
                    row = load(builder, builder.gep(arriving, [builder.add(c, place)]), _ROW, 2)
                    builder.store(builder.add(builder.load(summed), builder.sext(row, _LANES)), summed)
                total = builder.load(summed)
                if not isinstance(base, none):
                    total = builder.add(total, builder.shl(vector(added, t, base_across), shift))
                if not isinstance(current, none):
                    place = builder.gep(kept, [builder.add(c, builder.mul(t, current_across))])
                    store(builder, total, place, 4)
                if not isinstance(fired, none):
                    numbers = (vector(p, t, columns) for p in limits)
                    (bits,), after = fire_vector(builder, dynamic, builder.load(v), total, *numbers)
                    builder.store(after, v)
                    quarter = part.index
                    if sys.byteorder == "big":
                        quarter = builder.xor(quarter, number(3))
                    place = builder.add(quarter, builder.shl(builder.mul(t, fired_across), number(2)))
                    builder.store(builder.bitcast(bits, _I16), builder.gep(into, [place]))
        return context.get_dummy_value()

    return types.void(*kinds, *neurons), codegen


def _python_settle(
    sums,
    passes,
    across,
    bias,
    bias_at,
    base,
    base_at,
    base_across,
    shift,
    current,
    current_at,
    current_across,
    v0,
    threshold,
    reset,
    dynamics,
    fired,
    fired_at,
    fired_across,
    steps,
    parts,
):
    columns = parts * NARROW
    v = None if fired is None else v0[:columns].astype(np.int64)
    for t in range(steps):
        each = sums[: passes * steps * across].reshape(passes, steps, across)[:, t, :columns]
        total = each.sum(axis=0, dtype=np.int32) + bias[bias_at : bias_at + columns]
        if base is not None:
            place = base_at + t * base_across
            total = total + (base.reshape(-1)[place : place + columns] << shift[:columns])
        if current is not None:
            place = current_at + t * current_across
            current.reshape(-1)[place : place + columns] = total
        if fired is not None:
            numbers = slice(t * columns, (t + 1) * columns)
            v, bits = python_step(dynamics, v, total, threshold[numbers], reset[numbers])
            padded = np.zeros(-(-columns // 64) * 64, bool)
            padded[:columns] = bits[0]
            place = fired_at + t * fired_across
            fired.reshape(-1)[place : place + padded.size // 64] = [pack(word) for word in padded.reshape(-1, 64)]


# ----- What the kernels call -----

_look_up = _python_look_up if INTERPRETED else _make_look_up
look_up_some = _look_up(AT_ONCE, 1)
"""(where int64, first, chunks int64 (n·6,), ends int64, end, apart, tables int16, out int16, at, stride): for each of
`AT_ONCE` steps t, out[at + t·stride:][:16] = the sum of the rows of 16 that chunks number ends[end] .. ends[end+1]-1 find: of
(term, word, across, low, mask, table) that is the row (words[word + (first + t)·across] >> low & mask) of those from byte
`table` of the tables on, words being uint64 at the address where[term]."""
look_up_one = _look_up(1, 1)
"""The same for one step."""
look_up_four = _look_up(AT_ONCE, 4)
"""The same for four such sums, from ends[end], ends[end+apart], .. on, and these in turn to out[at + t·stride:][:64]."""
look_up_four_one = _look_up(1, 4)
"""That for one step."""
interleave = _python_interleave if INTERPRETED else _interleave
"""(numbers int16, one, other, at): 16 numbers from `one` on and 16 from `other` on in turn to numbers[at:at+32]."""
settle = _python_settle if INTERPRETED else _settle
"""(sums int16, passes, across, bias int32, bias_at, base int32 or None, base_at, base_across, shift int32, current int32
or None, current_at, current_across, v0, threshold, reset, dynamics, fired uint64 or None, fired_at, fired_across, steps,
parts): the sums of step t of all passes, those of pass k from (k·steps + t)·across on, plus bias, plus base << shift, are a
current, which is kept in `current` and integrated by neurons whose spikes are `fired`, each where it is not None; `parts`
times 16 channels of a pixel, whose words are 0 before."""


@kernel
def flow(
    where,
    at,
    factor,
    chunks,
    ends,
    tables,
    woven,
    bias,
    base,
    base_at,
    shift,
    current,
    current_at,
    fired,
    border,
    v0,
    threshold,
    reset,
    dynamics,
    steps,
    block,
):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output, at all steps.

    where int64 (terms, 6): of the spikes of each term, uint64 (rows, columns, steps, words) and to be kept alive by the
    caller, the address, the words of a row and those of a pixel, by how much the output is higher and wider, and the row and
    column there of position (0, 0). at int64 (2,): the position of output (0, 0). factor: a multiple of those. chunks int64
    (n·6,), tables int16: see `look_up_some`; ends int64 (passes, factor², blocks + 1): where the chunks of each block of a
    position begin and end. woven int64 (passes,): how many blocks are woven, a power of two of at least 4, or 0 for C/16 blocks
    as they are. bias int32 (factor², C); base int32 (steps or 1, rows, columns, C) or None; base_at, current_at int64 (2,):
    where output (0, 0) lies there; shift int32 (C,), of the base. current int32 (steps, rows, columns, C) or None. fired uint64
    (rows, columns, steps, words) with `border` rows and columns around, or None; v0 int32 (C,); threshold, reset int32
    (steps, C). C is a multiple of 16.
    """
    channels, terms = bias.shape[1], where.shape[0]
    flat_bias = bias.reshape(-1)
    flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
    base_first = base_across = current_first = current_across = fired_first = fired_across = 0
    if base is not None:
        base_across = base[0].size if base.shape[0] > 1 else 0
    if current is not None:
        current_across = current[0].size
    if fired is not None:
        fired_across = fired.shape[3]
    passes, blocks = ends.shape[0], ends.shape[2] - 1
    across = blocks * NARROW
    spare = passes * steps * across
    sums = np.zeros(spare + 2 * steps * across, np.int16)  # and room to weave
    rows, pixels = np.empty(terms, np.int64), np.empty(terms, np.int64)
    for y in range(block[0], block[1]):
        up = y + at[0]
        for term in range(terms):
            row = up // where[term, 3] + where[term, 4]
            rows[term] = where[term, 0] + 8 * (row * where[term, 1] + where[term, 5] * where[term, 2])
        for x in range(block[2], block[3]):
            left = x + at[1]
            for term in range(terms):
                column = left if where[term, 3] == 1 else left // where[term, 3]
                pixels[term] = rows[term] + 8 * column * where[term, 2]
            phase = 0 if factor == 1 else up % factor * factor + left % factor
            for k in range(passes):
                first, end = k * steps * across, (k * ends.shape[1] + phase) * ends.shape[2]
                apart = woven[k] // 4
                for b in range(apart if apart else channels // NARROW):
                    place = (spare if apart > 1 else first) + b * (4 * NARROW if apart else NARROW)
                    t = 0
                    while t + AT_ONCE <= steps:
                        if apart:
                            look_up_four(pixels, t, chunks, ends, end + b, apart, tables, sums, place, across)
                        else:
                            look_up_some(pixels, t, chunks, ends, end + b, 1, tables, sums, place, across)
                        place += AT_ONCE * across
                        t += AT_ONCE
                    while t < steps:
                        if apart:
                            look_up_four_one(pixels, t, chunks, ends, end + b, apart, tables, sums, place, across)
                        else:
                            look_up_one(pixels, t, chunks, ends, end + b, 1, tables, sums, place, across)
                        place += across
                        t += 1
                # rows of 64 in pairs, the first with that half the rows further on, until one is left
                left_over, length, source = apart, 4 * NARROW, spare
                while left_over > 1:
                    left_over //= 2
                    into = first if left_over == 1 else 2 * spare + steps * across - source
                    for t in range(steps):
                        for i in range(left_over):
                            for j in range(i * length, (i + 1) * length, NARROW):
                                one = source + t * across + j
                                interleave(sums, one, one + left_over * length, into + t * across + 2 * j)
                    source = into
                    length *= 2
            if base is not None:
                base_first = ((y + base_at[0]) * base.shape[2] + x + base_at[1]) * channels
            if current is not None:
                current_first = ((y + current_at[0]) * current.shape[2] + x + current_at[1]) * channels
            if fired is not None:
                fired_first = ((y + border) * fired.shape[1] + x + border) * steps * fired_across
            settle(
                sums,
                passes,
                across,
                flat_bias,
                phase * channels,
                base,
                base_first,
                base_across,
                shift,
                current,
                current_first,
                current_across,
                v0,
                flat_threshold,
                flat_reset,
                dynamics,
                fired,
                fired_first,
                fired_across,
                steps,
                channels // NARROW,
            )
