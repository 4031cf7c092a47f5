"""A spiking layer that can be trained: all its steps forward on the engine's integers, then back through time.

Forward it is a stage of `nspike.integer.rounding`, spike for spike. Backward, with φ the surrogate derivative at x = u - f(t)·θ,
f = fire(t), a = amplitude(t), Ŵ the rounded kernel, and rounding passed straight through to the floats that it came from
(SpikingIR, AAAI 2026; Neftci et al. 2019):

    G = ∂L/∂s - a·θ·g_v;   ∂L/∂I(t) = g_u = g_v + G·φ;   g_v <- g_u          from the last step to the first
    ∂L/∂s_in(t) = Ŵᵀ ∂L/∂I(t);   ∂L/∂W = Σ a_in·s_in ⋆ ∂L/∂I;   ∂L/∂a_in = ⟨W, Σ s_in ⋆ ∂L/∂I⟩
    ∂L/∂θ = -Σ f·G·φ - Σ a·g_v·s + initial·Σ g_v(0);   ∂L/∂f(t) = -Σ θ·G·φ;   ∂L/∂a(t) = -Σ θ·g_v·s

Spikes are kept packed. What the way back needs of the membranes, x, is kept as float32, or computed again from the spikes
of the layers before (`recompute`): a sixteenth of the memory for another forward pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd import correlation as convolution
from nspike.autograd.tensor import Tensor
from nspike.contracts.neuron import Neuron
from nspike.engine.prepared import Prepared
from nspike.errors import PluginError
from nspike.graph.layer import Gate
from nspike.images.plane import UNIT
from nspike.integer.currents import gate_weights, image_current
from nspike.integer.rounding import IntegerNetwork
from nspike.runtime.buffers import give, take
from nspike.runtime.parallel import available, each
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.surrogate import Surrogate, values

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

PIXELS = 128
"""How many pixels go back through time at a time: their membranes and slopes fit the second-level cache."""
NO_TIME = "has a kernel of its own, which no gradient goes back through in time; it trains with the gradient 'rate'"


@dataclass(frozen=True)
class Frame:
    """What all layers of a run share.

    plane : int32 (N, H, W, C), the images on the input plane.
    timesteps : T. steps : with the post steps. pad : the border of packed spikes.
    surrogate : the derivative of the firing test. follow_reset : whether ∂L/∂s includes the reset, not detached.
    recompute : whether membranes are computed again for the way back.
    integers : the network, for neurons with a kernel of their own.
    """

    plane: NDArray[np.int32]
    timesteps: int
    steps: int
    pad: int
    surrogate: Surrogate
    follow_reset: bool = True
    recompute: bool = False
    integers: IntegerNetwork | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """N, H, W."""
        count, height, width, _ = self.plane.shape
        return count, height, width


@dataclass(frozen=True)
class LayerParameters:
    """The floats of one layer, as tensors.

    weight (C, C_in, k, k) float32, None for a gate; bias (C,) float32, None where there is none to train; θ =
    threshold·ratio, float64, threshold being (1,) or (C,); neuron : each parameter of its neuron, a trained one as a tensor.
    """

    weight: Tensor | None
    bias: Tensor | None
    threshold: Tensor
    ratio: Doubles
    neuron: Mapping[str, float | Tensor] = field(default_factory=dict)

    @property
    def theta(self) -> Doubles:
        """θ, float64 (C,)."""
        return np.asarray(self.ratio * self.threshold.data, np.float64)

    @property
    def values(self) -> dict[str, float]:
        """The neuron's parameters as numbers."""
        return {name: value.item() if isinstance(value, Tensor) else value for name, value in self.neuron.items()}

    @property
    def trained(self) -> dict[str, Tensor]:
        """The neuron's parameters that are trained."""
        return {name: value for name, value in self.neuron.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Course:
    """f (negative where silent) and a at every step, float64 (steps,), and v(0)/θ."""

    fires: Doubles
    amplitudes: Doubles
    initial: float


def course(neuron: Neuron, values: Mapping[str, float], timesteps: int, steps: int, *, silent: bool = False) -> Course:
    """The course of a declared neuron; `silent` if it never fires."""
    fires = np.array([neuron.fire(values, t, timesteps) for t in range(1, steps + 1)])
    fires[~np.isfinite(fires) | silent] = -1.0
    amplitudes = np.array([neuron.amplitude(values, t, timesteps) for t in range(1, steps + 1)])
    return Course(fires, amplitudes, neuron.initial(values))


def slopes(neuron: Neuron, values: Mapping[str, float], name: str, timesteps: int, steps: int) -> Course:
    """The derivative of a course with respect to the parameter `name`: differences of plain functions, within its range."""
    value, h = values[name], 1e-6 * max(1.0, abs(values[name]))
    own = next(parameter for parameter in neuron.parameters if parameter.name == name)
    above, below = min(value + h, own.high), max(value - h, own.low)
    width = 2 * h if (above, below) == (value + h, value - h) else above - below
    up, down = (course(neuron, {**values, name: end}, timesteps, steps) for end in (above, below))
    return Course(
        (up.fires - down.fires) / width,
        (up.amplitudes - down.amplitudes) / width,
        (up.initial - down.initial) / width,
    )


class SpikingLayer:
    """A stage over a batch: forward when made, `back` once afterwards.

    Parameters
    ----------
    prepared : the stage, laid out for the wide kernels.
    neuron : that fires in it. fires_until : the steps after which it is silent, for the output layer: T, or 0.
    parameters : its floats.
    sources : the spikes that it reads, none for the image, and for each the floats of the layer that fired them.
    source_neuron : that fired them.
    membranes : whether to keep v at the end, int32 (N, H, W, C).

    `train` holds its spikes. `parents` are the tensors that it depends on, in the order of what `back` returns.

    Raises PluginError for a neuron with a kernel of its own: that trains in a `nspike.trainable.rate_layer.RateLayer`.
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
        for used in (neuron, source_neuron):
            if used is not None and used.step is not None:
                raise PluginError(f"neuron {used.name} {NO_TIME}")
        self.prepared, self.frame, self.neuron, self.parameters = prepared, frame, neuron, parameters
        self.sources, self.source_neuron = tuple(sources), source_neuron
        self.stage = prepared.stage
        self.channels = self.stage.channels
        until = frame.steps if fires_until is None else fires_until
        self.course = course(neuron, parameters.values, frame.timesteps, frame.steps)
        self.course.fires[until:] = -1.0
        n, height, width = frame.shape
        pad, words = frame.pad, -(-self.channels // 64)
        kept = (n, height + 2 * pad, width + 2 * pad) if until else (n, 0, 0)
        self.train = SpikeTrain(np.zeros((*kept, frame.steps, words), np.uint64), self.channels, pad)
        self.v = np.empty((n, height, width, self.channels if membranes else 0), np.int32)
        self._gates: NDArray[np.int32] = np.zeros(0, np.int32)
        self._known = self._known_currents()
        self._trace = self._empty_trace(bool(until) and not frame.recompute)
        self._run(self.train.data, self.v, self._trace)

    @property
    def parents(self) -> list[Tensor]:
        """Spikes, kernel, bias, threshold, the neuron's parameters, those of the neurons that it reads."""
        p = self.parameters
        own = [tensor for tensor in (p.weight, p.bias, p.threshold) if tensor is not None]
        theirs = [tensor for _, _, tensor, _ in self._worthy()]
        return [*(train for train, _ in self.sources), *own, *p.trained.values(), *theirs]

    def _worthy(self) -> list[tuple[int, int, Tensor, Doubles]]:
        """What trains the worth of the spikes that are read: first and last channel, the tensor, ∂a/∂tensor (steps,)."""
        found: list[tuple[int, int, Tensor, Doubles]] = []
        if self.parameters.weight is None or self.source_neuron is None:
            return found
        first, frame = 0, self.frame
        for train, other in self.sources:
            for name, tensor in other.trained.items():
                slope = slopes(self.source_neuron, other.values, name, frame.timesteps, frame.steps).amplitudes
                if slope.any():
                    found.append((first, first + train.channels, tensor, slope))
            first += train.channels
        return found

    # ----- Forward -----

    def _known_currents(self) -> NDArray[np.int32] | None:
        """What the image gives, or spikes through a gate, int32 (1 or steps, N, H, W, C); None for a convolution of spikes."""
        integer, plane = self.stage.integer, self.frame.plane
        if isinstance(self.stage.layer, Gate):
            self._gates = gate_weights(plane, self.stage.gate, integer.exponent).astype(np.int32)
            train = self.sources[0][0]
            return np.stack([train.floats(t).astype(np.int32) * self._gates for t in range(self.frame.steps)])
        if self.sources:
            return None
        kernel = integer.weights[0].astype(np.float64)  # whole numbers, so that their sums are exact in any order
        total = convolution.convolve(plane.astype(np.float64), kernel, pad=self.prepared.radius)
        return np.asarray(image_current(total).astype(np.int32)[None])

    def _empty_trace(self, kept: bool) -> Floats:
        n, height, width = self.frame.shape
        return take((n, height, width, self.frame.steps, self.channels) if kept else (n, 0, 0, 0, 0))

    def _run(self, words: NDArray[np.uint64], v: NDArray[np.int32], trace: Floats) -> None:
        from nspike.kernels import through_time

        p, frame, known = self.prepared, self.frame, self._known
        _, height, _ = frame.shape
        scale = np.zeros(p.columns, np.float32)
        scale[: self.channels] = np.ldexp(1.0, -self.stage.integer.exponent)
        numbers = (frame.timesteps, p.bias, p.v0, p.threshold, p.reset, scale)
        read = np.zeros(0, np.uint64) if known is not None else self._read_words()

        def rows(_: int, first: int, last: int) -> None:
            for n in range(first // height, -(-last // height)):
                out = (words[n], frame.pad, v[n], trace[n], max(first - n * height, 0), min(last - n * height, height))
                if known is not None:
                    through_time.fire(np.ascontiguousarray(known[:, n]), *numbers, *out)
                else:
                    through_time.conv_fire(read[n], frame.pad - p.radius, p.size, p.weights, *numbers, *out)

        each(rows, frame.shape[0] * height)

    def _read_words(self) -> NDArray[np.uint64]:
        """The sources' spikes side by side, each on words of its own."""
        words = [train.data for train, _ in self.sources]
        return words[0] if len(words) == 1 else np.ascontiguousarray(np.concatenate(words, axis=4))

    # ----- Back -----

    def spread(self, counts: Doubles) -> Floats:
        """The gradient of the layer's spikes, given that of one more at any step up to T (N, H, W, C)."""
        spikes = np.zeros((self.frame.steps, *counts.shape), np.float32)
        spikes[: self.frame.timesteps] = counts
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
        """The gradients of `parents`.

        spikes : ∂L/∂s float32 (steps, N, H, W, C), which is used up, or None; added float32 (steps,), for all neurons.
        end : ∂L/∂v after the last step, float64 (N, H, W, C). charge : a gradient with respect to the input of every step,
        likewise. theta : one with respect to θ, float64 (C,), beside what spikes and membranes give.
        """
        p = self.parameters
        currents, sums, crossings, worths, start = self._back_in_time(spikes, added, end, charge)
        of_sources, of_kernel, of_worth = self._back_to_input(currents)
        give(currents)
        found: list[Any] = list(of_sources)
        if p.weight is not None:
            found.append(of_kernel)
        if p.bias is not None:
            found.append(sums[: self.frame.timesteps].sum(axis=0).astype(np.float32))
        found += self._back_to_neuron(crossings, worths, start, theta)
        return [*found, *of_worth]

    def _back_to_neuron(self, crossings: Doubles, worths: Doubles, start: Doubles, theta: Doubles | None) -> list[Any]:
        """The gradients with respect to the threshold and the neuron's parameters."""
        p, c = self.parameters, self.course
        fires = np.maximum(c.fires, 0.0)
        of_theta = c.initial * start - fires @ crossings - c.amplitudes @ worths
        if theta is not None:
            of_theta = of_theta + theta
        by_ratio = p.ratio * of_theta
        found: list[Any] = [by_ratio if p.threshold.size == by_ratio.size else by_ratio.sum(keepdims=True)]
        for name in p.trained:
            slope = slopes(self.neuron, p.values, name, self.frame.timesteps, self.frame.steps)
            per_channel = slope.initial * start - slope.fires @ crossings - slope.amplitudes @ worths
            theta = np.ldexp(self.stage.integer.theta.astype(np.float64), -self.stage.integer.exponent)
            found.append(np.asarray(per_channel @ theta))
        return found

    def _back_in_time(
        self, spikes: Floats | None, added: Floats | None, end: Doubles | None, charge: Doubles | None
    ) -> tuple[Floats, Doubles, Doubles, Doubles, Doubles]:
        """∂L/∂I float32 (steps, N, H, W, C); per step and channel Σ ∂L/∂I, Σ G·φ, Σ g_v·s; per channel Σ g_v(0)."""
        from nspike.kernels import through_time

        frame, channels, steps = self.frame, self.channels, self.frame.steps
        pixels = int(np.prod(frame.shape))
        currents = np.zeros((steps, pixels, channels), np.float32) if spikes is None else spikes
        currents = currents.reshape(steps, pixels, channels)  # changed in place
        g_v = np.zeros((pixels, channels), np.float32) if end is None else end.reshape(pixels, -1).astype(np.float32)
        more = np.zeros(steps, np.float32) if added is None else np.asarray(added, np.float32)
        totals = np.zeros((available(), 4, steps, channels))
        if self.course.fires.max() < 0:
            currents[:] = g_v
        else:
            trace = self._trace
            if not trace.size:
                trace = self._empty_trace(True)
                n = frame.shape[0]
                self._run(np.zeros((n, 0, 0, 0, 0), np.uint64), np.empty((n, 0, 0, 0), np.int32), trace)
            flat = trace.reshape(pixels, steps, channels)
            resets = np.ldexp(self.stage.reset.astype(np.float32), -self.stage.integer.exponent) * np.float32(
                frame.follow_reset
            )
            numbers = (self.course.fires.astype(np.float32), resets)

            def blocks(piece: int, first: int, last: int) -> None:
                scratch = np.empty((3, steps, channels), np.float32)
                sums, crossings, worths = totals[piece, :3]
                for at in range(first * PIXELS, min(last * PIXELS, pixels), PIXELS):
                    x = flat[at : at + PIXELS]
                    slope = values(frame.surrogate, x)
                    v = g_v[at : at + PIXELS]
                    through_time.backward(x, slope, currents, more, *numbers, v, sums, crossings, worths, scratch, at)

            each(blocks, -(-pixels // PIXELS))
            give(trace)
        self._trace = self._empty_trace(False)
        sums, crossings, worths, _ = totals.sum(axis=0)
        if charge is not None:
            currents += charge.reshape(pixels, -1).astype(np.float32)
        if charge is not None or self.course.fires.max() < 0:
            sums = currents.sum(axis=1, dtype=np.float64)
        return (
            currents.reshape(steps, *frame.shape, channels),
            sums,
            crossings,
            worths,
            g_v.sum(axis=0, dtype=np.float64),
        )

    def _back_to_input(self, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
        """The gradients with respect to the sources' spikes, the kernel, and the parameters of the sources' neurons."""
        frame, k = self.frame, self.stage.integer.exponent
        count = frame.timesteps
        if isinstance(self.stage.layer, Gate):
            gates = np.ldexp(self._gates.astype(np.float32), -k)
            return [(currents * gates, None)], None, []
        if not self.sources:
            total = currents[:count].sum(axis=0)
            image = (frame.plane / UNIT).astype(np.float32)
            return [], convolution.kernel_gradient(image, total, self.prepared.size, pad=self.prepared.radius), []
        one = len(self.stage.integer.weights) == 1 and not self._worthy()
        phases = [(0, frame.steps)] if one or count == frame.steps else [(0, count), (count, frame.steps)]
        channels = sum(train.channels for train, _ in self.sources)
        gradient = take((frame.steps, *frame.shape, channels) if len(phases) > 1 else (0,))
        products = []
        for phase, (first, last) in enumerate(phases):
            integer = self.stage.integer.weights[min(phase, len(self.stage.integer.weights) - 1)]
            kernel = np.ldexp(integer.astype(np.float32), -k[:, None, None, None])
            images = currents[first:last].reshape(-1, *currents.shape[2:])
            _, height, width = frame.shape
            found = convolution.input_gradient(images, kernel, height, width, pad=self.prepared.radius)
            found = found.reshape(last - first, *frame.shape, channels)
            if len(phases) == 1:
                gradient = found
            else:
                gradient[first:last] = found
                give(found)
            products.append(self._kernel_products(currents, first, last))
        ends = np.cumsum([train.channels for train, _ in self.sources])[:-1]
        parts = [gradient] if not len(ends) else [part.copy() for part in np.split(gradient, ends, axis=4)]
        of_kernel, of_worth = self._back_to_worth(products, [first for first, _ in phases])
        return [(part, None) for part in parts], of_kernel, of_worth

    def _back_to_worth(self, products: list[Floats], firsts: list[int]) -> tuple[Floats, list[Any]]:
        """∂L/∂W, and the gradients of what trains the worth of the spikes that are read."""
        assert self.parameters.weight is not None
        assert self.source_neuron is not None
        weight, frame = self.parameters.weight.data, self.frame
        of_kernel, at = np.zeros_like(weight), 0
        for train, other in self.sources:
            worth = course(self.source_neuron, other.values, frame.timesteps, frame.steps).amplitudes.astype(np.float32)
            part = np.s_[:, at : at + train.channels]
            at += train.channels
            for found, first in zip(products, firsts, strict=True):
                of_kernel[part] += worth[first] * found[part]
        of_worth = []
        for a, b, _, slope in self._worthy():
            along = [np.sum(weight[:, a:b] * found[:, a:b], dtype=np.float64) for found in products]
            of_worth.append(np.asarray(sum(slope[f] * w for f, w in zip(firsts, along, strict=True))))
        return of_kernel, of_worth

    def _kernel_products(self, currents: Floats, first: int, last: int) -> Floats:
        """Σ s_in ⋆ ∂L/∂I over steps first .. last-1, float32 (C, C_in, k, k)."""
        size, pad, trains = self.prepared.size, self.prepared.radius, [train for train, _ in self.sources]
        shape = (self.channels, sum(train.channels for train in trains), size, size)
        if len(trains) == 1 and convolution.winograd_serves(shape, currents.dtype, 1, pad):
            none, images = np.zeros(0, np.float32), currents[first:last].reshape(-1, *currents.shape[2:])
            return convolution.tile_products(none, trains[0].data, trains[0].pad, first, shape[1], images)
        total = np.zeros(shape, np.float32)
        for t in range(first, last):
            spikes = np.concatenate([train.floats(t) for train in trains], axis=3)
            total += convolution.kernel_gradient(spikes, currents[t], size, pad=pad)
        return total
