"""A convolution or gate over a batch: what it reads, its integers and its floats. It makes the current of a layer, or a part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.contracts.neuron import Neuron
from nspike.engine.spikes import WideSpikes
from nspike.engine.window import Around, Rect
from nspike.engine.wiring import wire
from nspike.graph.layer import Driver
from nspike.images.plane import UNIT
from nspike.integer.grid import IntegerLayer
from nspike.integer.rounding import Stage
from nspike.integer.spike_channels import Inputs
from nspike.integer.writer import Writer
from nspike.model.model import Model
from nspike.runtime.parallel import each
from nspike.trainable.course import FloatCourse, course
from nspike.trainable.layer import Doubles, Floats, Ints, KernelParameters, Shared
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.time_norm import NormedBatch


@dataclass(frozen=True)
class Source:
    """Spikes that are read: of which neurons with which values, and those of their parameters that are trained."""

    train: SpikeTrain
    neuron: Neuron
    values: Mapping[str, float]
    trained: Mapping[str, Tensor] = field(default_factory=dict)


class Worth(NamedTuple):
    """The spikes of source `part`, neurons first .. last-1 of all that is read, have an amplitude that `tensor` trains.

    slope : ∂a/∂tensor float64 (steps,).
    """

    part: int
    first: int
    last: int
    tensor: Tensor
    slope: Doubles


class Kind(Protocol):
    """The functions that training needs for one kind of layer."""

    WORTH_IS_FIXED: bool
    """Whether what the spikes that it reads are worth is not trained."""

    def floats(self, model: Model, name: str) -> tuple[Tensor | None, Tensor | None]:
        """The kernel and the bias that layer `name` trains."""

    def read(self, written: "Written", n: int) -> Any:
        """What the engine's `Wired` of this kind reads of image n."""

    def worth(self, written: "Written") -> list[Worth]:
        """What trains the worth of the spikes that are read."""

    def back_in_time(self, written: "Written", currents: Floats) -> tuple[list[Any], Floats | None, list[Any]]:
        """The gradients of the sources' spikes, of the kernel and of `worth`, from ∂L/∂I (steps, N, H, W, C)."""

    def charge(self, written: "Written", read: Floats, bias: Floats) -> Floats:
        """Q float32 (N, H, W, C), from what was read in all, (N, H, W, C_in), and the bias of all steps together (C,)."""

    def back_to_sources(self, written: "Written", of_charge: Floats) -> list[Any]:
        """The gradients of the sources' spikes from ∂L/∂Q (N, H, W, C)."""

    def rate_products(self, written: "Written", read: Floats, of_charge: Floats) -> Floats:
        """The gradient of the kernel from what was read in all and ∂L/∂Q."""


@dataclass(frozen=True, eq=False)
class Written:
    """See the module.

    Parameters
    ----------
    kind : what training does with its kind of layer.
    part : its integers, of a stage with neurons of its own or of a layer that stands by itself.
    shared : the input and settings common to all layers. parameters : its floats.
    sources : the spikes that it reads, none for the image and what is like it.
    image : int32 (N, H, W, C), what it reads if that is like the image; for a gate the image itself.
    size : (H, W) of its current.
    inputs : which spike channels each group reads; None without spikes.
    fast : whether the kernels of plain convolutions sum it up while they fire.
    norm : how its currents are normalised by the batch's own statistics; None where they are not.
    """

    kind: Kind
    part: Stage | Writer
    shared: Shared
    parameters: KernelParameters
    sources: tuple[Source, ...]
    image: Ints
    size: tuple[int, int]
    inputs: Inputs | None
    fast: bool = False
    norm: NormedBatch | None = None

    hands_on = False

    @property
    def layer(self) -> Driver:
        """The convolution or gate."""
        return self.part.layer  # type: ignore[return-value]

    @property
    def integer(self) -> IntegerLayer:
        """Weights, biases and exponents; those of a layer without neurons come with thresholds of 1."""
        part = self.part
        if isinstance(part, Writer):
            return IntegerLayer(part.exponent, part.weights, part.bias, np.ones_like(part.bias))
        return part.integer

    @property
    def gate(self) -> Doubles:
        """What a gate multiplies (x - 1) by."""
        return self.part.gate

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return len(self.shared.plane), *self.size

    @property
    def channels(self) -> int:
        """The channels of its current."""
        return int(self.integer.bias.size)

    @property
    def trains(self) -> list[SpikeTrain]:
        """The spikes that it reads."""
        return [source.train for source in self.sources]

    @property
    def read_size(self) -> tuple[int, int]:
        """(H, W) of what it reads."""
        if not self.sources:
            return self.image.shape[1], self.image.shape[2]
        train = self.sources[0].train
        return train.data.shape[1] - 2 * train.pad, train.data.shape[2] - 2 * train.pad

    @cached_property
    def words(self) -> NDArray[np.uint64]:
        """The spikes that it reads side by side, uint64 (N, rows, columns, steps, words), each source starting at a new word."""
        words = [train.data for train in self.trains]
        return words[0] if len(words) == 1 else np.ascontiguousarray(np.concatenate(words, axis=4))

    def courses_read(self) -> list[FloatCourse]:
        """The courses of the neurons that it reads, one for each source."""
        shared = self.shared
        return [course(source.neuron, source.values, shared.timesteps, shared.steps) for source in self.sources]

    # ----- as an input -----

    @property
    def parents(self) -> list[Tensor]:
        """Spikes, kernel, bias, and what trains the worth of the spikes."""
        theirs = [worth.tensor for worth in self.kind.worth(self)]
        normed = [] if self.norm is None else [self.norm.norm.gain, self.norm.norm.shift]
        return [*self.trains, *self.parameters.tensors, *theirs, *normed]

    def currents(self) -> Ints:
        """The current with its biases, int32 (N, steps, H, W, C), or (N, 1, H, W, C) of the image."""
        count, height, width = self.shape
        rows, columns = self.read_size
        wired = wire(self.shared.integers, self.part, packed=True)
        around = Around(Rect(0, rows, 0, columns), Rect(0, height, 0, width), (rows, columns), self.shared.timesteps)
        out = np.empty((count, self.shared.steps if self.sources else 1, height, width, self.channels), np.int32)
        fills = [wired.fill(self.kind.read(self, n), around) for n in range(count)]

        def some(_: int, first: int, last: int) -> None:
            for n in range(first // height, -(-last // height)):
                top, bottom = max(first - n * height, 0), min(last - n * height, height)
                fills[n](top, bottom, out[n], top)

        each(some, count * height)
        return out if self.norm is None else self.norm.normalised(out, self.integer)

    def spikes_of(self, n: int) -> WideSpikes:
        """The spikes of image n that it reads, side by side."""
        words = self.words[n]
        return WideSpikes(words, self.trains[0].pad, words.shape[3] * 64)

    def plane_of(self, n: int) -> Ints:
        """What it reads of image n, int32 (C, H, W)."""
        return np.ascontiguousarray(self.image[n].transpose(2, 0, 1))

    def back_in_time(self, currents: Floats, sums: Doubles) -> list[Any]:
        """The gradients of `parents` from ∂L/∂I (steps, N, H, W, C) and its sum for each channel up to T, (C,)."""
        of_norm: list[Any] = []
        if self.norm is not None:
            currents, of_norm = self.norm.back(currents)
        of_sources, of_kernel, of_worth = self.kind.back_in_time(self, currents)
        gradients: list[Any] = list(of_sources)
        if self.parameters.weight is not None:
            gradients.append(of_kernel)
        if self.parameters.bias is not None:
            gradients.append(sums.astype(np.float32))
        return [*gradients, *of_worth, *of_norm]

    def read(self) -> Floats:
        """What it has read in all, float32 (N, H, W, C_in): the image T times, or n of each channel."""
        if not self.sources:
            return (self.image * (self.shared.timesteps / UNIT)).astype(np.float32)
        pairs = zip(self.trains, self.courses_read(), strict=True)
        counts = [train.weighted(own.amplitudes) for train, own in pairs]
        return counts[0] if len(counts) == 1 else np.concatenate(counts, axis=3)

    def charge(self) -> Floats:
        """What arrives at all steps together, float32 (N, H, W, C), from the floats' kernel as it was rounded."""
        integer, timesteps = self.integer, self.shared.timesteps
        bias = np.ldexp(timesteps * integer.bias.astype(np.float64), -integer.exponent).astype(np.float32)
        charge = self.kind.charge(self, self.read(), bias)
        return charge if self.norm is None else self.norm.charge(charge, integer)

    def back_through_rate(self, charge: Floats) -> list[Any]:
        """The gradients of `parents` from that of `charge`."""
        of_norm: list[Any] = []
        if self.norm is not None:
            charge, of_norm = self.norm.back_through_rate(charge)
        gradients = self.kind.back_to_sources(self, charge)
        if self.parameters.weight is not None:
            gradients.append(self.kind.rate_products(self, self.read(), charge))
        if self.parameters.bias is not None:
            total = charge.sum(axis=(0, 1, 2), dtype=np.float64)
            gradients.append((self.shared.timesteps * total).astype(np.float32))
        return [*gradients, *of_norm]
