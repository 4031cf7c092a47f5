"""A spiking network in float64, every layer for all steps before the next: the slow and obvious form of the engine.

Neurons are those of `nspike.contracts.neuron`. It runs the unrounded model, for the conversion report, and the rounded
one, on w_int·2^-k: those are dyadic, so that float64 sums are exact in any order, BLAS included, and the spikes are the
engine's. What the engine rounds at run time, the current of the image, a gate's pixel weights, and what a leak leaves, is
then rounded here to the same grid.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.course import course, worth
from nspike.contracts.head import Head, OutputLayer
from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError
from nspike.graph.layer import IMAGE
from nspike.graph.network import Network
from nspike.integer.components import components
from nspike.integer.driver import FLOATS, Spikes
from nspike.integer.dynamics import ONE, PLAIN, Dynamics, dynamics, scaled
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.reference_layers import LAYERS, FloatCurrent, Run
from nspike.integer.rounding import INTEGRATE_AND_FIRE, IntegerNetwork, given_values, neurons_of, stage_thetas
from nspike.model.model import OUTPUT, Model, spiking_of

Floats = NDArray[np.float64]

_READ_EXPONENT = 20  # heads read integers: the grid on which they see an unrounded network


@dataclass(frozen=True)
class FloatStage:
    """A layer of neurons, in units of the scale of the current that they integrate.

    name : of the activation, or `OUTPUT`; current : of the layer whose current they integrate. v0 and theta (C,). threshold
    (steps, C), infinite to stay silent, and reset (steps, C). exponent int64 (C,) of a rounded stage, else none. dynamics : of
    the neurons; keep and input_factor : what is left of the membrane, and arrives of the input, before any rounding.
    """

    name: str
    current: str
    v0: Floats
    theta: Floats
    threshold: Floats
    reset: Floats
    exponent: NDArray[np.int64] | None = None
    dynamics: Dynamics = PLAIN
    keep: float = 1.0
    input_factor: float = 1.0

    @property
    def gains(self) -> Floats:
        """The gain of each spike plane, float64 (planes,)."""
        up, down = self.dynamics.up, self.dynamics.down
        return np.concatenate([2.0 ** np.arange(up), -(2.0 ** np.arange(down))])


@dataclass(frozen=True)
class FloatNetwork:
    """The stages in order, the last being the output layer; the convolutions and gates by name; T and the post steps; the
    head and its numbers; λ.
    """

    network: Network
    stages: tuple[FloatStage, ...]
    currents: Mapping[str, FloatCurrent]
    timesteps: int
    post_steps: int
    head: Head
    head_parameters: Mapping[str, Floats]
    output_scale: Floats


@dataclass(frozen=True)
class Simulation:
    """What a run gave.

    spikes : layer name, `OUTPUT` included -> bool (steps, planes·C, H, W).
    residual : the same names -> v - v(0) at the end, float64 (C, H, W), in units of the layer's scale.
    output : float64 (C, H, W), in units of the ANN's output.
    """

    spikes: Mapping[str, NDArray[np.bool_]]
    residual: Mapping[str, Floats]
    output: Floats


def from_model(model: Model, neuron: Neuron, head: Head) -> FloatNetwork:
    """The network as converted or trained, before any rounding.

    Raises ModelError for a model without a spiking form, PluginError for a neuron with a kernel of its own.
    """
    spiking, network = spiking_of(model), model.network
    if neuron.step is not None:
        raise PluginError(f"neuron {neuron.name} has a kernel of its own, which the float simulation does not run")
    neurons = neurons_of(network, neuron)
    values = {name: each.values(given_values(spiking, each, name)) for name, each in neurons.items()} | {OUTPUT: {}}
    total = spiking.timesteps + neuron.post_steps
    stages, thetas = [], stage_thetas(network, spiking)
    for name, current in components(network).integrators:
        theta, kind = thetas[name], neurons.get(name, INTEGRATE_AND_FIRE)
        of_steps = course(kind, values[name], spiking.timesteps, total, fires=name != OUTPUT or head.fires)
        fire, amplitude = (np.multiply.outer(each, theta) for each in (of_steps.fires, of_steps.amplitudes))
        own = dynamics(kind, of_steps)
        if kind.strict:
            fire = np.nextafter(fire, np.inf)
        if own.most > 1:
            amplitude[np.isinf(fire)] = 0.0
        factors = (of_steps.keep, of_steps.input_factor)
        numbers = (of_steps.initial * theta, theta, fire, amplitude, None, own, *factors)
        stages.append(FloatStage(name, current, *numbers))
    spikes = Spikes(neurons, lambda name: worth(neurons[name], values[name], spiking.timesteps))
    currents = {}
    for layer in network.drivers:
        d = FLOATS[type(layer)](model, spiking, layer, spikes)
        currents[layer.name] = FloatCurrent(d.of_planes, d.gate, d.bias)
    parameters = {**head.initial(network.channels), **spiking.head_parameters.get(head.name, {})}
    scale = np.asarray(spiking.scales[OUTPUT], np.float64)
    return FloatNetwork(network, tuple(stages), currents, spiking.timesteps, neuron.post_steps, head, parameters, scale)


def from_integers(integers: IntegerNetwork) -> FloatNetwork:
    """The network as the engine runs it: every integer times 2^-k. Raises PluginError as `from_model` does."""
    stages, currents = [], {}
    for stage in integers.stages:
        if stage.neuron.step is not None:
            raise PluginError(
                f"neuron {stage.neuron.name} has a kernel of its own, which the float simulation does not run"
            )
        k, own = stage.integer.exponent, stage.dynamics
        v0, theta, threshold, reset = (
            _dyadic(a, k) for a in (stage.v0, stage.integer.theta, stage.threshold, stage.reset)
        )
        threshold[stage.threshold == NEVER_FIRES] = np.inf
        factors = (own.keep / ONE, own.input_factor / ONE)
        numbers = (v0, theta, threshold, reset, k, own, *factors)
        stages.append(FloatStage(stage.name, stage.layer.name, *numbers))
        if stage.fused:
            currents[stage.layer.name] = _current(stage.integer.weights, stage.gate, stage.integer.bias, k)
    for writer in integers.writers:
        currents[writer.name] = _current(writer.weights, writer.gate, writer.bias, writer.exponent)
    i = integers
    numbers_of_head = (i.head, i.head_parameters, i.output_scale)
    return FloatNetwork(i.network, tuple(stages), currents, i.timesteps, i.post_steps, *numbers_of_head)


def _dyadic(values: NDArray[np.integer[Any]], k: NDArray[np.int64]) -> Floats:
    return np.ldexp(values.astype(np.float64), -k)


def _current(weights: NDArray[np.int16], gate: Floats, bias: NDArray[np.int32], k: NDArray[np.int64]) -> FloatCurrent:
    return FloatCurrent(_dyadic(weights, k[:, None, None, None]), gate, _dyadic(bias, k), k)


def simulate(network: FloatNetwork, image: Floats) -> Simulation:
    """Run one image float64 (C, H, W) in [0, 1], of multiples of the network's size multiple.

    For a rounded network it is first put on the input plane's grid.
    """
    stages = {stage.name: stage for stage in network.stages}
    layers = network.network.layers
    spikes: dict[str, NDArray[np.bool_]] = {}
    residual: dict[str, Floats] = {}
    known: dict[str, NDArray[Any]] = {IMAGE: image}
    last = {source: layer.name for layer in layers for source in layer.sources}
    run = Run(network.network, network.timesteps, network.post_steps, image, lambda name: tuple(stages[name].gains))
    for layer in layers:
        read = [known[source] for source in layer.sources]
        if layer.name in stages:
            spikes[layer.name], residual[layer.name] = _fire(stages[layer.name], read[0])
            known[layer.name] = spikes[layer.name]
        else:
            known[layer.name] = LAYERS[type(layer)](layer, read, network.currents.get(layer.name), run)
        for source in {source for source in layer.sources if last[source] == layer.name}:
            del known[source]
    spikes[OUTPUT], residual[OUTPUT] = _fire(network.stages[-1], known[network.network.output])
    return Simulation(spikes, residual, _read(network, spikes[OUTPUT], residual[OUTPUT]))


def _fire(stage: FloatStage, currents: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """The spikes bool (steps, planes·C, H, W) that currents (steps, C, H, W) cause, and v - v(0) at the end."""
    steps, *shape = currents.shape
    v = np.broadcast_to(stage.v0[:, None, None], shape).copy()
    fired = np.zeros((steps, len(stage.gains), *shape), np.bool_)
    for t in range(steps):
        v, fired[t] = _step(stage, v, currents[t], t)
    return fired.reshape(steps, -1, *shape[1:]), v - stage.v0[:, None, None]


def _step(stage: FloatStage, v: Floats, current: Floats, t: int) -> tuple[Floats, NDArray[np.bool_]]:
    """v (C, H, W) after a step, and its spikes, bool (planes, C, H, W)."""
    own = stage.dynamics
    threshold, reset = stage.threshold[t][:, None, None], stage.reset[t][:, None, None]
    u = v + current
    if own.leaks:
        u = _times(stage, v, stage.keep, own.keep)
        u += _times(stage, current, stage.input_factor, own.input_factor)
    if own.plain:
        fires = u >= threshold
        return u - fires * reset, fires[None]
    count, fired = np.zeros(u.shape), []
    for sign, planes in ((1, own.up), (-1, own.down)):
        spikes = np.zeros(u.shape, np.int64)
        for k in range(min(own.most, (1 << planes) - 1)):
            spikes += sign * u >= threshold + k * reset
        fired += [spikes >> plane & 1 > 0 for plane in range(planes)]
        count += sign * spikes
    v = u - count * reset
    return np.where(own.to_zero & (count != 0), 0.0, v), np.stack(fired)


def _times(stage: FloatStage, values: Floats, fraction: float, m: int) -> Floats:
    """A fraction of membranes or currents, rounded to the grid in a rounded stage."""
    if stage.exponent is None:
        return values * fraction
    k = stage.exponent[:, None, None]
    return np.asarray(np.ldexp(scaled(np.ldexp(values, k), m), -k))


def _read(network: FloatNetwork, spikes: NDArray[np.bool_], residual: Floats) -> Floats:
    """What the head makes of the output layer, in units of the ANN's output."""
    stage = network.stages[-1]
    k = np.full(len(stage.theta), _READ_EXPONENT) if stage.exponent is None else stage.exponent
    grid = k[:, None, None]
    theta = np.rint(np.ldexp(stage.theta, k)).astype(np.int64)
    left = np.rint(np.ldexp(residual, grid)).astype(np.int64)
    count = spikes.sum(axis=0, dtype=np.int32)
    charge = left + count * theta[:, None, None]
    rest = (np.clip(left, -(2**31), 2**31 - 1) if network.head.fires else 0 * left).astype(np.int32)
    layer = OutputLayer(charge, count, rest, theta, k.astype(np.int64), network.timesteps)
    read = network.head.read(layer, network.head_parameters)
    return np.asarray(read * network.output_scale[:, None, None], np.float64)
