"""A spiking network in float64, every layer for all steps before the next: the slow and obvious form of the engine.

Neurons are those of `nspike.contracts.neuron`. It runs the unrounded model, for the conversion report, and the rounded
one, on w_int·2^-k: those are dyadic, so that float64 sums are exact in any order, BLAS included, and the spikes are the
engine's. What the engine rounds at run time, the current of the image, a gate's pixel weights, and what a leak leaves, is
then rounded here to the same grid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.course import course, worth
from nspike.contracts.head import Head, OutputLayer
from nspike.contracts.neuron import Neuron
from nspike.errors import PluginError
from nspike.graph.layer import Conv, Driver, Gate
from nspike.graph.network import Network
from nspike.images.plane import UNIT
from nspike.integer.currents import gate_weights, image_current
from nspike.integer.dynamics import ONE, PLAIN, Dynamics, dynamics, scaled
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.normalise import driven, gate_scale, normalised_conv
from nspike.integer.rounding import INTEGRATE_AND_FIRE, IntegerNetwork
from nspike.model.model import OUTPUT, Model, Spiking, spiking_of

Floats = NDArray[np.float64]

_READ_EXPONENT = 20  # heads read integers: the grid on which they see an unrounded network
_CHUNK = 2**21  # numbers that an unrolled convolution may hold


@dataclass(frozen=True)
class FloatStage:
    """One convolution or gate with the neurons that it drives, in units of their scale.

    weights (phases, C, C_in, k, k), a second phase for the post steps; empty for a gate, which has `gate` (C,). bias, v0
    and theta (C,). threshold (steps, C), infinite to stay silent, and reset (steps, C). exponent int64 (C,) of a rounded
    stage, else none. dynamics : of the neurons; keep and input_factor : what is left of the membrane, and arrives of the
    input, before any rounding.
    """

    name: str
    layer: Driver
    sources: tuple[str, ...]
    weights: Floats
    gate: Floats
    bias: Floats
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
    """The stages in order, the last being the output layer; T and the post steps; the head and its numbers; λ."""

    network: Network
    stages: tuple[FloatStage, ...]
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
    given = spiking.neuron_parameters.get(neuron.name, {})
    values = {a.name: neuron.values(given.get(a.name)) for a in network.activations} | {OUTPUT: {}}
    total = spiking.timesteps + neuron.post_steps
    stages = []
    for layer in network.drivers:
        name, sources = driven(network, layer.name), tuple(a.name for a in network.activations_into(layer.name))
        theta = np.asarray(spiking.thresholds[name], np.float64)
        kind, fires = (INTEGRATE_AND_FIRE, head.fires) if name == OUTPUT else (neuron, True)
        of_steps = course(kind, values[name], spiking.timesteps, total, fires=fires)
        weights, gate, bias = REFERENCE[type(layer)].floats(model, spiking, layer.name, name)
        if sources:
            worths = {source: worth(neuron, values[source], spiking.timesteps) for source in sources}
            weights = _amplified(weights, network, worths, neuron.planes)
        fire, amplitude = (np.multiply.outer(each, theta) for each in (of_steps.fires, of_steps.amplitudes))
        v0 = of_steps.initial * theta
        own = dynamics(kind, of_steps)
        if own.most > 1:
            amplitude[np.isinf(fire)] = 0.0
        factors = (of_steps.keep, of_steps.input_factor)
        numbers = (weights, gate, bias, v0, theta, fire, amplitude, None, own, *factors)
        stages.append(FloatStage(name, layer, sources, *numbers))
    parameters = {**head.initial(network.channels), **spiking.head_parameters.get(head.name, {})}
    scale = np.asarray(spiking.scales[OUTPUT], np.float64)
    return FloatNetwork(network, tuple(stages), spiking.timesteps, neuron.post_steps, head, parameters, scale)


def from_integers(integers: IntegerNetwork) -> FloatNetwork:
    """The network as the engine runs it: every integer times 2^-k. Raises PluginError as `from_model` does."""
    stages = []
    for stage in integers.stages:
        if stage.neuron.step is not None:
            raise PluginError(
                f"neuron {stage.neuron.name} has a kernel of its own, which the float simulation does not run"
            )
        k = stage.integer.exponent
        threshold = np.where(stage.threshold == NEVER_FIRES, np.inf, np.ldexp(stage.threshold.astype(np.float64), -k))
        weights = np.ldexp(stage.integer.weights.astype(np.float64), -k[None, :, None, None, None])
        bias, v0, theta, reset = (
            np.ldexp(a.astype(np.float64), -k) for a in (stage.integer.bias, stage.v0, stage.integer.theta, stage.reset)
        )
        own = stage.dynamics
        numbers = (
            weights,
            stage.gate,
            bias,
            v0,
            theta,
            threshold,
            reset,
            k,
            own,
            own.keep / ONE,
            own.input_factor / ONE,
        )
        stages.append(FloatStage(stage.name, stage.layer, stage.sources, *numbers))
    i = integers
    return FloatNetwork(i.network, tuple(stages), i.timesteps, i.post_steps, i.head, i.head_parameters, i.output_scale)


def simulate(network: FloatNetwork, image: Floats) -> Simulation:
    """Run one image float64 (C, H, W) in [0, 1]; for a rounded network it is first put on the input plane's grid."""
    spikes: dict[str, NDArray[np.bool_]] = {}
    residual: dict[str, Floats] = {}
    for stage in network.stages:
        currents = _currents(stage, network, image, spikes)
        steps, shape = network.timesteps + network.post_steps, (len(stage.theta), *image.shape[1:])
        v = np.broadcast_to(stage.v0[:, None, None], shape).copy()
        fired = np.zeros((steps, len(stage.gains), *shape), np.bool_)
        for t in range(steps):
            bias = stage.bias if t < network.timesteps else np.zeros_like(stage.bias)
            v, fired[t] = _step(stage, v, currents[t], bias[:, None, None], t)
        fired = fired.reshape(steps, -1, *shape[1:])
        spikes[stage.name], residual[stage.name] = fired, v - stage.v0[:, None, None]
    return Simulation(spikes, residual, _read(network, spikes[OUTPUT], residual[OUTPUT]))


def _step(stage: FloatStage, v: Floats, current: Floats, bias: Floats, t: int) -> tuple[Floats, NDArray[np.bool_]]:
    """v (C, H, W) after a step, and its spikes, bool (planes, C, H, W)."""
    own = stage.dynamics
    threshold, reset = stage.threshold[t][:, None, None], stage.reset[t][:, None, None]
    u = v + current + bias
    if own.leaks:
        u = _times(stage, v, stage.keep, own.keep)
        u += _times(stage, current + bias, stage.input_factor, own.input_factor)
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


def _currents(
    stage: FloatStage, network: FloatNetwork, image: Floats, spikes: Mapping[str, NDArray[np.bool_]]
) -> Floats:
    """What arrives at every step without the bias, float64 (steps, C, H, W)."""
    steps = network.timesteps + network.post_steps
    if not stage.sources:
        constant = _analog(stage, image)
        return np.stack([constant if t < network.timesteps else np.zeros_like(constant) for t in range(steps)])
    arriving = np.concatenate([spikes[source] for source in stage.sources], axis=1)
    return REFERENCE[type(stage.layer)].currents(stage, network, image, arriving)


def _conv_floats(model: Model, spiking: Spiking, layer: str, name: str) -> tuple[Floats, Floats, Floats]:
    weights, bias = normalised_conv(model.network, model.parameters, spiking, layer)
    return weights[None], np.zeros(0), bias


def _gate_floats(model: Model, spiking: Spiking, layer: str, name: str) -> tuple[Floats, Floats, Floats]:
    gate = gate_scale(model.network, spiking, layer)
    return np.zeros((1, len(gate), 0, 1, 1)), gate, 1.0 / np.asarray(spiking.scales[name], np.float64)


def _conv_currents(stage: FloatStage, network: FloatNetwork, _: Floats, arriving: NDArray[np.bool_]) -> Floats:
    before = convolve(arriving[: network.timesteps], stage.weights[0])
    return np.concatenate([before, convolve(arriving[network.timesteps :], stage.weights[-1])])


def _gate_currents(stage: FloatStage, _: FloatNetwork, image: Floats, arriving: NDArray[np.bool_]) -> Floats:
    gate = stage.gate[:, None, None]
    if stage.exponent is None:
        return np.asarray(arriving * ((image - 1.0) * gate), np.float64)
    k = stage.exponent[:, None, None]
    return np.asarray(arriving * np.ldexp(gate_weights(np.rint(image * UNIT), gate, k), -k), np.float64)


@dataclass(frozen=True)
class _Kind:
    """How a kind of layer that gives a current is simulated.

    floats : (model, spiking form, its name, that of what it drives) -> weights, gate and bias of a `FloatStage`.
    currents : (stage, network, image, spikes that it reads (steps, C_in, H, W)) -> its currents (steps, C, H, W).
    """

    floats: Callable[[Model, Spiking, str, str], tuple[Floats, Floats, Floats]]
    currents: Callable[[FloatStage, FloatNetwork, Floats, NDArray[np.bool_]], Floats]


REFERENCE: dict[type[Driver], _Kind] = {
    Conv: _Kind(_conv_floats, _conv_currents),
    Gate: _Kind(_gate_floats, _gate_currents),
}


def _analog(stage: FloatStage, image: Floats) -> Floats:
    """The current that the image causes, rounded once for a rounded stage."""
    if stage.exponent is None:
        return np.asarray(convolve(image[None], stage.weights[0])[0], np.float64)
    k = stage.exponent[:, None, None]
    sums = convolve(np.rint(image * UNIT)[None], stage.weights[0])[0]
    return np.asarray(np.ldexp(image_current(np.ldexp(sums, k)), -k), np.float64)


def convolve(x: NDArray[np.generic], weights: Floats) -> Floats:
    """Zero-padded correlation of (S, C_in, H, W) with float64 (C, C_in, k, k): float64 (S, C, H, W)."""
    (count, channels, height, width), (out, _, size, _) = x.shape, weights.shape
    radius = size // 2
    result = np.empty((count, out, height, width))
    rows = weights.transpose(0, 2, 3, 1).reshape(out, -1)
    chunk = max(1, _CHUNK // (channels * size * size * height * width))
    for first in range(0, count, chunk):
        part = x[first : first + chunk].transpose(1, 0, 2, 3)
        part = np.pad(part, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
        columns = np.empty((size, size, channels, part.shape[1], height, width))
        for dy, dx in np.ndindex(size, size):
            columns[dy, dx] = part[:, :, dy : dy + height, dx : dx + width]
        product = rows @ columns.reshape(rows.shape[1], -1)
        result[first : first + chunk] = product.reshape(out, -1, height, width).transpose(1, 0, 2, 3)
    return result


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


def _amplified(
    weights: Floats, network: Network, worths: Mapping[str, tuple[float, float]], planes: tuple[int, ...]
) -> Floats:
    """The kernels for the steps up to T and after, (2, C, ΣC_in·planes, k, k), with what a spike of each source is worth."""
    channels = {a.name: a.channels for a in network.activations}
    if not weights.size:
        return np.stack([weights[0]] * 2)
    phases, ends = [], np.cumsum([channels[source] for source in worths])[:-1]
    for phase in range(2):
        parts = zip(np.split(weights[0], ends, axis=1), worths.values(), strict=True)
        phases.append(np.concatenate([part * (both[phase] * g) for part, both in parts for g in planes], axis=1))
    return np.stack(phases)
