"""From a model's floats to the integers that decide its spikes. Nothing else in nspike rounds a spiking layer.

Every stage of the integer network is a layer of neurons. Where these integrate the current of one convolution or gate that
nothing else reads, the stage holds that layer's integers too; else the convolutions and gates stand by themselves
(`nspike.integer.writer`), and sums, means, enlargements and moves make the stage's current of theirs. All numbers are on the
grids of `nspike.integer.grids`. The input channels of a convolution are the spike planes of its sources one after the other,
the amplitude of their spikes multiplied into the kernel before it is rounded and each plane's gain after, for the steps up to T
(phase 0) and, where the amplitude then differs, for the post steps (phase 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts import answers
from nspike.contracts.course import Course, course, worth
from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.contracts.signed import signed_form
from nspike.errors import ModelError, UsageError
from nspike.graph.layer import Constant, Layer
from nspike.graph.network import Network
from nspike.graph.values import not_spiking
from nspike.integer import spike_channels
from nspike.integer.components import components
from nspike.integer.driver import FLOATS, FloatDriver, Spikes
from nspike.integer.dynamics import PLAIN, Dynamics, dynamics
from nspike.integer.grid import IMAGE_GAIN, MOST_STEPS, NEVER_FIRES, IntegerLayer, on_grid
from nspike.integer.grids import exponents
from nspike.integer.normalise import threshold_factors
from nspike.integer.writer import Writer
from nspike.model.model import OUTPUT, Model, Spiking, spiking_of

INTEGRATE_AND_FIRE = Neuron(name="output", summary="soft-reset integrate-and-fire", source="head")


@dataclass(frozen=True)
class Stage:
    """A layer of neurons.

    name : of the activation, or `OUTPUT`.
    layer : whose current they integrate; fused: whether that is a convolution or gate that is a part of this stage.
    sources : the spikes that a fused stage reads: activations, and layers that move spikes other than concatenations; none
        for the image and what is like it.
    integer : a fused stage's layer on its grid; weights (phases, C, I, k, k), I being the channels that one group reads,
        planes and all (`nspike.integer.spike_channels`), and 0 for a gate and where the stage is not fused.
    gate : float64 (C,), what a gate multiplies (x - 1) by, in units of the current's scale; else empty.
    v0 : int32 (C,).
    threshold, reset : int32 (steps, C): when a declared neuron fires, and what a spike is worth to its membrane.
    dynamics : of a declared neuron: leak, planes, hard reset.
    neuron : its neuron; params : int32 (K, C) of one with a kernel of its own, else empty.
    """

    name: str
    layer: Layer
    sources: tuple[str, ...]
    integer: IntegerLayer
    gate: NDArray[np.float64]
    v0: NDArray[np.int32]
    threshold: NDArray[np.int32]
    reset: NDArray[np.int32]
    neuron: Neuron
    params: NDArray[np.int32]
    dynamics: Dynamics = PLAIN
    fused: bool = True

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
    exponents : of every current by its layer, int64 (C,).
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
    exponents: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """The number of steps: T plus the post steps."""
        return self.timesteps + self.post_steps

    def stage(self, name: str) -> Stage:
        """The stage that drives activation `name`, or `OUTPUT`."""
        return next(stage for stage in self.stages if stage.name == name)

    def writer(self, name: str) -> Writer:
        """The writer of convolution or gate `name`."""
        return next(writer for writer in self.writers if writer.name == name)

    def planes(self, name: str) -> tuple[int, ...]:
        """The gains of the spike planes of activation `name`, of what moves spikes, or of `OUTPUT`."""
        if name == OUTPUT:
            return self.stages[-1].neuron.planes
        return spike_channels.spike_planes(self.network, name, lambda a: self.stage(a).neuron.planes)


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
    neurons = neurons_of(model.network, neuron) | dict(given or {})
    timesteps, post_steps = spiking.timesteps, max([neuron.post_steps, *(n.post_steps for n in neurons.values())])
    if timesteps < 1 or timesteps + post_steps > MOST_STEPS:
        raise UsageError(f"T = {timesteps} is out of range; with {neuron.name} expected 1 to {MOST_STEPS - post_steps}")
    if neuron.step is not None and neuron.post_steps < post_steps:
        raise UsageError(
            f"neuron {neuron.name} has a kernel of its own and {neuron.post_steps} post steps: it cannot go on from "
            f"spikes with {post_steps}; take a neuron with as many"
        )
    network, parts = model.network, components(model.network)
    for layer in network.of_kind(Constant):
        if not all(abs(value) <= IMAGE_GAIN for value in layer.values):
            raise ModelError(
                f"network {network.name}: the constants of {layer.name!r} lie outside [-{IMAGE_GAIN}, {IMAGE_GAIN}]"
            )
    values = {name: each.values(given_values(spiking, each, name)) for name, each in neurons.items()}
    spikes = Spikes(neurons, lambda name: worth(neurons[name], values[name], timesteps))
    drivers = {layer.name: FLOATS[type(layer)](model, spiking, layer, spikes) for layer in network.drivers}
    thetas = stage_thetas(network, spiking)
    grids = exponents(network, parts, {name: each.bounds for name, each in drivers.items()}, thetas)
    stages, fused = [], set()
    for name, current in parts.integrators:
        alone = _reads(network, current) == (0 if name == OUTPUT else 1)
        driver = drivers.get(current) if alone else None
        if driver is not None:
            fused.add(current)
        kind, own = neurons.get(name, INTEGRATE_AND_FIRE), values.get(name, {})
        of_steps = course(kind, own, timesteps, timesteps + post_steps, fires=name != OUTPUT or head.fires)
        numbers = _Neurons(name, kind, own, of_steps, thetas[name])
        stages.append(_stage(network.layer(current), driver, grids[current], numbers))
    writers = [_writer(each, grids[name]) for name, each in drivers.items() if name not in fused]
    parameters = {**head.initial(network.channels), **spiking.head_parameters.get(head.name, {})}
    for key, array in parameters.items():
        if not np.all(np.isfinite(array)):
            raise ModelError(f"the head's {key} holds NaN or infinity")
    scale = np.asarray(spiking.scales[OUTPUT], np.float64)
    return IntegerNetwork(
        network, tuple(stages), timesteps, post_steps, head, parameters, scale, tuple(writers), parts.shifts, grids
    )


def neurons_of(network: Network, neuron: Neuron) -> dict[str, Neuron]:
    """The neuron of every activation by name, where `neuron` is the model's. Raises PluginError as `signed_form` does."""
    return {a.name: signed_form(neuron) if a.signed else neuron for a in network.activations}


def given_values(spiking: Spiking, neuron: Neuron, activation: str) -> Mapping[str, float]:
    """What the model gives for the parameters of a neuron at one activation, by name."""
    return spiking.neuron_parameters.get(neuron.name, {}).get(activation, {})


def _reads(network: Network, name: str) -> int:
    """How many times a layer is read."""
    return sum(layer.sources.count(name) for layer in network.layers)


def stage_thetas(network: Network, spiking: Spiking) -> dict[str, NDArray[np.float64]]:
    """θ of every stage in units of the current that it integrates, float64 (C,).

    Raises ModelError where one is of another shape or no positive number.
    """
    thetas = {}
    for name, factor in threshold_factors(network, spiking).items():
        theta = np.asarray(spiking.thresholds.get(name, np.ones(factor.shape)), np.float64)
        if theta.shape != factor.shape:
            raise ModelError(f"the thresholds of {name!r} must be {factor.size} numbers, found {theta.shape}")
        if not np.all(np.isfinite(theta)):
            raise ModelError("the model's weights hold NaN or infinity")
        if not np.all(theta > 0):
            raise ModelError("a firing threshold is not positive")
        thetas[name] = theta * factor
    return thetas


@dataclass(frozen=True)
class _Neurons:
    """The neurons of a stage before they are rounded: θ float64 (C,) in units of the current that they integrate."""

    name: str
    neuron: Neuron
    values: Mapping[str, float]
    course: Course
    theta: NDArray[np.float64]


def _stage(layer: Layer, driver: FloatDriver | None, exponent: NDArray[np.int64], numbers: _Neurons) -> Stage:
    neuron, theta, channels = numbers.neuron, numbers.theta, len(exponent)
    weights, bias = np.zeros((1, channels, 0, 1, 1), np.int16), np.zeros(channels)
    if driver is not None:
        weights, bias = driver.on_grid(exponent), driver.bias
    rounded = np.maximum(on_grid(theta, exponent), 1)
    integer = IntegerLayer(exponent, weights, on_grid(bias, exponent), rounded)
    own_dynamics = dynamics(neuron, numbers.course)
    params = np.zeros((0, channels), np.int32)
    if neuron.step_parameters is not None:
        params = answers.step_parameters(neuron, numbers.values, theta, exponent)
    threshold = np.stack([_threshold(integer, theta, f, neuron.strict) for f in numbers.course.fires])
    reset = np.stack([_reset(integer, theta, a) for a in numbers.course.amplitudes])
    if own_dynamics.most > 1:
        # the spikes of a burst lie at least 1 apart, and none is past a threshold that is never met
        reset = np.where(threshold == NEVER_FIRES, 0, np.maximum(reset, 1)).astype(np.int32)
    return Stage(
        name=numbers.name,
        layer=layer,
        sources=() if driver is None else driver.sources,
        integer=integer,
        gate=np.zeros(0) if driver is None else driver.gate,
        v0=integer.to_grid(numbers.course.initial * theta),
        threshold=threshold,
        reset=reset,
        neuron=neuron,
        params=params,
        dynamics=own_dynamics,
        fused=driver is not None,
    )


def _writer(driver: FloatDriver, exponent: NDArray[np.int64]) -> Writer:
    weights, bias = driver.on_grid(exponent), on_grid(driver.bias, exponent)
    return Writer(driver.layer, driver.sources, exponent, weights, bias, driver.gate)


def _threshold(integer: IntegerLayer, theta: NDArray[np.float64], fraction: float, strict: bool) -> NDArray[np.int32]:
    if np.isinf(fraction):
        return np.full(theta.shape, NEVER_FIRES, np.int32)
    own = integer.theta if fraction == 1.0 else np.maximum(integer.to_grid(theta * fraction), 1)
    return own + np.int32(strict)  # u > θ is u >= θ + 1 in integers


def _reset(integer: IntegerLayer, theta: NDArray[np.float64], amplitude: float) -> NDArray[np.int32]:
    return integer.theta if amplitude == 1.0 else integer.to_grid(theta * amplitude)


def as_arrays(integers: IntegerNetwork) -> dict[str, dict[str, NDArray[np.generic]]]:
    """The integers of every stage by name, as a model file stores them for independent checkers.

    Those of writers are by their layer's name, and `shift_I` of a sum by the sum's, I counting what it reads from 0.
    """
    arrays: dict[str, dict[str, NDArray[np.generic]]] = {
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
    for writer in integers.writers:
        arrays[writer.name] = {
            "exponent": writer.exponent,
            "weights": writer.weights,
            "bias": writer.bias,
            "gate": writer.gate,
        }
    for (name, source), shift in integers.shifts.items():
        read = integers.network.layer(name).sources
        shifts = {f"shift_{i}": shift for i in range(len(read)) if read[i] == source}
        arrays.setdefault(name, {}).update(shifts)
    return arrays


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
