"""The channels of spikes that a convolution or gate reads, and what one spike of each is worth.

Spikes of several planes are plane-major: (plane, channel). What moves spikes moves each plane by itself. A concatenation
stands for its parts, one after the other (`nspike.graph.arrange.parts`), so that they may have different planes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.arrange import parts
from nspike.graph.layer import IMAGE
from nspike.graph.network import Network
from nspike.graph.values import values

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_Kind = TypeVar("_Kind")

Planes = tuple[int, ...]
"""The gain of each spike plane."""

Worth = tuple[float, float]
"""What a spike is worth up to T, and after."""


@dataclass(frozen=True)
class Inputs:
    """What each group of a convolution reads; a gate and a plain convolution are one group. Arrays int64 (groups, I).

    parts : the tensors that are read, one after the other.
    channels : which channel of the convolution's input each spike channel is of.
    places : its place among all spike channels of the parts.
    part : which of the parts it is of, counted from 0.
    gains : its plane's gain; 0 at the end of a group that reads fewer spike channels than another.
    """

    parts: tuple[str, ...]
    channels: Ints
    places: Ints
    part: Ints
    gains: Ints

    @property
    def in_order(self) -> bool:
        """Whether the groups read all spike channels, one after the other."""
        return bool(self.gains.all()) and np.array_equal(self.places.ravel(), np.arange(self.places.size))


def spike_sources(network: Network, name: str) -> tuple[str, ...]:
    """The spikes that convolution or gate `name` reads: activations, and layers that move spikes other than concatenations;
    none for the image and what is like it.
    """
    (source,) = network.layer(name).sources
    like_image = source == IMAGE or values(network.layers)[source] == "image"
    return () if like_image else parts(network, name)


def spike_planes(network: Network, name: str, planes: Callable[[str], Planes]) -> Planes:
    """The planes of spikes that are perhaps moved; `planes` gives those of an activation.

    Raises ModelError where they come from neurons with different ones.
    """
    (kind,) = _behind(network, name, planes)
    return kind


def spike_worth(network: Network, name: str, worth: Callable[[str], Worth]) -> Worth:
    """What a spike is worth of spikes that are perhaps moved; `worth` gives that of an activation.

    Raises ModelError where they come from neurons with different ones.
    """
    (kind,) = _behind(network, name, worth)
    return kind


def _behind(network: Network, name: str, of: Callable[[str], _Kind]) -> set[_Kind]:
    names = [a.name for a in network.activations_into(name)]
    if name in {a.name for a in network.activations}:
        names = [name]
    kinds = {of(activation) for activation in names}
    if len(kinds) > 1:
        raise ModelError(
            f"network {network.name}: {name!r} joins spikes of neurons with different planes or amplitudes"
        )
    return kinds


def inputs(network: Network, name: str, groups: int, planes: Callable[[str], Planes]) -> Inputs:
    """What layer `name` reads, in `groups` groups; `planes` are of an activation. Raises ModelError as `spike_planes` does."""
    names, channels, of_part, gains, first = parts(network, name), [], [], [], 0
    for i, part in enumerate(names):
        count = network.widths[part]
        for gain in spike_planes(network, part, planes):
            channels.append(first + np.arange(count))
            of_part.append(np.full(count, i))
            gains.append(np.full(count, gain))
        first += count
    channel = np.concatenate(channels)
    group = channel // (first // groups)
    by_group, counts = np.argsort(group, kind="stable"), np.bincount(group, minlength=groups)[:, None]
    nth = np.arange(counts.max())
    nearest = np.minimum(nth, counts - 1)  # shorter groups repeat their last
    place = by_group[np.cumsum(counts)[:, None] - counts + nearest]
    read = nth < counts
    return Inputs(names, channel[place], place, np.concatenate(of_part)[place], np.concatenate(gains)[place] * read)


def counted(spikes: NDArray[Any], parts: Sequence[tuple[Planes, int]], axis: int) -> NDArray[Any]:
    """n of each neuron: its spikes of all planes, each as often as its gain says.

    spikes : those of several parts side by side along `axis`, plane by plane; parts : planes and neurons of each.
    """
    if all(planes == (1,) for planes, _ in parts):
        return spikes
    ends = np.cumsum([len(planes) * count for planes, count in parts])[:-1]
    found = []
    for part, (planes, _) in zip(np.split(spikes, ends, axis), parts, strict=True):
        each = np.split(part, len(planes), axis)
        found.append(sum(np.int32(gain) * one for gain, one in zip(planes, each, strict=True)))
    return np.concatenate(found, axis)


def weighed(weights: Floats, read: Inputs, worths: Sequence[Worth]) -> Floats:
    """The kernel per phase, float64 (1 or 2, C, C_in/groups, k, k), of spikes of gain 1.

    weights : (C, C_in/groups, k, k); worths : what a spike of each part is worth. There is a second phase where it differs
    from the first.
    """
    of_channel = np.zeros(weights.shape[1] * len(read.channels), np.int64)
    of_channel[read.channels] = read.part
    amplitudes = np.array(worths).T[:, of_channel.reshape(len(read.channels), -1)]
    before, after = (weights * _for_outputs(amplitude, weights) for amplitude in amplitudes)
    return before[None] if np.array_equal(before, after) else np.stack([before, after])


def taken(read: Inputs, outputs: int) -> tuple[Ints, Ints]:
    """Of each spike channel that each of `outputs` channels reads, int64 (C, I): of which of C_in/groups channels it is, and its
    plane's gain."""
    each = int(read.channels.max() + 1) // len(read.channels)
    local = read.channels - each * np.arange(len(read.channels))[:, None]
    times = outputs // len(read.channels)
    return np.repeat(local, times, axis=0), np.repeat(read.gains, times, axis=0)


def _for_outputs(of_groups: NDArray[Any], weights: Floats) -> NDArray[Any]:
    """Numbers (groups, I) for each output channel, (C, I, 1, 1)."""
    return np.repeat(of_groups, len(weights) // len(of_groups), axis=0)[:, :, None, None]
