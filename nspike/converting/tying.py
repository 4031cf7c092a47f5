"""Scales that must be equal: of the channels of spikes, or of the output, that become one channel."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.graph.arrange import origins
from nspike.graph.geometry import geometry
from nspike.graph.network import Network
from nspike.graph.values import values
from nspike.integer.components import components
from nspike.model.model import OUTPUT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def tied(network: Network, scales: Mapping[str, Floats]) -> dict[str, Floats]:
    """The scales by layer, with the largest of each group of channels that need one.

    A pixel shuffle of spikes makes one channel of r². The output needs one scale for those of its channels that share a
    current.
    """
    stages = [*(layer.name for layer in network.activations), OUTPUT]
    firsts = dict(zip(stages, np.cumsum([0, *(scales[name].size for name in stages)]).tolist(), strict=False))
    groups = np.arange(sum(scales[name].size for name in stages))

    def join(one: int, other: int) -> None:
        groups[groups == groups[one]] = groups[other]

    for channels in _shuffled(network, firsts):
        for row in channels:
            for other in row[1:]:
                join(int(row[0]), int(other))
    parts = components(network)
    roots = parts.roots[network.output]
    for root in np.unique(roots):
        same = firsts[OUTPUT] + np.flatnonzero(roots == root)
        for other in same[1:]:
            join(int(same[0]), int(other))
    largest = np.zeros(groups.size)
    np.maximum.at(largest, groups, np.concatenate([scales[name] for name in stages]))
    joined = largest[groups]
    return {name: joined[firsts[name] : firsts[name] + scales[name].size] for name in stages}


def _shuffled(network: Network, firsts: Mapping[str, int]) -> list[Ints]:
    """For each layer that makes one channel of several: the channels of activations that feed each of its own, a row each."""
    kinds, known, joined = values(network.layers), dict[str, Ints](), []
    for layer in network.layers:
        if kinds[layer.name] != "spikes":
            continue
        if geometry(layer).role == "neurons":
            known[layer.name] = np.arange(network.widths[layer.name]) + firsts[layer.name]
            continue
        read = np.concatenate([known[source] for source in layer.sources])
        feeding = read[origins(layer, [network.widths[source] for source in layer.sources])]
        known[layer.name] = feeding[:, 0]
        if feeding.shape[1] > 1:
            joined.append(feeding)
    return joined
