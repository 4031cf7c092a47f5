"""The one table from a kind of layer to what training does with it: a module of functions for each."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.graph.layer import Conv, Gate
from nspike.model.model import Model
from nspike.trainable import convolution, gate
from nspike.trainable.layer import Floats, Layer
from nspike.trainable.worth import Worth


class Kind(Protocol):
    """The functions that training needs for one kind of layer."""

    SPIKES_ARE_ONE: bool
    """Whether it counts each spike that it reads as 1, independent of the neuron's amplitude."""

    def floats(self, model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
        """The kernel and the bias that layer `name` trains."""

    def currents(self, layer: Layer) -> NDArray[np.int32] | None:
        """The input at each step, int32 (1 or steps, N, H, W, C); None if the kernel of the forward pass sums it up."""

    def worth(self, layer: Layer) -> list[Worth]:
        """What trains the worth of the spikes that are read."""

    def back_in_time(self, layer: Layer, currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
        """The gradients of the sources' spikes, of the kernel and of `worth`, from ∂L/∂I (steps, N, H, W, C)."""

    def charge(self, layer: Layer, read: Floats, bias: Floats) -> Floats:
        """Q float32 (N, H, W, C), from what was read in all, (N, H, W, C_in), and the bias of all steps together (C,)."""

    def back_to_sources(self, layer: Layer, of_charge: Floats) -> list[Any]:
        """The gradients of the sources' spikes from ∂L/∂Q (N, H, W, C)."""


KINDS: Mapping[type, Kind] = {Conv: convolution, Gate: gate}


def kind_of(layer: Layer) -> Kind:
    """What training does with the layer that a stage runs."""
    return KINDS[type(layer.prepared.stage.layer)]
