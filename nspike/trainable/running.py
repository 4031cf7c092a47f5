"""A batch through a spiking network, tensor by tensor as they are asked for: what each kind of layer gives.

The image and what is like it are int32 (N, H, W, C), spikes are `SpikeTrain`s, currents `Current`s. A convolution or gate that
is part of a layer of neurons has no current of its own, and a concatenation of spikes stands for its parts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from nspike.autograd.tensor import attach
from nspike.contracts.neuron import Neuron
from nspike.engine.prepared import Prepared
from nspike.graph.arrange import parts
from nspike.graph.geometry import Role, geometry
from nspike.graph.layer import IMAGE, Layer
from nspike.graph.values import Value, values
from nspike.images.plane import UNIT
from nspike.integer.rounding import Stage
from nspike.integer.spike_channels import inputs
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT
from nspike.trainable import current as currents
from nspike.trainable import layer as layers
from nspike.trainable.course import course
from nspike.trainable.current import Current, GivenInput, joined
from nspike.trainable.forward import Forward
from nspike.trainable.kinds import KINDS
from nspike.trainable.layer import Doubles, Ints, KernelParameters, NeuronParameters, Shared
from nspike.trainable.moving import moved, moved_back, moved_train
from nspike.trainable.noise_map import planes
from nspike.trainable.rule import Rule
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.time_norm import NormedBatch, TimeNorm
from nspike.trainable.written import Source, Written


@dataclass
class Running:
    """A network while a batch runs.

    Parameters
    ----------
    shared : the input and settings; its integers are the network.
    prepared : the stages by name, those in `plain` with weights for the kernels of plain convolutions.
    kernels : of each convolution and gate by name. neurons : of each activation, and `OUTPUT`.
    factors : λ/λ_current of each layer of neurons.
    output_fires_until : the steps after which the output layer is silent.
    rule : how gradients go back; None for a forward pass alone.
    norms : the batch norms that take the batch's own statistics, by convolution.
    known : the tensors so far, by name. made : the convolutions and gates that have run, or are about to.
    """

    shared: Shared
    prepared: Mapping[str, Prepared]
    plain: frozenset[str]
    kernels: Mapping[str, KernelParameters]
    neurons: Mapping[str, NeuronParameters]
    factors: Mapping[str, Doubles]
    output_fires_until: int
    rule: type[Rule] | None
    norms: Mapping[str, TimeNorm] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Written] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = self.shared.integers.network
        self.carries: Mapping[str, Value] = values(self.network.layers)
        self.shapes = self.network.shapes(*self.shared.plane.shape[1:3])
        self.known.setdefault(IMAGE, self.shared.plane)

    def tensor(self, name: str) -> Any:
        """The tensor of layer `name`, or the image."""
        if name not in self.known:
            layer = self.network.layer(name)
            self.known[name] = MAKE[geometry(layer).role](self, layer)
        return self.known[name]

    def layer(self, name: str) -> layers.Layer:
        """The layer of neurons of activation `name`, or `OUTPUT`, before it runs."""
        stage = self.shared.integers.stage(name)
        last = name == OUTPUT
        steps, timesteps = self.shared.steps, self.shared.timesteps
        source: layers.Input
        if stage.fused:
            source = self.written(stage, name in self.plain)
        else:
            source = GivenInput(self.tensor(stage.layer.name), stage.integer.exponent, timesteps)
        return layers.Layer(
            prepared=self.prepared[name],
            shared=self.shared,
            neuron=stage.neuron,
            parameters=self.neurons[name],
            input=source,
            fires_until=self.output_fires_until if last else steps,
            factor=self.factors[name],
        )

    def written(self, part: Stage | Writer, plain: bool = False) -> Written:
        """A convolution or gate before it runs."""
        (read,) = part.layer.sources
        gains = self.shared.integers.planes
        groups = next((conv.groups for conv in self.network.convs if conv.name == part.layer.name), 1)
        norm = self.norms.get(part.layer.name)
        made = self.made[part.layer.name] = Written(
            kind=KINDS[type(part.layer)],
            part=part,
            shared=self.shared,
            parameters=self.kernels[part.layer.name],
            sources=tuple(self._source(name) for name in part.sources),
            image=self.shared.plane if part.sources else self.tensor(read),
            size=self.shapes[part.layer.name][1:],
            inputs=inputs(self.network, part.layer.name, groups, gains) if part.sources else None,
            fast=plain and norm is None,
            norm=None if norm is None else NormedBatch(norm, self.shared.timesteps),
        )
        return made

    def _source(self, name: str) -> Source:
        """Spikes, perhaps moved: then all that they come from have the same amplitudes, none of which is trained."""
        train: SpikeTrain = self.tensor(name)
        own = name if name in self.neurons else self.network.activations_into(name)[0].name
        parameters = self.neurons[own]
        neuron: Neuron = self.shared.integers.stage(own).neuron
        return Source(train, neuron, parameters.values, parameters.trained if own == name else {})

    def worth(self, name: str) -> Doubles:
        """What a spike of activation `name` is worth at each step, float64 (steps,)."""
        own: Neuron = self.shared.integers.stage(name).neuron
        return course(own, self.neurons[name].values, self.shared.timesteps, self.shared.steps).amplitudes

    def free(self) -> None:
        """Forget the numbers of currents, which gradients through time do not ask for."""
        for tensor in self.known.values():
            if isinstance(tensor, Current):
                tensor.data = np.zeros((0,) * 5, np.int32)


def _neurons(run: Running, layer: Layer) -> SpikeTrain:
    own = run.layer(layer.name)
    if run.rule is None:
        return Forward(own).train
    rule = run.rule(own)
    attach(rule.train, rule.parents, partial(_back, rule))
    return rule.train


def _back(rule: Rule, gradient: tuple[Any, Any]) -> list[Any]:
    """The gradients of a layer's parents from the pair that a `SpikeTrain` has as its gradient."""
    return rule.back(*gradient)


def _current(run: Running, layer: Layer) -> Current:
    written = run.written(run.shared.integers.writer(layer.name))
    made, rule, timesteps = Current(written.currents()), run.rule, run.shared.timesteps
    if rule is not None:
        attach(made, written.parents, lambda g: rule.back_to_input(written, g, timesteps))
    return made


def _linear(run: Running, layer: Layer) -> Current:
    read = [run.tensor(source) for source in layer.sources]
    made = Current(currents.FORWARD[type(layer)](layer, _joined(run, layer, read)))
    return attached(run, made, read, lambda g: currents.BACK[type(layer)](layer, g))


def _joined(run: Running, layer: Layer, read: list[Current]) -> list[Ints]:
    shifts = [run.shared.integers.shifts.get((layer.name, source)) for source in layer.sources]
    return joined([each.data for each in read], shifts, run.shared.timesteps, run.shared.steps)


def attached(run: Running, made: Current, read: list[Current], back: Callable[[Any], list[Any]]) -> Current:
    """A current with its gradient, if any is wanted."""
    return made if run.rule is None else attach(made, read, back)  # type: ignore[return-value]


def _arranged_current(run: Running, layer: Layer) -> Current:
    read = [run.tensor(source) for source in layer.sources]
    widths = [run.network.widths[source] for source in layer.sources]
    made = Current(moved(layer, _joined(run, layer, read)))
    return attached(run, made, read, lambda g: moved_back(layer, g, widths))


def _arranged_spikes(run: Running, layer: Layer) -> SpikeTrain:
    return moved_train(run.network, layer, [run.tensor(part) for part in parts(run.network, layer.name)])


def _arranged_image(run: Running, layer: Layer) -> Ints:
    return moved(layer, [run.tensor(source) for source in layer.sources])


ARRANGE: Mapping[str, Callable[[Running, Layer], Any]] = {
    "image": _arranged_image,
    "spikes": _arranged_spikes,
    "current": _arranged_current,
}
"""What an arranging layer makes of what it reads."""


def _constant(run: Running, layer: Any) -> Ints:
    (source,) = layer.sources
    read = run.tensor(source)
    told = np.rint(planes(layer, len(read), run.shared.sigmas) * UNIT).astype(np.int32)
    return np.ascontiguousarray(np.broadcast_to(told[:, None, None], (*read.shape[:3], told.shape[1])))


MAKE: Mapping[Role, Callable[[Running, Any], Any]] = {
    "neurons": _neurons,
    "current": _current,
    "linear": _linear,
    "arrange": lambda run, layer: ARRANGE[run.carries[layer.name]](run, layer),
    "constant": _constant,
}
"""How the tensors of layers of each role are made."""
