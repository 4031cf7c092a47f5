"""Tiles: how large, and where.

A tile's core is a multiple of 64 pixels on each side (the blocks of the digests), from the image's origin. Around it lies
the network's halo, cut off at the image's border, so that every spike of the core is that of the untiled run. Memory is
that of the spikes alive at the busiest layer, so a model of the graph picks the tile.
"""

from collections.abc import Iterator

from nspike.engine.spikes import NARROW_CHANNELS
from nspike.engine.window import Rect
from nspike.errors import UsageError
from nspike.graph.layer import IMAGE, Conv, Gate, Layer
from nspike.integer.rounding import IntegerNetwork

BLOCK = 64
DEFAULT_MEMORY = 256 << 20

NARROW_ONLY: dict[type[Layer], bool] = {Conv: False, Gate: True}
"""The kinds of layers whose neurons have no kernel for wide spikes."""


def tiles(height: int, width: int, size: int) -> Iterator[Rect]:
    """The core rectangles of the tiles of an image, in raster order."""
    for y in range(0, height, size):
        for x in range(0, width, size):
            yield Rect(y, min(y + size, height), x, min(x + size, width))


def packings(integers: IntegerNetwork) -> dict[str, str]:
    """How each stage's spikes are packed: "narrow" (few channels, no wide source; a gate), else "wide"."""
    packings: dict[str, str] = {}
    for stage in integers.stages:
        few = stage.channels * len(stage.neuron.planes) <= NARROW_CHANNELS
        narrow = NARROW_ONLY[type(stage.layer)] or (few and all(packings[s] == "narrow" for s in stage.sources))
        packings[stage.name] = "narrow" if narrow else "wide"
    return packings


def bytes_per_pixel(integers: IntegerNetwork) -> int:
    """Working memory per pixel of a tile: the most that is alive at any stage, inputs and outputs included."""
    channels = {stage.name: stage.channels * len(stage.neuron.planes) for stage in integers.stages}
    packing = packings(integers)
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
        copied = sum(into[s] for s in stage.sources if packing[s] != packing[stage.name])
        if len(stage.sources) > 1 and into is wide:
            copied += sum(wide[s] for s in stage.sources)
        most = max(most, sum(alive.values()) + copied)
        alive = {name: n for name, n in alive.items() if last.get(name, -1) > i}
    output = integers.stages[-1].channels
    return most + 4 * integers.network.channels + 48 * output


def choose(integers: IntegerNetwork, height: int, width: int, halo: int, tile: int | None, memory: int) -> int:
    """The tile size: `tile` if given, else the largest that fits `memory` bytes.

    Raises UsageError for a tile that is no positive multiple of 64, or if not even the smallest fits.
    """
    if tile is not None:
        if tile < BLOCK or tile % BLOCK:
            raise UsageError(f"the tile size is {tile}; expected a positive multiple of {BLOCK}")
        return tile
    each = bytes_per_pixel(integers)
    largest = -(-max(height, width) // BLOCK) * BLOCK
    for size in range(largest, 0, -BLOCK):
        rows, columns = min(size + 2 * halo, height), min(size + 2 * halo, width)
        if rows * columns * each <= memory:
            return size
    need = min(BLOCK + 2 * halo, height) * min(BLOCK + 2 * halo, width) * each
    raise UsageError(
        f"{memory >> 20} MiB of working memory are too little; the smallest tile takes {(need >> 20) + 1} MiB"
    )


def reach(integers: IntegerNetwork) -> dict[str, int]:
    """For each stage by name, and the image: how many pixels around a core it is needed."""
    head = integers.head.kernel // 2
    halos = integers.network.halos()
    named = {stage.name: halos[stage.layer.name] + head for stage in integers.stages}
    return named | {IMAGE: integers.network.radius + head}


def readers(integers: IntegerNetwork, name: str) -> tuple[Layer, ...]:
    """The layers that read the spikes of stage `name`, a head with a kernel among them as a convolution."""
    readers: list[Layer] = []
    for stage in integers.stages:
        for source in stage.sources:
            if source == name:
                readers.append(stage.layer)
    if name == integers.stages[-1].name and integers.head.kernel:
        channels = integers.stages[-1].channels
        readers.append(Conv("head", name, channels, channels, integers.head.kernel))
    return tuple(readers)
