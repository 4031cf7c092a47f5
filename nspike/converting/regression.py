"""A converted network's kernels fitted anew, layer by layer, to what the spikes before them carry. Ours, not the papers'.

For a convolution that reads spikes let r be the rates that it reads, (1/T)·Σ a(t)·s(t), from the layers before, which are
fitted already, and y = (W·x + b)/λ what the ANN's convolution gives. Ridge regression towards the kernel W' that it has, for
each group by itself:

    min  mean ρ(y, K·r + c) + μ·‖K - W'‖²        over all pixels of the images; μ in units of the mean square of r

ρ(y, ŷ) = (y - ŷ)², but, for a convolution that one layer of neurons reads and nothing else, 0 where both are below the lowest
rate or both above the highest, where the neuron does the same for either.
It is minimised by turns: where ρ is 0, y is set to ŷ, and the least squares are solved again, which never makes the sum
larger. For the output layer y may be what the ANN should have given: the error that it has to take away, so that the last
layer corrects the ANN too. So the errors of conversion, which grow from layer to layer, are taken back at each, without
any gradient; a start for fine-tuning, which SpikingIR leaves open.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from nspike.ann import run as ann
from nspike.autograd.correlation import convolve, kernel_gradient, unrolled
from nspike.contracts.course import course
from nspike.converting.rates import Rates, moved
from nspike.errors import UsageError
from nspike.graph import arrange
from nspike.graph.layer import Conv, PixelShuffle, PixelUnshuffle
from nspike.graph.mode import ideal_output
from nspike.graph.network import Network
from nspike.images.plane import UNIT, to_plane
from nspike.integer.normalise import current_scales, normalised_conv
from nspike.integer.rounding import neurons_of
from nspike.model.model import Model, spiking_of
from nspike.registry.parts import neuron_of
from nspike.trainable.plain import DifferentiableAnn

Planes = NDArray[np.float32]

Doubles = NDArray[np.float64]

RIDGE = 1e-3
TURNS = 8
LARGEST = 6000
"""The most numbers of a neighbourhood: of more, the squares take over 300 MB, and a layer is left as it is."""


def fit(
    model: Model,
    degraded: Planes,
    clean: Planes | None = None,
    *,
    ridge: float = RIDGE,
    overshoot: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """The model with kernels and biases fitted.

    Parameters
    ----------
    model : converted; batch norm folded.
    degraded, clean : float32 (N, C, H, W); without `clean` the output layer is fitted to the ANN's output.
    ridge : μ.
    overshoot : that the ANN was trained with (`nspike.fitting.training`), and expects.
    progress : called with how many layers are done, and of how many.

    Raises ModelError for a model without a spiking form, UsageError for images of different shapes or a negative μ.
    """
    spiking_of(model)
    network = model.network
    count, channels, *sides = degraded.shape
    if ridge < 0 or (clean is not None and clean.shape != (count, channels, *(network.scale * n for n in sides))):
        raise UsageError("fitting needs μ of 0 or more, and clean images of the shape of the degraded ones")
    plane = to_plane(degraded)
    seen = (plane / UNIT).astype(np.float32)
    values = _activations(model, seen, overshoot)
    convs, rates = fitted_convs(network), Rates(plane)
    for done, conv in enumerate(convs):
        wanted = None if clean is None else _ideal(network, conv, ideal_output(network.mode, seen, clean))
        ends = wanted is not None
        if wanted is None:
            wanted = _preactivation(model, conv, moved(network, conv.source, values))
        model = _fitted(model, conv, rates.read(model, conv), wanted, ridge, ends)
        if progress is not None:
            progress(done + 1, len(convs))
    return model


def fitted_convs(network: Network) -> list[Conv]:
    """The convolutions that are fitted: those that read spikes, but for the few of too large a kernel."""
    return [conv for conv in network.convs if network.activations_into(conv.name) and _size(conv) <= LARGEST]


def left_out(network: Network) -> list[str]:
    """The names of the convolutions and gates that read spikes and are not fitted."""
    fitted = {conv.name for conv in fitted_convs(network)}
    drivers = [layer.name for layer in network.drivers if network.activations_into(layer.name)]
    return [name for name in drivers if name not in fitted]


def _size(conv: Conv) -> int:
    """How many numbers an output is computed from."""
    return int(np.prod(conv.kernel_shape[1:]))


def _ideal(network: Network, conv: Conv, output: Planes) -> Planes | None:
    """What a convolution should give so that `output` (N, C, H, W) comes out; None if more than a pixel shuffle lies between."""
    if conv.name == network.output:
        return output
    for shuffle in network.of_kind(PixelShuffle):
        if (shuffle.name, shuffle.source) == (network.output, conv.name):
            return arrange.move(PixelUnshuffle("ideal", conv.name, shuffle.factor), [output])
    return None


def _activations(model: Model, plane: Planes, overshoot: float) -> dict[str, Planes]:
    """What the ANN's activations give, with the overshoot that it was trained with."""
    network = model.network
    if overshoot:
        levels = {activation.levels for activation in network.activations}
        ceilings = {a.name: np.asarray(a.ceiling) for a in network.activations if a.ceiling is not None}
        if len(levels) != 1 or (count := levels.pop()) is None:
            raise UsageError("an overshoot is of networks that were trained with qcfs, of one number of levels")
        trained = DifferentiableAnn(model, kind="qcfs", levels=count, ceilings=ceilings, overshoot=overshoot)
        return trained.activations(plane, seed=0)
    values: dict[str, Any] = {activation.name: None for activation in network.activations}
    ann.run(network, model.parameters, plane, capture=values)
    return values


def _preactivation(model: Model, conv: Conv, read: Planes) -> Planes:
    """What the ANN's convolution gives, float32 (N, C_out, H, W)."""
    kernel = np.asarray(model.parameters[f"{conv.parameters}.weight"], np.float32)
    bias = np.asarray(model.parameters[f"{conv.parameters}.bias"], np.float32) if conv.bias else None
    return _convolved(np.ascontiguousarray(read.transpose(0, 2, 3, 1)), kernel, bias, conv).transpose(0, 3, 1, 2)


def _convolved(x: Planes, kernel: Planes, bias: Planes | None, conv: Conv) -> Planes:
    given = {"stride": conv.stride, "groups": conv.groups, "dilation": conv.dilation}
    return np.asarray(convolve(x, kernel, bias, pad=_pad(conv), **given), np.float32)


def _pad(conv: Conv) -> int | tuple[int, int]:
    return conv.radius if conv.is_plain else conv.pads


def _fitted(model: Model, conv: Conv, read: Planes, wanted: Planes, ridge: float, ends: bool) -> Model:
    """The model with one convolution fitted.

    read, wanted : float32 (N, C, H, W), the rates that it reads and what it should give, in the ANN's units. ends : whether
    that is what the whole network should give, whatever neurons read it.
    """
    network, spiking = model.network, spiking_of(model)
    rates = np.ascontiguousarray(read.transpose(0, 2, 3, 1), np.float32)
    scale = current_scales(network, spiking)[conv.name]
    kernel, _ = normalised_conv(network, model.parameters, spiking, conv.name)
    wanted = np.asarray(wanted.transpose(0, 2, 3, 1) / scale, np.float32)
    lowest, highest = (-np.inf, np.inf) if ends else _limits(model, conv)
    groups = [_Group(part, conv, ridge) for part in _parts(rates, kernel, conv)]

    def solved(target: Planes) -> tuple[Planes, Doubles]:
        parts = np.split(target, conv.groups, axis=3)
        kernels, biases = zip(*(group.solved(part) for group, part in zip(groups, parts, strict=True)), strict=True)
        return np.concatenate(kernels), np.concatenate(biases)

    solution, bias = solved(wanted)
    for _ in range(TURNS - 1 if np.all(np.isfinite(highest)) else 0):
        values = _convolved(rates, solution, bias.astype(np.float32), conv)
        idle = ((wanted < lowest) & (values < lowest)) | ((wanted > highest) & (values > highest))
        solution, bias = solved(np.where(idle, values, wanted))
    weights = {**spiking.weights, conv.name: solution}
    biases = {**spiking.biases}
    if conv.bias:
        biases[conv.name] = bias.astype(np.float32)
    return model.with_spiking(replace(spiking, weights=weights, biases=biases))


def _parts(rates: Planes, kernel: Doubles, conv: Conv) -> Iterator[tuple[Planes, Doubles]]:
    """The rates (N, H, W, C) and the kernel of each group."""
    yield from zip(np.split(rates, conv.groups, axis=3), np.split(kernel, conv.groups), strict=True)


class _Group:
    """One group of a convolution: the ridge regression of what it reads."""

    def __init__(self, part: tuple[Planes, Doubles], conv: Conv, ridge: float) -> None:
        self.rates, kernel = part
        self.conv, self.kept = conv, len(kernel)
        self.start = kernel.transpose(2, 3, 1, 0).reshape(-1, self.kept)
        self.gram, self.mean_in = _moments(self.rates, conv)
        penalty = ridge * np.trace(self.gram) / len(self.gram) + 1e-12
        self.factor = cho_factor(self.gram + penalty * np.eye(len(self.gram)))

    def solved(self, target: Planes) -> tuple[Planes, Doubles]:
        """The kernel float32 (C_out/groups, C_in/groups, k, k) and the bias for a target (N, H, W, C_out/groups)."""
        cross, mean_out = _products(self.rates, target, self.conv, self.mean_in)
        solution = np.asarray(self.start + cho_solve(self.factor, cross - self.gram @ self.start), np.float64)
        return self._kernel(solution), mean_out - self.mean_in @ solution

    def _kernel(self, rows: Doubles) -> Planes:
        shape = (self.conv.kernel, self.conv.kernel, -1, self.kept)
        return np.ascontiguousarray(rows.reshape(shape).transpose(3, 2, 0, 1), np.float32)


def _limits(model: Model, conv: Conv) -> tuple[Any, Any]:
    """The lowest and the highest rate of the neurons that a convolution drives, in units of λ; infinite if others read it."""
    network, spiking, neuron = model.network, spiking_of(model), neuron_of(model)
    readers = [layer.name for layer in network.layers if conv.name in layer.sources]
    (activation,) = [a for a in network.activations if [a.name] == readers] or (None,)
    if activation is None or conv.name == network.output:
        return -np.inf, np.inf
    timesteps = spiking.timesteps
    values = neuron.values(spiking.neuron_parameters.get(neuron.name, {}).get(activation.name, {}))
    ways = course(neuron, values, timesteps)
    theta = np.asarray(spiking.thresholds[activation.name], np.float32)
    always = float(ways.amplitudes @ np.isfinite(ways.fires)) / timesteps
    gains = neurons_of(network, neuron)[activation.name].planes
    low, high = (sum(gain for gain in gains if gain * sign > 0) for sign in (-1, 1))
    return theta * np.float32(low * always), theta * np.float32(high * always)


def _moments(rates: Planes, conv: Conv) -> tuple[Doubles, Doubles]:
    """Covariance of the neighbourhoods, and their mean: zeros for a convolution without bias, which is not centred."""
    size, count = conv.kernel**2 * rates.shape[3], rates[..., 0].size // conv.stride**2
    gram, total = np.zeros((size, size)), np.zeros(size)
    for image in rates:
        rows = unrolled(image[None], conv.kernel, conv.stride, _pad(conv), conv.dilation).reshape(-1, size)
        gram += rows.T @ rows
        total += rows.sum(0, dtype=np.float64) if conv.bias else 0.0
    mean = total / count
    return gram / count - np.outer(mean, mean), mean


def _products(rates: Planes, target: Planes, conv: Conv, mean_in: Doubles) -> tuple[Doubles, Doubles]:
    """Covariance of the neighbourhoods with the target, and the target's mean, likewise."""
    count, kept = target[..., 0].size, target.shape[3]
    given = {"stride": conv.stride, "dilation": conv.dilation}
    sums = kernel_gradient(rates, np.ascontiguousarray(target), conv.kernel, pad=_pad(conv), **given).astype(np.float64)
    cross = sums.transpose(2, 3, 1, 0).reshape(-1, kept) / count
    mean = target.mean((0, 1, 2), dtype=np.float64) if conv.bias else np.zeros(kept)
    return cross - np.outer(mean_in, mean), mean
