"""Gates in training: each spike is multiplied by s·(x - 1), x being the image at its pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.integer.currents import gate_weights
from nspike.model.model import Model
from nspike.trainable.layer import Floats, Layer
from nspike.trainable.worth import Worth

SPIKES_ARE_ONE = True


def floats(model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
    """Nothing: a gate trains the threshold of its neurons alone."""
    return None, None


def currents(layer: Layer) -> NDArray[np.int32]:
    """What the spikes of each step bring, int32 (steps, N, H, W, C)."""
    gates, train = _gates(layer), layer.trains[0]
    return np.stack([train.floats(t).astype(np.int32) * gates for t in range(layer.shared.steps)])


def worth(layer: Layer) -> list[Worth]:
    """No gradient: a spike always counts as 1."""
    return []


def back_in_time(layer: Layer, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
    """The gradient ∂L/∂s = gate·∂L/∂I in the spikes."""
    return [(currents * _gate_values(layer), None)], None, []


def charge(layer: Layer, read: Floats, bias: Floats) -> Floats:
    """The charge n·gate + b of spike counts n."""
    return read * _gate_values(layer) + bias


def back_to_sources(layer: Layer, of_charge: Floats) -> list[Any]:
    """The gradient ∂L/∂n = gate·∂L/∂Q in the spike counts."""
    return [(of_charge * _gate_values(layer), None)]


def _gates(layer: Layer) -> NDArray[np.int32]:
    """The current of a spike, int32 (N, H, W, C)."""
    stage = layer.prepared.stage
    return gate_weights(layer.shared.plane, stage.gate, stage.integer.exponent).astype(np.int32)


def _gate_values(layer: Layer) -> Floats:
    """The same as float32, in units of the layer's scale."""
    return np.asarray(np.ldexp(_gates(layer).astype(np.float32), -layer.prepared.stage.integer.exponent))
