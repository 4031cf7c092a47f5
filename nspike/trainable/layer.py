"""What a spiking layer of a training run is made of: the stage's integers, its floats as tensors, and what it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

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


@dataclass(frozen=True)
class Shared:
    """The input and the settings that all layers of a forward pass share.

    plane : int32 (N, H, W, C), the images on the input plane.
    timesteps : T. steps : with the post steps. pad : the border of packed spikes.
    surrogate : the derivative of the firing test. follow_reset : whether ∂L/∂s includes the reset, not detached.
    recompute : whether membranes are computed again for the way back.
    integers : the network, for neurons with a kernel of their own.
    """

    plane: NDArray[np.int32]
    timesteps: int
    steps: int
    pad: int
    surrogate: Surrogate
    follow_reset: bool = True
    recompute: bool = False
    integers: IntegerNetwork | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W): images, and pixels of each."""
        count, height, width, _ = self.plane.shape
        return count, height, width


@dataclass(frozen=True)
class LayerParameters:
    """The floats of one layer, as tensors.

    weight (C, C_in, k, k) float32, None for a gate; bias (C,) float32, None where there is none to train; θ =
    threshold·ratio, float64, threshold being (1,) or (C,); neuron : each parameter of its neuron, a trained one as a tensor.
    """

    weight: Tensor | None
    bias: Tensor | None
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


@dataclass(frozen=True)
class Layer:
    """A stage over a batch, before it runs.

    Parameters
    ----------
    prepared : the stage in the layout of the wide kernels.
    shared : the input and settings common to all layers.
    neuron : that fires in it. fires_until : the steps after which it is silent, for the output layer: T, or 0.
    parameters : its floats.
    sources : the spikes that it reads, none for the image, and for each the floats of the layer that fired them.
    source_neuron : that fired them.
    """

    prepared: Prepared
    shared: Shared
    neuron: Neuron
    parameters: LayerParameters
    sources: tuple[tuple[SpikeTrain, LayerParameters], ...]
    source_neuron: Neuron
    fires_until: int

    @property
    def trains(self) -> list[SpikeTrain]:
        """The spikes that it reads."""
        return [train for train, _ in self.sources]

    @property
    def channels(self) -> int:
        """The number of neurons at each pixel."""
        return self.prepared.stage.channels

    @property
    def theta(self) -> Doubles:
        """θ as it was rounded, float64 (C,), in units of the layer's scale."""
        integer = self.prepared.stage.integer
        return np.asarray(np.ldexp(integer.theta.astype(np.float64), -integer.exponent))

    @cached_property
    def course(self) -> FloatCourse:
        """f and a of its neurons, silent from `fires_until` on."""
        own = course(self.neuron, self.parameters.values, self.shared.timesteps, self.shared.steps)
        own.fires[self.fires_until :] = -1.0
        return own

    def courses_read(self) -> list[FloatCourse]:
        """The courses of the neurons that it reads, one for each source."""
        shared = self.shared
        return [course(self.source_neuron, other.values, shared.timesteps, shared.steps) for _, other in self.sources]
