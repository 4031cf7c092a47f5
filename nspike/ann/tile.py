"""One tile of the plain ANN: its layers in order."""

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from fractions import Fraction

import numpy as np

from nspike.ann.field import Buffers, Floats, Region
from nspike.ann.layers import PLAIN, Plan, Tile
from nspike.graph.geometry import Interval, needed
from nspike.graph.layer import IMAGE
from nspike.graph.network import Network
from nspike.model.model import OUTPUT


def scaled(region: Region, scale: Fraction | None) -> Region:
    """The region of a layer that belongs to one of the image, whose sides are multiples of the size multiple."""
    if scale is None:
        return (0, 0, 1, 1)
    top, left, bottom, right = (int(side * scale) for side in region)
    return (top, left, bottom, right)


def run_tile(plan: Plan, image: Floats, core: Region, buffers: Buffers, pool: Executor) -> Iterator[tuple[str, Floats]]:
    """Yield the values (h, w, channels) on `core` of every layer that the plan keeps, and of the output as `OUTPUT`.

    core : in pixels of the image. Values are valid until the next are asked for.
    """
    network = plan.network
    height, width = image.shape[1:]
    cores = {name: scaled(core, network.scales[name]) for name in (*plan.kept, network.output)}
    rows = _needed(network, height, {name: (part[0], part[2]) for name, part in cores.items()})
    columns = _needed(network, width, {name: (part[1], part[3]) for name, part in cores.items()})
    regions = {name: (rows[name][0], columns[name][0], rows[name][1], columns[name][1]) for name in rows}
    sizes = {name: shape[1:] for name, shape in network.shapes(height, width).items()}
    tile = Tile(plan, regions, sizes, buffers, pool, {})
    top, left, bottom, right = regions[IMAGE]
    tile.empty(IMAGE).values[...] = image[:, top:bottom, left:right].transpose(1, 2, 0)
    for i, layer in enumerate(network.layers):
        if rows[layer.name] != (0, 0):  # something reads it
            PLAIN[type(layer)].run(tile, layer)
        if layer.name in plan.kept:
            yield layer.name, tile.fields[layer.name].inside(cores[layer.name])
        if layer.name == network.output:
            values = tile.fields[layer.name].inside(cores[layer.name])
            yield OUTPUT, np.maximum(values, np.float32(0)) if network.rectify else values
        for name in [name for name in tile.fields if plan.last_use[name] <= i]:
            buffers.give(tile.fields.pop(name))


def _needed(network: Network, size: int, wanted: Mapping[str, Interval]) -> dict[str, Interval]:
    """As `geometry.needed`, with what a gate reads of the image."""
    need = needed(network.layers, size, wanted)
    images = [
        need[layer.name]
        for layer in network.layers
        if IMAGE in set(PLAIN[type(layer)].reads(layer)) - set(layer.sources)
    ]
    if not images:
        return need
    first, last = zip(need[IMAGE], *images, strict=True)
    return need | {IMAGE: (min(first), max(last))}


def live_channels(plan: Plan) -> int:
    """The most channels that are in memory at once, for each pixel of the image."""
    network = plan.network
    live: dict[str, Fraction] = {IMAGE: Fraction(network.channels)}
    most = live[IMAGE]
    for i, layer in enumerate(network.layers):
        if layer.name not in plan.fused:
            live[layer.name] = network.widths[layer.name] * (network.scales[layer.name] or Fraction(0)) ** 2
        most = max(most, sum(live.values(), Fraction(0)))
        live = {name: count for name, count in live.items() if plan.last_use[name] > i}
    return math.ceil(most)
