"""Convolution of spikes that are the binary digits of a number n: spikes are held as n, and n is multiplied once.

The rows of a kernel for planes of gain 1, 2, 4, .. are multiples of one another (`nspike.integer.grid`), so that their sum over
planes is n·w: 0 <= n <= 127 or, with planes of negative gain, -63 <= n <= 63, and |w| <= 127. Such numbers are bytes, and
processors add four products of bytes in one instruction. The integers are those of a sum over spikes.

Numbers lie one byte a channel, those with a sign plus `OFFSET`, which a constant of each output channel takes off again. The k·C
bytes that a row of the kernel reads lie side by side. A tile of a few pixels by `lanes` output channels is kept in vector
registers; other currents are then added to it, the sum is kept where others read it, and neurons fire their numbers from it.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, inline, kernel
from nspike.kernels.vector import broadcast, data, load, store

OFFSET = 64
QUAD = 4
"""How many products of bytes are added at once."""
NARROW = 16
BASE, MORE, KEPT, FIRED = 1, 2, 4, 8

_I1, _I8, _I16, _I32 = (ir.IntType(n) for n in (1, 8, 16, 32))
_SUMS, _BYTES = ir.VectorType(_I32, NARROW), ir.VectorType(_I8, QUAD * NARROW)
# Of the processor that Numba compiles for, as "+avx2,-sse4a".
_told = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
_features = {feature[1:]: feature[0] == "+" for feature in _told.split(",") if feature}
# Twenty-four vector registers of sums where there are 32, else eight.
WIDE, WIDE_PIXELS, NARROW_PIXELS = (2 * NARROW, 12, 16) if _features.get("avx512bw") else (NARROW, 4, 4)
SEGMENT = 96
"""How many pixels of a row are summed up before they are read: a multiple of both numbers of pixels."""
MOST_STRIDE = 4
"""Tiles read up to the pixels of a whole one at this stride behind a row: see `nspike.engine.digit_spikes`."""


def _part(builder, vector, places):
    return builder.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(_I32, len(places)), list(places))
    )


def _function(builder, name, result, *arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


def _add_products(builder, total, numbers, weights):
    """total[i] + Σ of the four products numbers[4i + j]·weights[4i + j]: int32, without sign, with sign.

    On x86 two products are added as int16: 2·127·127 < 2^15.
    """
    if _features.get("avx512vnni"):
        add = _function(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, _SUMS, _SUMS, _SUMS)
        return builder.call(add, [total, builder.bitcast(numbers, _SUMS), builder.bitcast(weights, _SUMS)])
    for feature, name, bits in (("avx512bw", "avx512.pmaddubs.w.512", 512), ("avx2", "avx2.pmadd.ub.sw", 256)):
        if _features.get(feature):
            bytes_, words, sums = (ir.VectorType(kind, bits // kind.width) for kind in (_I8, _I16, _I32))
            pairs = _function(builder, f"llvm.x86.{name}", words, bytes_, bytes_)
            quads = _function(
                builder, f"llvm.x86.{'avx512.pmaddw.d.512' if bits == 512 else 'avx2.pmadd.wd'}", sums, words, words
            )
            parts = []
            for first in range(0, _BYTES.count, bytes_.count):
                places = range(first, first + bytes_.count)
                two = builder.call(pairs, [_part(builder, each, places) for each in (numbers, weights)])
                parts.append(builder.call(quads, [two, ir.Constant(words, [1] * words.count)]))
            every = ir.Constant(ir.VectorType(_I32, NARROW), list(range(NARROW)))
            joined = parts[0] if len(parts) == 1 else builder.shuffle_vector(*parts, every)
            return builder.add(total, joined)
    for j in range(QUAD):
        places = range(j, _BYTES.count, QUAD)
        one, other = _part(builder, numbers, places), _part(builder, weights, places)
        total = builder.add(total, builder.mul(builder.zext(one, _SUMS), builder.sext(other, _SUMS)))
    return total


def _make_convolve(lanes, pixels, apart=0):
    """Of pixels that lie `apart` bytes apart, or as many as the argument says."""

    @intrinsic
    def convolve(typingctx, x, rows, at, stride, weights, first, length, constant, group, sums, out, step):
        intp = types.intp
        kinds = (x, rows, intp, intp, weights, intp, intp, constant, intp, sums, intp, intp)

        def codegen(context, builder, signature, args):
            _, rows, at, stride, _, first, length, _, group, _, out, step = args
            number = lambda n: ir.Constant(length.type, n)  # noqa: E731
            parts = [number(lane) for lane in range(0, lanes, NARROW)]
            size = context.make_array(signature.args[1])(context, builder, rows).nitems
            starts = data(context, builder, signature, args, 1)
            kernel_at = data(context, builder, signature, args, 4, first)
            added = data(context, builder, signature, args, 7, group)
            begin = [load(builder, builder.gep(added, [p]), _SUMS, 4) for p in parts]
            totals = [[cgutils.alloca_once_value(builder, each) for each in begin] for _ in range(pixels)]
            for own in totals:  # where this is in a loop, the values above are stored but once
                for total, each in zip(own, begin, strict=True):
                    builder.store(each, total)
            with cgutils.for_range(builder, size) as dy:
                row = builder.add(builder.load(builder.gep(starts, [dy.index])), at)
                aside = [number(p * apart) if apart else builder.mul(stride, number(p)) for p in range(pixels)]
                source = data(context, builder, signature, args, 0, row)
                sources = [builder.gep(source, [each]) for each in aside]
                quads = builder.gep(kernel_at, [builder.mul(builder.mul(dy.index, length), number(QUAD * lanes))])
                with cgutils.for_range(builder, length) as loop:
                    own = builder.gep(quads, [builder.mul(loop.index, number(QUAD * lanes))])
                    each = [load(builder, builder.gep(own, [builder.mul(p, number(QUAD))]), _BYTES, 1) for p in parts]
                    quad = builder.mul(loop.index, number(QUAD))
                    for source, of_pixel in zip(sources, totals, strict=True):
                        word = builder.load(builder.bitcast(builder.gep(source, [quad]), _I32.as_pointer()))
                        word.align = 1
                        spread = builder.bitcast(broadcast(builder, word, _SUMS), _BYTES)
                        for total, weighed in zip(of_pixel, each, strict=True):
                            builder.store(_add_products(builder, builder.load(total), spread, weighed), total)
            for p, own in enumerate(totals):
                target = data(context, builder, signature, args, 9, builder.add(out, builder.mul(step, number(p))))
                for part, total in zip(parts, own, strict=True):
                    store(builder, builder.load(total), builder.gep(target, [part]), 4)
            return context.get_dummy_value()

        return types.void(*kinds), codegen

    return convolve


@intrinsic
def _vector_finish(
    typingctx, sums, at, does, base, base_at, more, more_at, kept, kept_at, form, fired, fired_at, channels
):
    intp = types.intp
    signature = types.void(sums, intp, intp, base, intp, more, intp, kept, intp, form, fired, intp, intp)
    doubles, bytes_ = ir.VectorType(ir.DoubleType(), NARROW), ir.VectorType(_I8, NARROW)

    def codegen(context, builder, signature, args):
        _, _, does, _, _, _, _, _, _, form, _, fired_at, channels = args
        number = lambda n: ir.Constant(channels.type, n)  # noqa: E731
        kinds, none = signature.args[9], ir.Constant(_SUMS, None)
        start, top, shift, inverse = (
            context.make_array(kinds[i])(context, builder, builder.extract_value(form, i)).data for i in range(4)
        )
        signed = builder.icmp_signed("!=", builder.extract_value(form, 4), number(0))
        read, added, more_added, kept = (data(context, builder, signature, args, i, args[i + 1]) for i in (0, 3, 5, 7))
        write = data(context, builder, signature, args, 10, fired_at)
        asked = {
            bit: builder.icmp_signed("!=", builder.and_(does, number(bit)), number(0))
            for bit in (BASE, MORE, KEPT, FIRED)
        }
        total = cgutils.alloca_once(builder, _SUMS)
        with cgutils.for_range(builder, builder.udiv(channels, number(NARROW))) as loop:
            c = builder.mul(loop.index, number(NARROW))
            of = lambda pointer, kind=_SUMS: load(builder, builder.gep(pointer, [c]), kind, 4)  # noqa: E731
            builder.store(of(read), total)
            for bit, others in ((BASE, added), (MORE, more_added)):
                with builder.if_then(asked[bit]):
                    builder.store(builder.add(builder.load(total), of(others)), total)
            with builder.if_then(asked[KEPT]):
                store(builder, builder.load(total), builder.gep(kept, [c]), 4)
            with builder.if_then(asked[FIRED]):
                u, most = builder.add(builder.load(total), of(start)), of(top)
                negative = builder.icmp_signed("<", u, none)
                reverse = builder.select(signed, builder.sub(none, u), none)
                left = builder.select(negative, reverse, u)
                left = builder.select(builder.icmp_signed("<", left, most), left, most)
                exact = builder.fsub(builder.sitofp(left, doubles), of(shift, doubles))
                n = builder.fptosi(builder.fmul(exact, of(inverse, doubles)), _SUMS)
                n = builder.select(builder.icmp_signed("<", n, none), none, n)
                offset = builder.select(signed, ir.Constant(_SUMS, [OFFSET] * NARROW), none)
                n = builder.select(negative, builder.sub(offset, n), builder.add(offset, n))
                store(builder, builder.trunc(n, bytes_), builder.gep(write, [c]), 1)
        return context.get_dummy_value()

    return signature, codegen


# ----- The same in plain Python, for runs without the compiler -----


def _python_convolve(lanes, pixels, apart=0):
    def convolve(x, rows, at, stride, weights, first, length, constant, group, sums, out, step):
        kernel = weights[first : first + len(rows) * length * lanes * QUAD].reshape(-1, lanes, QUAD).astype(np.int32)
        for p in range(pixels):
            starts = rows[:, None] + at + p * stride
            quads = x[starts + np.arange(QUAD * length)].reshape(-1, QUAD).astype(np.int32)
            target = out + p * step
            sums[target : target + lanes] = constant[group : group + lanes] + np.einsum("qj,qlj->l", quads, kernel)

    return convolve


def _python_finish(sums, at, does, base, base_at, more, more_at, kept, kept_at, form, fired, fired_at, channels):
    start, top, shift, inverse, signed = form
    u = sums[at : at + channels].astype(np.int64)
    if does & BASE:
        u += base[base_at : base_at + channels]
    if does & MORE:
        u += more[more_at : more_at + channels]
    if does & KEPT:
        kept[kept_at : kept_at + channels] = u
    if does & FIRED:
        u += start
        left = np.minimum(np.abs(u) if signed else np.maximum(u, 0), top)
        n = np.maximum(np.int64((left - shift) * inverse), 0)
        fired[fired_at : fired_at + channels] = OFFSET + np.where(u < 0, -n, n) if signed else n


# ----- What the kernels call -----

_make = _python_convolve if INTERPRETED else _make_convolve
convolve_wide, convolve_narrow = _make(WIDE, WIDE_PIXELS), _make(NARROW, NARROW_PIXELS)
"""(x uint8, rows int64 (k,), at, stride, weights int8, first, length, constant int32, group, sums int32, out, step): for each
pixel p of a tile, sums[out + p·step :][:lanes] = constant[group:][:lanes] + Σ over rows dy and q < length of
Σ_j x[rows[dy] + at + p·stride + 4q + j] · weights[first + 4·lanes·(dy·length + q) + 4·lane + j]."""
# Of strides that are known beforehand, as those of 32 to 128 channels: pixels need no address of their own.
wide_32, wide_64, wide_128 = (_make(WIDE, WIDE_PIXELS, apart) for apart in (32, 64, 128))
narrow_16, narrow_64 = (_make(NARROW, NARROW_PIXELS, apart) for apart in (16, 64))
finish = _python_finish if INTERPRETED else _vector_finish
"""(sums int32, at, does, base int32, base_at, more int32, more_at, kept int32, kept_at, form, fired uint8, fired_at, channels):
the current of a pixel is sums[at:], plus base[base_at:] and more[more_at:] where `does` has the bits BASE and MORE. It is kept at
kept[kept_at:] (KEPT), and neurons fire their numbers to fired[fired_at:] from it (FIRED); form: see `fire`. `channels` is a
multiple of 16."""


@inline
def _tile(x, rows, at, apart, weights, first, length, lanes, constant, group, sums, out, step):
    if lanes == NARROW:
        if apart == 16:
            narrow_16(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
        elif apart == 64:
            narrow_64(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
        else:
            convolve_narrow(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
    elif apart == 32:
        wide_32(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
    elif apart == 64:
        wide_64(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
    elif apart == 128:
        wide_128(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)
    else:
        convolve_wide(x, rows, at, apart, weights, first, length, constant, group, sums, out, step)


@kernel
def convolve(numbers, where, taps, weights, lanes, constant, base, more, current, form, fired, block):
    """Rows block[0] .. block[1] of the output, of block[2] columns: as a current, fired, or both; a single step.

    numbers uint8, flat; taps (5,): size and stride, the channels that are read, and by what factor the current is shuffled, 1
    if it is not, to how many channels; weights int8 (blocks·k·k·C·lanes,): for each block of `lanes` output channels, row of the
    kernel, and four bytes of that row, those of each lane; constant int32 (blocks·lanes,): what is added to every sum, bias
    included. Output channels are ordered (row within a factor × factor square, column, channel).

    base, more int32, flat: currents that are added, empty where there are none; current int32, flat: where the sum is kept, or
    empty; fired uint8, flat: the numbers of neurons that fire from it, of a multiple of 16 channels, or empty; form: see `fire`.
    where int64 (5, 2): of numbers, base, more, current and fired, the index that belongs to row and column 0 of the output, and
    how many lie from row to row. Behind a row of numbers, the last tile reads
    pixels that are not used.
    """
    size, stride, channels, factor, each = taps
    across, apart = constant.size, stride * channels
    quads = size * channels // QUAD
    pixels = WIDE_PIXELS if lanes > NARROW or WIDE == NARROW else NARROW_PIXELS
    does = BASE * (base.size > 0) + MORE * (more.size > 0) + KEPT * (current.size > 0) + FIRED * (fired.size > 0)
    sums, held = np.empty(SEGMENT * across, np.int32), np.empty(size, np.int64)
    for y in range(block[0], block[1]):
        for begin in range(0, block[2], SEGMENT):
            end = min(begin + SEGMENT, block[2])
            for dy in range(size):
                held[dy] = where[0, 0] + (y * stride + dy) * where[0, 1] + begin * apart
            for group in range(0, across, lanes):
                first = group * size * quads * QUAD
                for p in range(0, end - begin, pixels):
                    at, to = p * apart, p * across + group
                    _tile(numbers, held, at, apart, weights, first, quads, lanes, constant, group, sums, to, across)
            for dy in range(factor):
                row = y * factor + dy
                added, more_added = where[1, 0] + row * where[1, 1], where[2, 0] + row * where[2, 1]
                kept, spiking = where[3, 0] + row * where[3, 1], where[4, 0] + row * where[4, 1]
                pixel = begin * factor * each
                for p in range(end - begin):
                    for dx in range(factor):
                        of = p * across + (dy * factor + dx) * each
                        if each % NARROW:
                            for c in range(each):
                                current[kept + pixel + c] = sums[of + c]
                        else:
                            finish(
                                sums,
                                of,
                                does,
                                base,
                                added + pixel,
                                more,
                                more_added + pixel,
                                current,
                                kept + pixel,
                                form,
                                fired,
                                spiking + pixel,
                                each,
                            )
                        pixel += each


@kernel
def fire(currents, where, channels, form, fired, block):
    """Fire rows block[0] .. block[1] of the output, of block[2] columns, from known currents; a single step.

    currents int32 and fired uint8, flat; where int64 (2, 2): of both, the index that belongs to row and column 0 of the output,
    and how many lie from row to row; `channels`, a multiple of 16, lie side by side.

    Of a membrane's magnitude u, or of u itself without a sign, n = floor((min(u, top) - θ)/r) + 1 where that is positive, θ being
    the threshold and r what each reset takes. As ((min(u, top) - (θ - r - 1/2)) · (1/r)) it is exact in float64: the difference
    is, and the quotient lies at least 1/2r away from a whole number, far more than rounding moves it.

    form: (start int32 (C,), what a membrane begins with; top int32 (C,), from where on n is the largest; θ - r - 1/2 and 1/r,
    float64 (C,), both 0 for neurons that never fire; 1 where there are planes of negative gain, else 0).
    """
    nothing = currents[:0]
    for y in range(block[0], block[1]):
        source, target = where[0, 0] + y * where[0, 1], where[1, 0] + y * where[1, 1]
        for _ in range(block[2]):
            finish(currents, source, FIRED, nothing, 0, nothing, 0, nothing, 0, form, fired, target, channels)
            source += channels
            target += channels
