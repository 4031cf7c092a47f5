"""The rates of layers of neurons in a network that is being fitted: (1/T)·Σ gain·a(t)·s(t), in units of their scale.

They come from the engine, which runs the whole network; what cannot change any more is kept until the last layer that
reads it is done. Of networks in which every current drives one layer of neurons, `nspike.trainable` runs only the layers
that are new.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.course import course
from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.engine.tile import LayerSpikes
from nspike.graph import arrange
from nspike.graph.geometry import geometry
from nspike.graph.layer import Conv
from nspike.graph.network import Network
from nspike.integer.rounding import neurons_of
from nspike.model.model import Model, spiking_of
from nspike.registry.parts import head_of, neuron_of
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.spiking import DifferentiableNetwork

Planes = NDArray[np.float32]

BATCH = 8


def moved(network: Network, name: str, known: Mapping[str, Planes]) -> Planes:
    """What tensor `name` of moved activations is, float32 (N, C, H, W), from `known` ones."""
    if name in known:
        return known[name]
    layer = network.layer(name)
    return arrange.move(layer, [moved(network, source, known) for source in layer.sources])


def read_by(network: Network, conv: Conv) -> list[str]:
    """The activations that a convolution reads, each once."""
    return list(dict.fromkeys(a.name for a in network.activations_into(conv.name)))


class Rates:
    """The rates of a network on some planes, int32 (N, C, H, W), while its layers are fitted one after the other."""

    def __init__(self, network: Network, planes: NDArray[np.int32]) -> None:
        self.network, self.planes = network, planes
        self.is_simple = _is_simple(network)
        self._known: dict[str, Planes] = {}
        self._batches = [planes[first : first + BATCH] for first in range(0, len(planes), BATCH)]
        self._trains: list[dict[str, SpikeTrain]] = [{} for _ in self._batches]

    def read(self, model: Model, conv: Conv) -> Planes:
        """What `conv` reads, float32 (N, C, H, W), all layers before it being fitted in `model`."""
        names = read_by(self.network, conv)
        known = self._by_layers(model, names) if self.is_simple else self._by_engine(model, conv, names)
        return moved(self.network, conv.source, known)

    def _by_layers(self, model: Model, names: Sequence[str]) -> dict[str, Planes]:
        net = DifferentiableNetwork(model, neuron_of(model), head_of(model))
        worth = _worth(model)
        for batch, trains in zip(self._batches, self._trains, strict=True):
            trains |= net.spikes(batch, names, trains)
        timesteps = spiking_of(model).timesteps
        return {
            name: np.asarray(
                np.concatenate([trains[name].weighted(worth[name]) for trains in self._trains]) / timesteps, np.float32
            ).transpose(0, 3, 1, 2)
            for name in names
        }

    def _by_engine(self, model: Model, conv: Conv, names: Sequence[str]) -> dict[str, Planes]:
        order = [layer.name for layer in self.network.layers]
        needed = self._needed_from(order.index(conv.name))
        self._known = {name: rates for name, rates in self._known.items() if name in needed}
        if set(names) <= set(self._known):
            return self._known
        wanted = [name for name in needed if order.index(name) < order.index(conv.name) and name not in self._known]
        shapes = self.network.shapes(*self.planes.shape[2:])
        fresh = {name: np.zeros((len(self.planes), *shapes[name]), np.float32) for name in wanted}
        neurons, worth = neurons_of(self.network, neuron_of(model)), _worth(model)

        def observer(seen: LayerSpikes) -> None:
            if seen.layer in fresh:
                spikes, gains = seen.dense(), np.array(neurons[seen.layer].planes, np.float64)
                planes = spikes.reshape(len(spikes), gains.size, -1, *spikes.shape[2:])
                amounts = np.einsum("tpcyx,t,p->cyx", planes, worth[seen.layer][: len(spikes)], gains)
                fresh[seen.layer][seen.n, :, *seen.core.slices] = amounts / spiking_of(model).timesteps

        program = program_of(model, neuron_of(model), head_of(model))
        engine.run(program, self.planes, sink=lambda part: None, observer=observer)
        self._known |= fresh
        return self._known

    def _needed_from(self, first: int) -> set[str]:
        """The activations that convolutions from layer number `first` on read."""
        convs = {conv.name: conv for conv in self.network.convs}
        later = [convs[layer.name] for layer in self.network.layers[first:] if layer.name in convs]
        return {name for conv in later for name in read_by(self.network, conv)}


def _is_simple(network: Network) -> bool:
    """Whether plain convolutions, and gates, drive one layer of neurons each, of one sign, at the image's size."""
    drivers = {layer.name for layer in network.drivers}
    driven = [layer.source for layer in network.activations]
    return (
        all(geometry(layer).role in ("current", "neurons", "arrange") for layer in network.layers)
        and all(scale == 1 for scale in network.scales.values())
        and all(conv.is_plain for conv in network.convs)
        and not any(layer.signed for layer in network.activations)
        and sorted([*driven, network.output]) == sorted(drivers)
        and not any(geometry(layer).role == "arrange" and hasattr(layer, "source") for layer in network.layers)
    )


def _worth(model: Model) -> dict[str, NDArray[np.float64]]:
    """What a spike of each layer is worth at each step."""
    spiking, neuron = spiking_of(model), neuron_of(model)
    given, steps = spiking.neuron_parameters.get(neuron.name, {}), spiking.timesteps + neuron.post_steps
    return {
        a.name: course(neuron, neuron.values(given.get(a.name, {})), spiking.timesteps, steps).amplitudes
        for a in model.network.activations
    }
