"""Convolutions of spikes in small groups, depthwise ones among them: 64 channels at a time, spikes as masks of weights.

Groups read and give `each` channels, a divisor of 64. Of a tap's word of spikes, that of the j-th channel of every group, spread
over the group's lanes, masks one row of weights.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.firing import fire_pixel
from nspike.kernels.vector import TAIL, WIDE, bits_of_word, data, grouped, load, store

_I1, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 16, 32, 64))


@intrinsic
def _sum_words(typingctx, words, count, weights, offset, out, at):
    intp = types.intp
    signature = types.void(words, intp, weights, intp, out, intp)

    def codegen(context, builder, signature, args):
        _, count, _, offset, _, at = args
        taps = data(context, builder, signature, args, 0, ir.Constant(count.type, 0))
        rows = data(context, builder, signature, args, 2, offset)
        narrow = ir.VectorType(_I16, WIDE)
        none = ir.Constant(narrow, None)

        def term(k):
            fired = builder.bitcast(builder.load(builder.gep(taps, [k])), ir.VectorType(_I1, WIDE))
            row = builder.gep(rows, [builder.mul(k, ir.Constant(k.type, WIDE))])
            return builder.select(fired, load(builder, row, narrow, 2), none)

        total = grouped(builder, count, term, ir.VectorType(_I32, WIDE))
        store(builder, total, data(context, builder, signature, args, 4, at), 4)
        return context.get_dummy_value()

    return signature, codegen


def _python_sum_words(words, count, weights, offset, out, at):
    rows = weights[offset : offset + count * WIDE].reshape(count, WIDE).astype(np.int64)
    fired = np.stack([bits_of_word(word) for word in words[:count]]).astype(bool)
    out[at : at + WIDE] = np.where(fired, rows, 0).sum(axis=0)


sum_words = _python_sum_words if INTERPRETED else _sum_words
"""(words uint64, count, weights int16 flat, offset, out int32, at): out[at:at+64] = the sum of `count` rows of 64 from
weights[offset] on, each masked by its word; count is a multiple of TAIL."""


@kernel
def convolve(
    spikes,
    places,
    taps,
    each,
    starts,
    weights,
    steps,
    bias,
    block,
    out,
    v0=None,
    threshold=None,
    reset=None,
    dynamics=None,
    v_out=None,
):
    """As `nspike.kernels.strided.convolve`, in groups of `each` channels.

    starts int64 (planes,): the bit at which the spikes of each plane begin; weights int16 (phases, n): for each 64 channels, a
    row of 64 for each plane, tap and channel of a group (plane, dy, dx, j), and rows of zeros up to a multiple of TAIL.
    """
    size, stride, dilation, padding = taps
    total_steps, words = spikes.shape[2], spikes.shape[3]
    number = bias.shape[1]
    flat_spikes, flat_weights, flat_bias, flat_out = (
        spikes.reshape(-1),
        weights.reshape(-1),
        bias.reshape(-1),
        out.reshape(-1),
    )
    if v0 is not None:
        flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
        v = np.empty(number, np.int32)
        out_words = out.shape[3]
        border = (out.shape[1] - v_out.shape[1]) // 2
    parts = (number + WIDE - 1) // WIDE
    area = size * size
    count = (starts.shape[0] * area * each + TAIL - 1) // TAIL * TAIL
    lowest, spread = ~np.uint64(0), np.uint64(1)
    if each > 1:  # the first bit of each group, and as many ones as it has bits
        spread = (np.uint64(1) << np.uint64(each)) - np.uint64(1)
        lowest //= spread
    current = np.zeros(parts * WIDE, np.int32)
    seen = np.zeros(count, np.uint64)
    tap_word = np.empty(area, np.int64)
    late_phase = weights.shape[0] - 1
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            for tap in range(area):
                source_y = y * stride - padding + tap // size * dilation
                source_x = x * stride - padding + tap % size * dilation
                inside = 0 <= source_y < places[4] and 0 <= source_x < places[5]
                pixel = (source_y + places[0]) * spikes.shape[1] + source_x + places[1]
                tap_word[tap] = pixel * total_steps * words if inside else -1
            row, column = y + places[2], x + places[3]
            if v0 is not None:
                v[:] = v0
            for t in range(total_steps):
                late = t >= steps
                kernel_at = (late_phase if late else 0) * weights.shape[1]
                for part in range(parts):
                    i = 0
                    for plane in range(starts.shape[0]):
                        first = starts[plane] + part * WIDE
                        word, low = t * words + first // 64, np.uint64(first % 64)
                        more = low != 0 and first // 64 + 1 < words
                        for tap in range(area):
                            bits = np.uint64(0)
                            at = tap_word[tap]
                            if at >= 0:
                                bits = flat_spikes[at + word] >> low
                                if more:
                                    bits |= flat_spikes[at + word + 1] << (np.uint64(64) - low)
                            for j in range(each):
                                seen[i] = ((bits >> np.uint64(j)) & lowest) * spread
                                i += 1
                    sum_words(seen, count, flat_weights, kernel_at + part * count * WIDE, current, part * WIDE)
                biased = number if late else 0
                if v0 is not None:
                    target = (((row + border) * out.shape[1] + column + border) * total_steps + t) * out_words
                    fire_pixel(
                        current,
                        0,
                        flat_bias,
                        biased,
                        v,
                        flat_threshold,
                        flat_reset,
                        t * number,
                        number,
                        dynamics,
                        flat_out,
                        target,
                        out_words,
                    )
                else:
                    into, added = out[t, row, column], bias[1 if late else 0]
                    for i in range(into.size):
                        into[i] = current[i] + added[i]
            if v0 is not None:
                for i in range(v_out.shape[2]):
                    v_out[row, column, i] = v[i]
