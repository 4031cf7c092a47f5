"""The base of a layer's gradient rules: run forward once, list the parents, return their gradients."""

from abc import ABC, abstractmethod
from typing import Any

from nspike.autograd.tensor import Tensor
from nspike.trainable.forward import Forward
from nspike.trainable.layer import Doubles, Floats, Input, Layer


class Rule(ABC):
    """A layer that has run, and the rule of its gradient.

    Parameters
    ----------
    layer : what runs.
    membranes : whether to keep v at the end, int32 (N, H, W, C).

    `train` holds its spikes. `parents` are the tensors that it depends on, in the order of what `back` returns; it is
    called once.
    """

    traced = False
    """Whether the rule needs every membrane at every step."""

    def __init__(self, layer: Layer, *, membranes: bool = False) -> None:
        trace = self.traced and not layer.shared.recompute
        self.layer, self.forward = layer, Forward(layer, membranes=membranes, trace=trace)
        self.train, self.v = self.forward.train, self.forward.v

    @property
    def parents(self) -> list[Tensor]:
        """The tensors with gradients: those of its input, the threshold."""
        return [*self.layer.input.parents, self.layer.parameters.threshold]

    @staticmethod
    @abstractmethod
    def back_to_input(source: Input, gradient: Floats, timesteps: int) -> list[Any]:
        """The gradients of the parents of a current that stands by itself, from its own, as `back` gives it."""

    @abstractmethod
    def spread(self, counts: Doubles) -> Floats:
        """The gradient of the layer's spikes, given that of one more at any step up to T, (N, H, W, C)."""

    @abstractmethod
    def back(
        self,
        spikes: Floats | None,
        added: Floats | None = None,
        *,
        end: Doubles | None = None,
        charge: Doubles | None = None,
        theta: Doubles | None = None,
    ) -> list[Any]:
        """The gradients of `parents`, given those of the spikes, which are used up.

        spikes : what `spread` gives, or the layers after, or None. added : float32 (steps,), for all neurons.
        end : ∂L/∂v after the last step, float64 (N, H, W, C). charge : a gradient with respect to the input of every step,
        likewise, or, for gradients through time, one of each step, (steps, N, H, W, C). theta : one with respect to θ, float64
        (C,), beside what spikes and membranes give.
        """

    def of_threshold(self, of_theta: Doubles) -> Doubles:
        """The gradient of the threshold that is trained, from ∂L/∂θ (C,), θ being in units of the current's scale."""
        p = self.layer.parameters
        by_ratio = p.ratio * self.layer.factor * of_theta
        return by_ratio if p.threshold.size == by_ratio.size else by_ratio.sum(keepdims=True)
