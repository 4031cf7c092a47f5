"""A program: a model made ready to run, once, for any number of images and tiles.

It holds everything that depends on the model and its parts alone: the integers, their layout for the kernels, how far each
layer reaches, and which spikes are still needed after each stage.
"""

import weakref
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.engine.given import Given
from nspike.engine.prepared import Prepared, prepare
from nspike.engine.tiling import reach
from nspike.graph.layer import IMAGE
from nspike.integer import rounding
from nspike.integer.rounding import IntegerNetwork
from nspike.model.model import Model


@dataclass(frozen=True, eq=False)
class Program:
    """A model, rounded and in the layout of the kernels.

    integers : the integer network.
    prepared : its stages by name, for the kernels.
    reach : stage name, and the image -> how many pixels around a tile's core it is needed.
    finished : for each stage, the names of the layers whose spikes nothing reads after it.
    pad : the largest radius of a convolution, in pixels.
    given : the spikes of a layer that are given instead of computed, or None.
    """

    integers: IntegerNetwork
    prepared: Mapping[str, Prepared]
    reach: Mapping[str, int]
    finished: tuple[tuple[str, ...], ...]
    pad: int
    given: Given | None = None

    @property
    def halo(self) -> int:
        """How many pixels around a core the network sees."""
        return self.reach[IMAGE]


def build(model: Model, neuron: Neuron, head: Head, given: Given | None = None) -> Program:
    """Round a model and lay it out.

    Parameters
    ----------
    neuron, head : the objects that the model's names stand for.
    given : the spikes of one layer, instead of computing them; layers that nothing reads any more are left out.

    Raises ModelError, UsageError and PluginError as `nspike.integer.rounding.build` does.
    """
    integers = rounding.build(model, neuron, head, None if given is None else {given.layer: given.neuron})
    if given is not None:
        integers = given.rest(integers)
    prepared = prepare(integers)
    return Program(
        integers=integers,
        prepared=prepared,
        reach=reach(integers),
        finished=_finished(integers),
        pad=max((p.radius for p in prepared.values()), default=0),
        given=given,
    )


def _finished(integers: IntegerNetwork) -> tuple[tuple[str, ...], ...]:
    last = {stage.name: i for i, stage in enumerate(integers.stages)}
    last |= {source: i for i, stage in enumerate(integers.stages) for source in stage.sources}
    return tuple(tuple(name for name, at in last.items() if at == i) for i in range(len(integers.stages)))


@dataclass(frozen=True)
class _Kept:
    """A program of a model, and what it was built of."""

    program: Program
    neuron: Neuron
    head: Head
    checksum: int


_kept: dict[int, tuple["weakref.ref[Model]", _Kept]] = {}


def program_of(model: Model, neuron: Neuron, head: Head) -> Program:
    """The program of a model, built when it is first asked for and kept as long as the model lives.

    It is built anew where the parts are other objects, or where an array of the model was changed in place: all its numbers
    are summed up each time, which takes 1 ms for 5 MB. Raises as `build` does.
    """
    checksum = _checksum(model)
    key = id(model)
    if key in _kept:
        reference, kept = _kept[key]
        same = reference() is model and kept.neuron is neuron and kept.head is head
        if same and kept.checksum == checksum:
            return kept.program
    program = build(model, neuron, head)

    def forget(dead: "weakref.ref[Model]") -> None:
        if key in _kept and _kept[key][0] is dead:
            del _kept[key]

    _kept[key] = weakref.ref(model, forget), _Kept(program, neuron, head, checksum)
    return program


def _checksum(model: Model) -> int:
    """CRC-32 of every number of a model."""
    total = 0
    for array in _arrays((model.parameters, model.spiking and vars(model.spiking))):
        total = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, total)
    return total


def _arrays(values: Any) -> Any:
    """The arrays, texts and numbers in nested mappings, as arrays."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield np.frombuffer(str(name).encode(), np.uint8)
            yield from _arrays(value)
    elif isinstance(values, tuple):
        for value in values:
            yield from _arrays(value)
    elif isinstance(values, np.ndarray):
        yield values
    elif values is not None:
        yield np.frombuffer(repr(values).encode(), np.uint8)
