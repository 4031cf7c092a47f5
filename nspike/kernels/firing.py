"""One step of declared neurons as vector operations, each with a plain-Python body: leak, integrate, compare, reset.

`dynamics` says what the neurons do beside their thresholds, by its type too, so that nothing is computed that is not needed:
None for one plane, soft reset and no leak, else a tuple that `form` makes. The equations are those of
`nspike.contracts.neuron`. Parts of 16 neurons are done at a time, as many as the registers of every processor hold
together with their numbers.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, inline
from nspike.kernels.vector import NARROW, WIDE, broadcast, data, load, pack, python_sum_rows, store, sum_events

_I1, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 16, 32, 64))
_LANES = ir.VectorType(_I32, NARROW)
BITS = 16
ONE = 1 << BITS


Factor = tuple[int, ...] | None
"""None for 1, (m,), or, for m a power of two, (m, n, half): (x + half) >> n is then the same."""
Form = tuple[tuple[Factor, Factor] | None, bool | None, tuple[int, ...], tuple[int, ...], int, int] | None
"""(factors of the membrane and of the input or none, True for a hard reset and else None, a 1 for each plane of positive
spikes, and of negative ones, the most spikes at a step, C), or None: see `form`."""


def form(
    channels: int,
    keep: int = ONE,
    input_factor: int = ONE,
    to_zero: bool = False,
    up: int = 1,
    down: int = 0,
    most: int = 1,
) -> Form:
    """The `dynamics` of C = `channels` neurons a pixel, from whole numbers: see `nspike.integer.dynamics.Dynamics`."""
    if (keep, input_factor, to_zero, up, down) == (ONE, ONE, False, 1, 0):
        return None
    leak = (_factor(keep), _factor(input_factor)) if (keep, input_factor) != (ONE, ONE) else None
    return leak, to_zero or None, (1,) * up, (1,) * down, most, channels


def _factor(m: int) -> Factor:
    if m == ONE:
        return None
    n = BITS - m.bit_length() + 1
    return (m, n, 1 << n - 1) if m and m == ONE >> n else (m,)


@inline
def _times(x, factor):
    if factor is None:
        return np.int64(x)
    return (np.int64(x) * factor[0] + ONE // 2) >> BITS


@inline
def _leaked(v, current, leak):
    if leak is None:
        return np.int64(v) + current
    return _times(v, leak[0]) + _times(current, leak[1])


@inline
def potential(v, current, dynamics):
    """u of one neuron, before it fires."""
    if dynamics is None:
        return np.int64(v) + current
    return _leaked(v, current, dynamics[0])


class _Dynamics(NamedTuple):
    """The same in LLVM: the factors of the membrane and of the input, Γ - 1, as vectors; C."""

    leak: tuple[tuple[ir.Value, ...] | None, ...] | None
    hard: bool
    up: int
    down: int
    most: ir.Value | None
    channels: ir.Value | None

    @property
    def planes(self):
        return self.up + self.down


def dynamics_of(builder, kind, value):
    """The dynamics of an argument."""
    if isinstance(kind, types.NoneType | types.Omitted):
        return _Dynamics(None, False, 1, 0, None, None)
    leak, _, _, _, most, channels = (builder.extract_value(value, i) for i in range(6))
    vector = lambda number: broadcast(builder, builder.trunc(number, _I32), _LANES)  # noqa: E731

    def factor(i):
        if isinstance(kind[0][i], types.NoneType):
            return None
        numbers = builder.extract_value(leak, i)
        return tuple(vector(builder.extract_value(numbers, j)) for j in range(len(kind[0][i])))

    leaks = None if isinstance(kind[0], types.NoneType) else (factor(0), factor(1))
    most = vector(builder.sub(most, ir.Constant(_I64, 1)))
    hard = not isinstance(kind[1], types.NoneType)
    return _Dynamics(leaks, hard, len(kind[2]), len(kind[3]), most, channels)


def _number(value):
    return ir.Constant(_LANES, [value] * NARROW)


def _scaled(builder, x, factor):
    """(x·m + 2^15) >> 16 without 64 bits: the halves of x apart, so that nothing overflows for m up to 2^16."""
    if factor is None:
        return x
    if len(factor) == 3:
        _, n, half = factor
        return builder.ashr(builder.add(x, half), n)
    (m,) = factor
    high = builder.mul(builder.ashr(x, _number(BITS)), m)
    low = builder.mul(builder.and_(x, _number(ONE - 1)), m)
    return builder.add(high, builder.lshr(builder.add(low, _number(ONE // 2)), _number(BITS)))


def _spikes(builder, u, threshold, reset, planes, most):
    """Which of the planes 1, 2, 4, ... fire, lowest first, and u after them; for negative spikes all is negated.

    What lies above the threshold of the last spike is kept aside, so that no more than `most` spikes leave.
    """
    zero = _number(0)
    left, aside = u, zero
    if planes > 1:
        top = builder.add(threshold, builder.mul(reset, most))
        left = builder.select(builder.icmp_signed("<", u, top), u, top)
        aside = builder.sub(u, left)
    limits, taken = [threshold], [reset]
    for _ in range(1, planes):
        limits.append(builder.add(limits[-1], taken[-1]))
        taken.append(builder.add(taken[-1], taken[-1]))
    fired: list[ir.Value] = []
    for limit, spike in zip(reversed(limits), reversed(taken), strict=True):
        fires = builder.icmp_signed(">=", left, limit)
        left = builder.select(fires, builder.sub(left, spike), left)
        fired.insert(0, fires)
    return fired, builder.add(left, aside) if planes > 1 else left


def fire_vector(builder, dynamics, v, current, threshold, reset):
    """16 neurons, all as vectors: the spikes of each plane, vectors of bits, and the membranes after them."""
    if dynamics.leak is not None:
        v, current = _scaled(builder, v, dynamics.leak[0]), _scaled(builder, current, dynamics.leak[1])
    u, zero = builder.add(v, current), _number(0)
    if (dynamics.up, dynamics.down) == (1, 0):
        fired = builder.icmp_signed(">=", u, threshold)
        after = zero if dynamics.hard else builder.sub(u, reset)
        return [fired], builder.select(fired, after, u)
    spikes, after = _spikes(builder, u, threshold, reset, dynamics.up, dynamics.most)
    if dynamics.down:
        below = builder.sub(zero, u)
        more, left = _spikes(builder, below, threshold, reset, dynamics.down, dynamics.most)
        spikes, after = spikes + more, builder.add(after, builder.sub(below, left))
    if dynamics.hard:
        any_fired = spikes[0]
        for bits in spikes[1:]:
            any_fired = builder.or_(any_fired, bits)
        after = builder.select(any_fired, zero, after)
    return spikes, after


def _fire_part(builder, dynamics, current, membrane, threshold, reset):
    """The same with a pointer to the membranes."""
    fired, after = fire_vector(builder, dynamics, load(builder, membrane, _LANES, 4), current, threshold, reset)
    store(builder, after, membrane, 4)
    return fired


def _fire_lanes(builder, dynamics, lanes, current, bias, membrane, threshold, reset):
    """`lanes` neurons: `current` is a vector, the others pointers; the spikes of each plane as a word."""
    words = [ir.Constant(_I64, 0)] * dynamics.planes
    for first in range(0, lanes, NARROW):
        at = ir.Constant(_I64, first)
        chosen = ir.Constant(_LANES, list(range(first, first + NARROW)))
        part = builder.shuffle_vector(current, ir.Constant(current.type, ir.Undefined), chosen)
        part = builder.add(part, load(builder, builder.gep(bias, [at]), _LANES, 4))
        numbers = (load(builder, builder.gep(p, [at]), _LANES, 4) for p in (threshold, reset))
        fired = _fire_part(builder, dynamics, part, builder.gep(membrane, [at]), *numbers)
        for plane, bits in enumerate(fired):
            bits = builder.shl(builder.zext(builder.bitcast(bits, _I16), _I64), at)
            words[plane] = builder.or_(words[plane], bits)
    return words


def _put(builder, out, position, word):
    """Or the bits of `word` into the words `out` from bit `position` on; none lies beyond the last word."""
    six, bits = ir.Constant(position.type, 6), ir.Constant(position.type, 63)
    at = builder.gep(out, [builder.lshr(position, six)])
    shift = builder.and_(position, bits)
    builder.store(builder.or_(builder.load(at), builder.shl(word, shift)), at)
    rest = builder.lshr(builder.lshr(word, ir.Constant(_I64, 1)), builder.sub(ir.Constant(_I64, 63), shift))
    with builder.if_then(builder.icmp_unsigned("!=", rest, ir.Constant(_I64, 0))):
        after = builder.gep(at, [ir.Constant(position.type, 1)])
        builder.store(builder.or_(builder.load(after), rest), after)


def _pixel(builder, dynamics, sums, numbers, columns, out, words):
    """All neurons of a pixel: sums(first, lanes) is their input without the bias; `numbers` and `out` are pointers.

    Each word of `out` is set where planes begin at words: with one plane, or where C is a multiple of 64. Else the bits are or'ed
    into words that are cleared before.
    """
    intp = columns.type
    six, bits = ir.Constant(intp, 6), ir.Constant(intp, WIDE - 1)
    alone = dynamics.planes == 1
    kept = builder.icmp_signed(">", words, ir.Constant(intp, 0))
    if not alone:
        whole = builder.icmp_unsigned("==", builder.and_(dynamics.channels, bits), ir.Constant(intp, 0))
        with builder.if_then(builder.not_(whole)), cgutils.for_range(builder, words) as loop:
            builder.store(ir.Constant(_I64, 0), builder.gep(out, [loop.index]))
    last = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))

    def run(first, lanes):
        fired = _fire_lanes(builder, dynamics, lanes, sums(first, lanes), *(builder.gep(p, [first]) for p in numbers))
        if alone and lanes == NARROW:
            shift = builder.and_(first, bits)
            builder.store(builder.or_(builder.load(last), builder.shl(fired[0], shift)), last)
            return
        with builder.if_then(kept):
            if alone:
                builder.store(fired[0], builder.gep(out, [builder.lshr(first, six)]))
                return
            places = [
                builder.add(first, builder.mul(dynamics.channels, ir.Constant(intp, p))) for p in range(len(fired))
            ]
            if lanes == NARROW:
                for place, word in zip(places, fired, strict=True):
                    _put(builder, out, place, word)
                return
            with builder.if_else(whole) as (together, apart):
                with together:
                    for place, word in zip(places, fired, strict=True):
                        builder.store(word, builder.gep(out, [builder.lshr(place, six)]))
                with apart:
                    for place, word in zip(places, fired, strict=True):
                        _put(builder, out, place, word)

    blocks = builder.lshr(columns, six)
    with cgutils.for_range(builder, blocks) as loop:
        run(builder.shl(loop.index, six), WIDE)
    done = builder.shl(blocks, six)
    rest = builder.lshr(builder.sub(columns, done), ir.Constant(intp, 4))
    with cgutils.for_range(builder, rest) as loop:
        run(builder.add(done, builder.shl(loop.index, ir.Constant(intp, 4))), NARROW)
    if alone:
        partly = builder.icmp_unsigned("!=", rest, ir.Constant(intp, 0))
        with builder.if_then(builder.and_(kept, partly)):
            builder.store(builder.load(last), builder.gep(out, [blocks]))


@intrinsic
def _fire_pixel(
    typingctx, current, first, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at, words
):
    intp = types.intp
    kinds = (current, intp, bias, intp, v, threshold, reset, intp, intp, dynamics, out, intp, intp)

    def codegen(context, builder, signature, args):
        _, first, _, bias_at, _, _, _, at, columns, _, _, out_at, words = args
        where = ((0, first), (2, bias_at), (4, ir.Constant(_I64, 0)), (5, at), (6, at), (10, out_at))
        currents, *numbers, into = (data(context, builder, signature, args, i, o) for i, o in where)
        parts = dynamics_of(builder, dynamics, args[9])

        def sums(first, lanes):
            return load(builder, builder.gep(currents, [first]), ir.VectorType(_I32, lanes), 4)

        _pixel(builder, parts, sums, numbers, columns, into, words)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


@intrinsic
def _sum_fire_pixel(
    typingctx,
    events,
    first,
    count,
    weights,
    offset,
    bias,
    bias_at,
    v,
    threshold,
    reset,
    at,
    columns,
    dynamics,
    out,
    out_at,
    words,
):
    intp = types.intp
    kinds = (events, intp, intp, weights, intp, bias, intp, v, threshold, reset, intp, intp, dynamics, out, intp, intp)

    def codegen(context, builder, signature, args):
        _, first, count, _, offset, _, bias_at, _, _, _, at, columns, _, _, out_at, words = args
        where = ((0, first), (3, offset), (5, bias_at), (7, ir.Constant(_I64, 0)), (8, at), (9, at), (13, out_at))
        index, rows, *numbers, into = (data(context, builder, signature, args, i, o) for i, o in where)
        parts = dynamics_of(builder, dynamics, args[12])

        def sums(first, lanes):
            return sum_events(builder, index, count, builder.gep(rows, [first]), columns, lanes)

        _pixel(builder, parts, sums, numbers, columns, into, words)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


@intrinsic
def _fire_row(typingctx, v, first, current, at, bias, threshold, reset, dynamics, mask, out, out_at, stride):
    intp, number = types.intp, types.int32
    kinds = (v, intp, current, intp, number, number, number, dynamics, types.uint64, out, intp, intp)

    def codegen(context, builder, signature, args):
        _, first, _, at, bias, threshold, reset, _, mask, _, out_at, stride = args
        where = ((0, first), (2, at), (9, out_at))
        membranes, currents, into = (data(context, builder, signature, args, i, o) for i, o in where)
        bias, threshold, reset = (broadcast(builder, n, _LANES) for n in (bias, threshold, reset))
        parts = dynamics_of(builder, dynamics, args[7])
        words = [ir.Constant(_I64, 0)] * parts.planes
        for lane in range(0, WIDE, NARROW):
            place = ir.Constant(_I64, lane)
            current = builder.add(load(builder, builder.gep(currents, [place]), _LANES, 4), bias)
            fired = _fire_part(builder, parts, current, builder.gep(membranes, [place]), threshold, reset)
            for plane, bits in enumerate(fired):
                bits = builder.shl(builder.zext(builder.bitcast(bits, _I16), _I64), place)
                words[plane] = builder.or_(words[plane], bits)
        for plane, word in enumerate(words):
            offset = builder.mul(stride, ir.Constant(stride.type, plane))
            builder.store(builder.and_(word, mask), builder.gep(into, [offset]))
        return context.get_dummy_value()

    return types.void(*kinds), codegen


# ----- The same in plain Python, for runs without the compiler -----


def python_step(dynamics, v, current, threshold, reset):
    """The membranes after a step, int64, and the spikes bool (planes, ...)."""
    leak, hard, up, down, most, _ = dynamics or (None, None, (1,), (), 1, 0)
    v, current = np.int64(v), np.int64(current)
    if leak is not None:
        v, current = (
            x if f is None else (x * f[0] + ONE // 2) >> BITS for x, f in zip((v, current), leak, strict=True)
        )
    u = v + current
    n, fired = np.zeros_like(u), []
    for sign, planes in ((1, len(up)), (-1, len(down))):
        spikes = np.zeros_like(u)
        for k in range(min(most, 2**planes - 1)):
            spikes += sign * u >= threshold + np.int64(k) * reset
        n += sign * spikes
        fired += [spikes >> i & 1 > 0 for i in range(planes)]
    after = u - n * reset
    return np.where((n != 0) & (hard is not None), 0, after), np.stack(fired)


def _python_fire_pixel(current, first, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at, words):
    numbers = slice(at, at + columns)
    arriving = current[first : first + columns].astype(np.int64) + bias[bias_at : bias_at + columns]
    v[:], fired = python_step(dynamics, v, arriving, threshold[numbers], reset[numbers])
    if words:
        bits, channels = np.zeros(64 * words, np.uint8), dynamics[5] if dynamics else min(columns, 64 * words)
        bits[: len(fired) * channels] = fired[:, :channels].ravel()
        out[out_at : out_at + words] = [pack(part) for part in bits.reshape(words, 64)]


def _python_sum_fire_pixel(
    events, first, count, weights, offset, bias, bias_at, v, threshold, reset, at, columns, dynamics, *into
):
    current = np.empty(columns, np.int32)
    python_sum_rows(columns)(events, first, count, weights, offset, columns, current, 0)
    _python_fire_pixel(current, 0, bias, bias_at, v, threshold, reset, at, columns, dynamics, *into)


def _python_fire_row(v, first, current, at, bias, threshold, reset, dynamics, mask, out, out_at, stride):
    part = slice(first, first + 64)
    arriving = current[at : at + 64].astype(np.int64) + bias
    v[part], fired = python_step(dynamics, v[part], arriving, threshold, reset)
    for plane, bits in enumerate(fired):
        out[out_at + plane * stride] = pack(bits) & mask


# ----- What the kernels call -----

fire_pixel = _python_fire_pixel if INTERPRETED else _fire_pixel
"""(current int32, first, bias int32, bias_at, v int32 (columns,), threshold int32, reset int32, at, columns, dynamics,
out uint64, out_at, words): one step of a pixel whose input, biases and numbers lie at first, bias_at and at in flat arrays;
`columns` is a multiple of 16. out[out_at:out_at+words] becomes their spikes, plane by plane;
words = 0: they are not kept."""
sum_fire_pixel = _python_sum_fire_pixel if INTERPRETED else _sum_fire_pixel
"""(events, first, count, weights, offset, bias, bias_at, v, threshold, reset, at, columns, dynamics, out, out_at,
words): the same with the sum of events as its input, in registers; see `vector.sum_rows_wide`. There must be words."""
fire_row = _python_fire_row if INTERPRETED else _fire_row
"""(v int32, first, current int32, at, bias, threshold, reset, dynamics, mask uint64, out uint64, out_at, stride): one step of 64
neurons with the same numbers, pixels of a row; out[out_at + plane·stride] = their spikes & mask."""
