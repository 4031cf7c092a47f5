"""Tiles: how large, and where.

A tile's core is a multiple of 64 pixels (the blocks of the digests) and of the network's size multiple on each side, from the
image's origin. Around it lies the network's halo, cut off at the image's border, so that every spike of the core is that of
the untiled run. Memory is that of the spikes and currents alive at the busiest layer, so a model of the graph picks the
tile.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

from nspike.engine.plan import Op, Plan, is_chain
from nspike.engine.window import Rect
from nspike.errors import UsageError
from nspike.graph.layer import IMAGE, Conv, Gate, Layer
from nspike.graph.network import Network
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.model.model import OUTPUT
from nspike.runtime.amounts import allow_more, mebibytes

BLOCK = 64
DEFAULT_MEMORY = 192 << 20
NARROW = 100
"""Up to so many of channels² times planes a layer of a chain is faster packed along the row: 10 channels with one plane of
spikes, 7 with two, 5 with three."""

NARROW_ONLY: dict[type[Layer], bool] = {Conv: False, Gate: True}
"""The kinds of layers whose neurons have no kernel for wide spikes."""


def tiles(height: int, width: int, size: int) -> Iterator[Rect]:
    """The core rectangles of the tiles of an image, in raster order."""
    for y in range(0, height, size):
        for x in range(0, width, size):
            yield Rect(y, min(y + size, height), x, min(x + size, width))


def unit(network: Network) -> int:
    """What the cores of tiles are multiples of, in pixels."""
    return math.lcm(BLOCK, network.size_multiple)


def block(network: Network, scale: Fraction) -> int:
    """The side of a digest's block of a layer whose height is `scale` times that of the image."""
    return math.gcd(BLOCK, int(unit(network) * scale))


def packings(integers: IntegerNetwork, chain: bool | None = None) -> dict[str, str]:
    """How each stage's spikes are packed: in a chain "narrow" (few channels, no wide source; a gate), else "wide"."""
    if not (is_chain(integers) if chain is None else chain):
        return {stage.name: "wide" for stage in integers.stages}
    packings: dict[str, str] = {}
    for stage in integers.stages:
        few = stage.channels**2 * len(stage.neuron.planes) <= NARROW
        sources = [packings.get(s, "narrow") for s in stage.sources]  # none where its spikes are given
        narrow = NARROW_ONLY[type(stage.layer)] or (few and all(s == "narrow" for s in sources))
        packings[stage.name] = "narrow" if narrow else "wide"
    return packings


def bytes_per_pixel(integers: IntegerNetwork) -> int:
    """Working memory per pixel of a tile of a chain: the most that is alive at any stage, inputs and outputs included."""
    channels = {stage.name: stage.channels * len(stage.neuron.planes) for stage in integers.stages}
    packing = packings(integers, True)
    wide = {name: integers.steps * -(-n // 64) * 8 for name, n in channels.items()}
    narrow = {name: integers.steps * n // 8 + 1 for name, n in channels.items()}
    size = {name: (narrow if packing[name] == "narrow" else wide)[name] for name in channels}
    last = {source: i for i, stage in enumerate(integers.stages) for source in stage.sources}
    most = 0
    alive: dict[str, int] = {}
    for i, stage in enumerate(integers.stages):
        alive[stage.name] = size[stage.name]
        # sources of the other packing are repacked for their reader, and a wide concatenation is copied to a new layout
        into = narrow if packing[stage.name] == "narrow" else wide
        sources = [s for s in stage.sources if s in size]
        copied = sum(into[s] for s in sources if packing[s] != packing[stage.name])
        if len(sources) > 1 and into is wide:
            copied += sum(wide[s] for s in sources)
        most = max(most, sum(alive.values()) + copied)
        alive = {name: n for name, n in alive.items() if last.get(name, -1) > i}
    output = integers.stages[-1].channels
    return most + 4 * integers.network.channels + 48 * output


def bytes_of_tile(integers: IntegerNetwork, plan: Plan, size: int, height: int, width: int) -> int:
    """Working memory of a tile whose core is `size` pixels high and wide, within an image, of a network that is no chain."""
    core = Rect(*_middle(size, height), *_middle(size, width))
    regions = plan.regions(core, height, width)
    sizes = {op.name: _bytes(integers, plan, op, regions[op.at]) for op in plan.ops}
    image = regions[IMAGE]
    sizes[IMAGE] = 4 * integers.network.channels * image.height * image.width
    for name, base in plan.reuses.items():
        sizes[name] = sizes[base]
    reused = set(plan.reuses.values())
    most = alive = 0
    for op, finished in zip(plan.ops, plan.finished, strict=True):
        alive += 0 if op.name in plan.reuses else sizes[op.name]
        joined = sum(sizes[name] for name in op.reads) if op.stage is not None and len(op.reads) > 1 else 0
        most = max(most, alive + joined)
        alive -= sum(sizes[name] for name in finished if name not in reused)
    output = regions[integers.network.output]
    return most + sizes[IMAGE] + 48 * integers.stages[-1].channels * output.height * output.width


def whole_layer(integers: IntegerNetwork) -> Stage | None:
    """The first stage whose neurons look at their whole layer, if there is one."""
    return next((stage for stage in integers.stages if stage.neuron.scope == "layer"), None)


def bytes_of_whole(integers: IntegerNetwork, plan: Plan, height: int, width: int) -> int:
    """Working memory of an image in one tile, with what the kernels of neurons that look at their whole layer hold of it."""
    pixels = height * width
    size = -(-max(height, width) // unit(integers.network)) * unit(integers.network)
    spikes = pixels * bytes_per_pixel(integers) if plan.chain else bytes_of_tile(integers, plan, size, height, width)
    held = [_held(integers, plan, stage, pixels) for stage in integers.stages if stage.neuron.scope == "layer"]
    return int(spikes + max(held, default=0))


def _held(integers: IntegerNetwork, plan: Plan, stage: Stage, pixels: int) -> int:
    """v, the current (of every step, unless a chain makes it anew), state and spikes as bytes, twice, of one stage."""
    steps = 1 if plan.chain else integers.steps
    each = 4 * (1 + steps + stage.neuron.state_planes) + 2 * len(stage.neuron.planes)
    return int(pixels * plan.scale(_at(stage)) ** 2 * stage.channels * each)


def _at(stage: Stage) -> str:
    return stage.layer.name if stage.name == OUTPUT else stage.name


def _middle(size: int, whole: int) -> tuple[int, int]:
    first = max(whole - size, 0) // 2
    return first, min(first + size, whole)


def _bytes(integers: IntegerNetwork, plan: Plan, op: Op, rect: Rect) -> int:
    pixels, channels = rect.height * rect.width, integers.network.widths[op.at]
    if op.name in plan.numbers:
        return pixels * channels
    if op.stage is not None:
        return pixels * integers.steps * -(-channels * len(op.stage.neuron.planes) // 64) * 8
    if plan.carries[op.at] == "spikes":
        return pixels * integers.steps * -(-channels * len(integers.planes(op.at)) // 64) * 8
    if op.name in plan.unstored:
        return 0
    steps = integers.steps if plan.carries[op.at] == "current" and op.name not in plan.constant else 1
    return pixels * channels * steps * 4


def choose(integers: IntegerNetwork, plan: Plan, height: int, width: int, tile: int | None, memory: int) -> int:
    """The tile size: `tile` if given, else the largest that fits `memory` bytes.

    Raises UsageError for a tile that is no positive multiple of `unit`, or if not even the smallest fits; with neurons that look
    at their whole layer, for any tile that would divide the image, and if the whole image does not fit.
    """
    step = unit(integers.network)
    whole = whole_layer(integers)
    if whole is not None and tile is not None and tile < max(height, width):
        raise UsageError(
            f"neuron {whole.neuron.name} looks at a whole layer, so that an image of {height} × {width} cannot be divided into "
            f"tiles of {tile}; leave the tile out: the whole image takes "
            f"{mebibytes(bytes_of_whole(integers, plan, height, width), up=True)}"
        )
    if tile is not None:
        if tile < step or tile % step:
            raise UsageError(f"the tile size is {tile}; expected a positive multiple of {step}")
        return tile
    each = bytes_per_pixel(integers) if plan.chain else 0

    def needed(size: int) -> int:
        if not plan.chain:
            return bytes_of_tile(integers, plan, size, height, width)
        halo = integers.network.radius + plan.head
        return min(size + 2 * halo, height) * min(size + 2 * halo, width) * each

    largest = -(-max(height, width) // step) * step
    if whole is not None:
        most = bytes_of_whole(integers, plan, height, width)
        if most > memory:
            raise UsageError(
                f"neuron {whole.neuron.name} looks at a whole layer, so that the image is not divided into tiles: "
                f"{height} × {width} pixels take {mebibytes(most, up=True)} of working memory, allowed are "
                f"{mebibytes(memory)}; " + " or ".join(filter(None, (allow_more(most), "cut the image")))
            )
        return largest
    for size in range(largest, 0, -step):
        if needed(size) <= memory:
            return size
    least, more = mebibytes(needed(step), up=True), allow_more(needed(step))
    raise UsageError(
        f"{mebibytes(memory)} of working memory is too little: the smallest tile takes {least}" + (more and f"; {more}")
    )
