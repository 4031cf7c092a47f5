"""A layer's gradient through time: back through every step, with a surrogate for the derivative of the firing test.

With φ the surrogate derivative at x = u - f(t)·θ, f = fire(t), a = amplitude(t), and rounding passed straight through to the
floats that it came from (SpikingIR, AAAI 2026; Neftci et al. 2019):

    G = ∂L/∂s - a·θ·g_v;   ∂L/∂I(t) = g_u = g_v + G·φ;   g_v <- g_u          from the last step to the first
    ∂L/∂θ = -Σ f·G·φ - Σ a·g_v·s + initial·Σ g_v(0);   ∂L/∂f(t) = -Σ θ·G·φ;   ∂L/∂a(t) = -Σ θ·g_v·s

With a leak, several spikes at a step or a reset to zero, as `nspike.kernels.through_time.backward_declared` says; a leak that
is trained has ∂L/∂keep = Σ g_u·v(t-1). Where the neuron's surrogate takes x/θ, φ is its value there over θ.

What it needs of the membranes, x, is kept as float32, or computed again from the spikes of the layers before (`recompute`):
a sixteenth of the memory for another forward pass.
"""

from typing import Any, NamedTuple

import numpy as np

from nspike.autograd.tensor import Tensor
from nspike.integer.dynamics import ONE, Dynamics
from nspike.runtime.buffers import give
from nspike.runtime.parallel import available, each
from nspike.trainable.course import slopes
from nspike.trainable.layer import Doubles, Floats, Input, Layer
from nspike.trainable.rule import Rule
from nspike.trainable.surrogate import SLOPE, sigmoid, values

PIXELS = 128
"""How many pixels go back through time at a time: their membranes and slopes fit the second-level cache."""


class _InTime(NamedTuple):
    """∂L/∂I float32 (steps, N, H, W, C); per step and channel Σ ∂L/∂I, Σ G·φ, Σ g_v·s; per channel Σ g_v(0); ∂L/∂keep."""

    currents: Floats
    sums: Doubles
    crossings: Doubles
    worths: Doubles
    start: Doubles
    keep: float = 0.0


class TimeRule(Rule):
    """For declared neurons. The gradient of `train` is ∂L/∂s, float32 (steps, N, H, W, C), and what is added to all."""

    traced = True

    @property
    def parents(self) -> list[Tensor]:
        """Those of its input, the threshold, the neuron's parameters."""
        return [*super().parents, *self.layer.parameters.trained.values()]

    @staticmethod
    def back_to_input(source: Input, gradient: Floats, timesteps: int) -> list[Any]:
        """The gradients of the parents of a current that stands by itself, from ∂L/∂I (steps, N, H, W, C)."""
        from nspike.kernels.through_time import channel_sums

        sums = np.zeros(gradient.shape[-1])
        channel_sums(np.ascontiguousarray(gradient[:timesteps], np.float32).reshape(-1, sums.size), sums)
        return source.back_in_time(gradient, sums)

    def spread(self, counts: Doubles) -> Floats:
        """The gradient of the layer's spikes, given that of one more at any step up to T, (N, H, W, C)."""
        shared = self.layer.shared
        spikes = np.zeros((shared.steps, *counts.shape), np.float32)
        spikes[: shared.timesteps] = counts
        return spikes

    def back(
        self,
        spikes: Floats | None,
        added: Floats | None = None,
        *,
        end: Doubles | None = None,
        charge: Doubles | None = None,
        theta: Doubles | None = None,
    ) -> list[Any]:
        """The gradients of `parents`."""
        source, shared = self.layer.input, self.layer.shared
        back = self._back_in_time(spikes, added, end, charge)
        gradients = source.back_in_time(back.currents, back.sums[: shared.timesteps].sum(axis=0))
        if not source.hands_on:
            give(back.currents)
        return [*gradients, *self._back_to_neuron(back, theta)]

    def _back_to_neuron(self, back: _InTime, theta: Doubles | None) -> list[Any]:
        """The gradients with respect to the threshold and the neuron's parameters."""
        layer, p, c = self.layer, self.layer.parameters, self.layer.course
        fires = np.maximum(c.fires, 0.0)
        of_theta = c.initial * back.start - fires @ back.crossings - c.amplitudes @ back.worths
        gradients: list[Any] = [self.of_threshold(of_theta if theta is None else of_theta + theta)]
        for name in p.trained:
            slope = slopes(layer.neuron, p.values, name, layer.shared.timesteps, layer.shared.steps)
            per_channel = slope.initial * back.start - slope.fires @ back.crossings - slope.amplitudes @ back.worths
            gradients.append(np.asarray(per_channel @ layer.theta + slope.keep * back.keep))
        return gradients

    def _back_in_time(
        self, spikes: Floats | None, added: Floats | None, end: Doubles | None, charge: Doubles | None
    ) -> _InTime:
        shared, stage, channels = self.layer.shared, self.layer.prepared.stage, self.layer.channels
        steps, fires, planes = shared.steps, self.layer.course.fires, len(stage.neuron.planes)
        pixels = int(np.prod(self.layer.shape))
        currents = np.zeros((steps, pixels, planes * channels), np.float32) if spikes is None else spikes
        currents = currents.reshape(steps, pixels, planes * channels)  # changed in place
        g_v = np.zeros((pixels, channels), np.float32) if end is None else end.reshape(pixels, -1).astype(np.float32)
        more = np.zeros(steps, np.float32) if added is None else np.asarray(added, np.float32)
        totals = np.zeros((available(), 3, steps, channels))
        kept, leaks = np.zeros(available()), self._trains_its_leak()
        silent = fires.max() < 0
        if silent:
            currents[:] = g_v
        else:
            trace = self.forward.take_trace()
            flat = trace.reshape(pixels, steps, channels)
            back = _Plain(self.layer) if stage.dynamics.plain and not leaks else _Declared(self.layer)

            def blocks(piece: int, first: int, last: int) -> None:
                scratch = np.empty((3, steps, channels), np.float32)
                for at in range(first * PIXELS, min(last * PIXELS, pixels), PIXELS):
                    block = np.s_[at : at + PIXELS]
                    back.run(flat[block], currents, more, g_v[block], (*totals[piece], scratch, at))
                    if leaks and isinstance(back, _Declared):
                        kept[piece] += back.of_keep(flat[block], currents[:, block, :channels])

            each(blocks, -(-pixels // PIXELS))
            give(trace)
            currents = np.ascontiguousarray(currents[..., :channels])
        sums, crossings, worths = totals.sum(axis=0)
        if charge is not None:
            currents += charge.reshape(-1, pixels, channels).astype(np.float32)  # of all steps, or of each
        if charge is not None or silent:
            sums = currents.sum(axis=1, dtype=np.float64)
        currents = currents.reshape(steps, *self.layer.shape, channels)
        return _InTime(currents, sums, crossings, worths, g_v.sum(axis=0, dtype=np.float64), float(kept.sum()))

    def _trains_its_leak(self) -> bool:
        """Whether the leak depends on a parameter that is trained."""
        layer, p = self.layer, self.layer.parameters
        timesteps, steps = layer.shared.timesteps, layer.shared.steps
        return any(slopes(layer.neuron, p.values, name, timesteps, steps).keep for name in p.trained)


class Slopes:
    """∂s/∂u of a layer: the surrogate at x in units of the neurons' own scale, which may not be that of their current."""

    def __init__(self, layer: Layer) -> None:
        self.surrogate = layer.shared.surrogate
        unit = layer.theta if layer.neuron.surrogate_unit == "threshold" else layer.factor
        self.factor = None if np.all(unit == 1) else unit.astype(np.float32)
        self.by_kernel = self.factor is None and self.surrogate is sigmoid

    def __call__(self, x: Floats) -> Floats:
        """Of x float32 (..., C), in units of the current's scale."""
        if self.factor is None:
            return values(self.surrogate, x)
        return np.asarray(values(self.surrogate, x / self.factor) / self.factor, np.float32)


class _Plain:
    """Blocks of plain neurons back through time."""

    def __init__(self, layer: Layer) -> None:
        stage, shared = layer.prepared.stage, layer.shared
        resets = np.ldexp(stage.reset.astype(np.float32), -stage.integer.exponent)
        self.slopes = Slopes(layer)
        self.numbers = (layer.course.fires.astype(np.float32), resets * np.float32(shared.follow_reset))

    def run(self, x: Floats, currents: Floats, more: Floats, g_v: Floats, into: tuple[Any, ...]) -> None:
        """Trace of the block, gradients of all pixels, its ∂L/∂v; sums, scratch and first pixel as the kernel takes them."""
        from nspike.kernels import back_in_time

        slopes = None if self.slopes.by_kernel else self.slopes(x).reshape(-1)
        back_in_time.backward(x, slopes, np.float32(SLOPE), currents, more, *self.numbers, g_v, *into)


class _Declared:
    """The same for the other neurons of the declared family."""

    def __init__(self, layer: Layer) -> None:
        stage, shared, own = layer.prepared.stage, layer.shared, layer.prepared.stage.dynamics
        fires = layer.course.fires.astype(np.float32)
        unit = -stage.integer.exponent
        self.thresholds = np.ldexp(stage.threshold.astype(np.float32), unit) * (fires >= 0)[:, None]
        self.resets = np.ldexp(stage.reset.astype(np.float32), unit)
        self.slopes = Slopes(layer)
        self.up, self.down = (min(own.most, (1 << planes) - 1) for planes in (own.up, own.down))
        self.fires, self.to_zero = fires >= 0, own.to_zero
        self.input_factor = np.float32(own.input_factor / ONE)
        self.start = np.ldexp(stage.v0.astype(np.float32), unit)
        factors = np.array([own.keep / ONE, own.input_factor / ONE], np.float32)
        follow = np.float32(shared.follow_reset)
        arrays = (fires, self.thresholds, self.resets, _flips(own))
        self.numbers = (*arrays, self.up, own.to_zero, factors, follow)

    def run(self, x: Floats, currents: Floats, more: Floats, g_v: Floats, into: tuple[Any, ...]) -> None:
        """As of `_Plain`."""
        from nspike.kernels import through_time

        crossings = np.empty((self.up + self.down, *x.shape), np.float32)
        for k in range(self.up):
            crossings[k] = x - np.float32(k) * self.resets
        for k in range(self.down):
            crossings[self.up + k] = -x - 2 * self.thresholds - np.float32(k) * self.resets
        through_time.backward_declared(x, self.slopes(crossings), currents, more, *self.numbers, g_v, *into)

    def of_keep(self, x: Floats, currents: Floats) -> float:
        """Σ g_u·v(t-1) of a block, from its trace (P, steps, C) and ∂L/∂I (steps, P, C)."""
        before = np.empty_like(x)
        before[:, 0] = self.start
        past, count = x[:, :-1], np.zeros_like(x[:, :-1])
        thresholds, resets = self.thresholds[:-1], self.resets[:-1]
        for k in range(self.up):
            count += past - np.float32(k) * resets >= 0
        for k in range(self.down):
            count -= -past - 2 * thresholds - np.float32(k) * resets >= 0
        count *= self.fires[:-1, None]
        before[:, 1:] = past + thresholds - count * resets
        if self.to_zero:
            before[:, 1:][count != 0] = 0
        products = np.multiply(before, currents.transpose(1, 0, 2), dtype=np.float64)
        return float(products.sum() / self.input_factor)


def _flips(own: Dynamics) -> Floats:
    """How the k-th spike of either sign changes each plane, float32 (planes, K): the bits of their number."""
    parts = []
    for planes in (own.up, own.down):
        n = np.arange(min(own.most, (1 << planes) - 1) + 1)
        parts.append(np.diff(n >> np.arange(planes)[:, None] & 1, axis=1))
    (up, k), (down, m) = (part.shape for part in parts)
    flips = np.zeros((up + down, k + m), np.float32)
    flips[:up, :k], flips[up:, k:] = parts
    return flips
