"""Convolutions and gates before they are rounded, in units of the scales of their currents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.errors import ModelError
from nspike.graph.layer import Conv, Driver, Gate
from nspike.integer.grid import ANALOG_LIMIT, IMAGE_GAIN, RANGE, SPIKE_LIMIT, kernel_bounds, weights_on_grid
from nspike.integer.grids import Bounds
from nspike.integer.normalise import current_scales, gate_scale, normalised_conv
from nspike.integer.spike_channels import (
    Planes,
    Worth,
    inputs,
    spike_planes,
    spike_sources,
    spike_worth,
    taken,
    weighed,
)
from nspike.model.model import Model, Spiking

Floats = NDArray[np.float64]
_Number = TypeVar("_Number", bound=np.generic)


@dataclass(frozen=True)
class Spikes:
    """Of each activation by name: its neuron, and what its spikes are worth."""

    neurons: Mapping[str, Neuron]
    worth: Callable[[str], Worth]

    def planes(self, name: str) -> Planes:
        """The gains of the spike planes of an activation."""
        return self.neurons[name].planes


@dataclass(frozen=True)
class FloatDriver:
    """A convolution or gate in units of the scale of its current.

    layer and sources : as of a `nspike.integer.rounding.Stage`. weights : (phases, C, C_in/groups, k, k), none for a gate, those
    of a spike of gain 1. read and gains : (C, I), of which channel of these each channel of spikes is, and the gain of its plane,
    which multiplies its weight once that is rounded. bias (C,).
    gate : (C,), what it multiplies n·(x - 1) by, n being the spikes of all planes, each as often as its gain says; empty for a
    convolution. bounds : what its grid must hold.
    """

    layer: Driver
    sources: tuple[str, ...]
    weights: Floats
    read: NDArray[np.int64]
    gains: NDArray[np.int64]
    bias: Floats
    gate: Floats
    bounds: Bounds

    @property
    def of_planes(self) -> Floats:
        """The weights times the gains, (phases, C, I, k, k), not rounded."""
        return self._taken(self.weights) * self.gains[:, :, None, None]

    def on_grid(self, exponent: NDArray[np.int64]) -> NDArray[np.int16]:
        """The same on the grids 2^-exponent (C,): rounded, then multiplied."""
        gains = self.gains[:, :, None, None].astype(np.int16)
        return self._taken(weights_on_grid(self.weights, exponent)) * gains

    def _taken(self, weights: NDArray[_Number]) -> NDArray[_Number]:
        if (self.read == self.read[:1]).all():  # of one group; several times as fast
            return np.asarray(np.take(weights, self.read[0], axis=2))
        return np.take_along_axis(weights, self.read[None, :, :, None, None], axis=2)


def _conv(model: Model, spiking: Spiking, layer: Any, spikes: Spikes) -> FloatDriver:
    network, sources = model.network, spike_sources(model.network, layer.name)
    weights, bias = normalised_conv(network, model.parameters, spiking, layer.name)
    if not sources:
        largest, total = kernel_bounds(weights[None], bias, IMAGE_GAIN)
        ones, each = np.ones(weights.shape[:2], np.int64), np.arange(weights.shape[1])
        bounds = Bounds(largest, total, ANALOG_LIMIT)
        return FloatDriver(layer, sources, weights[None], ones * each, ones, bias, np.zeros(0), bounds)
    read = inputs(network, layer.name, layer.groups, spikes.planes)
    kernel = weighed(weights, read, [spike_worth(network, part, spikes.worth) for part in read.parts])
    of, gains = taken(read, len(weights))
    together = np.zeros(weights.shape[:2], np.int64)
    np.add.at(together, (np.arange(len(weights))[:, None], of), np.abs(gains))
    largest, total = kernel_bounds(kernel, bias, together)
    limit = SPIKE_LIMIT // int(np.abs(gains).max())
    return FloatDriver(layer, sources, kernel, of, gains, bias, np.zeros(0), Bounds(largest, total, limit))


def _gate(model: Model, spiking: Spiking, layer: Any, spikes: Spikes) -> FloatDriver:
    network, sources = model.network, spike_sources(model.network, layer.name)
    if not sources or layer.channels != network.channels or network.scales[layer.name] != Fraction(1):
        raise ModelError(
            f"network {network.name}: gate {layer.name!r} must read spikes of the image's size and {network.channels} channels"
        )
    most, worths = 1, []
    for source in sources:
        planes, (before, after) = (
            spike_planes(network, source, spikes.planes),
            spike_worth(network, source, spikes.worth),
        )
        if before != after:
            (neuron, *_) = spikes.neurons.values()
            raise ModelError(
                f"neuron {neuron.name} cannot feed a gate: its spikes are worth {before:g} up to T and {after:g} after"
            )
        most = max(most, *(sum(max(sign * gain, 0) for gain in planes) for sign in (1, -1)))
        worths.append(np.full(network.widths[source], before))
    gate = gate_scale(network, spiking, layer.name) * np.concatenate(worths)
    bias = 1.0 / current_scales(network, spiking)[layer.name]
    # the gate's weight is λ·(x - 1) with x in [-4, 4]; its largest takes the place of a kernel
    largest, total = kernel_bounds((gate * (IMAGE_GAIN + 1))[None, :, None, None, None], bias, most)
    none, no_gains = np.zeros((1, layer.channels, 0, 1, 1)), np.zeros((layer.channels, 0), np.int64)
    return FloatDriver(layer, sources, none, no_gains, no_gains, bias, gate, Bounds(largest, total, RANGE))


FLOATS: Mapping[type[Driver], Callable[[Model, Spiking, Any, Spikes], FloatDriver]] = {Conv: _conv, Gate: _gate}
"""How each kind of layer that makes a current of spikes or the image is put in units of its current's scale."""
