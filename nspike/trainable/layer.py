"""What a layer of neurons of a training run is made of: its integers, its floats as tensors, and where its current comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.contracts.neuron import Neuron
from nspike.engine.prepared import Prepared
from nspike.integer.rounding import IntegerNetwork
from nspike.trainable.course import FloatCourse, course
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.surrogate import Surrogate

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Shared:
    """The input and the settings that all layers of a forward pass share.

    plane : int32 (N, H, W, C), the images on the input plane.
    timesteps : T. steps : with the post steps. pad : the border of packed spikes.
    surrogate : the derivative of the firing test. follow_reset : whether ∂L/∂s includes the reset, not detached.
    recompute : whether membranes are computed again for the way back.
    integers : the network. sigmas : the noise level of each image, of 255, (N,), where the network is told it.
    """

    plane: Ints
    timesteps: int
    steps: int
    pad: int
    surrogate: Surrogate
    integers: IntegerNetwork
    follow_reset: bool = True
    recompute: bool = False
    sigmas: Doubles | None = None


@dataclass(frozen=True)
class KernelParameters:
    """The floats of a convolution: weight (C, C_in/groups, k, k) and bias (C,), float32; None where there is none to train."""

    weight: Tensor | None
    bias: Tensor | None

    @property
    def tensors(self) -> list[Tensor]:
        """Those that there are."""
        return [tensor for tensor in (self.weight, self.bias) if tensor is not None]


@dataclass(frozen=True)
class NeuronParameters:
    """The floats of a layer of neurons.

    θ = threshold·ratio, float64, threshold being (1,) or (C,); neuron : each parameter of its neuron, a trained one as a
    tensor.
    """

    threshold: Tensor
    ratio: Doubles
    neuron: Mapping[str, float | Tensor] = field(default_factory=dict)

    @property
    def theta(self) -> Doubles:
        """θ, float64 (C,)."""
        return np.asarray(self.ratio * self.threshold.data, np.float64)

    @property
    def values(self) -> dict[str, float]:
        """The neuron's parameters by name, trained ones included, as numbers."""
        return {name: value.item() if isinstance(value, Tensor) else value for name, value in self.neuron.items()}

    @property
    def trained(self) -> dict[str, Tensor]:
        """The neuron's parameters that are trained."""
        return {name: value for name, value in self.neuron.items() if isinstance(value, Tensor)}


class Input(Protocol):
    """Where the current of a layer comes from: a convolution or gate of its own, or a current that others read too."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""

    @property
    def fast(self) -> bool:
        """Whether the kernels of plain convolutions sum the current up while they fire."""

    @property
    def hands_on(self) -> bool:
        """Whether the gradient of the current is handed on as it is, instead of used up."""

    @property
    def trains(self) -> list[SpikeTrain]:
        """The spikes that it reads."""

    @property
    def words(self) -> NDArray[np.uint64]:
        """The spikes that it reads side by side, each source starting at a new word; only if `fast`."""

    @property
    def parents(self) -> list[Tensor]:
        """The tensors with gradients."""

    def currents(self) -> Ints:
        """The current with its biases, int32 (N, steps, H, W, C), or (N, 1, H, W, C) if it is the same up to T and then 0."""

    def back_in_time(self, currents: Floats, sums: Doubles) -> list[Any]:
        """The gradients of `parents` from ∂L/∂I (steps, N, H, W, C) and its sum for each channel up to T, (C,)."""

    def charge(self) -> Floats:
        """What arrives at all steps together, float32 (N, H, W, C) in units of the current's scale."""

    def back_through_rate(self, charge: Floats) -> list[Any]:
        """The gradients of `parents` from that of `charge`."""


@dataclass(frozen=True)
class Layer:
    """A layer of neurons over a batch, before it runs.

    Parameters
    ----------
    prepared : the stage in the layout of the wide kernels.
    shared : the input and settings common to all layers.
    neuron : that fires in it. fires_until : the steps after which it is silent, for the output layer: T, or 0.
    parameters : its floats.
    input : its current.
    factor : what θ is multiplied by in units of the current's scale, float64 (C,); 1 where they share one scale.
    """

    prepared: Prepared
    shared: Shared
    neuron: Neuron
    parameters: NeuronParameters
    input: Input
    fires_until: int
    factor: Doubles

    @property
    def channels(self) -> int:
        """The number of neurons at each pixel."""
        return self.prepared.stage.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W): images, and pixels of each at this layer's resolution."""
        return self.input.shape

    @property
    def theta(self) -> Doubles:
        """θ as it was rounded, float64 (C,), in units of the current's scale."""
        integer = self.prepared.stage.integer
        return np.asarray(np.ldexp(integer.theta.astype(np.float64), -integer.exponent))

    @cached_property
    def course(self) -> FloatCourse:
        """f and a of its neurons, silent from `fires_until` on."""
        own = course(self.neuron, self.parameters.values, self.shared.timesteps, self.shared.steps)
        own.fires[self.fires_until :] = -1.0
        return own
