"""A layer whose current several layers read, or that a sum or shuffle reads before any neuron: it stands by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.graph.layer import Driver


@dataclass(frozen=True)
class Writer:
    """A convolution or gate on its grid, without neurons.

    layer : the convolution or gate, by whose name its current goes.
    sources : the spikes that it reads, as of `nspike.integer.rounding.Stage`; none for the image and what is like it.
    exponent : int64 (C,), its current is in units of 2^-exponent of the scale that all currents added to it share.
    weights : int16 (phases, C, I, k, k), I being the channels that one group reads, planes and all; empty for a gate.
    bias : int32 (C,). gate : float64 (C,), as of a `Stage`; empty for a convolution.
    """

    layer: Driver
    sources: tuple[str, ...]
    exponent: NDArray[np.int64]
    weights: NDArray[np.int16]
    bias: NDArray[np.int32]
    gate: NDArray[np.float64]

    @property
    def name(self) -> str:
        """The name of its layer, and of its current."""
        return self.layer.name
