"""From a model's floats to the integers that decide its spikes. Nothing else in nspike rounds a spiking layer.

Every stage of the integer network is one convolution or gate with the neurons that it drives; its numbers are on the grids
of `nspike.integer.grid`. The input channels of a stage are the spike planes of its sources one after the other, each plane's gain
and the amplitude of its spikes multiplied into the kernel, for the steps up to T (phase 0) and, where the amplitude then
differs, for the post steps (phase 1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts import answers
from nspike.contracts.course import course, worth
from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.contracts.signed import signed_form
from nspike.errors import ModelError, UsageError
from nspike.graph.layer import Conv, Driver, Gate
from nspike.graph.network import Network
from nspike.graph.values import not_spiking
from nspike.integer.dynamics import PLAIN, Dynamics, dynamics
from nspike.integer.grid import (
    ANALOG_LIMIT,
    IMAGE_GAIN,
    MOST_STEPS,
    NEVER_FIRES,
    RANGE,
    SPIKE_LIMIT,
    IntegerLayer,
    exponents,
    on_grid,
    quantise,
)
from nspike.integer.normalise import driven, gate_scale, normalised_conv
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT, Model, Spiking, spiking_of

INTEGRATE_AND_FIRE = Neuron(name="output", summary="soft-reset integrate-and-fire", source="head")


@dataclass(frozen=True)
class Stage:
    """One convolution or gate with the neurons that it drives.

    name : of the activation, or `OUTPUT`.
    layer : the convolution or gate.
    sources : the activations that it reads; none for the image.
    integer : the layer on its grid; weights (phases, C, ΣC·planes, k, k), empty for a gate.
    gate : float64 (C,), what a gate multiplies (x - 1) by, in units of the layer's scale; empty for a convolution.
    v0 : int32 (C,).
    threshold, reset : int32 (steps, C): when a declared neuron fires, and what a spike is worth to its membrane.
    dynamics : of a declared neuron: leak, planes, hard reset.
    neuron : its neuron; params : int32 (K, C) of one with a kernel of its own, else empty.
    """

    name: str
    layer: Driver
    sources: tuple[str, ...]
    integer: IntegerLayer
    gate: NDArray[np.float64]
    v0: NDArray[np.int32]
    threshold: NDArray[np.int32]
    reset: NDArray[np.int32]
    neuron: Neuron
    params: NDArray[np.int32]
    dynamics: Dynamics = PLAIN

    @property
    def channels(self) -> int:
        """The number of neurons at each pixel."""
        return int(self.integer.bias.size)


@dataclass(frozen=True)
class IntegerNetwork:
    """A network in integers.

    stages : in order, the last being the output layer. timesteps, post_steps : T, and how many come after.
    head, head_parameters, output_scale : the head and its numbers.
    writers : the convolutions and gates that are not part of a stage, in order.
    shifts : (a sum, what it reads) -> int64 (C,), by how many bits that current is shifted left to the sum's grid; 0 if left
        out. Means and bilinear enlargement keep all bits: the sum of a block of size², and weights 9, 3, 3, 1, so that
        their exponents are larger by 2·log2(size) and by 4.
    """

    network: Network
    stages: tuple[Stage, ...]
    timesteps: int
    post_steps: int
    head: Head
    head_parameters: Mapping[str, NDArray[np.float64]]
    output_scale: NDArray[np.float64]
    writers: tuple[Writer, ...] = ()
    shifts: Mapping[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The number of steps: T plus the post steps."""
        return self.timesteps + self.post_steps

    def stage(self, name: str) -> Stage:
        """The stage that drives activation `name`, or `OUTPUT`."""
        return next(stage for stage in self.stages if stage.name == name)

    def planes(self, name: str) -> tuple[int, ...]:
        """The gains of the spike planes of activation `name`."""
        return self.stage(name).neuron.planes


def build(model: Model, neuron: Neuron, head: Head, given: Mapping[str, Neuron] | None = None) -> IntegerNetwork:
    """Round a model for the given parts; `given` are the neurons of layers whose spikes are given instead of computed.

    Where neurons have different post steps, the network has the most of them, and the others do not fire in the rest.

    Raises ModelError for a model that is not converted or whose numbers do not fit, UsageError for T out of range or a
    neuron with a kernel of its own and fewer post steps than given spikes have, PluginError for a neuron whose functions
    fail or answer what cannot be.
    """
    spiking = spiking_of(model)
    if faults := not_spiking(model.network.layers, model.network.output):
        listed = "; ".join(f"layer {name!r}: {why}" for name, why in faults)
        raise ModelError(f"network {model.network.name} cannot run as spikes: {listed}; convert it again")
    neurons = {a.name: signed_form(neuron) if a.signed else neuron for a in model.network.activations}
    neurons |= dict(given or {})
    timesteps, post_steps = spiking.timesteps, max([neuron.post_steps, *(n.post_steps for n in neurons.values())])
    if timesteps < 1 or timesteps + post_steps > MOST_STEPS:
        raise UsageError(f"T = {timesteps} is out of range; with {neuron.name} expected 1 to {MOST_STEPS - post_steps}")
    if neuron.step is not None and neuron.post_steps < post_steps:
        raise UsageError(
            f"neuron {neuron.name} has a kernel of its own and {neuron.post_steps} post steps: it cannot go on from "
            f"spikes with {post_steps}; take a neuron with as many"
        )
    network = model.network
    values = {name: each.values(_given(spiking, each, name)) for name, each in neurons.items()}
    stages = []
    for layer in network.drivers:
        name = driven(network, layer.name)
        fires = name != OUTPUT
        stages.append(_stage(model, spiking, layer, name, neurons, values, fires or head.fires, post_steps))
    parameters = {**head.initial(network.channels), **spiking.head_parameters.get(head.name, {})}
    for key, array in parameters.items():
        if not np.all(np.isfinite(array)):
            raise ModelError(f"the head's {key} holds NaN or infinity")
    scale = np.asarray(spiking.scales[OUTPUT], np.float64)
    return IntegerNetwork(network, tuple(stages), timesteps, post_steps, head, parameters, scale)


def _given(spiking: Spiking, neuron: Neuron, activation: str) -> Mapping[str, float]:
    return spiking.neuron_parameters.get(neuron.name, {}).get(activation, {})


def _stage(
    model: Model,
    spiking: Spiking,
    layer: Driver,
    name: str,
    neurons: Mapping[str, Neuron],
    values: Mapping[str, Mapping[str, float]],
    fires: bool,
    post_steps: int,
) -> Stage:
    network, timesteps = model.network, spiking.timesteps
    neuron, own = neurons.get(name, INTEGRATE_AND_FIRE), values.get(name, {})
    sources = tuple(a.name for a in network.activations_into(layer.name))
    channels = network.widths[layer.name]
    theta = np.asarray(spiking.thresholds.get(name, np.ones(channels)), np.float64)
    if theta.shape != (channels,):
        raise ModelError(f"the thresholds of {name!r} must be {channels} numbers, found {theta.shape}")
    integer, gate = ROUNDING[type(layer)](_Floats(model, spiking, layer, name, sources, theta, neurons, values))
    of_steps = course(neuron, own, timesteps, timesteps + post_steps, fires=fires)
    own_dynamics = dynamics(neuron, of_steps)
    params = np.zeros((0, channels), np.int32)
    if neuron.step_parameters is not None:
        params = answers.step_parameters(neuron, own, theta, integer.exponent)
    threshold = np.stack([_threshold(integer, theta, f) for f in of_steps.fires])
    reset = np.stack([_reset(integer, theta, a) for a in of_steps.amplitudes])
    if (
        own_dynamics.most > 1
    ):  # the spikes of a burst lie at least 1 apart, and none is past a threshold that is never met
        reset = np.where(threshold == NEVER_FIRES, 0, np.maximum(reset, 1)).astype(np.int32)
    return Stage(
        name=name,
        layer=layer,
        sources=sources,
        integer=integer,
        gate=gate,
        v0=integer.to_grid(of_steps.initial * theta),
        threshold=threshold,
        reset=reset,
        neuron=neuron,
        params=params,
        dynamics=own_dynamics,
    )


@dataclass(frozen=True)
class _Floats:
    """A stage before it is rounded: its layer, what that reads and drives, θ (C,); the neurons and values of all layers."""

    model: Model
    spiking: Spiking
    layer: Driver
    name: str
    sources: tuple[str, ...]
    theta: NDArray[np.float64]
    neurons: Mapping[str, Neuron]
    values: Mapping[str, Mapping[str, float]]

    def worth(self, source: str) -> tuple[float, float]:
        return worth(self.neurons[source], self.values[source], self.spiking.timesteps)


def _round_conv(floats: _Floats) -> tuple[IntegerLayer, NDArray[np.float64]]:
    network = floats.model.network
    weights, bias = normalised_conv(network, floats.model.parameters, floats.spiking, floats.layer.name)
    if floats.sources:
        integer = quantise(_folded(weights, floats), bias, floats.theta, limit=SPIKE_LIMIT)
    else:
        integer = quantise(weights[None], bias, floats.theta, gain=IMAGE_GAIN, limit=ANALOG_LIMIT)
    return integer, np.zeros(0)


def _round_gate(floats: _Floats) -> tuple[IntegerLayer, NDArray[np.float64]]:
    (source,), spiking, channels = floats.sources, floats.spiking, len(floats.theta)
    neuron = floats.neurons[source]
    if neuron.planes != (1,) or floats.worth(source) != (1.0, 1.0):
        raise ModelError(f"neuron {neuron.name} cannot feed a gate: its spikes are not all worth 1")
    gate = gate_scale(floats.model.network, spiking, floats.layer.name)
    bias = 1.0 / np.broadcast_to(np.asarray(spiking.scales[floats.name], np.float64), (channels,))
    # the gate's weight is λ·(x - 1) with x in [-4, 4]; its largest takes the place of a kernel
    largest = (gate * (IMAGE_GAIN + 1))[None, :, None, None, None]
    k = exponents(largest, bias, floats.theta, limit=RANGE)
    none = np.zeros((1, channels, 0, 1, 1), np.int16)
    return IntegerLayer(k, none, on_grid(bias, k), np.maximum(on_grid(floats.theta, k), 1)), gate


ROUNDING: dict[type[Driver], Callable[[_Floats], tuple[IntegerLayer, NDArray[np.float64]]]] = {
    Conv: _round_conv,
    Gate: _round_gate,
}
"""How each kind of layer that gives a current is rounded: -> its integers, and λ of a gate (see `Stage`)."""


def _threshold(integer: IntegerLayer, theta: NDArray[np.float64], fraction: float) -> NDArray[np.int32]:
    if np.isinf(fraction):
        return np.full(theta.shape, NEVER_FIRES, np.int32)
    return integer.theta if fraction == 1.0 else np.maximum(integer.to_grid(theta * fraction), 1)


def _reset(integer: IntegerLayer, theta: NDArray[np.float64], amplitude: float) -> NDArray[np.int32]:
    return integer.theta if amplitude == 1.0 else integer.to_grid(theta * amplitude)


def _folded(weights: NDArray[np.float64], floats: _Floats) -> NDArray[np.float64]:
    """The kernel per phase, float64 (phases, C, ΣC·planes, k, k), with amplitudes and gains multiplied in."""
    channels = {a.name: a.channels for a in floats.model.network.activations}
    both: list[list[NDArray[np.float64]]] = [[], []]
    first = 0
    for source in floats.sources:
        part = weights[:, first : first + channels[source]]
        first += channels[source]
        for phase, amplitude in enumerate(floats.worth(source)):
            both[phase].extend(part * (amplitude * gain) for gain in floats.neurons[source].planes)
    before, after = (np.concatenate(parts, axis=1) for parts in both)
    return before[None] if np.array_equal(before, after) else np.stack([before, after])


def as_arrays(integers: IntegerNetwork) -> dict[str, dict[str, NDArray[np.generic]]]:
    """The integers of every stage by name, as a model file stores them for independent checkers."""
    return {
        stage.name: {
            "exponent": stage.integer.exponent,
            "weights": stage.integer.weights,
            "bias": stage.integer.bias,
            "theta": stage.integer.theta,
            "v0": stage.v0,
            "threshold": stage.threshold,
            "reset": stage.reset,
            "gate": stage.gate,
            **stage.dynamics.as_arrays(),
        }
        for stage in integers.stages
    }


def check_stored(stored: Mapping[str, Mapping[str, NDArray[Any]]], integers: IntegerNetwork) -> None:
    """Check that the integers in a model's file are those that follow from its numbers.

    Parameters
    ----------
    stored : layer name -> array name -> array, as `nspike.model.file.load_whole` gives them; nothing is checked if empty.
    integers : of the same model with its own neuron and head.

    Raises ModelError that names the first array that is missing, is not one, or differs in type, shape or value.
    """
    if not stored:
        return
    expected = {
        (layer, name): a for layer, arrays in as_arrays(integers).items() for name, a in arrays.items() if a.size
    }
    kept = {(layer, name): array for layer, arrays in stored.items() for name, array in arrays.items()}
    for key in {**expected, **kept}:
        ours, theirs = expected.get(key), kept.get(key)
        if ours is None or theirs is None or ours.dtype != theirs.dtype or not np.array_equal(ours, theirs):
            raise ModelError(
                f"integers/{'/'.join(key)} is not what follows from the model's numbers: the file was changed, or its "
                "neuron or head answers otherwise than when it was written; fetch or make it again"
            )
