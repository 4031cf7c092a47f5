"""Values of layers inside a spiking network as tensors, for losses: their mean over the steps up to T, in the ANN's units.

    of a current   f = (λ/T)·Σ I(t);   of neurons   f = (λ/T)·Σ a(t)·g·s(t)

with a·g what their spikes are worth. Gradients go to every step alike; a(t) has none here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor, record
from nspike.errors import UsageError, nearest
from nspike.graph.network import Network
from nspike.graph.values import values
from nspike.integer.normalise import current_scales, spikes_scale
from nspike.model.model import Model, spiking_of
from nspike.trainable.current import Current
from nspike.trainable.layer import Floats
from nspike.trainable.running import Running
from nspike.trainable.spike_train import SpikeTrain


def check_tap(network: Network, name: str) -> None:
    """Raise UsageError where layer `name` of a spiking network has no values of its own, naming one that has."""
    known = [layer.name for layer in network.layers]
    if name not in known:
        raise UsageError(f"network {network.name} has no layer {name!r} to tap.{nearest(name, known)}")
    readers = [layer for layer in network.layers for source in layer.sources if source == name]
    driven = name in {driver.name for driver in network.drivers}
    if driven and len(readers) == 1 and readers[0] in network.activations:
        raise UsageError(
            f"network {network.name}: the current {name!r} is summed up inside the neurons {readers[0].name!r} alone; "
            f"tap {readers[0].name!r}"
        )
    if name == network.output or values(network.layers)[name] not in ("current", "spikes"):
        raise UsageError(f"network {network.name}: layer {name!r} is the output or like the image; tap a layer between")


def feature(run: Running, model: Model, name: str, by_rate: bool) -> Tensor:
    """The feature of layer `name`, float32 (N, C, h, w), of a network that runs; `by_rate` if gradients follow the rate."""
    tensor, network, spiking = run.tensor(name), model.network, spiking_of(model)
    steps, timesteps = run.shared.steps, run.shared.timesteps
    if isinstance(tensor, Current):
        unit = (current_scales(network, spiking)[name] / timesteps).astype(np.float32)
        value = np.ldexp(_total(tensor, timesteps), -run.shared.integers.exponents[name]).astype(np.float32) * unit

        def to_current(g: Floats) -> list[Any]:
            charge = np.ascontiguousarray(g.transpose(0, 2, 3, 1)) * unit
            return [charge if by_rate else _at_steps(charge, np.arange(steps) < timesteps)]

        return record(np.ascontiguousarray(value.transpose(0, 3, 1, 2)), [tensor], to_current)
    assert isinstance(tensor, SpikeTrain)
    unit = (spikes_scale(network, spiking, name) / timesteps).astype(np.float32)
    own = name if name in run.neurons else network.activations_into(name)[0].name
    worth = run.worth(own)
    worth[timesteps:] = 0
    value = tensor.weighted(worth) * unit

    def to_spikes(g: Floats) -> list[Any]:
        counts = np.ascontiguousarray(g.transpose(0, 2, 3, 1)) * unit
        if by_rate:
            return [(counts, None)]
        planes = np.concatenate([gain * counts for gain in tensor.planes], axis=-1)
        return [(_at_steps(planes, worth), None)]

    return record(np.ascontiguousarray(value.transpose(0, 3, 1, 2)), [tensor], to_spikes)


def _total(current: Current, timesteps: int) -> NDArray[np.float64]:
    """Σ I(t) up to T on the current's grid, (N, H, W, C)."""
    data = current.data
    if data.shape[1] == 1:
        return data[:, 0].astype(np.float64) * timesteps
    return np.asarray(data[:, :timesteps].sum(axis=1, dtype=np.int64), np.float64)


def _at_steps(gradient: Floats, worth: NDArray[Any]) -> Floats:
    """A gradient (N, H, W, C) times what each step is worth, float32 (steps, N, H, W, C)."""
    out = np.empty((len(worth), *gradient.shape), np.float32)
    for t, factor in enumerate(worth):
        np.multiply(gradient, np.float32(factor), out=out[t])
    return out
