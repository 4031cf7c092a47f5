"""A current that grows by a pointwise convolution of spikes, and the neurons that integrate the sum, in one pass.

    x'(t) = x(t)·2^shift + b + P Σ_j w_j·s_j(t)

The weights are looked up: for the bits of up to `CHUNK` neighbouring input channels a table holds every sum of their weights, of
16 output channels each. P is the order in which these blocks' channels become those of x: as they are, or woven as a
channel shuffle does, the first of each block, then the second of each.

Outputs may be `factor` times as high and wide as the spikes; then each position within a factor × factor square has its own
tables, as a pixel shuffle needs.
"""

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

_I1, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 16, 32, 64))
_LANES, _ROW = ir.VectorType(_I32, NARROW), ir.VectorType(_I16, NARROW)


def _make_look_up(steps):
    @intrinsic
    def look_up(typingctx, words, first, across, chunks, chunk, last, tables, out, at, stride):
        intp = types.intp
        kinds = (words, intp, intp, chunks, intp, intp, tables, out, intp, intp)

        def codegen(context, builder, signature, args):
            _, first, across, _, chunk, last, _, _, at, stride = args
            seen, rows = data(context, builder, signature, args, 0, first), data(context, builder, signature, args, 6)
            into = data(context, builder, signature, args, 7, at)
            numbers = data(context, builder, signature, args, 3)
            total = [cgutils.alloca_once_value(builder, ir.Constant(_LANES, None)) for _ in range(steps)]
            with cgutils.for_range(builder, builder.sub(last, chunk)) as loop:
                four = builder.mul(builder.add(chunk, loop.index), ir.Constant(_I64, 4))
                word, low, mask, table = (
                    builder.load(builder.gep(numbers, [builder.add(four, ir.Constant(_I64, i))])) for i in range(4)
                )
                here, there = builder.gep(seen, [word]), builder.gep(rows, [table])
                for t in range(steps):
                    bits = builder.load(builder.gep(here, [builder.mul(across, ir.Constant(_I64, t))]))
                    index = builder.and_(builder.lshr(bits, low), mask)
                    row = load(builder, builder.gep(there, [builder.shl(index, ir.Constant(_I64, 4))]), _ROW, 2)
                    builder.store(builder.add(builder.load(total[t]), builder.sext(row, _LANES)), total[t])
            for t in range(steps):
                place = builder.gep(into, [builder.mul(stride, ir.Constant(_I64, t))])
                store(builder, builder.load(total[t]), place, 4)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    return look_up


def _python_look_up(steps):
    def look_up(words, first, across, chunks, chunk, last, tables, out, at, stride):
        for t in range(steps):
            total = np.zeros(NARROW, np.int32)
            for word, low, mask, table in chunks.reshape(-1, 4)[chunk:last].tolist():
                row = table + NARROW * (int(words[first + word + t * across]) >> low & mask)
                total += tables[row : row + NARROW]
            out[at + t * stride : at + t * stride + NARROW] = total

    return look_up


@intrinsic
def _interleave(typingctx, numbers, one, other, out, at):
    intp = types.intp

    def codegen(context, builder, signature, args):
        _, one, other, _, at = args
        both = [load(builder, data(context, builder, signature, args, 0, o), _LANES, 4) for o in (one, other)]
        into = data(context, builder, signature, args, 3, at)
        for half in range(2):
            places = [n // 2 + half * NARROW // 2 + n % 2 * NARROW for n in range(NARROW)]
            woven = builder.shuffle_vector(*both, ir.Constant(_LANES, places))
            store(builder, woven, builder.gep(into, [ir.Constant(_I64, half * NARROW)]), 4)
        return context.get_dummy_value()

    return types.void(numbers, intp, intp, out, intp), codegen


def _python_interleave(numbers, one, other, out, at):
    out[at : at + 2 * NARROW : 2] = numbers[one : one + NARROW]
    out[at + 1 : at + 2 * NARROW : 2] = numbers[other : other + NARROW]


@intrinsic
def _settle(
    typingctx,
    sums,
    at,
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
        _, at, across, _, bias_at, _, base_at, base_across, _, _, current_at, current_across, *rest = args
        *_, fired_at, fired_across, steps, parts = rest
        number = lambda n: ir.Constant(_I64, n)  # noqa: E731
        pointer = lambda i, o: data(context, builder, signature, args, i, o)  # noqa: E731
        arriving, biases = pointer(0, at), pointer(3, bias_at)
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
                total = builder.add(vector(arriving, t, across), bias)
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
    at,
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
        total = sums[at + t * across : at + t * across + columns] + bias[bias_at : bias_at + columns]
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

look_up_some = _python_look_up(AT_ONCE) if INTERPRETED else _make_look_up(AT_ONCE)
"""(words uint64, first, across, chunks int64 (n·4,), chunk, last, tables int16, out int32, at, stride): for each of `AT_ONCE`
steps t, out[at + t·stride:][:16] = the sum of the rows of 16 that chunks number chunk .. last-1 find: of (word, low, mask,
table) that is tables[table + 16·(words[first + word + t·across] >> low & mask):]."""
look_up_one = _python_look_up(1) if INTERPRETED else _make_look_up(1)
"""The same for one step."""
interleave = _python_interleave if INTERPRETED else _interleave
"""(numbers int32, one, other, out int32, at): 16 numbers from `one` on and 16 from `other` on in turn to out[at:at+32]."""
settle = _python_settle if INTERPRETED else _settle
"""(sums int32, at, across, bias int32, bias_at, base int32 or None, base_at, base_across, shift int32, current int32 or
None, current_at, current_across, v0, threshold, reset, dynamics, fired uint64 or None, fired_at, fired_across, steps,
parts): the sums of step t, from at + t·across on, plus bias, plus base << shift, are a current, which is kept in `current` and
integrated by neurons whose spikes are `fired`, each where it is not None; `parts` times 16 channels of a pixel, whose
words are 0 before."""


@kernel
def flow(
    spikes,
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
    block,
):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output, at all steps.

    spikes uint64 (rows, columns, steps, words); at int64 (4,): what is added to an output's row and column before they are
    divided by `factor`, and to that then. chunks int64 (n, 4), tables int16: see `look_up_some`; ends int64 (factor²,
    blocks + 1): where the chunks of each block of a position begin and end. woven: whether the blocks' channels are woven,
    their number being a power of two of at least 4. bias int32 (factor², C); base int32 (steps or 1, rows, columns, C) or
    None; base_at, current_at int64 (2,): where output (0, 0) lies there; shift int32 (C,), of the base. current int32 (steps,
    rows, columns, C) or None. fired uint64 (rows, columns, steps, words) with `border` rows and columns around, or None; v0 int32
    (C,); threshold, reset int32 (steps, C). C is a multiple of 16.
    """
    steps, words = spikes.shape[2], spikes.shape[3]
    flat_spikes, flat_chunks, channels = spikes.reshape(-1), chunks.reshape(-1), bias.shape[1]
    flat_bias = bias.reshape(-1)
    flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
    base_first = base_across = current_first = current_across = fired_first = fired_across = 0
    if base is not None:
        base_across = base[0].size if base.shape[0] > 1 else 0
    if current is not None:
        current_across = current[0].size
    if fired is not None:
        fired_across = fired.shape[3]
    blocks = ends.shape[1] - 1
    across = blocks * NARROW
    sums, weaving = np.zeros(steps * across, np.int32), np.zeros(2 * across, np.int32)
    for y in range(block[0], block[1]):
        up = y + at[0]
        for x in range(block[2], block[3]):
            left = x + at[1]
            phase = up % factor * factor + left % factor
            pixel = ((up // factor + at[2]) * spikes.shape[1] + left // factor + at[3]) * steps * words
            for b in range(blocks):
                chunk, last = ends[phase, b], ends[phase, b + 1]
                t = 0
                while t + AT_ONCE <= steps:
                    look_up_some(
                        flat_spikes,
                        pixel + t * words,
                        words,
                        flat_chunks,
                        chunk,
                        last,
                        tables,
                        sums,
                        t * across + b * NARROW,
                        across,
                    )
                    t += AT_ONCE
                while t < steps:
                    look_up_one(
                        flat_spikes,
                        pixel + t * words,
                        words,
                        flat_chunks,
                        chunk,
                        last,
                        tables,
                        sums,
                        t * across + b * NARROW,
                        across,
                    )
                    t += 1
            if woven:  # rows of 16 in pairs, the first with that half the rows further on, until one is left
                for t in range(steps):
                    rows, length, source, into = blocks, NARROW, 0, across
                    while rows > 1:
                        rows //= 2
                        for i in range(rows):
                            for j in range(i * length, (i + 1) * length, NARROW):
                                further = j + rows * length
                                if length == NARROW:
                                    one = t * across + j
                                    interleave(sums, one, one + rows * length, weaving, source + 2 * j)
                                elif rows == 1:
                                    interleave(weaving, source + j, source + further, sums, t * across + 2 * j)
                                else:
                                    interleave(weaving, source + j, source + further, weaving, into + 2 * j)
                        if length > NARROW:
                            source, into = into, source
                        length *= 2
            if base is not None:
                base_first = ((y + base_at[0]) * base.shape[2] + x + base_at[1]) * channels
            if current is not None:
                current_first = ((y + current_at[0]) * current.shape[2] + x + current_at[1]) * channels
            if fired is not None:
                fired_first = ((y + border) * fired.shape[1] + x + border) * steps * fired_across
            settle(
                sums,
                0,
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
