"""A whole spiking network that can be trained: a model's floats as tensors, its forward pass the engine's, spike for spike.

Every run rounds the floats anew by `nspike.integer.rounding`, so that what is trained is what will run. What is trained:
kernels and biases (normalised), a threshold for each layer or channel, the trainable parameters of the neurons, the head's
parameters.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron, Parameter
from nspike.engine.plan import is_plain
from nspike.engine.prepared import prepare
from nspike.errors import PluginError, UsageError, nearest
from nspike.graph.arrange import parts
from nspike.graph.layer import Driver
from nspike.graph.mode import restored
from nspike.graph.network import Network
from nspike.images.plane import UNIT
from nspike.integer.normalise import threshold_factors
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT, Model, Spiking, spiking_of
from nspike.trainable.course import slopes
from nspike.trainable.features import feature
from nspike.trainable.kinds import KINDS
from nspike.trainable.layer import KernelParameters, NeuronParameters, Shared
from nspike.trainable.rate_rule import RateRule
from nspike.trainable.readout import Readout
from nspike.trainable.rule import Rule
from nspike.trainable.running import Running
from nspike.trainable.spike_train import SpikeTrain, rate
from nspike.trainable.surrogate import Surrogate, find
from nspike.trainable.time_norm import NormedBatch, TimeNorm
from nspike.trainable.time_rule import TimeRule
from nspike.trainable.written import Written

LEAST_THRESHOLD = 0.05
GRADIENTS: Mapping[str, type[Rule]] = {"time": TimeRule, "rate": RateRule}
NO_TIME = "has a kernel of its own, which no gradient goes back through in time; it trains with the gradient 'rate'"


def check_gradient(name: str) -> None:
    """Raise UsageError for an unknown name of a gradient rule."""
    if name not in GRADIENTS:
        raise UsageError(f"there is no gradient {name!r}.{nearest(name, GRADIENTS)} Known: {', '.join(GRADIENTS)}")


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    restored : float64 (N, C, H, W), the images, not clipped. output : the network's, in units of the ANN's.
    rates : firing rate of each layer of neurons but the output, a number each. trains : its spikes.
    steps : what each step up to T alone would restore, float64 (T, N, C, H, W), if it was asked for.
    features : the mean over T of the layers that were asked for, float32 (N, C, h, w) (`nspike.trainable.features`).
    """

    restored: Tensor
    output: Tensor
    rates: Mapping[str, Tensor]
    trains: Mapping[str, SpikeTrain]
    steps: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)


class DifferentiableNetwork:
    """A model's network for training.

    Parameters
    ----------
    model : converted; batch norm folded.
    neuron, head : the objects that its names stand for.
    per : whether a layer trains one threshold, as in SpikingIR, or one for each channel.
    surrogate : a name or function, by default the neuron's own.
    follow_reset : whether gradients go through the reset too.
    recompute : whether membranes are computed again on the way back instead of kept.
    gradient : "time" goes back through every step (`nspike.trainable.time_rule`), "rate" through the rate alone
        (`nspike.trainable.rate_rule`), which serves neurons with a kernel of their own too, and trains no parameter of a
        neuron but its threshold. By default "time" for declared neurons, and "rate" for others.
    batch_norm : a batch, as `run` takes it, to start batch norm over time from (`nspike.trainable.time_norm`), which all
        convolutions then have whose currents neurons integrate, the network staying as it is; None for none. sigmas : the noise
        levels of that batch.
    normed : with `batch_norm`, the convolutions that have it instead, and how many of their channels, one after the other, share
        it; they start with γ = `gain` and β = 0, and other kernels over the image so large that their current is about as much.

    settled : whether batch norm runs on its frozen running means, as the exported network does, instead of the batch's.

    Raises ModelError for a model without a spiking form, PluginError for a head that says nothing of its gradient, and for
    "time" with a neuron that has a kernel of its own; UsageError for another gradient.
    """

    def __init__(
        self,
        model: Model,
        neuron: Neuron,
        head: Head,
        *,
        per: Literal["layer", "channel"] = "layer",
        surrogate: str | Surrogate | None = None,
        follow_reset: bool = True,
        recompute: bool = False,
        gradient: str | None = None,
        batch_norm: NDArray[np.int32] | None = None,
        sigmas: NDArray[np.float64] | None = None,
        normed: Mapping[str, int] | None = None,
        gain: float = 1.0,
    ) -> None:
        spiking = spiking_of(model)
        self.gradient = gradient or ("time" if neuron.step is None else "rate")
        check_gradient(self.gradient)
        if neuron.step is not None and self.gradient == "time":
            raise PluginError(f"neuron {neuron.name} {NO_TIME}")
        if head.gradient is None:
            raise PluginError(f"head {head.name} cannot be trained: it says nothing of its gradient")
        self.model, self.neuron, self.head = model, neuron, head
        self.surrogate = find(surrogate if surrogate is not None else neuron.surrogate)
        self.follow_reset, self.recompute = follow_reset, recompute
        initial = {**head.initial(model.network.channels), **spiking.head_parameters.get(head.name, {})}
        self._head = {name: Tensor(np.array(array, np.float64), requires_grad=True) for name, array in initial.items()}
        self._kernels = {driver.name: _kernel(model, driver) for driver in model.network.drivers}
        names = [*(activation.name for activation in model.network.activations), OUTPUT]
        self._neurons = {name: self._neuron_parameters(name, spiking, per) for name in names}
        self._norms: dict[str, TimeNorm] = {}
        self.settled = False
        if batch_norm is not None:
            self._start_norms(batch_norm, sigmas, normed, gain)

    def parameters(self) -> dict[str, Tensor]:
        """Everything that is trained, by name: CONV.weight, CONV.bias, LAYER.threshold, LAYER.beta, ..., and `head_parameters`.

        With batch norm also its statistics, which have no gradient.
        """
        trained: dict[str, Tensor | None] = {}
        kept: dict[str, Tensor] = {}
        for layer in self.model.network.layers:
            if layer.name in self._norms:
                own = {f"{layer.name}.{key}": tensor for key, tensor in self._norms[layer.name].tensors().items()}
                kept |= own
                trained |= own
            elif layer.name in self._kernels:
                kernel = self._kernels[layer.name]
                trained |= {f"{layer.name}.weight": kernel.weight, f"{layer.name}.bias": kernel.bias}
            if layer.name in self._neurons:
                trained |= self._of_neurons(layer.name)
        trained |= self._of_neurons(OUTPUT)
        trained |= self.head_parameters
        return {
            k: tensor for k, tensor in trained.items() if tensor is not None and (tensor.requires_grad or k in kept)
        }

    @property
    def head_parameters(self) -> dict[str, Tensor]:
        """What the head trains: head.weight, ..., or head_.weight where a layer of the network is called head."""
        layers, own = {layer.name for layer in self.model.network.layers}, "head"
        while own in layers:
            own += "_"
        return {f"{own}.{name}": tensor for name, tensor in self._head.items()}

    def _start_norms(
        self,
        plane: NDArray[np.int32],
        sigmas: NDArray[np.float64] | None,
        normed: Mapping[str, int] | None,
        gain: float,
    ) -> None:
        """Batch norm with the statistics of a batch, but not where only the output is made."""
        made = self._made(plane, sigmas)
        if normed is not None:
            self._scale_analog(made, normed, gain)
            norms = {name: TimeNorm(self._kernels[name], together) for name, together in normed.items() if name in made}
            self._norms = norms
            for norm in norms.values():
                norm.begin(gain)
            for _ in range(2):  # the first run's grids are those of kernels that nothing has scaled yet
                for name, written in self._made(plane, sigmas).items():
                    if written.norm is not None:
                        norms[name].follow(written.norm, 1.0)
            return
        norms = {
            conv.name: TimeNorm(self._kernels[conv.name]) for conv in self.model.network.convs if conv.name in made
        }
        for name, norm in norms.items():
            batch = NormedBatch(norm, spiking_of(self.model).timesteps)
            batch.normalised(made[name].currents(), made[name].integer)
            norm.keep(batch)
        self._norms = norms

    def _scale_analog(self, made: Mapping[str, Written], normed: Collection[str], wanted: float) -> None:
        """Scale kernels that read the image and have no batch norm, so that the mean square of their current is `wanted`²."""
        for name, written in made.items():
            weight = self._kernels[name].weight
            if weight is None or written.sources or name in normed:
                continue
            currents = np.ldexp(written.currents().astype(np.float64), -written.integer.exponent)
            size = np.sqrt(np.mean(np.square(currents)))
            weight.data = weight.data * np.float32(wanted / size if size > 0 else 1.0)

    def _made(self, plane: NDArray[np.int32], sigmas: NDArray[np.float64] | None) -> Mapping[str, Written]:
        """The convolutions and gates that the neurons of a batch read, after it has run."""
        running = self._running(plane, None, sigmas)
        for activation in self.model.network.activations:
            running.tensor(activation.name)
        return running.made

    def _folded(self) -> dict[str, KernelParameters]:
        """The kernels and biases that run, by layer."""
        return self._kernels | {name: norm.folded(self.settled) for name, norm in self._norms.items()}

    def _of_neurons(self, name: str) -> dict[str, Tensor | None]:
        floats = self._neurons[name]
        own: dict[str, Tensor | None] = {f"{name}.{key}": tensor for key, tensor in floats.trained.items()}
        return {f"{name}.threshold": floats.threshold, **own}

    def constrain(self) -> None:
        """Put every parameter back into its range: thresholds at least 0.05, the neurons' as declared."""
        ranges = {p.name: p for p in self.neuron.parameters}
        for floats in self._neurons.values():
            floats.threshold.data = np.maximum(floats.threshold.data, LEAST_THRESHOLD / floats.ratio.min())
            for name, tensor in floats.trained.items():
                low = ranges[name].low + (1e-3 if ranges[name].open_low else 0.0)
                tensor.data = np.clip(tensor.data, low, ranges[name].high)

    def to_model(self) -> Model:
        """The model with the current values of the trained parameters, batch norm folded."""
        return self._model_with(self._folded())

    def _model_with(self, kernels: Mapping[str, KernelParameters]) -> Model:
        spiking = self.model.spiking
        assert spiking is not None
        thresholds, values = dict(spiking.thresholds), {}
        weights, biases = dict(spiking.weights), dict(spiking.biases)
        for name, floats in self._neurons.items():
            thresholds[name] = floats.theta
            if name != OUTPUT:
                values[name] = floats.values
        for name, kernel in kernels.items():
            if kernel.weight is not None:
                weights[name] = kernel.weight.data.copy()
            if kernel.bias is not None:
                biases[name] = kernel.bias.data.copy()
        heads = {**spiking.head_parameters}
        if self._head:
            heads[self.head.name] = {name: tensor.data.copy() for name, tensor in self._head.items()}
        trained = replace(
            spiking,
            neuron=self.neuron.name,
            head=self.head.name,
            thresholds=thresholds,
            neuron_parameters={**spiking.neuron_parameters, self.neuron.name: values},
            head_parameters=heads,
            weights=weights,
            biases=biases,
        )
        return self.model.with_spiking(trained)

    @property
    def gives_steps(self) -> bool:
        """Whether `run` can say what each step alone would restore: a head without spikes, gradients through time."""
        return self.gradient == "time" and not self.head.fires

    def run(
        self,
        plane: NDArray[np.int32],
        *,
        sigmas: NDArray[np.float64] | None = None,
        steps: bool = False,
        taps: Collection[str] = (),
    ) -> Outcome:
        """Run a batch, int32 (N, C, H, W) on the input plane's grid 1/65535.

        sigmas : the noise level of each image, of 255, (N,), for a network that is told it; None for what the network says.
        steps : whether to give the steps; only if `gives_steps`. taps : the layers whose features to give.
        """
        network, rule = self.model.network, GRADIENTS[self.gradient]
        running = self._running(plane, rule, sigmas)
        integers = running.shared.integers
        trains: dict[str, SpikeTrain] = {a.name: running.tensor(a.name) for a in network.activations}
        last = Readout(rule(running.layer(OUTPUT), membranes=True), integers, self.head, self._head)
        output, at_steps = last.with_steps() if steps else (last.tensor(), None)
        features = {name: feature(running, self.model, name, self.gradient == "rate") for name in taps}
        for name, norm in running.norms.items():
            if (batch := running.made[name].norm) is not None:
                norm.follow(batch)
        if self.gradient == "time" and not self.recompute:
            running.free()
        image = Tensor(plane / UNIT)
        rates = {name: rate(train, integers.timesteps) for name, train in trains.items()}
        by_step = None if at_steps is None else restored(network.mode, image, at_steps)
        return Outcome(restored(network.mode, image, output), output, rates, trains, by_step, features)

    def spikes(
        self, plane: NDArray[np.int32], names: Collection[str], known: Mapping[str, SpikeTrain] | None = None
    ) -> dict[str, SpikeTrain]:
        """The spikes of the layers of neurons up to the last of `names`, for a batch; `known` ones are not run again."""
        running = self._running(plane, None)
        trains = dict(known or {})
        running.known |= trains
        for activation in self.model.network.activations:
            if set(names) <= set(trains):
                break
            trains[activation.name] = running.tensor(activation.name)
        return trains

    def currents(
        self, plane: NDArray[np.int32], name: str, known: Mapping[str, SpikeTrain] | None = None
    ) -> NDArray[np.float32]:
        """What arrives in activation `name` at each step, float32 (N, steps, C, H, W) in units of its current's scale.

        `known` layers are not run again. The image's current is there at each step up to T.
        """
        running = self._running(plane, None)
        running.known |= dict(known or {})
        layer, shared = running.layer(name), running.shared
        currents = layer.input.currents()
        unit = np.ldexp(np.float32(1), -layer.prepared.stage.integer.exponent)
        found = (currents * unit.astype(np.float32)).transpose(0, 1, 4, 2, 3)
        if found.shape[1] == 1:
            found = np.repeat(found, shared.steps, axis=1)
            found[:, shared.timesteps :] = 0
        return np.ascontiguousarray(found)

    def _running(
        self, plane: NDArray[np.int32], rule: type[Rule] | None, sigmas: NDArray[np.float64] | None = None
    ) -> Running:
        """The network as it is now, rounded, before a batch runs."""
        kernels = self._folded()
        model = self._model_with(kernels)
        integers = build(model, self.neuron, self.head)
        plain = frozenset(s.name for s in integers.stages if s.fused and s.sources and is_plain(s, integers.network))
        prepared = prepare(integers, {stage.name: "wide" for stage in integers.stages}, plain)
        shared = Shared(
            plane=np.ascontiguousarray(plane.transpose(0, 2, 3, 1), np.int32),
            timesteps=integers.timesteps,
            steps=integers.steps,
            pad=max((prepared[name].radius for name in plain), default=0),
            surrogate=self.surrogate,
            integers=integers,
            follow_reset=self.follow_reset,
            recompute=self.recompute,
            sigmas=sigmas,
        )
        assert model.spiking is not None
        return Running(
            shared=shared,
            prepared=prepared,
            plain=plain,
            kernels=kernels,
            neurons=self._neurons,
            factors=threshold_factors(model.network, model.spiking),
            output_fires_until=shared.timesteps if self.head.fires else 0,
            rule=rule,
            norms={} if self.settled else self._norms,
        )

    def _neuron_parameters(self, name: str, spiking: Spiking, per: str) -> NeuronParameters:
        theta = np.asarray(spiking.thresholds[name], np.float64)
        one = np.array([theta.mean()]) if per == "layer" else theta.copy()
        threshold = Tensor(one, requires_grad=name != OUTPUT or self.head.fires)
        values: dict[str, float | Tensor] = {}
        if name != OUTPUT:
            given = spiking.neuron_parameters.get(self.neuron.name, {}).get(name, {})
            numbers = self.neuron.values(given)
            values.update(numbers)
            for parameter in self.neuron.parameters:
                trains = may_train(self.model.network, self.neuron, name, parameter, numbers, spiking.timesteps)
                if trains and self.gradient == "time":
                    values[parameter.name] = Tensor(np.float64(numbers[parameter.name]), requires_grad=True)
        return NeuronParameters(threshold, theta / one, values)


def _kernel(model: Model, driver: Driver) -> KernelParameters:
    return KernelParameters(*KINDS[type(driver)].floats(model, driver.name))


def may_train(
    network: Network, neuron: Neuron, activation: str, parameter: Parameter, values: Mapping[str, float], timesteps: int
) -> bool:
    """Whether a parameter of the neurons of `activation`, which has `values`, is trained.

    Not what a spike is worth, where a gate reads it; nor where it is moved among others' spikes.
    """
    if not parameter.trainable:
        return False
    readers = network.consumers(activation)
    if not (
        any(KINDS[type(reader)].WORTH_IS_FIXED for reader in readers)
        or any(activation not in parts(network, reader.name) for reader in readers)
    ):
        return True
    steps = timesteps + neuron.post_steps
    return not slopes(neuron, values, parameter.name, timesteps, steps).amplitudes.any()
