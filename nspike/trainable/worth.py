"""What the spikes that a layer reads are worth, where training may change it."""

from typing import NamedTuple

from nspike.autograd.tensor import Tensor
from nspike.trainable.course import slopes
from nspike.trainable.layer import Doubles, Layer


class Worth(NamedTuple):
    """The channels first .. last-1 are read at an amplitude that depends on `tensor`, by ∂a/∂tensor (steps,)."""

    first: int
    last: int
    tensor: Tensor
    slope: Doubles


def worth_read(layer: Layer) -> list[Worth]:
    """What trains the worth of the spikes that a layer reads."""
    trained: list[Worth] = []
    first, shared = 0, layer.shared
    for train, other in layer.sources:
        for name, tensor in other.trained.items():
            slope = slopes(layer.source_neuron, other.values, name, shared.timesteps, shared.steps).amplitudes
            if slope.any():
                trained.append(Worth(first, first + train.neurons, tensor, slope))
        first += train.neurons
    return trained
