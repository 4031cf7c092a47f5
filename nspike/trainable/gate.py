"""Gates in training: n spikes are multiplied by λ·(x - 1), x being the image at their pixel, and by what a spike is worth."""

from typing import Any

import numpy as np

from nspike.autograd.tensor import Tensor
from nspike.integer.currents import gate_weights
from nspike.model.model import Model
from nspike.trainable.layer import Floats
from nspike.trainable.written import Worth, Written

WORTH_IS_FIXED = True


def floats(model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
    """Nothing: a gate trains the threshold of its neurons alone."""
    return None, None


def read(written: Written, n: int) -> Any:
    """Spikes, and the image."""
    return written.spikes_of(n), written.plane_of(n)


def worth(written: Written) -> list[Worth]:
    """No gradient: what a spike is worth is not trained where a gate reads it."""
    return []


def back_in_time(written: Written, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
    """The gradient ∂L/∂s = gain·gate·∂L/∂I in the spikes."""
    parts = [
        np.concatenate([part * np.float32(gain) for gain in train.planes], axis=-1)
        for part, train in zip(_split(written, currents * _gate_values(written)), written.trains, strict=True)
    ]
    return [(part, None) for part in parts], None, []


def charge(written: Written, read: Floats, bias: Floats) -> Floats:
    """The charge n·gate + b of what the spikes are worth together, n."""
    return read * _of_one(written) + bias


def back_to_sources(written: Written, of_charge: Floats) -> list[Any]:
    """The gradient ∂L/∂n = gate·∂L/∂Q in the spike counts."""
    return [(part, None) for part in _split(written, of_charge * _of_one(written))]


def rate_products(written: Written, read: Floats, of_charge: Floats) -> Floats:
    """Not asked for: a gate has no kernel."""
    raise NotImplementedError


def _split(written: Written, gradient: Floats) -> list[Floats]:
    if len(written.trains) == 1:
        return [gradient]
    ends = np.cumsum([train.neurons for train in written.trains])[:-1]
    return [part.copy() for part in np.split(gradient, ends, axis=-1)]


def _of_one(written: Written) -> Floats:
    """The current of what is worth 1: that of a spike over what it is worth."""
    pairs = zip(written.trains, written.courses_read(), strict=True)
    worth = np.concatenate([np.full(train.neurons, own.amplitudes[0], np.float32) for train, own in pairs])
    return np.asarray(_gate_values(written) / worth, np.float32)


def _gate_values(written: Written) -> Floats:
    """The current of a spike, float32 (N, H, W, C) in units of the current's scale."""
    exponent = written.integer.exponent
    gates = gate_weights(written.image, written.gate, exponent)
    return np.asarray(np.ldexp(gates.astype(np.float32), -exponent))
