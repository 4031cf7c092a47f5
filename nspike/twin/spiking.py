"""A spiking network as a PyTorch module: its forward pass the integers that the engine runs, its gradients those of the floats.

Every pass rounds the parameters by `nspike.integer.rounding`, in training anew each time, and simulates w_int·2^-k in float64.
Those numbers are dyadic and far below 2^53, so that sums are exact; where a library's convolution is not (FFT, Winograd), its
result is rounded to the grid, on which the true one lies. So spikes are the engine's on every device. Rounding is passed
straight through, the firing test has a surrogate derivative (`nspike.trainable.surrogate`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nspike.contracts.head import OutputLayer
from nspike.errors import BadInputError, PluginError
from nspike.graph.arrange import parts
from nspike.graph.layer import IMAGE, Activation, Add, Constant, Conv, Gate, Layer
from nspike.graph.mode import restored
from nspike.graph.values import values
from nspike.images.plane import LIMIT, UNIT
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.normalise import threshold_factors
from nspike.integer.rounding import IntegerNetwork, Stage, build, given_values
from nspike.integer.spike_channels import Inputs, inputs
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT, Model, spiking_of
from nspike.registry.parts import head_of, neuron_of
from nspike.trainable.course import FloatCourse, course, slopes
from nspike.trainable.surrogate import Surrogate, find
from nspike.twin.modules import SAME, Twin, constant, correlate, through
from nspike.twin.neurons import Cells


@dataclass(frozen=True)
class Outcome:
    """What a pass gave.

    restored : (N, C, H, W), the images, not clipped. output : the network's, float64, in units of the ANN's.
    rates : the firing rate of each layer of neurons but the output, a number each, with a gradient.
    spikes : layer, `OUTPUT` included where it fires -> 0 or 1, (steps, N, planes·C, H, W).
    """

    restored: Any
    output: Any
    rates: Mapping[str, Any]
    spikes: Mapping[str, Any]


class SpikingTwin(Twin):
    """A converted model's spiking network.

    Parameters
    ----------
    model : with a spiking form, of a declared neuron.
    surrogate : a name or function, by default the neuron's own.
    follow_reset : whether gradients go through the reset too.
    dtype : what is computed in. In float32 it is faster on most GPUs, and rounding may change a spike now and then.

    Raises PluginError for a neuron with a kernel of its own, ModelError as `nspike.integer.rounding.build` does.
    """

    def __init__(
        self,
        model: Model,
        *,
        surrogate: str | Surrogate | None = None,
        follow_reset: bool = True,
        dtype: Any = torch.float64,
    ) -> None:
        self.neuron, self.spiking_head = neuron_of(model), head_of(model)
        if self.neuron.step is not None:
            raise PluginError(
                f"neuron {self.neuron.name} has a kernel of its own, which PyTorch cannot run; take a declared neuron"
            )
        super().__init__(model, "spiking")
        self.surrogate = find(surrogate if surrogate is not None else self.neuron.surrogate)
        self.follow_reset, self.dtype = follow_reset, dtype
        self._kept: tuple[Any, Model, IntegerNetwork] | None = None

    def forward(self, images: Any, sigma: Any = None) -> Any:
        """The restored images, not clipped, in the type of the input.

        images : floats (N, C, H, W), black 0 and white 1, with sides that the network's `size_multiple` divides.
        sigma : the noise level, of 255, one or (N,), for a network that is told it; by default what it was made with.
        """
        return self.run(images, sigma).restored

    def run(self, images: Any, sigma: Any = None) -> Outcome:
        """As `forward`, with everything else that a pass gives."""
        plane = torch.round(self.image(images).to(self.dtype) * UNIT)
        if not bool((plane.abs() <= LIMIT * UNIT).all()):
            raise BadInputError(
                f"images have black 0 and white 1, at most {LIMIT} in magnitude and finite; are these on a scale of 255?"
            )
        return _Pass(self, plane, sigma).run(images.dtype)

    def train(self, mode: bool = True) -> Any:
        """As of any module; the parameters are rounded anew at the next pass."""
        self._kept = None
        return super().train(mode)

    def rounded(self) -> tuple[Model, IntegerNetwork]:
        """The model as it is now, and its integers. In evaluation they are kept until a parameter changes."""
        self.constrain()
        key = [(id(p), p._version) for p in self.parameters()]
        if self.training or self._kept is None or self._kept[0] != key:
            model = self.to_model()
            self._kept = (key, model, build(model, self.neuron, self.spiking_head))
        return self._kept[1], self._kept[2]


class _Pass:
    """One pass. Spikes and currents are (steps, N, C, H, W), what is like the image (N, C, H, W)."""

    def __init__(self, twin: SpikingTwin, plane: Any, sigma: Any) -> None:
        self.twin, self.plane, self.sigma = twin, plane, sigma
        self.model, self.integers = twin.rounded()
        self.network = self.model.network
        self.carries = values(self.network.layers)
        self.drivers: dict[str, Stage | Writer] = {w.name: w for w in self.integers.writers}
        self.drivers |= {stage.layer.name: stage for stage in self.integers.stages if stage.fused}
        self.factors = threshold_factors(self.network, spiking_of(self.model))
        self.courses: dict[str, FloatCourse] = {}
        self.spikes: dict[str, Any] = {}

    def run(self, dtype: Any) -> Outcome:
        known = {IMAGE: self.plane / UNIT}
        last = {source: layer.name for layer in self.network.layers for source in layer.sources}
        for layer in self.network.layers:
            read = [known[source] for source in layer.sources]
            known[layer.name] = LAYERS[type(layer)](self, layer, read)
            for source in {source for source in layer.sources if last[source] == layer.name} - {IMAGE}:
                del known[source]
        output = self._head(known[self.network.output])
        image = known[IMAGE]
        rates = {name: self._rate(name) for name in self.spikes if name != OUTPUT}
        whole = restored(self.network.mode, image, output)
        return Outcome(whole.to(dtype), output, rates, self.spikes)

    def _rate(self, name: str) -> Any:
        """The mean number of spikes of a neuron at a step up to T."""
        spikes = self.spikes[name][: self.integers.timesteps]
        return spikes.mean() * (spikes.shape[2] / self.network.widths[name])

    def tensor(self, array: Any) -> Any:
        """An array as a tensor to compute with."""
        return torch.as_tensor(np.asarray(array), dtype=self.twin.dtype, device=self.plane.device)

    def neurons(self, layer: Activation, read: list[Any]) -> Any:
        """The spikes of a layer of neurons."""
        self.spikes[layer.name], _ = self._cells(self.integers.stage(layer.name)).run(read[0])
        return self.spikes[layer.name]

    def constant(self, layer: Constant, read: list[Any]) -> Any:
        """Planes on the grid of the image."""
        return torch.round(constant(layer, read[0], self.sigma) * UNIT) / UNIT

    def moved(self, layer: Any, read: list[Any]) -> Any:
        """Currents, spikes or what is like the image, moved, joined, averaged or enlarged."""
        if self.carries[layer.name] == "image":
            return SAME[type(layer)](layer, read)
        if len(layer.sources) > 1:
            return torch.cat(read, 2)  # of spikes: part after part, each with its planes
        x, planes = read[0], 1
        if self.carries[layer.name] == "spikes":
            x, planes = self._plane_major(layer, x)
        steps, count, channels = x.shape[:3]
        y = SAME[type(layer)](layer, [x.reshape(steps * count * planes, channels // planes, *x.shape[3:])])
        return y.reshape(steps, count, planes * y.shape[1], *y.shape[2:])

    def _plane_major(self, layer: Any, x: Any) -> tuple[Any, int]:
        """The spikes that a layer moves with the planes of all parts of a concatenation together, and how many planes."""
        planes = len(self.integers.planes(layer.name))
        widths = [planes * self.network.widths[part] for part in parts(self.network, layer.name)]
        split = [part.unflatten(2, (planes, -1)) for part in x.split(widths, 2)]
        return torch.cat(split, 3).flatten(2, 3), planes

    # ----- Currents -----

    def _numbers(self, name: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Of a convolution or gate the kernel (phases, C, I, k, k) and bias in whole numbers, and its channels' units (C,)."""
        part = self.drivers[name]
        if isinstance(part, Writer):
            return part.weights, part.bias, np.ldexp(1.0, -part.exponent)
        return part.integer.weights, part.integer.bias, np.ldexp(1.0, -part.integer.exponent)

    def _bias(self, name: str, bias: NDArray[Any], unit: NDArray[Any]) -> Any:
        exact = self.tensor(bias * unit)
        own = self.twin.layers[name.replace(".", "/")] if name in self._convs() else None
        if own is not None and hasattr(own, "bias"):
            exact = through(exact, own.bias.to(exact.dtype))
        return exact[:, None, None]

    def _convs(self) -> set[str]:
        return {conv.name for conv in self.network.convs}

    def _until(self, currents: Any, more: Any) -> Any:
        """Currents with what is added to those of the steps up to T."""
        timesteps = self.integers.timesteps
        return (
            torch.cat([currents[:timesteps] + more, currents[timesteps:]])
            if len(currents) > timesteps
            else currents + more
        )

    def conv(self, conv: Conv, read: list[Any]) -> Any:
        """The current of a convolution."""
        x = read[0]
        kernel, bias, unit = self._numbers(conv.name)
        smooth = self.twin.layers[conv.name.replace(".", "/")].weight.to(self.twin.dtype)
        more = self._bias(conv.name, bias, unit)
        if self.carries.get(conv.source, "image") == "image":
            return self._of_image(conv, x, kernel[0], smooth, unit, more)
        timesteps = self.integers.timesteps
        spread = inputs(self.network, conv.name, conv.groups, self.integers.planes)
        phases = [slice(None)] if len(kernel) == 1 else [slice(0, timesteps), slice(timesteps, None)]
        grid, out = self.tensor(unit)[:, None, None], []
        for phase, whole in zip(phases, kernel, strict=True):
            spikes = x[phase]
            exact = self.tensor(whole * unit[:, None, None, None])
            folded = through(exact, self._folded(conv, smooth, spread, phase.stop is None and len(kernel) > 1))
            places = torch.as_tensor(spread.places.ravel(), device=spikes.device)
            if not np.array_equal(spread.places.ravel(), np.arange(spikes.shape[2])):
                spikes = spikes.index_select(2, places)
            current = correlate(conv, spikes.flatten(0, 1), folded)
            current = through(torch.round(current.detach() / grid) * grid, current)
            out.append(current.unflatten(0, (-1, x.shape[1])))
        return self._until(torch.cat(out) if len(out) > 1 else out[0], more)

    def _of_image(self, conv: Conv, x: Any, whole: NDArray[Any], smooth: Any, unit: NDArray[Any], more: Any) -> Any:
        """The current of what is like the image, the same at every step up to T, rounded once."""
        with torch.no_grad():
            sums = torch.round(correlate(conv, torch.round(x * UNIT), self.tensor(whole)))
            exact = torch.round(sums / UNIT) * self.tensor(unit)[:, None, None]
        current = through(exact, correlate(conv, x, smooth)) if torch.is_grad_enabled() else exact
        steps, timesteps = self.integers.steps, self.integers.timesteps
        arriving = (current + more).expand(timesteps, *current.shape)
        if steps == timesteps:
            return arriving
        return torch.cat([arriving, torch.zeros_like(current).expand(steps - timesteps, *current.shape)])

    def _folded(self, conv: Conv, smooth: Any, read: Inputs, post: bool) -> Any:
        """The kernel of a phase before rounding: (C, I, k, k), with what spikes are worth and their planes' gains."""
        step = self.integers.timesteps if post else 0
        worth = torch.stack([self._amplitude(part, step) for part in read.parts])
        rows = []
        for group, kernel in enumerate(smooth.chunk(conv.groups)):
            local = torch.as_tensor(
                read.channels[group] - group * conv.in_channels // conv.groups, device=kernel.device
            )
            part = torch.as_tensor(read.part[group], device=kernel.device)
            each = worth[part] * self.tensor(read.gains[group])
            rows.append(kernel[:, local] * each[:, None, None])
        return torch.cat(rows)

    def _amplitude(self, part: str, step: int) -> Any:
        """What a spike of some spikes is worth at a step, from 0."""
        names = {activation.name for activation in self.network.activations}
        name = part if part in names else self.network.activations_into(part)[0].name
        return self._follow(name, lambda c: c.amplitudes[step])

    def _fires(self, name: str, step: int) -> Any:
        """The threshold as a fraction of θ at a step, from 0."""
        return self._follow(name, lambda c: c.fires[step])

    def gate(self, gate: Gate, read: list[Any]) -> Any:
        """The current of a gate: each spike worth what its pixel says."""
        _, bias, unit = self._numbers(gate.name)
        each = (self.plane / UNIT - 1.0) * self.tensor(self.drivers[gate.name].gate)[:, None, None]
        grid = self.tensor(unit)[:, None, None]
        return self._until(
            self._counted(gate, read[0]) * (torch.round(each / grid) * grid), self._bias(gate.name, bias, unit)
        )

    def _counted(self, gate: Gate, spikes: Any) -> Any:
        """n of each neuron that a gate reads: its spikes of all planes, each as often as its gain says."""
        widths = [(self.integers.planes(part), self.network.widths[part]) for part in parts(self.network, gate.name)]
        found = []
        for part, (gains, _) in zip(spikes.split([len(g) * n for g, n in widths], 2), widths, strict=True):
            found.append(sum(gain * one for gain, one in zip(gains, part.chunk(len(gains), 2), strict=True)))
        return torch.cat(found, 2)

    # ----- Neurons -----

    def _course(self, name: str) -> FloatCourse:
        """The course of the neurons of an activation."""
        if name not in self.courses:
            stage = self.integers.stage(name)
            own = self._values(stage)
            self.courses[name] = course(stage.neuron, own, self.integers.timesteps, self.integers.steps)
        return self.courses[name]

    def _values(self, stage: Stage) -> dict[str, float]:
        return stage.neuron.values(given_values(spiking_of(self.model), stage.neuron, stage.name))

    def _follow(self, name: str, of: Callable[[FloatCourse], Any]) -> Any:
        """A number of a neuron's course, with its gradient in the parameters that are trained."""
        value, stage = self.tensor(of(self._course(name))), self.integers.stage(name)
        if not torch.is_grad_enabled():
            return value
        slots = [s for s in self.twin.slots if s.layer == name and s.name in {p.name for p in stage.neuron.parameters}]
        for slot in slots:
            bent = slopes(stage.neuron, self._values(stage), slot.name, self.integers.timesteps, self.integers.steps)
            trained = self.twin._tensor(slot).to(value.dtype)
            value = value + self.tensor(of(bent)) * (trained - trained.detach())
        return value

    def _cells(self, stage: Stage) -> Cells:
        """The neurons of a stage, in numbers with gradients."""
        name, fires_at_all = stage.name, stage.name != OUTPUT or self.integers.head.fires
        unit, factor = np.ldexp(1.0, -stage.integer.exponent), self.tensor(self.factors[name])
        own = self.twin.layers[name.replace(".", "/")] if fires_at_all else None
        theta = self.tensor(stage.integer.theta * unit)
        if own is not None:
            theta = through(theta, own.threshold.to(theta.dtype) * factor)
        start, thresholds, resets = self.tensor(stage.v0 * unit), list[Any](), list[Any]()
        if name != OUTPUT:
            start = through(start, self._follow(name, lambda c: c.initial) * theta)
        for t in range(self.integers.steps):
            if np.all(stage.threshold[t] == NEVER_FIRES):
                thresholds.append(None)
                resets.append(None)
                continue
            f, a = (1.0, 1.0) if name == OUTPUT else (self._fires(name, t), self._amplitude(name, t))
            thresholds.append(through(self.tensor(stage.threshold[t] * unit), f * theta)[:, None, None])
            resets.append(through(self.tensor(stage.reset[t] * unit), a * theta)[:, None, None])
        argument = theta.detach() if stage.neuron.surrogate_unit == "threshold" else factor
        return Cells(
            start[:, None, None],
            thresholds,
            resets,
            stage.dynamics,
            1.0 if name == OUTPUT else self._follow(name, lambda c: c.keep),
            self.tensor(unit)[:, None, None],
            argument[:, None, None],
            self.twin.surrogate,
            self.twin.follow_reset,
        )

    # ----- The head -----

    def _head(self, currents: Any) -> Any:
        """What the head makes of the output layer, in units of the ANN's output."""
        stage, head = self.integers.stages[-1], self.integers.head
        charge = currents.sum(0)
        spikes = residual = torch.zeros_like(charge)
        theta = self.tensor(np.ldexp(stage.integer.theta.astype(np.float64), -stage.integer.exponent))
        if head.fires:
            cells = self._cells(stage)
            self.spikes[OUTPUT], v = cells.run(currents)
            spikes, residual = self.spikes[OUTPUT].sum(0), v - cells.v0
            own = self.twin.layers[OUTPUT].threshold.to(theta.dtype)
            theta = through(theta, own * self.tensor(self.factors[OUTPUT]))
        slots = [slot for slot in self.twin.slots if not slot.layer]
        tensors = [self.twin._tensor(slot) for slot in slots]
        names = [slot.name for slot in slots]
        read = _Read.apply(self.integers, names, charge, spikes, residual, theta, *tensors)
        return read * self.tensor(self.integers.output_scale)[:, None, None]


LAYERS: Mapping[type[Layer], Callable[[_Pass, Any, list[Any]], Any]] = {
    Activation: _Pass.neurons,
    Conv: _Pass.conv,
    Gate: _Pass.gate,
    Add: lambda run, layer, read: sum(read),
    Constant: _Pass.constant,
    **dict.fromkeys(SAME, _Pass.moved),
}
"""(the pass, the layer, what it reads) -> its value, for each kind that a spiking network may have."""


class _Read(torch.autograd.Function):
    """A head's `read` and `gradient`, image by image, in NumPy.

    Of charge, spikes and residual (N, C, H, W), θ (C,), and the head's parameters.
    """

    @staticmethod
    def forward(ctx: Any, integers: IntegerNetwork, names: list[str], *tensors: Any) -> Any:
        charge, spikes, residual, _, *arrays = (tensor.detach().cpu().numpy() for tensor in tensors)
        stage, head = integers.stages[-1], integers.head
        k, theta = stage.integer.exponent, stage.integer.theta.astype(np.int64)
        grid = k[:, None, None]

        def whole(values: NDArray[Any], kind: type) -> NDArray[Any]:
            return np.rint(np.ldexp(values.astype(np.float64), grid)).astype(kind)

        left = np.clip(whole(residual, np.int64), -(2**31), 2**31 - 1).astype(np.int32)
        q, count = whole(charge, np.int64), spikes.astype(np.int32)
        numbers = {name: np.asarray(array, np.float64) for name, array in zip(names, arrays, strict=True)}
        seen = [
            OutputLayer(q[n], count[n], left[n], theta, k.astype(np.int64), integers.timesteps) for n in range(len(q))
        ]
        ctx.head, ctx.seen, ctx.numbers, ctx.names = head, seen, numbers, names
        ctx.save_for_backward(*tensors)
        read = np.stack([np.asarray(head.read(one, numbers), np.float64) for one in seen])
        return torch.as_tensor(read, dtype=tensors[0].dtype, device=tensors[0].device)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        if ctx.head.gradient is None:
            raise PluginError(f"head {ctx.head.name} cannot be trained: it says nothing of its gradient")
        arrays = g.detach().cpu().numpy().astype(np.float64)
        each = [ctx.head.gradient(one, ctx.numbers, arrays[n]) for n, one in enumerate(ctx.seen)]
        saved, out = ctx.saved_tensors, list[Any]()
        for i, name in enumerate(["charge", "spikes", "residual", "theta", *ctx.names]):
            if name not in each[0]:
                out.append(None)
                continue
            of_images = [one[name] for one in each]
            whole = np.stack(of_images) if i < 3 else np.sum(of_images, axis=0)
            out.append(torch.as_tensor(whole, dtype=saved[i].dtype, device=saved[i].device))
        return None, None, *out
