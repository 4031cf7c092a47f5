"""A spiking layer for training whose gradient is its rate's: the engine's spikes forward, one pass without time backward.

A neuron gets a charge Q, over all steps, and fires n = Σ a(t)·g·s(t), the spikes of each plane weighted by its gain g and
by their amplitude a. If a spike takes what it is worth of θ, n ≈ Q/θ; so, straight through the rounding,

    ∂n/∂Q = m/θ;   ∂n/∂θ = -m·n/θ;   m = 1 where (0 < Q or 0 < n) and Q < θ·(the most that it can fire), else 0
    ∂L/∂n_in = Ŵᵀ ∂L/∂Q;   ∂L/∂W = n_in ⋆ ∂L/∂Q;   ∂L/∂b = T·Σ ∂L/∂Q;   v = Q - θ·n at the end

(with negative gains, the least that it can fire in place of 0). Nothing is asked of what happens inside a neuron, so that
this trains one with a kernel of its own; it is blind to when a spike comes, and to the neuron's own parameters. Meng et al.
(CVPR 2022, differentiation on spike representation) and Yu et al. (NeurIPS 2024, rate-based back-propagation) train so;
QCFS (Bu et al., ICLR 2022) passes straight through its floor. SpikingIR does not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nspike.autograd import correlation as convolution
from nspike.autograd.tensor import Tensor
from nspike.contracts.neuron import Neuron
from nspike.engine.prepared import Prepared
from nspike.graph.layer import Gate
from nspike.images.plane import UNIT
from nspike.integer.currents import gate_weights
from nspike.runtime.buffers import take
from nspike.runtime.parallel import available, each
from nspike.trainable.own_kernel import run
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.spiking_layer import Course, Doubles, Floats, Frame, LayerParameters, SpikingLayer, course


class RateLayer:
    """A stage over a batch, as `nspike.trainable.spiking_layer.SpikingLayer`, for neurons with and without a kernel of their own.

    The gradient of its `train` is a pair: ∂L/∂n float32 (N, H, W, C) or None, and float32 (steps,) or None, which is added
    to that of every spike.
    """

    def __init__(
        self,
        prepared: Prepared,
        frame: Frame,
        neuron: Neuron,
        parameters: LayerParameters,
        sources: Sequence[tuple[SpikeTrain, LayerParameters]] = (),
        source_neuron: Neuron | None = None,
        *,
        fires_until: int | None = None,
        membranes: bool = False,
    ) -> None:
        self.prepared, self.frame, self.neuron, self.parameters = prepared, frame, neuron, parameters
        self.sources, self.source_neuron = tuple(sources), source_neuron
        self.stage = prepared.stage
        self.course = _course(neuron, parameters, frame)
        self.course.fires[frame.steps if fires_until is None else fires_until :] = -1.0
        if neuron.step is None:
            layer = SpikingLayer(
                prepared,
                replace(frame, recompute=True),  # keeps no trace
                neuron,
                parameters,
                sources,
                fires_until=fires_until,
                membranes=membranes,
            )
            self.train, self.v = layer.train, layer.v
        else:
            self.train = run(prepared, frame, [train for train, _ in sources])
            self.v = np.empty((*frame.shape, 0), np.int32)

    @property
    def parents(self) -> list[Tensor]:
        """Spikes, kernel, bias, threshold."""
        p = self.parameters
        own = [tensor for tensor in (p.weight, p.bias, p.threshold) if tensor is not None]
        return [*(train for train, _ in self.sources), *own]

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
        """The gradients of `parents`, given those of the spikes.

        end, charge, theta : as `SpikingLayer.back` takes them.
        """
        p = self.parameters
        read = self._read()
        of_charge, of_theta = self._back_to_charge(read, spikes, added, end)
        if charge is not None:
            of_charge = of_charge + charge.astype(np.float32)
        found = self._back_to_sources(of_charge)
        if p.weight is not None:
            size, pad = self.prepared.size, self.prepared.radius
            found.append(convolution.kernel_gradient(read, of_charge, size, pad=pad))
        if p.bias is not None:
            total = of_charge.sum(axis=(0, 1, 2), dtype=np.float64)
            found.append((self.frame.timesteps * total).astype(np.float32))
        by_ratio = p.ratio * (of_theta if theta is None else of_theta + theta)
        return [*found, by_ratio if p.threshold.size == by_ratio.size else by_ratio.sum(keepdims=True)]

    def _read(self) -> Floats:
        """What the layer has read in all, float32 (N, H, W, C_in): the image T times, or n_in."""
        if not self.sources:
            return (self.frame.plane * (self.frame.timesteps / UNIT)).astype(np.float32)
        assert self.source_neuron is not None
        counts = [
            train.weighted(_course(self.source_neuron, other, self.frame).amplitudes) for train, other in self.sources
        ]
        return counts[0] if len(counts) == 1 else np.concatenate(counts, axis=3)

    def _kernel(self) -> Floats:
        """Ŵ for spikes worth 1, float32 (C, C_in, k, k)."""
        integer = self.stage.integer
        kernel: Floats = np.ldexp(integer.weights[0].astype(np.float32), -integer.exponent[:, None, None, None])
        if not self.sources:
            return kernel
        assert self.source_neuron is not None
        planes, first, parts = self.source_neuron.planes, 0, []
        for train, other in self.sources:
            worth = planes[0] * _course(self.source_neuron, other, self.frame).amplitudes[0]
            parts.append(kernel[:, first : first + train.neurons] / np.float32(worth))
            first += train.channels
        return np.concatenate(parts, axis=1)

    def _gates(self) -> Floats:
        """What a gate multiplies spikes by, float32 (N, H, W, C)."""
        exponent = self.stage.integer.exponent
        return np.ldexp(gate_weights(self.frame.plane, self.stage.gate, exponent), -exponent).astype(np.float32)

    def _charge(self, read: Floats) -> Floats:
        """Q, float32 (N, H, W, C), from what was delivered: a kernel of its own need not keep it in the membrane."""
        integer = self.stage.integer
        bias = np.ldexp(self.frame.timesteps * integer.bias.astype(np.float64), -integer.exponent).astype(np.float32)
        if isinstance(self.stage.layer, Gate):
            return read * self._gates() + bias
        return np.asarray(convolution.convolve(read, self._kernel(), bias, pad=self.prepared.radius), np.float32)

    def _back_to_charge(
        self, read: Floats, spikes: Floats | None, added: Floats | None, end: Doubles | None
    ) -> tuple[Floats, Doubles]:
        """∂L/∂Q float32 (N, H, W, C), and ∂L/∂θ float64 (C,)."""
        from nspike.kernels import counting

        channels, pixels = self.stage.channels, int(np.prod(self.frame.shape))
        fires = self.course.fires >= 0
        none = np.zeros((0, channels), np.float32)
        if not fires.any():
            left = none if end is None else end.astype(np.float32)
            return np.broadcast_to(left if left.size else np.float32(0), (*self.frame.shape, channels)), np.zeros(
                channels
            )
        worth, gains = self.course.amplitudes, np.array(self.neuron.planes)
        most, least = (float(worth[fires].sum() * np.clip(gains, *ends).sum()) for ends in ((0, None), (None, 0)))
        # the gradient of all spikes together, shared out over what they are worth
        more = 0.0 if added is None else added.sum() * len(gains) / (worth[fires].sum() * np.abs(gains).sum())
        theta = np.ldexp(self.stage.integer.theta.astype(np.float64), -self.stage.integer.exponent)
        arrays = (
            none if spikes is None else spikes.reshape(pixels, channels),
            np.float32(more),
            none if end is None else end.reshape(pixels, channels).astype(np.float32),
            self._charge(read).reshape(pixels, channels),
            self.train.weighted(worth).reshape(pixels, channels),
            theta.astype(np.float32),
            np.float32(least),
            np.float32(most),
        )
        out = take((pixels, channels))
        sums = np.zeros((available(), channels))

        def part(piece: int, first: int, last: int) -> None:
            counting.back_to_charge(*arrays, out, sums[piece], first, last)

        each(part, pixels)
        return out.reshape(*self.frame.shape, channels), sums.sum(axis=0)

    def _back_to_sources(self, of_charge: Floats) -> list[Any]:
        """The gradients of the sources' spikes."""
        if not self.sources:
            return []
        if isinstance(self.stage.layer, Gate):
            return [(of_charge * self._gates(), None)]
        _, height, width = self.frame.shape
        gradient = convolution.input_gradient(of_charge, self._kernel(), height, width, pad=self.prepared.radius)
        ends = np.cumsum([train.neurons for train, _ in self.sources])[:-1]
        parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=3)]
        return [(part, None) for part in parts]


def _course(neuron: Neuron, parameters: LayerParameters, frame: Frame) -> Course:
    """The course of a neuron; one with a kernel of its own may fire at any step."""
    declared = neuron if neuron.step is None else replace(neuron, fire=lambda *_: 1.0)
    return course(declared, parameters.values, frame.timesteps, frame.steps)
