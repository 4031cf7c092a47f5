"""Plain neurons back through time, sixteen channels of a pixel at once: all steps while their membrane stays in registers.

With g_v = ∂L/∂v, φ the surrogate derivative at x, s = [x >= 0], f = fire(t) and a = amplitude(t), t descending:

    G = ∂L/∂s - a·θ·g_v;   g_u = g_v + G·φ;   ∂L/∂I = g_u;   ∂L/∂θ -= f·G·φ + a·g_v·s;   g_v <- g_u

Every number is rounded as one channel alone would be (no fused products), so that lanes change no bit.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, inline, kernel
from nspike.kernels.vector import NARROW, broadcast, data, load, store

_F32, _I64 = ir.FloatType(), ir.IntType(64)
_LANES = ir.VectorType(_F32, NARROW)

LARGEST = 40.0
"""Of |kx|: cosh is still finite there, and the slope 0 to eighteen digits."""
SERIES = (1 / 3628800, 1 / 40320, 1 / 720, 1 / 24, 1 / 2)
"""Of cosh(z) - 1 in z², the highest power first."""
HALVINGS = 5


@inline
def sigmoid_slope(x, k):
    """k·σ(kx)(1 - σ(kx)) of a float32, to 2e-6 of itself: k/(2 + 2·cosh(kx)), cosh - 1 by halving kx five times.

    With e = cosh(z) - 1, cosh(2z) - 1 = 2e(e + 2): products and sums alone, which can be done many at a time.
    """
    z = min(abs(k * x), np.float32(LARGEST)) * np.float32(1 / 2**HALVINGS)
    q = z * z
    e = np.float32(SERIES[0])
    e = q * e + np.float32(SERIES[1])
    e = q * e + np.float32(SERIES[2])
    e = q * e + np.float32(SERIES[3])
    e = q * e + np.float32(SERIES[4])
    e = q * e
    for _ in range(HALVINGS):
        e = np.float32(2) * e * (e + np.float32(2))
    return k / (np.float32(4) + np.float32(2) * e)


def _slope(builder, x, k):
    """The same of a vector, k being one too."""

    def number(value):
        return ir.Constant(_LANES, [float(np.float32(value))] * NARROW)

    z = builder.fmul(k, x)
    z = builder.select(builder.fcmp_ordered("<", z, number(0)), builder.fneg(z), z)
    z = builder.select(builder.fcmp_ordered("<", z, number(LARGEST)), z, number(LARGEST))
    z = builder.fmul(z, number(1 / 2**HALVINGS))
    q, e = builder.fmul(z, z), number(SERIES[0])
    for term in SERIES[1:]:
        e = builder.fadd(builder.fmul(q, e), number(term))
    e = builder.fmul(q, e)
    for _ in range(HALVINGS):
        e = builder.fmul(builder.fmul(number(2), e), builder.fadd(e, number(2)))
    return builder.fdiv(k, builder.fadd(number(4), builder.fmul(number(2), e)))


@intrinsic
def _back_lanes(
    typingctx, trace, at, slopes, k, gradients, to, across, added, fires, resets, g_v, v_at, scratch, c, steps, channels
):
    """See `back_lanes` below."""
    intp, number = types.intp, types.float32
    kinds = (
        trace,
        intp,
        slopes,
        number,
        gradients,
        intp,
        intp,
        added,
        fires,
        resets,
        g_v,
        intp,
        scratch,
        intp,
        intp,
        intp,
    )

    def codegen(context, builder, signature, args):
        _, at, _, k, _, to, across, _, _, _, _, v_at, _, c, steps, channels = args
        given = not isinstance(slopes, types.NoneType)
        pointer = lambda i, offset: data(context, builder, signature, args, i, offset)  # noqa: E731
        noted, into, membranes = (pointer(i, o) for i, o in ((0, at), (4, to), (10, v_at)))
        known = pointer(2, at) if given else None
        more, firing, spent, sums = (pointer(i, ir.Constant(_I64, 0)) for i in (7, 8, 9, 12))
        none, lanes = ir.Constant(_LANES, None), broadcast(builder, k, _LANES)
        total = builder.mul(steps, channels)
        held = cgutils.alloca_once_value(builder, load(builder, membranes, _LANES, 4))

        def add(which, place, value):
            where = builder.gep(sums, [builder.add(builder.mul(total, ir.Constant(_I64, which)), place)])
            store(builder, builder.fadd(load(builder, where, _LANES, 4), value), where, 4)

        with cgutils.for_range(builder, steps) as loop:
            t = builder.sub(builder.sub(steps, loop.index), ir.Constant(_I64, 1))
            row = builder.mul(t, channels)
            place, here = builder.add(row, c), builder.gep(into, [builder.mul(t, across)])
            v = builder.load(held)
            silent = builder.fcmp_ordered("<", builder.load(builder.gep(firing, [t])), ir.Constant(_F32, 0.0))
            with builder.if_else(silent) as (quiet, other):
                with quiet:
                    store(builder, v, here, 4)
                    add(2, place, v)
                with other:
                    x = load(builder, builder.gep(noted, [row]), _LANES, 4)
                    slope = load(builder, builder.gep(known, [row]), _LANES, 4) if given else _slope(builder, x, lanes)
                    wanted = broadcast(builder, builder.load(builder.gep(more, [t])), _LANES)
                    wanted = builder.fadd(load(builder, here, _LANES, 4), wanted)
                    reset = load(builder, builder.gep(spent, [place]), _LANES, 4)
                    crossed = builder.fmul(builder.fsub(wanted, builder.fmul(reset, v)), slope)
                    u = builder.fadd(v, crossed)
                    add(0, place, crossed)
                    add(1, place, builder.select(builder.fcmp_ordered(">=", x, none), v, none))
                    add(2, place, u)
                    store(builder, u, here, 4)
                    builder.store(u, held)
        store(builder, builder.load(held), membranes, 4)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


@inline
def back_lane(
    trace, at, slopes, k, gradients, to, across, added, fires, resets, g_v, v_at, scratch, c, steps, channels
):
    """The same of one channel."""
    v, total = g_v[v_at], steps * channels
    for back in range(steps):
        t = steps - 1 - back
        place, here = t * channels + c, to + t * across
        if fires[t] >= 0:
            x = trace[at + t * channels]
            slope = sigmoid_slope(x, k) if slopes is None else slopes[at + t * channels]
            crossed = (gradients[here] + added[t] - resets[place] * v) * slope
            scratch[place] += crossed
            if x >= 0:
                scratch[total + place] += v
            v = v + crossed
        scratch[2 * total + place] += v
        gradients[here] = v
    g_v[v_at] = v


def _python_back_lanes(*args):
    trace, at, slopes, k, gradients, to, across, added, fires, resets, g_v, v_at, scratch, c, steps, channels = args
    for lane in range(NARROW):
        numbers = (added, fires, resets, g_v, v_at + lane, scratch, c + lane, steps, channels)
        back_lane(trace, at + lane, slopes, k, gradients, to + lane, across, *numbers)


back_lanes = _python_back_lanes if INTERPRETED else _back_lanes
"""(trace, at, slopes or None, k, gradients, to, across, added, fires, resets, g_v, v_at, scratch, c, steps, channels), arrays of
flat float32: `NARROW` channels from c on of one pixel, whose trace and slopes begin at `at`, step t further on by t·channels,
whose gradients begin at `to`, step t further on by t·across, and whose ∂L/∂v lies at v_at. Without slopes they are those of a
sigmoid of slope k."""


@kernel
def backward(trace, slopes, k, gradients, added, fires, resets, g_v, sums, crossings, worths, scratch, first):
    """Pixels first .. first + len(trace) - 1 back in time; `gradients` turn from ∂L/∂s into ∂L/∂I, in place.

    trace float32 (P, steps, C): x; slopes flat float32 (P·steps·C,): φ, or None for a sigmoid's of slope k; gradients float32
    (steps, pixels, C); added float32 (steps,): more ∂L/∂s, the same for every neuron; fires float32 (steps,): f, below 0 where
    the neuron is silent; resets float32 (steps, C): a·θ, or zeros if the reset is not followed; g_v float32 (P, C): ∂L/∂v at the
    end, then ∂L/∂v(0). Added to: sums, crossings, worths float64 (steps, C): Σ ∂L/∂I, Σ G·φ, Σ g_v·s. scratch float32
    (3, steps, C). All are contiguous.
    """
    pixels, steps, channels = trace.shape
    across, whole = gradients.shape[1] * channels, channels // NARROW * NARROW
    scratch[:] = np.float32(0)
    flat, into = trace.reshape(-1), gradients.reshape(-1)
    spent, membranes, own = resets.reshape(-1), g_v.reshape(-1), scratch.reshape(-1)
    for p in range(pixels):
        at, to, v_at = p * steps * channels, (first + p) * channels, p * channels
        for c in range(0, whole, NARROW):
            back_lanes(
                flat, at + c, slopes, k, into, to + c, across, added, fires, spent, membranes, v_at + c, own, c, steps, channels
            )  # fmt: skip
        for c in range(whole, channels):
            back_lane(
                flat, at + c, slopes, k, into, to + c, across, added, fires, spent, membranes, v_at + c, own, c, steps, channels
            )  # fmt: skip
    for t in range(steps):
        for c in range(channels):
            crossings[t, c] += scratch[0, t, c]
            worths[t, c] += scratch[1, t, c]
            sums[t, c] += scratch[2, t, c]


@kernel
def sigmoid_slopes(x, k, out):
    """`sigmoid_slope` of flat float32."""
    for i in range(x.size):
        out[i] = sigmoid_slope(x[i], k)
