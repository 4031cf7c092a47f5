"""Convolution of spikes that are the binary digits of a number n: n is put together again, and multiplied once.

The rows of a kernel for planes of gain 1, 2, 4, .. are multiples of one another (`nspike.integer.grid`), so that their sum over
planes is n·w: 0 <= n <= 127 or, with planes of negative gain, -63 <= n <= 63, and |w| <= 127. Such numbers are bytes, and
processors add four products of bytes in one instruction. The integers are those of a sum over spikes.

For a row of the output, the rows of the source that it reads are unpacked, one byte a channel; the k·C bytes that a row of the
kernel reads then lie side by side. Numbers with a sign are stored plus `OFFSET`, which a constant of each output channel takes
off again. A tile of a few pixels by `lanes` output channels is kept in vector registers.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, inline, kernel
from nspike.kernels.firing import fire_pixel
from nspike.kernels.vector import broadcast, data, load, store

OFFSET = 64
NEGATIVE = 128
QUAD = 4
"""How many products of bytes are added at once."""
NARROW = 16

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
_SUMS, _BYTES = ir.VectorType(_I32, NARROW), ir.VectorType(_I8, QUAD * NARROW)
# Of the processor that Numba compiles for, as "+avx2,-sse4a".
_told = codegen.get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
_features = {feature[1:]: feature[0] == "+" for feature in _told.split(",") if feature}
# Twenty-four vector registers of sums where there are 32, else eight.
WIDE, WIDE_PIXELS, NARROW_PIXELS = (2 * NARROW, 12, 16) if _features.get("avx512bw") else (NARROW, 4, 4)
SEGMENT = 96
"""How many pixels of a row are summed up before they are read: a multiple of both numbers of pixels."""


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


def _make_convolve(lanes, pixels):
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
                sources = [
                    data(context, builder, signature, args, 0, builder.add(row, builder.mul(stride, number(p))))
                    for p in range(pixels)
                ]
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


def _make_unpack(lanes):
    @intrinsic
    def unpack(typingctx, words, at, channels, up, down, out, to):
        intp = types.intp
        signature = types.void(words, intp, intp, up, down, out, intp)
        bits, numbers = ir.VectorType(_I1, lanes), ir.VectorType(_I8, lanes)

        def codegen(context, builder, signature, args):
            _, at, channels, _, _, _, to = args
            number = lambda n: ir.Constant(channels.type, n)  # noqa: E731
            read = data(context, builder, signature, args, 0, at)
            write = data(context, builder, signature, args, 5, to)

            def of_planes(first, planes, c):
                total = ir.Constant(numbers, None)
                for plane in range(planes):
                    place = builder.add(builder.mul(channels, number(first + plane)), c)
                    word = builder.load(builder.gep(read, [builder.lshr(place, number(6))]))
                    part = builder.lshr(word, builder.and_(place, number(63)))
                    fired = builder.bitcast(builder.trunc(part, ir.IntType(lanes)) if lanes < 64 else part, bits)
                    worth = ir.Constant(numbers, [1 << plane] * lanes)
                    total = builder.or_(total, builder.select(fired, worth, ir.Constant(numbers, None)))
                return total

            with cgutils.for_range(builder, builder.udiv(channels, number(lanes))) as loop:
                c = builder.mul(loop.index, number(lanes))
                n = of_planes(0, len(up), c)
                if len(down):
                    n = builder.add(n, ir.Constant(numbers, [OFFSET] * lanes))
                    n = builder.sub(n, of_planes(len(up), len(down), c))
                store(builder, n, builder.gep(write, [c]), 1)
            return context.get_dummy_value()

        return signature, codegen

    return unpack


def _make_fire(lanes):
    @intrinsic
    def fire(typingctx, sums, at, start, top, limits, worth, channels, up, down, out, to):
        intp = types.intp
        signature = types.void(sums, intp, start, top, limits, worth, intp, up, down, out, intp)
        numbers, planes = ir.VectorType(_I8, lanes), len(up) + len(down)
        several = max(1, 64 // lanes)  # planes in a word

        def codegen(context, builder, signature, args):
            _, at, _, _, _, _, channels, _, _, _, to = args
            number = lambda n: ir.Constant(channels.type, n)  # noqa: E731
            read = data(context, builder, signature, args, 0, at)
            starts, tops, least, taken = (data(context, builder, signature, args, i) for i in (2, 3, 4, 5))
            write = data(context, builder, signature, args, 9, to)
            none = ir.Constant(_SUMS, None)

            def sixteen(c):
                """What 16 neurons have, and the digits of its magnitude."""
                place = lambda p, n=None: builder.gep(p, [c if n is None else builder.add(c, n)])  # noqa: E731
                u = builder.add(load(builder, place(read), _SUMS, 4), load(builder, place(starts), _SUMS, 4))
                left, n = u, none
                if len(down):
                    below = builder.icmp_signed("<", u, none)
                    left = builder.select(below, builder.sub(none, u), u)
                most = load(builder, place(tops), _SUMS, 4)
                left = builder.select(builder.icmp_signed("<", left, most), left, most)
                for plane in reversed(range(len(up))):
                    at_plane = builder.mul(channels, number(plane))
                    fires = builder.icmp_signed(">=", left, load(builder, place(least, at_plane), _SUMS, 4))
                    less = builder.sub(left, load(builder, place(taken, at_plane), _SUMS, 4))
                    left = builder.select(fires, less, left)
                    n = builder.select(fires, builder.or_(n, ir.Constant(_SUMS, [1 << plane] * NARROW)), n)
                if len(down):  # bit 7 says that it is negative
                    n = builder.select(below, builder.or_(n, ir.Constant(_SUMS, [NEGATIVE] * NARROW)), n)
                return n

            def joined(parts):
                while len(parts) > 1:
                    every = list(range(2 * parts[0].type.count))
                    mask = ir.Constant(ir.VectorType(_I32, len(every)), every)
                    parts = [builder.shuffle_vector(a, b, mask) for a, b in zip(parts[::2], parts[1::2], strict=True)]
                return parts[0]

            def words_of(block):
                c = builder.mul(block, number(lanes))
                bytes_ = ir.VectorType(_I8, NARROW)
                parts = [builder.trunc(sixteen(builder.add(c, number(i))), bytes_) for i in range(0, lanes, NARROW)]
                n, zero = joined(parts), ir.Constant(numbers, None)
                if len(down):
                    below = builder.icmp_signed("<", n, zero)
                    up_n, down_n = builder.select(below, zero, n), builder.select(below, n, zero)
                    both = [(up_n, i) for i in range(len(up))] + [(down_n, i) for i in range(len(down))]
                else:
                    both = [(n, i) for i in range(len(up))]
                bits = []
                for value, plane in both:
                    digit = builder.and_(value, ir.Constant(numbers, [1 << plane] * lanes))
                    fired = builder.bitcast(builder.icmp_unsigned("!=", digit, zero), ir.IntType(lanes))
                    bits.append(fired if lanes == 64 else builder.zext(fired, _I64))
                return bits

            if lanes < 64:  # of all channels
                bits = words_of(number(0))
                for first in range(0, planes, several):
                    word = bits[first]
                    for i in range(1, min(several, planes - first)):
                        word = builder.or_(word, builder.shl(bits[first + i], ir.Constant(_I64, lanes * i)))
                    builder.store(word, builder.gep(write, [number(first // several)]))
                return context.get_dummy_value()
            blocks = builder.udiv(channels, number(lanes))
            with cgutils.for_range(builder, blocks) as loop:
                for plane, word in enumerate(words_of(loop.index)):
                    place = builder.add(builder.mul(blocks, number(plane)), loop.index)
                    builder.store(word, builder.gep(write, [place]))
            return context.get_dummy_value()

        return signature, codegen

    return fire


# ----- The same in plain Python, for runs without the compiler -----


def _python_convolve(lanes, pixels):
    def convolve(x, rows, at, stride, weights, first, length, constant, group, sums, out, step):
        kernel = weights[first : first + len(rows) * length * lanes * QUAD].reshape(-1, lanes, QUAD).astype(np.int32)
        for p in range(pixels):
            starts = rows[:, None] + at + p * stride
            quads = x[starts + np.arange(QUAD * length)].reshape(-1, QUAD).astype(np.int32)
            target = out + p * step
            sums[target : target + lanes] = constant[group : group + lanes] + np.einsum("qj,qlj->l", quads, kernel)

    return convolve


def _python_unpack(words, at, channels, up, down, out, to):
    count = channels * (len(up) + len(down))
    read = words[at : at + -(-count // 64)].astype("<u8").view(np.uint8)
    bits = np.unpackbits(read, bitorder="little", count=count).reshape(-1, channels)
    worth = [1 << i for i in range(len(up))] + [-(1 << i) for i in range(len(down))]
    n = np.tensordot(np.array(worth), bits.astype(np.int64), 1)
    out[to : to + channels] = n + (OFFSET if len(down) else 0)


def _python_fire(sums, at, start, top, limits, worth, channels, up, down, out, to):
    u = sums[at : at + channels].astype(np.int64) + start
    left, n = np.minimum(np.abs(u) if len(down) else u, top), np.zeros(channels, np.int64)
    for plane in reversed(range(len(up))):
        fires = left >= limits[plane * channels : (plane + 1) * channels]
        left = np.where(fires, left - worth[plane * channels : (plane + 1) * channels], left)
        n += fires.astype(np.int64) << plane
    each = [n * (u >= 0)] * len(up) + [n * (u < 0)] * len(down) if len(down) else [n] * len(up)
    digits = [*range(len(up)), *range(len(down))]
    bits = np.concatenate([value >> i & 1 for value, i in zip(each, digits, strict=True)]).astype(np.uint8)
    words = -(-len(bits) // 64)
    packed = np.packbits(np.pad(bits, (0, 64 * words - len(bits))), bitorder="little")
    out[to : to + words] = packed.view("<u8")


# ----- What the kernels call -----

_make = _python_convolve if INTERPRETED else _make_convolve
convolve_wide = _make(WIDE, WIDE_PIXELS)
"""(x uint8, rows int64 (k,), at, stride, weights int8, first, length, constant int32, group, sums int32, out, step): for each
pixel p of a tile, sums[out + p·step :][:lanes] = constant[group:][:lanes] + Σ over rows dy and q < length of
Σ_j x[rows[dy] + at + p·stride + 4q + j] · weights[first + 4·lanes·(dy·length + q) + 4·lane + j]."""
convolve_narrow = _make(NARROW, NARROW_PIXELS)
unpack_16, unpack_32, unpack_64 = (_python_unpack if INTERPRETED else _make_unpack(lanes) for lanes in (16, 32, 64))
"""(words uint64, at, channels, up, down, out uint8, to): out[to:to+channels] = the numbers of a pixel whose words begin at
words[at], from len(up) planes of gain 1, 2, .. and len(down) of gain -1, -2, .., plus `OFFSET` where there are these.
`channels` is a multiple of 16, 32 or 64."""
fire_16, fire_32, fire_64 = (_python_fire if INTERPRETED else _make_fire(lanes) for lanes in (16, 32, 64))
"""(sums int32, at, start int32, top int32, limits int32, worth int32, channels, up, down, out uint64, to): of u = sums[at:] +
start, no more than top, the digit worth 2^k is 1 where u >= limits[k·channels:], and worth[k·channels:] is then taken from u,
the highest first; with planes of negative gain too, of -u where that is positive. The words from out[to] on become the digits,
plane by plane. `channels` is 16, 32 or a multiple of 64."""


@inline
def _fire(sums, at, start, top, limits, worth, channels, signed, up, out, to):
    if signed:
        if channels == 16:
            fire_16(sums, at, start, top, limits, worth, channels, up, up, out, to)
        elif channels == 32:
            fire_32(sums, at, start, top, limits, worth, channels, up, up, out, to)
        else:
            fire_64(sums, at, start, top, limits, worth, channels, up, up, out, to)
    elif channels == 16:
        fire_16(sums, at, start, top, limits, worth, channels, up, (), out, to)
    elif channels == 32:
        fire_32(sums, at, start, top, limits, worth, channels, up, (), out, to)
    else:
        fire_64(sums, at, start, top, limits, worth, channels, up, (), out, to)


@inline
def _unpack(words, at, channels, signed, up, out, to):
    if signed:
        if channels % 64 == 0:
            unpack_64(words, at, channels, up, up, out, to)
        elif channels % 32 == 0:
            unpack_32(words, at, channels, up, up, out, to)
        else:
            unpack_16(words, at, channels, up, up, out, to)
    elif channels % 64 == 0:
        unpack_64(words, at, channels, up, (), out, to)
    elif channels % 32 == 0:
        unpack_32(words, at, channels, up, (), out, to)
    else:
        unpack_16(words, at, channels, up, (), out, to)


@kernel
def convolve(
    spikes,
    places,
    taps,
    sources,
    up,
    weights,
    lanes,
    constant,
    steps,
    bias,
    block,
    out,
    v0=None,
    threshold=None,
    reset=None,
    dynamics=None,
    v_out=None,
    form=None,
):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output, as currents or fired; a single step.

    spikes uint64 (rows, columns, 1, words); sources int64 (sources, 3): the first word of each, its channels, a multiple of 16,
    and 1 where it has planes of negative gain too; up: a tuple as long as there are planes of positive gain; weights int8
    (blocks·k·k·C·lanes,): for each block of `lanes` output channels, row of the kernel, and four bytes of that row, those of each
    lane; constant int32 (blocks·lanes,): what is added to every sum, bias included; steps: T, which is 1. Dilation is 1, and
    there is one group. form: of neurons that fire digits, see `fire`, in place of v0 to dynamics. All else as of
    `nspike.kernels.strided.convolve`.
    """
    size, stride, _, padding = taps
    words = spikes.shape[3]
    number, across = bias.shape[1], constant.size
    flat_spikes, flat_bias, flat_out = spikes.reshape(-1), bias.reshape(-1), out.reshape(-1)
    out_words = out.shape[3]
    if v0 is not None:
        flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
        v = np.empty(number, np.int32)
    border = 0
    if v_out is not None:
        border = (out.shape[1] - v_out.shape[1]) // 2
    channels = 0
    for i in range(sources.shape[0]):
        channels += sources[i, 1]
    nothing = np.zeros(channels, np.uint8)
    first = 0
    for i in range(sources.shape[0]):
        nothing[first : first + sources[i, 1]] = OFFSET * sources[i, 2]
        first += sources[i, 1]
    width = block[3] - block[2]
    reach = (width - 1) * stride + size
    row_bytes = (reach + SEGMENT * stride) * channels  # the last tile of pixels reads more, which is not used
    rows = np.zeros(size * row_bytes, np.uint8)
    quads, apart = size * channels // QUAD, stride * channels
    pixels = WIDE_PIXELS if lanes > NARROW or WIDE == NARROW else NARROW_PIXELS
    sums = np.empty(SEGMENT * across, np.int32)
    held = np.empty(size, np.int64)
    left = block[2] * stride - padding
    following = block[0] * stride - padding  # the next row of the source
    for y in range(block[0], block[1]):
        top = y * stride - padding
        following = max(following, top)
        while following < top + size:
            base = following % size * row_bytes
            row = ((following + places[0]) * spikes.shape[1] + places[1]) * words
            inside = 0 <= following < places[4]
            for c in range(reach):
                x = left + c
                to = base + c * channels
                if not (inside and 0 <= x < places[5]):
                    rows[to : to + channels] = nothing
                    continue
                for i in range(sources.shape[0]):
                    _unpack(flat_spikes, row + x * words + sources[i, 0], sources[i, 1], sources[i, 2], up, rows, to)
                    to += sources[i, 1]
            following += 1
        for begin in range(0, width, SEGMENT):
            end = min(begin + SEGMENT, width)
            for dy in range(size):
                held[dy] = (top + dy) % size * row_bytes + begin * apart
            for group in range(0, across, lanes):
                kernel_at = group * size * quads * QUAD
                for p in range(0, end - begin, pixels):
                    at, target = p * apart, p * across + group
                    if lanes == NARROW:
                        convolve_narrow(
                            rows, held, at, apart, weights, kernel_at, quads, constant, group, sums, target, across
                        )
                    else:
                        convolve_wide(
                            rows, held, at, apart, weights, kernel_at, quads, constant, group, sums, target, across
                        )
            x = block[2] + begin
            place = ((y + places[2] + border) * out.shape[1] + x + places[3] + border) * out_words
            if form is not None:
                start, least, limits, worth, signed, own = form
                for p in range(end - begin):
                    _fire(sums, p * across, start, least, limits, worth, number, signed, own, flat_out, place)
                    place += out_words
            elif v0 is not None:
                for p in range(end - begin):
                    v[:] = v0
                    fire_pixel(
                        sums,
                        p * across,
                        flat_bias,
                        0,
                        v,
                        flat_threshold,
                        flat_reset,
                        0,
                        number,
                        dynamics,
                        flat_out,
                        place,
                        out_words,
                    )
                    place += out_words
                    for i in range(v_out.shape[2]):
                        v_out[y + places[2], x + p + places[3], i] = v[i]
            else:
                place = ((y + places[2]) * out.shape[2] + x + places[3]) * number
                if number == across:
                    count = (end - begin) * number
                    flat_out[place : place + count] = sums[:count]
                else:
                    for p in range(end - begin):
                        flat_out[place : place + number] = sums[p * across : p * across + number]
                        place += number


@kernel
def fire(currents, at, form, out, out_at, block):
    """Fire rows block[0] .. block[1] of the output from known currents, a single step.

    currents int32 (1, rows, columns, C), out, out_at and block as of `nspike.kernels.currents.fire`. C is 16, 32 or a multiple
    of 64. form: (start int32 (C,), what a membrane begins with; the most that it counts, int32 (C,); limits int32 (K·C,): from
    where on digit k is 1, and worth int32 (K·C,): what it is worth, of the lowest digit first; 1 where there are planes of
    negative gain; a tuple of K numbers).
    """
    _, _, width, channels = currents.shape
    start, least, limits, worth, signed, own = form
    flat_currents, flat_out = currents.reshape(-1), out.reshape(-1)
    for y in range(block[0], block[1]):
        target = ((y + out_at[0]) * out.shape[1] + block[2] + out_at[1]) * out.shape[3]
        source = ((y + at[0]) * width + block[2] + at[1]) * channels
        for _ in range(block[2], block[3]):
            _fire(flat_currents, source, start, least, limits, worth, channels, signed, own, flat_out, target)
            source += channels
            target += out.shape[3]
