"""One tile of the plain ANN: the layers of a pass in order."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from nspike.ann.field import Buffers, Field, Floats, Region
from nspike.ann.layers import PLAIN, Plan, Tile
from nspike.ann.passes import Pass, gathered
from nspike.graph import geometry
from nspike.graph.layer import IMAGE, Layer
from nspike.model.model import OUTPUT

Interval = geometry.Interval


@dataclass
class State:
    """What is known of an image while a network runs.

    sizes : (height, width) of each layer; held : what is held for the whole image; sums : what layers have added up so far;
    whole : what they have made of it.
    """

    plan: Plan
    image: Floats
    sizes: Mapping[str, tuple[int, int]]
    held: dict[str, Field] = field(default_factory=dict)
    sums: dict[str, Any] = field(default_factory=dict)
    whole: dict[str, Any] = field(default_factory=dict)

    def begin(self, part: Pass) -> None:
        """Make room for what a pass holds and adds up."""
        plan = self.plan
        for name in [name for name in self.held if name not in part.held]:
            del self.held[name]
        for name in part.new:
            height, width = self.sizes[name]
            self.held[name] = Buffers().field(
                (0, 0, height, width), plan.margins[name], plan.network.widths[name], plan.slack[name]
            )
        for layer in part.summed:
            whole = PLAIN[type(layer)].whole
            assert whole is not None
            self.sums[layer.name] = whole.begin(layer, *self.sizes[whole.reads(layer)[0]])

    def end(self, part: Pass) -> None:
        """Make of the sums of a pass what the next one needs."""
        self.whole = {}
        for layer in part.summed:
            whole = PLAIN[type(layer)].whole
            assert whole is not None
            self.whole[layer.name] = whole.end(self.plan, layer, self.sums.pop(layer.name))


def scaled(region: Region, scale: Fraction | None) -> Region:
    """The region of a layer that belongs to one of the image, whose sides are multiples of the size multiple."""
    if scale is None:
        return (0, 0, 1, 1)
    top, left, bottom, right = (int(side * scale) for side in region)
    return (top, left, bottom, right)


def run_tile(state: State, part: Pass, core: Region, buffers: Buffers, pool: Executor) -> Iterator[tuple[str, Floats]]:
    """Yield the values (h, w, channels) on `core` of every layer that the plan keeps, and of the output as `OUTPUT`.

    core : in pixels of the image; where a layer adds up rows, all their columns. Values are valid until the next are asked for.
    """
    plan = state.plan
    network = plan.network
    regions = needed(plan, part, core, state.image.shape[1:])
    before = {name: state.held[name] for name in part.held}
    tile = Tile(plan, regions, state.sizes, state.whole, buffers, pool, dict(before))
    top, left, bottom, right = regions[IMAGE]
    if top < bottom:
        tile.empty(IMAGE).values[...] = state.image[:, top:bottom, left:right].transpose(1, 2, 0)
    _gather(state, tile, part.gathers.get(-1, ()), core)
    for i, layer in enumerate(part.layers):
        PLAIN[type(layer)].run(tile, layer)
        own = scaled(core, network.scales[layer.name])
        if layer.name in part.new:
            state.held[layer.name].inside(own)[...] = tile.fields[layer.name].inside(own)
        if layer.name in plan.kept and layer.name in tile.fields:
            yield layer.name, tile.fields[layer.name].inside(own)
        if layer.name == network.output:
            values = tile.fields[layer.name].inside(own)
            yield OUTPUT, np.maximum(values, np.float32(0)) if network.rectify else values
        _gather(state, tile, part.gathers.get(i, ()), core)
        for name in [name for name in tile.fields if part.last_use.get(name, i) <= i]:
            used = tile.fields.pop(name)
            if name not in before:
                buffers.give(used)


def _gather(state: State, tile: Tile, layers: Iterable[Layer], core: Region) -> None:
    for layer in layers:
        regions = [scaled(core, tile.plan.network.scales[name]) for name in gathered(layer)]
        rows = [tile.fields[name].inside(own) for name, own in zip(gathered(layer), regions, strict=True)]
        state.sums[layer.name].add(tile.in_rows, regions[0][0], *rows)


def needed(plan: Plan, part: Pass, core: Region, size: tuple[int, ...]) -> dict[str, Region]:
    """What is computed, in a pass, of each of its layers and of the image for a tile; (0, 0, 0, 0) of what is not."""
    rows, columns = (_along(plan, part, size[axis], (core[axis], core[axis + 2])) for axis in (0, 1))
    return {name: (rows[name][0], columns[name][0], rows[name][1], columns[name][1]) for name in rows}


def _along(plan: Plan, part: Pass, size: int, core: Interval) -> dict[str, Interval]:
    """The same along one axis of an image of `size` pixels."""
    network = plan.network
    scales = network.scales
    need: dict[str, Interval] = {layer.name: (0, 0) for layer in part.layers} | {IMAGE: (0, 0)}

    def ask(name: str, wanted: Interval) -> None:
        scale = scales[name]
        limit = 1 if scale is None else int(size * scale)
        first, last = (0, 1) if scale is None else (max(wanted[0], 0), min(wanted[1], limit))
        if name in need:
            known = need[name]
            need[name] = (first, last) if known[0] == known[1] else (min(known[0], first), max(known[1], last))

    def own(name: str) -> Interval:
        scale = scales[name]
        return (0, 1) if scale is None else (int(core[0] * scale), int(core[1] * scale))

    for name in {*part.new, *plan.kept, network.output, *(n for layer in part.summed for n in gathered(layer))}:
        ask(name, own(name))
    for layer in reversed(part.layers):
        first, last = need[layer.name]
        if first < last:
            kind = PLAIN[type(layer)]
            if kind.whole is not None:
                read = (first - kind.whole.around(layer), last + kind.whole.around(layer))
            elif geometry.geometry(layer).scale(layer) is None:
                read = (first, last)
            else:
                read = geometry.geometry(layer).needs(layer, first, last)
            for name in kind.reads(layer):
                ask(name, (first, last) if name not in layer.sources else read)
    return need
