"""A converted network's kernels fitted anew, layer by layer, to what the spikes before them carry. Ours, not the papers'.

For a convolution that reads spikes let r be the rates that it reads, (1/T)·Σ a(t)·s(t), from the layers before, which are
fitted already, and y = (W·x + b)/λ what the ANN has at that place. Ridge regression towards the kernel W' that it has:

    min  mean ρ(y, K·r + c) + μ·‖K - W'‖²        over all pixels of the images; μ in units of the mean square of r

ρ(y, ŷ) = (y - ŷ)², but 0 where both are below 0 or both above the highest rate, where the neuron does the same for either.
It is minimised by turns: where ρ is 0, y is set to ŷ, and the least squares are solved again, which never makes the sum
larger. For the output layer y may be what the ANN should have given: the error that it has to take away, so that the last
layer corrects the ANN too. So the errors of conversion, which grow from layer to layer, are taken back at each, without
any gradient; a start for fine-tuning, which SpikingIR leaves open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from nspike.ann import run as ann
from nspike.autograd.correlation import convolve, kernel_gradient, unrolled
from nspike.errors import UsageError
from nspike.graph.layer import Conv
from nspike.graph.mode import ideal_output
from nspike.images.plane import UNIT, to_plane
from nspike.integer.normalise import driven, normalised_conv
from nspike.model.model import Model, spiking_of
from nspike.registry.parts import head_of, neuron_of
from nspike.trainable.course import course
from nspike.trainable.plain import DifferentiableAnn
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.spiking import DifferentiableNetwork

Planes = NDArray[np.float32]

Doubles = NDArray[np.float64]

RIDGE = 1e-3
BATCH = 8
TURNS = 8


@dataclass
class _Batch:
    """Some of the images, int32 (N, C, H, W), and the spikes of the layers that are fitted already."""

    plane: NDArray[np.int32]
    trains: dict[str, SpikeTrain] = field(default_factory=dict)


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
    if ridge < 0 or (clean is not None and clean.shape != degraded.shape):
        raise UsageError("fitting needs μ of 0 or more, and clean images of the shape of the degraded ones")
    network = model.network
    plane = to_plane(degraded)
    seen = (plane / UNIT).astype(np.float32)
    values = _activations(model, seen, overshoot)
    convs = [conv for conv in network.convs if network.activations_into(conv.name)]
    batches = [_Batch(plane[first : first + BATCH]) for first in range(0, len(plane), BATCH)]
    for done, conv in enumerate(convs):
        read = np.concatenate([values[source.name] for source in network.activations_into(conv.name)], axis=1)
        wanted = _preactivation(model, conv, read)
        if conv.name == network.output and clean is not None:
            wanted = ideal_output(network.mode, seen, clean)
        model = _fitted(model, conv, batches, wanted, ridge)
        if progress is not None:
            progress(done + 1, len(convs))
    return model


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
    kernel = np.asarray(model.parameters[f"{conv.name}.weight"], np.float32)
    bias = np.asarray(model.parameters[f"{conv.name}.bias"], np.float32) if conv.bias else None
    return convolve(np.ascontiguousarray(read.transpose(0, 2, 3, 1)), kernel, bias, pad=conv.radius).transpose(
        0, 3, 1, 2
    )


def _fitted(model: Model, conv: Conv, batches: Sequence[_Batch], wanted: Planes, ridge: float) -> Model:
    """The model with one convolution fitted."""
    network, spiking = model.network, spiking_of(model)
    scale = np.asarray(spiking.scales[driven(network, conv.name)], np.float64)
    kernel, _ = normalised_conv(network, model.parameters, spiking, conv.name)
    rates = _rates(model, [source.name for source in network.activations_into(conv.name)], batches)
    wanted = np.asarray(wanted.transpose(0, 2, 3, 1) / scale, np.float32)
    most = np.inf if conv.name == network.output else _highest_rate(model, driven(network, conv.name))
    start = kernel.transpose(2, 3, 1, 0).reshape(-1, conv.out_channels)
    gram, mean_in = _moments(rates, conv)
    penalty = ridge * np.trace(gram) / len(gram) + 1e-12
    factor = cho_factor(gram + penalty * np.eye(len(gram)))

    def solved(target: Planes) -> tuple[Doubles, Doubles]:
        cross, mean_out = _products(rates, target, conv, mean_in)
        solution = np.asarray(start + cho_solve(factor, cross - gram @ start), np.float64)
        return solution, mean_out - mean_in @ solution

    solution, bias = solved(wanted)
    for _ in range(0 if conv.name == network.output else TURNS - 1):
        values = convolve(rates, _kernel(solution, conv), bias.astype(np.float32), pad=conv.radius)
        idle = ((wanted < 0) & (values < 0)) | ((wanted > most) & (values > most))
        solution, bias = solved(np.where(idle, values, wanted))
    weights = {**spiking.weights, conv.name: _kernel(solution, conv)}
    biases = {**spiking.biases}
    if conv.bias:
        biases[conv.name] = bias.astype(np.float32)
    return model.with_spiking(replace(spiking, weights=weights, biases=biases))


def _rates(model: Model, names: Sequence[str], batches: Sequence[_Batch]) -> Planes:
    """The rates of some layers, float32 (N, H, W, C)."""
    assert model.spiking is not None
    neuron, timesteps = neuron_of(model), model.spiking.timesteps
    net = DifferentiableNetwork(model, neuron, head_of(model))
    given = model.spiking.neuron_parameters.get(neuron.name, {})
    worth = {
        name: course(neuron, neuron.values(given.get(name, {})), timesteps, timesteps + neuron.post_steps).amplitudes
        for name in names
    }
    parts = []
    for batch in batches:
        batch.trains = net.spikes(batch.plane, names, batch.trains)
        parts.append(np.concatenate([batch.trains[name].weighted(worth[name]) for name in names], axis=-1))
    return np.asarray(np.concatenate(parts) / timesteps, np.float32)


def _highest_rate(model: Model, name: str) -> NDArray[np.float32]:
    """What a neuron that fires at every step gives, in units of λ, float32 (C,)."""
    assert model.spiking is not None
    neuron, timesteps = neuron_of(model), model.spiking.timesteps
    values = neuron.values(model.spiking.neuron_parameters.get(neuron.name, {}).get(name, {}))
    ways = course(neuron, values, timesteps, timesteps + neuron.post_steps)
    theta = np.asarray(model.spiking.thresholds[name], np.float32)
    gain = sum(gain for gain in neuron.planes if gain > 0)
    return theta * np.float32(gain * (ways.amplitudes @ (ways.fires >= 0)) / timesteps)


def _kernel(rows: Doubles, conv: Conv) -> Planes:
    """float32 (C_out, C_in, k, k) of coefficients (k·k·C_in, C_out)."""
    shape = (conv.kernel, conv.kernel, conv.in_channels, conv.out_channels)
    return np.ascontiguousarray(rows.reshape(shape).transpose(3, 2, 0, 1), np.float32)


def _moments(rates: Planes, conv: Conv) -> tuple[Doubles, Doubles]:
    """Covariance of the neighbourhoods, and their mean: zeros for a convolution without bias, which is not centred."""
    size, count = conv.kernel**2 * conv.in_channels, rates[..., 0].size
    gram, total = np.zeros((size, size)), np.zeros(size)
    for image in rates:
        rows = unrolled(image[None], conv.kernel, 1, conv.radius).reshape(-1, size)
        gram += rows.T @ rows
        total += rows.sum(0, dtype=np.float64) if conv.bias else 0.0
    mean = total / count
    return gram / count - np.outer(mean, mean), mean


def _products(rates: Planes, target: Planes, conv: Conv, mean_in: Doubles) -> tuple[Doubles, Doubles]:
    """Covariance of the neighbourhoods with the target, and the target's mean, likewise."""
    count = rates[..., 0].size
    sums = kernel_gradient(rates, target, conv.kernel, pad=conv.radius).astype(np.float64)
    cross = sums.transpose(2, 3, 1, 0).reshape(-1, conv.out_channels) / count
    mean = target.mean((0, 1, 2), dtype=np.float64) if conv.bias else np.zeros(conv.out_channels)
    return cross - np.outer(mean_in, mean), mean
