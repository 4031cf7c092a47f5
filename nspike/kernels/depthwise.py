"""Depthwise convolutions of spikes with stride 1, and the neurons that integrate them, 64 channels at a time.

A tap's word of spikes masks one row of weights; the rows of all taps are summed up as int16. So this is for layers of one
plane and one kernel whose Σ|w| is at most `LARGEST` in every channel; `nspike.kernels.masked` does all others.
"""

import sys

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, kernel
from nspike.kernels.firing import dynamics_of, fire_vector, python_step
from nspike.kernels.vector import NARROW, WIDE, bits_of_word, data, load, pack

LARGEST = 2**15 - 1
HALF = WIDE // 2

_I1, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 16, 32, 64))
_LANES = ir.VectorType(_I32, NARROW)
_SUMS = ir.VectorType(_I16, HALF)


@intrinsic
def _fire_word(
    typingctx,
    words,
    first,
    taps,
    across,
    weights,
    row,
    bias,
    v0,
    threshold,
    reset,
    at,
    columns,
    steps,
    dynamics,
    out,
    to,
):
    """See `fire_word` below."""
    intp = types.intp
    kinds = (words, intp, taps, intp, weights, intp, bias, v0, threshold, reset, intp, intp, intp, dynamics, out, intp)

    def codegen(context, builder, signature, args):
        _, first, taps, across, _, row, _, _, _, _, at, columns, steps, _, _, to = args
        parts, none = dynamics_of(builder, dynamics, args[13]), ir.Constant(_I64, 0)
        seen, rows = (data(context, builder, signature, args, i, o) for i, o in ((0, first), (4, row)))
        numbers = [data(context, builder, signature, args, i, o) for i, o in ((6, at), (7, at), (8, at), (9, at))]
        into = data(context, builder, signature, args, 14, to)
        offsets = [builder.extract_value(taps, i) for i in range(len(signature.args[2]))]
        lanes = [ir.Constant(_I64, lane) for lane in range(0, WIDE, NARROW)]
        biases, starts = ([load(builder, builder.gep(p, [n]), _LANES, 4) for n in lanes] for p in numbers[:2])
        v = [cgutils.alloca_once_value(builder, start) for start in starts]
        with cgutils.for_range(builder, steps) as loop:
            here = builder.gep(seen, [builder.mul(loop.index, across)])
            totals = [ir.Constant(_SUMS, None)] * 2
            for tap, offset in enumerate(offsets):
                words = builder.bitcast(builder.gep(here, [offset]), _I32.as_pointer())
                for half in range(2):
                    place = ir.Constant(_I64, half if sys.byteorder == "little" else 1 - half)
                    fired = builder.bitcast(builder.load(builder.gep(words, [place])), ir.VectorType(_I1, HALF))
                    at = ir.Constant(_I64, tap * WIDE + half * HALF)
                    more = builder.add(totals[half], load(builder, builder.gep(rows, [at]), _SUMS, 2))
                    totals[half] = builder.select(fired, more, totals[half])
            step = builder.mul(loop.index, columns)
            word = none
            for lane, bias, membrane in zip(lanes, biases, v, strict=True):
                first = lane.constant % HALF
                chosen = ir.Constant(_LANES, list(range(first, first + NARROW)))
                total = totals[lane.constant // HALF]
                part = builder.shuffle_vector(total, ir.Constant(_SUMS, ir.Undefined), chosen)
                current = builder.add(builder.sext(part, _LANES), bias)
                place = builder.add(step, lane)
                limits = (load(builder, builder.gep(p, [place]), _LANES, 4) for p in numbers[2:])
                (bits,), after = fire_vector(builder, parts, builder.load(membrane), current, *limits)
                builder.store(after, membrane)
                bits = builder.zext(builder.bitcast(bits, _I16), _I64)
                word = builder.or_(word, builder.shl(bits, lane))
            builder.store(word, builder.gep(into, [builder.mul(loop.index, across)]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _python_fire_word(
    words, first, taps, across, weights, row, bias, v0, threshold, reset, at, columns, steps, dynamics, out, to
):
    v, lanes = v0[at : at + WIDE].copy(), slice(at, at + WIDE)
    for t in range(steps):
        total = np.zeros(WIDE, np.int64)
        for tap, offset in enumerate(taps):
            fired = bits_of_word(words[first + t * across + offset])
            total += fired * weights[row + tap * WIDE : row + (tap + 1) * WIDE].astype(np.int64)
        numbers = slice(at + t * columns, at + t * columns + WIDE)
        v, fired = python_step(dynamics, v, total + bias[lanes], threshold[numbers], reset[numbers])
        out[to + t * across] = pack(fired[0])


fire_word = _python_fire_word if INTERPRETED else _fire_word
"""(words uint64, first, taps tuple of offsets, across, weights int16, row, bias int32, v0, threshold, reset, at, columns,
steps, dynamics, out uint64, to): all steps of 64 channels of a pixel; the spikes of step t that tap i reads are
words[first + t·across + taps[i]], and out[to + t·across] becomes theirs."""


@kernel
def convolve(spikes, places, offsets, inside, apart, weights, bias, block, out, border, v0, threshold, reset, dynamics):
    """Rows block[0] .. block[1] and columns block[2] .. block[3] of the output at all steps, fired.

    spikes uint64 (rows, columns, steps, words); places int64 (6,) as of `nspike.kernels.strided`; offsets int64 (taps, 2): rows
    and columns from an output to what each tap reads; inside, apart: tuples, where that is in flat spikes, and in (taps, steps,
    words); weights int16 (words·taps·64,): for each word of channels a row for each tap; bias, v0 int32 (words·64,), threshold,
    reset int32 (steps, words·64); out uint64 (rows, columns, steps, words), which has `border` rows and columns around;
    dynamics: see `nspike.kernels.firing`.
    """
    _, wide, steps, words = spikes.shape
    flat, flat_out, near = (
        spikes.reshape(-1),
        out.reshape(-1),
        np.zeros(offsets.shape[0] * spikes[0, 0].size, np.uint64),
    )
    flat_threshold, flat_reset = threshold.reshape(-1), reset.reshape(-1)
    count, each = offsets.shape[0], steps * words
    low_y, low_x = -offsets[:, 0].min(), -offsets[:, 1].min()
    high_y, high_x = places[4] - offsets[:, 0].max(), places[5] - offsets[:, 1].max()
    for y in range(block[0], block[1]):
        for x in range(block[2], block[3]):
            pixel = ((y + places[0]) * wide + x + places[1]) * each
            target = ((y + places[2] + border) * out.shape[1] + x + places[3] + border) * each
            within = low_y <= y < high_y and low_x <= x < high_x
            if not within:
                for i in range(count):
                    source_y, source_x = y + offsets[i, 0], x + offsets[i, 1]
                    found = 0 <= source_y < places[4] and 0 <= source_x < places[5]
                    source = pixel + (offsets[i, 0] * wide + offsets[i, 1]) * each
                    for j in range(each):
                        near[i * each + j] = flat[source + j] if found else np.uint64(0)
            for word in range(words):
                fire_word(
                    flat if within else near,
                    pixel + word if within else word,
                    inside if within else apart,
                    words,
                    weights,
                    word * count * WIDE,
                    bias,
                    v0,
                    flat_threshold,
                    flat_reset,
                    word * WIDE,
                    words * WIDE,
                    steps,
                    dynamics,
                    flat_out,
                    target + word,
                )
