"""The grids of all currents of a network: one exponent for each component of channels.

A component's exponent k is the largest integer with which every number in it obeys the bounds of `nspike.integer.grid`,
o being the offset of a current's grid against that of what feeds it (`nspike.integer.components`):

    2^k·max|w| <= limit of each convolution and gate that feeds it,
    2^(k+o)·bound <= 2^24 of each of its currents, 2^(k+o)·θ <= 2^24 of all neurons that integrate one.

A current's bound is the most that can arrive at a step: of a convolution g·Σ|w| + |b|, of a sum the sum of the bounds of
what it adds; moving, averaging and enlarging do not raise it. Of a convolution that feeds one layer of neurons alone, this
is the rule for a single layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from nspike.graph.geometry import geometry
from nspike.graph.layer import Layer
from nspike.graph.network import Network
from nspike.integer.components import Components, channels_feeding
from nspike.integer.grid import RANGE, UNBOUNDED, largest_exponent

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Of a convolution or gate, float64 (C,): the largest magnitude of a weight, which must not pass `limit` on the grid,
    and the most that it can give at a step.
    """

    largest: Floats
    total: Floats
    limit: int


def exponents(
    network: Network, parts: Components, bounds: Mapping[str, Bounds], thetas: Mapping[str, Floats]
) -> dict[str, Ints]:
    """The exponent of each channel of every current, int64 (C,).

    bounds : of every convolution and gate, by its name; thetas : stage -> θ float64 (C,); both in units of the components'
    scales.
    """
    totals = _totals(network, parts, {name: each.total for name, each in bounds.items()})
    most = np.full(1 + max(int(roots.max()) for roots in parts.roots.values()), UNBOUNDED, np.int64)

    def limit(current: str, values: Floats, top: int) -> None:
        np.minimum.at(most, parts.roots[current], largest_exponent(values, top) - parts.offsets[current])

    for name, total in totals.items():
        limit(name, total, RANGE)
    for name, each in bounds.items():
        limit(name, each.largest, each.limit)
    for stage, current in parts.integrators:
        limit(current, thetas[stage], RANGE)
    most[most > UNBOUNDED // 2] = 0  # channels that nothing drives and nothing integrates
    return {name: most[roots] + parts.offsets[name] for name, roots in parts.roots.items()}


def _totals(network: Network, parts: Components, driven: Mapping[str, Floats]) -> dict[str, Floats]:
    """The bound of each channel of every current."""
    totals = dict(driven)
    for layer in network.layers:
        if layer.name in totals or layer.name not in parts.roots:
            continue
        read = np.concatenate([totals[source] for source in layer.sources])
        feeding = channels_feeding(layer, [network.widths[source] for source in layer.sources])
        totals[layer.name] = _joined(layer, read[feeding])
    return totals


def _joined(layer: Layer, bounds: Floats) -> Floats:
    """Of bounds (C, n), n channels feeding one, those of a layer that adds or moves: float64 (C,)."""
    if geometry(layer).role == "arrange":
        return np.asarray(bounds.max(axis=1))
    return np.array([fsum(each) for each in bounds.tolist()])
