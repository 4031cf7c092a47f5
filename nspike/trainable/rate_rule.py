"""A layer's gradient through its rate: the engine's spikes forward, one pass without time backward.

A neuron gets a charge Q, over all steps, and fires n = Σ a(t)·g·s(t), the spikes of each plane weighted by its gain g and
by their amplitude a. If a spike takes what it is worth of θ, n ≈ Q/θ; so, straight through the rounding,

    ∂n/∂Q = m/θ;   ∂n/∂θ = -m·n/θ;   m = 1 where (0 < Q or 0 < n) and Q < θ·(the most that it can fire), else 0
    ∂L/∂n_in = Ŵᵀ ∂L/∂Q;   ∂L/∂W = n_in ⋆ ∂L/∂Q;   ∂L/∂b = T·Σ ∂L/∂Q;   v = Q - θ·n at the end

(with negative gains, the least that it can fire in place of 0). Nothing is asked of what happens inside a neuron, so that
this trains one with a kernel of its own; it is blind to when a spike comes, and to the neuron's own parameters. Meng et al.
(CVPR 2022, differentiation on spike representation) and Yu et al. (NeurIPS 2024, rate-based back-propagation) train so;
QCFS (Bu et al., ICLR 2022) passes straight through its floor. SpikingIR does not.
"""

from typing import Any

import numpy as np

from nspike.runtime.buffers import take
from nspike.runtime.parallel import available, each
from nspike.trainable.layer import Doubles, Floats, Input
from nspike.trainable.rule import Rule


class RateRule(Rule):
    """For all neurons. The gradient of `train` is ∂L/∂n, float32 (N, H, W, C), and what is added to that of every spike."""

    def spread(self, counts: Doubles) -> Floats:
        """The gradient of the layer's spikes, given ∂L/∂n (N, H, W, C)."""
        return counts.astype(np.float32)

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
        of_charge, of_theta = self._back_to_charge(spikes, added, end)
        if charge is not None:
            of_charge = of_charge + charge.astype(np.float32)
        gradients = self.layer.input.back_through_rate(of_charge)
        return [*gradients, self.of_threshold(of_theta if theta is None else of_theta + theta)]

    @staticmethod
    def back_to_input(source: Input, gradient: Floats, timesteps: int) -> list[Any]:
        """The gradients of the parents of a current that stands by itself, from that of its charge (N, H, W, C)."""
        return source.back_through_rate(gradient)

    def _back_to_charge(
        self, spikes: Floats | None, added: Floats | None, end: Doubles | None
    ) -> tuple[Floats, Doubles]:
        """∂L/∂Q float32 (N, H, W, C), and ∂L/∂θ float64 (C,)."""
        from nspike.kernels import counting

        layer = self.layer
        shape, channels, pixels = layer.shape, layer.channels, int(np.prod(layer.shape))
        fires = layer.course.fires >= 0
        none = np.zeros((0, channels), np.float32)
        if not fires.any():
            left = np.float32(0) if end is None else end.astype(np.float32)
            return np.broadcast_to(left, (*shape, channels)), np.zeros(channels)
        worth, gains = layer.course.amplitudes, np.array(layer.neuron.planes)
        limit = layer.prepared.stage.dynamics.most if layer.neuron.step is None else np.inf
        most, least = (
            float(worth[fires].sum() * sign * min(limit, np.clip(sign * gains, 0, None).sum())) for sign in (1, -1)
        )
        # the gradient of all spikes together, shared out over what they are worth
        more = 0.0 if added is None else added.sum() * len(gains) / (worth[fires].sum() * np.abs(gains).sum())
        arrays = (
            none if spikes is None else spikes.reshape(pixels, channels),
            np.float32(more),
            none if end is None else end.reshape(pixels, channels).astype(np.float32),
            layer.input.charge().reshape(pixels, channels),
            self.train.weighted(worth).reshape(pixels, channels),
            layer.theta.astype(np.float32),
            np.float32(least),
            np.float32(most),
        )
        out = take((pixels, channels))
        sums = np.zeros((available(), channels))

        def part(piece: int, first: int, last: int) -> None:
            counting.back_to_charge(*arrays, out, sums[piece], first, last)

        each(part, pixels)
        return out.reshape(*shape, channels), sums.sum(axis=0)
