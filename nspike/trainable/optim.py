"""Optimisers: SGD with momentum, Adam, AdamW, as PyTorch defines them; and clipping of the gradients' norm.

    SGD     m <- μ·m + g;   p <- p - η·m
    Adam    m <- β₁m + (1-β₁)g;   v <- β₂v + (1-β₂)g²;   p <- p - η·(m/(1-β₁ᵗ)) / (√(v/(1-β₂ᵗ)) + ε)
    AdamW   the same after p <- p - η·w·p; the others add w·p to g

(Kingma and Ba 2015; Loshchilov and Hutter 2019.) A parameter's own rate multiplies η.
"""

from collections.abc import Mapping

import numpy as np

from nspike.autograd.tensor import Array, Tensor
from nspike.errors import ModelError, UsageError, nearest


class Optimiser:
    """What the optimisers share.

    Parameters
    ----------
    parameters : the tensors by name; they are changed in place.
    rate : η, which `step` may multiply.
    rates : a factor on η for each parameter; one by default.
    weight_decay : w.
    decays : the names of the parameters to which weight decay applies; all by default.
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        rate: float,
        *,
        rates: Mapping[str, float] | None = None,
        weight_decay: float = 0.0,
        decays: set[str] | None = None,
    ) -> None:
        for name in [*(rates or ()), *(decays or ())]:
            if name not in parameters:
                raise UsageError(f"there is no parameter {name!r} to train.{nearest(name, parameters)}")
        self.parameters = dict(parameters)
        self.rate, self.weight_decay = rate, weight_decay
        self.rates = {name: (rates or {}).get(name, 1.0) for name in parameters}
        self.decays = set(parameters) if decays is None else decays
        self.steps = 0
        self._state = {
            slot: {name: np.zeros_like(tensor.data) for name, tensor in parameters.items()} for slot in self.slots
        }

    def step(self, factor: float = 1.0) -> None:
        """Move the parameters along their gradients, η times `factor`, and forget the gradients."""
        self.steps += 1
        for name, tensor in self.parameters.items():
            if tensor.grad is None:
                continue
            data = np.asarray(tensor.data)
            rate = self.rate * self.rates[name] * factor
            decay = self.weight_decay if name in self.decays else 0.0
            gradient = np.asarray(tensor.grad, data.dtype)
            tensor.data = np.asarray(self._moved(name, data, gradient, rate, decay), data.dtype)
            tensor.grad = None

    def _moved(self, name: str, data: Array, gradient: Array, rate: float, decay: float) -> Array:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Array]:
        """All that resuming needs beside the parameters, as arrays by name."""
        arrays = {f"{slot}/{name}": array for slot, kept in self._state.items() for name, array in kept.items()}
        return {"steps": np.array(self.steps), **arrays}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue from a `state_dict`. Raises ModelError if it is of another optimiser or network."""
        expected = self.state_dict()
        if set(state) != set(expected) or any(np.shape(state[k]) != np.shape(v) for k, v in expected.items()):
            raise ModelError("the optimiser's state is of another optimiser or another network")
        self.steps = int(state["steps"])
        for slot, kept in self._state.items():
            for name, array in kept.items():
                kept[name] = np.array(state[f"{slot}/{name}"], array.dtype)


class SGD(Optimiser):
    """Stochastic gradient descent with momentum μ."""

    slots = ("momentum",)

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        rate: float = 0.01,
        *,
        momentum: float = 0.9,
        rates: Mapping[str, float] | None = None,
        weight_decay: float = 0.0,
        decays: set[str] | None = None,
    ) -> None:
        super().__init__(parameters, rate, rates=rates, weight_decay=weight_decay, decays=decays)
        self.momentum = momentum

    def _moved(self, name: str, data: Array, gradient: Array, rate: float, decay: float) -> Array:
        moment = self.momentum * self._state["momentum"][name] + (gradient + decay * data)
        self._state["momentum"][name] = moment
        return np.asarray(data - rate * moment)


class Adam(Optimiser):
    """Adam, weight decay being added to the gradient."""

    slots = ("m", "v")
    decoupled = False

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        rates: Mapping[str, float] | None = None,
        weight_decay: float = 0.0,
        decays: set[str] | None = None,
    ) -> None:
        super().__init__(parameters, rate, rates=rates, weight_decay=weight_decay, decays=decays)
        self.betas, self.epsilon = betas, epsilon

    def _moved(self, name: str, data: Array, gradient: Array, rate: float, decay: float) -> Array:
        first, second = self.betas
        if self.decoupled:
            data = data * (1 - rate * decay)
        else:
            gradient = gradient + decay * data
        m = first * self._state["m"][name] + (1 - first) * gradient
        v = second * self._state["v"][name] + (1 - second) * np.square(gradient)
        self._state["m"][name], self._state["v"][name] = m, v
        root = np.sqrt(v) / np.sqrt(1 - second**self.steps)
        return np.asarray(data - rate / (1 - first**self.steps) * m / (root + self.epsilon))


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    decoupled = True


OPTIMISERS: dict[str, type[Optimiser]] = {"adamw": AdamW, "adam": Adam, "sgd": SGD}


def clip_gradients(parameters: Mapping[str, Tensor], most: float) -> float:
    """Scale all gradients together so that their Euclidean norm is at most `most`; returns what it was."""
    gradients = [tensor.grad for tensor in parameters.values() if tensor.grad is not None]
    norm = float(np.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for g in gradients)))
    if norm > most:
        for tensor in parameters.values():
            if tensor.grad is not None:
                tensor.grad = np.asarray(tensor.grad * (most / norm), tensor.data.dtype)
    return norm
