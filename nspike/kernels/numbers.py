"""Spikes that are held as the numbers whose digits they are: from packed spikes, back to them, and counted.

A number is a byte for each channel: Σ 2^k of the planes that fire, 0 <= n <= 127, or, with planes of negative gain, `OFFSET` +
n, -63 <= n <= 63. Packed spikes are bits, (plane, channel), the planes of positive gain first.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.digits import NARROW, OFFSET
from nspike.kernels.vector import data, load

_I8, _I64 = ir.IntType(8), ir.IntType(64)
WIDE = 64
DIGITS = 7
"""How many digits a number has at most."""


def _halves(builder, number, signed, lanes):
    """What the planes of positive and of negative gain say, of a vector of numbers; the second None without a sign."""
    if not signed:
        return number, None
    vector = lambda n: ir.Constant(number.type, [n] * lanes)  # noqa: E731
    above = builder.icmp_unsigned(">=", number, vector(OFFSET))
    up = builder.select(above, builder.sub(number, vector(OFFSET)), vector(0))
    return up, builder.select(above, vector(0), builder.sub(vector(OFFSET), number))


def _digit(builder, number, digit, lanes):
    """A bit for each of `lanes` numbers, the digit worth 2^digit."""
    kind = number.type
    one = builder.and_(number, ir.Constant(kind, [1 << digit] * lanes))
    bits = builder.bitcast(builder.icmp_unsigned("!=", one, ir.Constant(kind, None)), ir.IntType(lanes))
    return bits if lanes == WIDE else builder.zext(bits, _I64)


def _make_count(lanes, signed):
    digits = DIGITS - signed

    @intrinsic
    def count(typingctx, numbers, at, blocks, out):
        intp = types.intp
        kind = ir.VectorType(_I8, lanes)

        def codegen(context, builder, signature, args):
            _, at, blocks, _ = args
            totals = [cgutils.alloca_once(builder, _I64) for _ in range(digits << signed)]
            for total in totals:
                builder.store(ir.Constant(_I64, 0), total)
            read = data(context, builder, signature, args, 0, at)
            with cgutils.for_range(builder, blocks) as loop:
                place = builder.mul(loop.index, ir.Constant(blocks.type, lanes))
                n = load(builder, builder.gep(read, [place]), kind, 1)
                for half, number in enumerate(_halves(builder, n, signed, lanes)):
                    for digit in range(digits if number is not None else 0):
                        fired = builder.ctpop(_digit(builder, number, digit, lanes))
                        total = totals[half * digits + digit]
                        builder.store(builder.add(builder.load(total), fired), total)
            write = data(context, builder, signature, args, 3)
            for i, total in enumerate(totals):
                place = builder.gep(write, [ir.Constant(blocks.type, i // digits * DIGITS + i % digits)])
                builder.store(builder.add(builder.load(place), builder.load(total)), place)
            return context.get_dummy_value()

        return types.void(numbers, intp, intp, out), codegen

    return count


def _make_spell(lanes, signed):
    digits = DIGITS - signed

    @intrinsic
    def spell(typingctx, numbers, at, out):
        intp = types.intp
        kind = ir.VectorType(_I8, lanes)

        def codegen(context, builder, signature, args):
            n = load(builder, data(context, builder, signature, args, 0, args[1]), kind, 1)
            write = data(context, builder, signature, args, 2)
            for half, number in enumerate(_halves(builder, n, signed, lanes)):
                for digit in range(digits if number is not None else 0):
                    place = ir.Constant(args[1].type, half * DIGITS + digit)
                    builder.store(_digit(builder, number, digit, lanes), builder.gep(write, [place]))
            return context.get_dummy_value()

        return types.void(numbers, intp, out), codegen

    return spell


# ----- The same in plain Python, for runs without the compiler -----


def _python_digits(numbers, signed):
    """bool (2·DIGITS, len(numbers))."""
    n = numbers.astype(np.int64) - OFFSET * signed
    return np.array([np.maximum(part, 0) >> k & 1 for part in (n, -n) for k in range(DIGITS)], bool)


def _python_count(lanes, signed):
    def count(numbers, at, blocks, out):
        if blocks > 0:
            out += _python_digits(numbers[at : at + lanes * blocks], signed).sum(axis=1)

    return count


def _python_spell(lanes, signed):
    def spell(numbers, at, out):
        digits = _python_digits(numbers[at : at + lanes], signed)
        out[:] = digits @ (np.uint64(1) << np.arange(lanes, dtype=np.uint64))

    return spell


# ----- What the kernels call -----

_counter, _speller = (_python_count, _python_spell) if INTERPRETED else (_make_count, _make_spell)
count_plain, count_signed = _counter(WIDE, False), _counter(WIDE, True)
few_plain, few_signed = _counter(NARROW, False), _counter(NARROW, True)
"""(numbers uint8, at, blocks, out int64 (2·DIGITS,)): of the 64, or of the few 16, times `blocks` numbers from numbers[at] on,
add to out[k] how many have the digit worth 2^k, and to out[DIGITS + k] how many of those whose sign is negative."""
spell_plain, spell_signed = _speller(NARROW, False), _speller(NARROW, True)
wide_plain, wide_signed = _speller(WIDE, False), _speller(WIDE, True)
"""(numbers uint8, at, out uint64 (2·DIGITS,)): of the 16, or 64, numbers from numbers[at] on, out[k] = the digits worth 2^k as
bits, out[DIGITS + k] = those of the numbers whose sign is negative."""


@kernel
def count(numbers, where, channels, signed, rows, runs, fan_y, fan_x, events, weighted):
    """Count the digits of the numbers of a rectangle, `rows` high.

    numbers uint8, flat; where int64 (2,): the index of its first number, and how many lie from row to row; `channels`, a
    multiple of 16, lie side by side; signed: 1 or 0. runs int64 (m + 1,): from which columns on fan_x differs, and how many there
    are. fan_y int64 (n, rows), fan_x int64 (n, columns): in how many targets of each reader a spike arrives. Adds to events int64
    (2·DIGITS,), and to weighted int64 (n, 2·DIGITS): see `few_plain` for their order.
    """
    seen = np.zeros(2 * DIGITS, np.int64)
    for y in range(rows):
        row = where[0] + y * where[1]
        for run in range(len(runs) - 1):
            first, last = row + runs[run] * channels, row + runs[run + 1] * channels
            many = (last - first) // WIDE
            few = (last - first - WIDE * many) // NARROW
            seen[:] = 0
            if signed:
                count_signed(numbers, first, many, seen)
                few_signed(numbers, first + WIDE * many, few, seen)
            else:
                count_plain(numbers, first, many, seen)
                few_plain(numbers, first + WIDE * many, few, seen)
            for digit in range(2 * DIGITS):
                events[digit] += seen[digit]
                for i in range(len(fan_y)):
                    weighted[i, digit] += fan_y[i, y] * fan_x[i, runs[run]] * seen[digit]


@kernel
def pack(numbers, where, channels, signed, digits, words, pad):
    """The packed spikes of a rectangle of numbers: words uint64 (rows, columns, 1, words), `pad` of them around, no bit set.

    numbers, where, channels, signed: as of `count`; digits: how many there are for each sign.
    """
    spelt = np.zeros(2 * DIGITS, np.uint64)
    for y in range(words.shape[0] - 2 * pad):
        at = where[0] + y * where[1]
        for x in range(words.shape[1] - 2 * pad):
            into = words[y + pad, x + pad, 0]
            for c in range(0, channels, NARROW):
                if signed:
                    spell_signed(numbers, at + c, spelt)
                else:
                    spell_plain(numbers, at + c, spelt)
                for half in range(1 + signed):
                    for digit in range(digits):
                        bit = (half * digits + digit) * channels + c
                        into[bit >> 6] |= spelt[half * DIGITS + digit] << np.uint64(bit & 63)
            at += channels


@kernel
def columns(numbers, where, channels, signed, digits, width, out):
    """One block of up to 64 columns: out uint64 (planes·channels, rows), bit x of a word being column x.

    numbers, where, channels, signed: as of `count`; digits: how many there are for each sign.
    """
    row, spelt = np.empty(NARROW * WIDE, np.uint8), np.zeros(2 * DIGITS, np.uint64)
    row[:] = OFFSET * signed  # what is beyond the width is silent
    for y in range(out.shape[1]):
        for c in range(0, channels, NARROW):
            at = where[0] + y * where[1] + c
            for x in range(width):
                for i in range(NARROW):
                    row[i * WIDE + x] = numbers[at + i]
                at += channels
            for i in range(NARROW):
                if signed:
                    wide_signed(row, i * WIDE, spelt)
                else:
                    wide_plain(row, i * WIDE, spelt)
                for half in range(1 + signed):
                    for digit in range(digits):
                        out[(half * digits + digit) * channels + c + i, y] = spelt[half * DIGITS + digit]


@kernel
def put_together(words, at, channels, signed, digits, apart, numbers, where, block):
    """The numbers of rows block[0] .. block[1] and of block[2] columns of packed spikes, of as many planes as digits.

    words uint64 (rows, columns, 1, words), whose row and column at (2,) are the first; channels: a multiple of 16; numbers uint8,
    flat, of which `apart` lie from pixel to pixel; where: as of `count`. What fires in planes of both signs, as spikes that are
    given may, is added up.
    """
    for y in range(block[0], block[1]):
        target = where[0] + y * where[1]
        for x in range(block[2]):
            read = words[y + at[0], x + at[1], 0]
            for c in range(0, channels, NARROW):
                for i in range(NARROW):
                    n = OFFSET * signed
                    for half in range(1 + signed):
                        for digit in range(digits):
                            bit = (half * digits + digit) * channels + c + i
                            fired = np.int64(read[bit >> 6] >> np.uint64(bit & 63) & np.uint64(1))
                            n += (1 - 2 * half) * (fired << digit)
                    numbers[target + c + i] = n
            target += apart
