"""The rates of layers of neurons in a network that is being fitted: (1/T)·Σ gain·a(t)·s(t), in units of their scale."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.course import course
from nspike.graph import arrange
from nspike.graph.layer import Conv
from nspike.graph.network import Network
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


class Rates:
    """The rates of a network on some planes, int32 (N, C, H, W), while its layers are fitted one after the other.

    A layer of neurons runs once, when something first reads it: all before it must have been fitted by then.
    """

    def __init__(self, planes: NDArray[np.int32]) -> None:
        self._batches = [planes[first : first + BATCH] for first in range(0, len(planes), BATCH)]
        self._trains: list[dict[str, SpikeTrain]] = [{} for _ in self._batches]

    def read(self, model: Model, conv: Conv) -> Planes:
        """What `conv` reads, float32 (N, C, H, W)."""
        network, spiking, neuron = model.network, spiking_of(model), neuron_of(model)
        names = list(dict.fromkeys(a.name for a in network.activations_into(conv.name)))
        net = DifferentiableNetwork(model, neuron, head_of(model))
        for i, batch in enumerate(self._batches):
            self._trains[i] = net.spikes(batch, names, self._trains[i])
        given, steps = spiking.neuron_parameters.get(neuron.name, {}), spiking.timesteps + neuron.post_steps
        known = {}
        for name in names:
            worth = course(neuron, neuron.values(given.get(name, {})), spiking.timesteps, steps).amplitudes
            rates = np.concatenate([trains[name].weighted(worth) for trains in self._trains]) / spiking.timesteps
            known[name] = np.asarray(rates, np.float32).transpose(0, 3, 1, 2)
        return moved(network, conv.source, known)
