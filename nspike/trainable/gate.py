"""Gates in training: each spike is multiplied by s·(x - 1), x being the image at its pixel."""

from typing import Any

import numpy as np

from nspike.autograd.tensor import Tensor
from nspike.integer.currents import gate_weights
from nspike.model.model import Model
from nspike.trainable.layer import Floats
from nspike.trainable.written import Worth, Written

SPIKES_ARE_ONE = True


def floats(model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
    """Nothing: a gate trains the threshold of its neurons alone."""
    return None, None


def read(written: Written, n: int) -> Any:
    """Spikes, and the image."""
    return written.spikes_of(n), written.plane_of(n)


def worth(written: Written) -> list[Worth]:
    """No gradient: a spike always counts as 1."""
    return []


def back_in_time(written: Written, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
    """The gradient ∂L/∂s = gate·∂L/∂I in the spikes."""
    return _split(written, currents * _gate_values(written)), None, []


def charge(written: Written, read: Floats, bias: Floats) -> Floats:
    """The charge n·gate + b of spike counts n."""
    return read * _gate_values(written) + bias


def back_to_sources(written: Written, of_charge: Floats) -> list[Any]:
    """The gradient ∂L/∂n = gate·∂L/∂Q in the spike counts."""
    return _split(written, of_charge * _gate_values(written))


def rate_products(written: Written, read: Floats, of_charge: Floats) -> Floats:
    """Not asked for: a gate has no kernel."""
    raise NotImplementedError


def _split(written: Written, gradient: Floats) -> list[Any]:
    if len(written.trains) == 1:
        return [(gradient, None)]
    ends = np.cumsum([train.channels for train in written.trains])[:-1]
    return [(part.copy(), None) for part in np.split(gradient, ends, axis=-1)]


def _gate_values(written: Written) -> Floats:
    """The current of a spike, float32 (N, H, W, C) in units of the current's scale."""
    exponent = written.integer.exponent
    gates = gate_weights(written.image, written.gate, exponent)
    return np.asarray(np.ldexp(gates.astype(np.float32), -exponent))
