"""Currents that are added to one another, channel by channel: they share one scale and one grid.

Two channels belong together where a sum adds them, or where one is made of the other by a layer that only moves, averages
or enlarges currents. The grid of a layer's current may be finer than that of the convolutions and gates that feed it, by
`Components.offsets`: the sum of a block of size² has 2·log2(size) bits more, a bilinear enlargement in 16ths 4. A sum
takes the finest grid of what it adds, and shifts the others to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.arrange import origins
from nspike.graph.geometry import geometry
from nspike.graph.layer import Add, AveragePool, Bilinear, Layer
from nspike.graph.network import Network
from nspike.graph.values import values
from nspike.model.model import OUTPUT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BITS: Mapping[type[Layer], Callable[[Any], int]] = {
    Add: lambda layer: 0,
    AveragePool: lambda layer: 2 * (layer.size.bit_length() - 1),
    Bilinear: lambda layer: 4,
}
"""By how many bits the grid of a layer that takes currents to currents is finer than that of what it reads."""


@dataclass(frozen=True)
class Components:
    """The currents of a network.

    Parameters
    ----------
    integrators : (stage, current that its neurons integrate) in order: the activations, then `OUTPUT`.
    roots : current -> int64 (C,), the number of the component that each channel belongs to, from 0 on, with gaps.
    offsets : current -> int64 (C,), by how many bits its grid is finer than that of what feeds its component.
    shifts : (layer, what it reads) -> int64 (C of what it reads), by how many bits to shift left before the layer adds or
        joins; left out where that is nothing.
    """

    integrators: tuple[tuple[str, str], ...]
    roots: Mapping[str, Ints]
    offsets: Mapping[str, Ints]
    shifts: Mapping[tuple[str, str], Ints]


@lru_cache(maxsize=16)
def components(network: Network) -> Components:
    """The components of the currents of a network that can run as spikes.

    Raises ModelError where a convolution's or gate's current reaches no neurons, and where an activation has the output
    layer's name.
    """
    kinds = values(network.layers)
    find = _Union()
    ids: dict[str, Ints] = {}
    offsets: dict[str, Ints] = {}
    shifts: dict[tuple[str, str], Ints] = {}
    for layer in network.layers:
        if kinds[layer.name] != "current":
            continue
        name, own = layer.name, find.new(network.widths[layer.name])
        ids[name], offsets[name] = own, np.zeros(len(own), np.int64)
        if geometry(layer).role == "current":
            continue
        feeding = channels_feeding(layer, [network.widths[source] for source in layer.sources])
        read, before = (np.concatenate([each[source] for source in layer.sources]) for each in (ids, offsets))
        for channel, fed in zip(own.tolist(), read[feeding], strict=True):
            find.join(channel, fed.tolist())
        finest = before[feeding].max(axis=1)
        offsets[name] = finest + BITS.get(type(layer), _none)(layer)
        shift = np.zeros(len(read), np.int64)
        np.maximum.at(shift, feeding, finest[:, None] - before[feeding])
        for source, part in zip(layer.sources, np.split(shift, _ends(network, layer)), strict=True):
            if part.any():
                shifts[name, source] = part
    integrators = (*((a.name, a.source) for a in network.activations), (OUTPUT, network.output))
    roots = {name: find.roots(own) for name, own in ids.items()}
    _check(network, integrators, roots)
    return Components(integrators, roots, offsets, shifts)


def _none(layer: Layer) -> int:
    return 0


def _ends(network: Network, layer: Layer) -> Ints:
    return np.cumsum([network.widths[source] for source in layer.sources])[:-1]


def channels_feeding(layer: Layer, widths: Sequence[int]) -> Ints:
    """The channels, counted over all that it reads, that feed each channel of a layer: int64 (C, n)."""
    if geometry(layer).role == "arrange":
        return origins(layer, widths)
    return np.arange(sum(widths)).reshape(len(widths), -1).T


def _check(network: Network, integrators: Sequence[tuple[str, str]], roots: Mapping[str, Ints]) -> None:
    names = [name for name, _ in integrators]
    if names.count(OUTPUT) > 1:
        raise ModelError(
            f"network {network.name}: no activation may be called {OUTPUT!r}: it is the output layer's name"
        )
    reached = np.concatenate([roots[current] for _, current in integrators])
    for layer in network.drivers:
        if not np.isin(roots[layer.name], reached).any():
            raise ModelError(
                f"network {network.name}: the current of {layer.name!r} reaches no neurons: nothing reads it, or its channels "
                "are all sliced away; leave the layer out, as `nspike convert` does with the plain network"
            )


class _Union:
    """Sets of numbers 0, 1, ... that are joined; each is called by its smallest number."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def new(self, count: int) -> Ints:
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, number: int, others: Sequence[int]) -> None:
        for other in others:
            low, high = sorted((self.find(number), self.find(other)))
            self._parents[high] = low

    def roots(self, numbers: Ints) -> Ints:
        return np.array([self.find(number) for number in numbers.tolist()], np.int64)
