"""Weights on a coarse grid, what rounding one does to the sum being made up for by those that are rounded after it.

Spikes of several planes leave few bits to a weight (`nspike.integer.grid`). With x what a convolution reads and C its covariance,
the weights of an output channel are rounded one after the other, those of the largest variance first, and the rest becomes

    w[j+1:] - (w[j] - round(w[j])) / R[j, j] · R[j, j+1:],   R the upper Cholesky factor of (C + damping)^-1

(Frantar et al. 2022, GPTQ, arXiv:2210.17323). What is left changes the mean of the sum by (w - round(w))·E[x], which the bias
takes up. x are the whole numbers that the plain network's activations on the calibration images come to in spikes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.graph.layer import Conv
from nspike.integer import rounding
from nspike.integer.grid import SPIKE_LIMIT
from nspike.integer.normalise import input_scale, normalised_conv
from nspike.integer.rounding import IntegerNetwork
from nspike.integer.spike_channels import spike_sources
from nspike.model.model import Model, spiking_of

Floats = NDArray[np.float64]
Planes = NDArray[np.float32]

POSITIONS = 256
"""How many positions of a tile are looked at."""
LARGEST = 2304
"""The most weights of an output channel whose covariance is taken; of more only the bias is corrected."""
DAMPING = 0.01
"""Of the mean variance."""


@dataclass(frozen=True)
class _Reader:
    """A convolution, the activations that it reads, λ of each channel, and the least and the most that a neuron sends."""

    conv: Any
    sources: tuple[str, ...]
    scale: Floats
    least: Floats
    most: Floats


class _Moments:
    """Sums of x and of its products, of the numbers that an output of a convolution reads."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.sum = np.zeros(size)
        self.products = np.zeros((size, size), np.float32) if size <= LARGEST else None

    def add(self, reader: _Reader, values: Mapping[str, Planes]) -> None:
        conv = reader.conv
        read = np.concatenate([values[source] for source in reader.sources])
        each = [of[:, None, None] for of in (reader.scale, reader.least, reader.most)]
        whole = np.clip(np.rint(read / each[0]), each[1], each[2]).astype(np.float32)
        padded = np.pad(whole, [(0, 0), conv.pads, conv.pads])
        reach = (conv.kernel - 1) * conv.dilation + 1
        fields = sliding_window_view(padded, (reach, reach), axis=(1, 2))[:, :: conv.stride, :: conv.stride]
        apart = max(1, int((fields.shape[1] * fields.shape[2] / POSITIONS) ** 0.5))
        taken = fields[:, ::apart, ::apart, :: conv.dilation, :: conv.dilation]
        x = np.ascontiguousarray(taken.transpose(0, 3, 4, 1, 2)).reshape(self.sum.size, -1)
        self.count += x.shape[1]
        self.sum += x.sum(axis=1, dtype=np.float64)
        if self.products is not None:
            self.products += x @ x.T


def compensate(
    model: Model,
    neuron: Neuron,
    head: Head,
    activations: Callable[[], Iterable[dict[str, Planes]]],
) -> Model:
    """A converted model whose kernels lie on their grids, rounded as the module says, with biases to match.

    activations : as of `nspike.Calibration`. Convolutions that read anything but neurons, or share their kernels, are left.
    """
    integers = rounding.build(model, neuron, head)
    readers = _readers(model, integers)
    moments = {reader.conv.name: _Moments(int(np.prod(reader.conv.kernel_shape[1:]))) for reader in readers}
    for values in activations():
        for reader in readers:
            moments[reader.conv.name].add(reader, values)
    spiking = spiking_of(model)
    weights, biases = dict(spiking.weights), dict(spiking.biases)
    for reader in readers:
        name = reader.conv.name
        kernel, bias = normalised_conv(model.network, model.parameters, spiking, name)
        most = max(abs(gain) for source in reader.sources for gain in integers.planes(source))
        own = _rounded(kernel, bias, integers.exponents[name], SPIKE_LIMIT // most, moments[name])
        weights[name], biases[name] = (each.astype(np.float32) for each in own)
    made = model.with_spiking(replace(spiking, weights=weights, biases=biases))
    after = rounding.build(made, neuron, head).exponents
    if all((after[reader.conv.name] >= integers.exponents[reader.conv.name]).all() for reader in readers):
        return made
    return model  # the bound of a sum has grown past a power of two, and the grids with it


def _readers(model: Model, integers: IntegerNetwork) -> list[_Reader]:
    network, spiking = model.network, spiking_of(model)
    stages = {stage.name: stage for stage in integers.stages}
    names = {activation.name for activation in network.activations}
    shared = {conv.tied for conv in network.of_kind(Conv) if conv.tied}
    found = []
    for conv in network.convs:
        sources = spike_sources(network, conv.name)
        if conv.groups > 1 or conv.tied or conv.name in shared or not sources or not set(sources) <= names:
            continue
        most = [np.full(network.widths[s], float(stages[s].dynamics.most)) for s in sources]
        below = [
            np.full(network.widths[s], -float(stages[s].dynamics.most if stages[s].dynamics.down else 0))
            for s in sources
        ]
        scale = input_scale(network, spiking, conv.name)
        found.append(_Reader(conv, sources, scale, np.concatenate(below), np.concatenate(most)))
    return found


def _rounded(
    kernel: Floats, bias: Floats, exponent: NDArray[np.int64], limit: int, seen: _Moments
) -> tuple[Floats, Floats]:
    """A kernel (C, I, k, k) on the grids 2^-exponent, within `limit`, and the bias that goes with it."""
    weights = np.ldexp(kernel, exponent[:, None, None, None]).reshape(len(kernel), -1)
    mean = seen.sum / seen.count
    left, whole = weights.copy(), np.empty_like(weights)
    if seen.products is None:
        whole = np.clip(np.rint(weights), -limit, limit)
    else:
        covariance = seen.products.astype(np.float64) / seen.count - np.outer(mean, mean)
        variance = np.maximum(covariance.diagonal(), 0)
        order = np.argsort(-variance, kind="stable")
        covariance = covariance[np.ix_(order, order)]
        covariance[np.diag_indices_from(covariance)] += DAMPING * variance.mean() + 1e-9
        factor = np.linalg.cholesky(np.linalg.inv(covariance)).T  # upper
        left, done = left[:, order], np.empty_like(weights)
        for j, row in enumerate(factor):
            done[:, j] = np.clip(np.rint(left[:, j]), -limit, limit)
            left[:, j + 1 :] -= np.outer((left[:, j] - done[:, j]) / row[j], row[j + 1 :])
        whole[:, order] = done
    back = -exponent
    lost = np.ldexp((weights - whole) @ mean, back)
    return np.ldexp(whole, back[:, None]).reshape(kernel.shape), bias + lost
