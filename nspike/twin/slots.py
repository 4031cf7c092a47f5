"""What a twin trains, by its key in the state dict, with its value in the model; and a model with other values.

    spiking   layers.CONV.weight, .bias    normalised, float32; layers.LAYER.threshold float64 (C,) in units of λ, and
              layers.LAYER.NAME            of each trained parameter of its neurons, float64; head.NAME float64
    plain     layers.LAYER.NAME            as in a model, float32; layers.ACTIVATION.ceiling float32 where there is one

A value that is equal to that of the model leaves the model as it is, so that a network which was not trained comes back
bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.graph.geometry import parameter_shapes
from nspike.graph.layer import Activation
from nspike.integer.normalise import normalised_conv
from nspike.integer.rounding import given_values, neurons_of
from nspike.model.model import OUTPUT, Model, spiking_of
from nspike.trainable.spiking import may_train

LEAST_THRESHOLD = 0.05
LEAST_CEILING = 1e-3

Values = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Slot:
    """One array that is trained.

    layer : of the network, `OUTPUT`, or "" of the head; name : in the layer; start : its value in the model. low, high : its
    range. trained : False for the statistics of batch norm.
    """

    layer: str
    name: str
    start: NDArray[Any]
    low: float = -np.inf
    high: float = np.inf
    trained: bool = True

    @property
    def module(self) -> str:
        """The layer as it is called in keys: a layer's name may hold dots, and never a slash."""
        return self.layer.replace(".", "/")

    @property
    def key(self) -> str:
        """In the state dict."""
        return f"layers.{self.module}.{self.name}" if self.layer else f"head.{self.name}"

    def put(self, values: Values) -> NDArray[Any] | None:
        """The value among `values` within its range, or None where it is the model's."""
        value = np.asarray(values[self.key]).astype(self.start.dtype)
        if np.array_equal(value, self.start):
            return None
        return np.asarray(np.clip(value, self.low, self.high), self.start.dtype)


def spiking_slots(model: Model, neuron: Neuron, head: Head) -> list[Slot]:
    """The slots of a converted model. Raises ModelError as `nspike.integer.normalise.normalised_conv` does."""
    network, spiking = model.network, spiking_of(model)
    slots: list[Slot] = []
    for conv in network.convs:
        weight, bias = normalised_conv(network, model.parameters, spiking, conv.name)
        slots.append(Slot(conv.name, "weight", weight.astype(np.float32)))
        if conv.bias:
            slots.append(Slot(conv.name, "bias", bias.astype(np.float32)))
    kinds = neurons_of(network, neuron)
    for name in [*kinds, *([OUTPUT] if head.fires else [])]:
        slots.append(Slot(name, "threshold", np.asarray(spiking.thresholds[name], np.float64), LEAST_THRESHOLD))
        values = neuron.values(given_values(spiking, neuron, name)) if name != OUTPUT else {}
        for parameter in neuron.parameters if name != OUTPUT else ():
            if may_train(network, neuron, name, parameter, values, spiking.timesteps):
                low = parameter.low + (1e-3 if parameter.open_low else 0.0)
                value = np.asarray(values[parameter.name], np.float64)
                slots.append(Slot(name, parameter.name, value, low, parameter.high))
    arrays = {**head.initial(network.channels), **spiking.head_parameters.get(head.name, {})}
    slots += [Slot("", name, np.asarray(array, np.float64)) for name, array in arrays.items()]
    return slots


def with_spiking(model: Model, neuron: Neuron, head: Head, values: Values) -> Model:
    """The converted model with the values of its slots; the same object where they are its own."""
    spiking = spiking_of(model)
    weights, biases = dict(spiking.weights), dict(spiking.biases)
    thresholds, own = dict(spiking.thresholds), dict(spiking.neuron_parameters.get(neuron.name, {}))
    slots = spiking_slots(model, neuron, head)
    arrays, changed = {slot.name: slot.start for slot in slots if not slot.layer}, False
    for slot in slots:
        if (value := slot.put(values)) is None:
            continue
        changed = True
        if not slot.layer:
            arrays[slot.name] = value
        elif slot.name == "threshold":
            thresholds[slot.layer] = value
        elif slot.name in ("weight", "bias") and any(slot.layer == conv.name for conv in model.network.convs):
            (weights if slot.name == "weight" else biases)[slot.layer] = value
        else:
            own[slot.layer] = {**own.get(slot.layer, {}), slot.name: float(value)}
    if not changed:
        return model
    heads = {**spiking.head_parameters, head.name: arrays} if arrays else spiking.head_parameters
    own_all = {**spiking.neuron_parameters, neuron.name: own} if own else spiking.neuron_parameters
    return model.with_spiking(
        replace(
            spiking,
            weights=weights,
            biases=biases,
            thresholds=thresholds,
            neuron_parameters=own_all,
            head_parameters=heads,
        )
    )


def plain_slots(model: Model) -> list[Slot]:
    """The slots of a plain network."""
    slots = []
    for layer in model.network.layers:
        for full in parameter_shapes(layer):
            name = full.removeprefix(f"{layer.name}.")
            array = np.asarray(model.parameters[full], np.float32)
            slots.append(Slot(layer.name, name, array, trained=name not in ("bn_mean", "bn_var")))
    for activation in model.network.activations:
        if activation.ceiling is not None:
            ceiling = np.array(activation.ceiling, np.float32)
            slots.append(Slot(activation.name, "ceiling", ceiling, LEAST_CEILING))
    return slots


def with_plain(model: Model, values: Values) -> Model:
    """The plain network with the values of its slots; the same object where they are its own."""
    parameters, ceilings = dict(model.parameters), {}
    changed = False
    for slot in plain_slots(model):
        if (value := slot.put(values)) is None:
            continue
        changed = True
        if slot.name == "ceiling":
            ceilings[slot.layer] = tuple(float(each) for each in value)
        else:
            parameters[f"{slot.layer}.{slot.name}"] = value
    if not changed:
        return model
    network = model.network.changed(Activation, lambda a: replace(a, ceiling=ceilings.get(a.name, a.ceiling)))
    return replace(model, network=network, parameters=parameters)
