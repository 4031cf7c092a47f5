"""Layers that make currents of currents, and those that only move currents, spikes or planes like the image's.

Currents are int32 (steps, rows, columns, C), or (1, rows, columns, C): the same at every step up to T, and none after.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.spikes import WideSpikes
from nspike.engine.window import Rect
from nspike.graph.arrange import move
from nspike.graph.geometry import geometry
from nspike.graph.layer import Add, AveragePool, Bilinear, Layer, PixelShuffle
from nspike.kernels import moving

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Source:
    """A tensor that a layer reads: its value over `rect`; shift : of a current, by how many bits it is shifted left, or none."""

    value: Any
    rect: Rect
    shift: Ints | None = None

    def step(self, t: int, timesteps: int, rect: Rect) -> Ints:
        """A current at step t over `rect`, int32 (rows, columns, C), shifted; perhaps a view."""
        inside = self.value[t if len(self.value) > 1 else 0][rect.within(self.rect).slices]
        if len(self.value) == 1 and t >= timesteps:
            return np.zeros_like(inside)
        return np.asarray(inside if self.shift is None else inside << self.shift)


Line = Callable[[Any, Sequence[Ints], Rect, Rect, tuple[int, int]], Ints]
"""(layer, its currents over `read`, read, the rectangle that is wanted, height and width of what it reads) -> its current."""


def _add(layer: Add, read: Sequence[Ints], source: Rect, rect: Rect, limits: tuple[int, int]) -> Ints:
    total = read[0] + read[1]
    for more in read[2:]:
        total += more
    return total


def _pool(layer: AveragePool, read: Sequence[Ints], source: Rect, rect: Rect, limits: tuple[int, int]) -> Ints:
    """The sum of each block; its grid is finer by the bits of the block's size."""
    n = layer.size
    parts = [read[0][y::n, x::n] for y in range(n) for x in range(n)]
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total


def _bilinear(layer: Bilinear, read: Sequence[Ints], source: Rect, rect: Rect, limits: tuple[int, int]) -> Ints:
    """Weights 1 and 3 along each axis; the grid is finer by 4 bits."""
    rows = _enlarged(read[0], (source.y0, rect.y0, rect.y1, limits[0]))
    columns = _enlarged(rows.swapaxes(0, 1), (source.x0, rect.x0, rect.x1, limits[1]))
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def _enlarged(values: Ints, along: tuple[int, int, int, int]) -> Ints:
    """Along the first axis: outputs first .. last-1 of values that begin at `start`, of `limit` in all."""
    start, first, last, limit = along
    at = np.arange(first, last)
    near, far = at // 2, at // 2 + np.where(at % 2 == 0, -1, 1)
    return 3 * values[near - start] + values[np.clip(far, 0, limit - 1) - start]


LINES: Mapping[type[Layer], Line] = {Add: _add, AveragePool: _pool, Bilinear: _bilinear}
"""How each kind of layer that makes a current of currents does it, at one step: int32 (rows, columns, C)."""


def line(layer: Layer, read: Sequence[Source], rect: Rect, limits: tuple[int, int], timesteps: int, t: int) -> Ints:
    """A layer's current at step t over `rect`."""
    source = read_rect(layer, rect, limits)
    currents = [each.step(t, timesteps, source) for each in read]
    return LINES[type(layer)](layer, currents, source, rect, limits)


def read_rect(layer: Layer, rect: Rect, limits: tuple[int, int]) -> Rect:
    """What a layer reads for `rect` of its own, cut off at the border of what it reads."""
    rows = geometry(layer).needs(layer, rect.y0, rect.y1)
    columns = geometry(layer).needs(layer, rect.x0, rect.x1)
    return Rect(max(rows[0], 0), min(rows[1], limits[0]), max(columns[0], 0), min(columns[1], limits[1]))


def _moved(layer: Layer, read: Sequence[NDArray[Any]], source: Rect, rect: Rect, planes: int = 1) -> NDArray[Any]:
    """What an arranging layer makes of (C, rows, columns) over `source`, cut to `rect`."""
    made = source.scaled(geometry(layer).scale(layer) or Fraction(1))
    return move(layer, read, planes)[:, *rect.within(made).slices]


def moved_current(
    layer: Layer, read: Sequence[Source], rect: Rect, limits: tuple[int, int], timesteps: int, t: int
) -> Ints:
    """An arranging layer's current at step t, int32 (rows, columns, C)."""
    source = read_rect(layer, rect, limits)
    currents = [each.step(t, timesteps, source) for each in read]
    if type(layer) in MOVED:
        return MOVED[type(layer)](layer, currents, source, rect, limits)
    parts = [current.transpose(2, 0, 1) for current in currents]
    return _moved(layer, parts, source, rect).transpose(1, 2, 0)


def _shuffled(layer: PixelShuffle, read: Sequence[Ints], source: Rect, rect: Rect, limits: tuple[int, int]) -> Ints:
    factor = layer.factor
    out = np.empty((rect.height, rect.width, read[0].shape[2] // factor**2), np.int32)
    moving.shuffle(read[0], factor, rect.y0 - factor * source.y0, rect.x0 - factor * source.x0, out)
    return out


MOVED: Mapping[type[Layer], Line] = {PixelShuffle: _shuffled}
"""The kinds of arranging layers whose currents a kernel moves."""


def moved_planes(layer: Layer, read: Sequence[Source], rect: Rect, limits: tuple[int, int]) -> Ints:
    """An arranging layer's planes, int32 (C, rows, columns)."""
    source = read_rect(layer, rect, limits)
    parts = [each.value[:, *source.within(each.rect).slices] for each in read]
    return np.ascontiguousarray(_moved(layer, parts, source, rect))


@dataclass(frozen=True, eq=False)
class _Moves:
    """How the spikes of a tensor move; see `nspike.kernels.moving.move`."""

    entries: NDArray[np.int64]
    ends: NDArray[np.int64]
    tables: NDArray[np.uint64]


@lru_cache(maxsize=256)
def _moves(layer: Layer, channels: tuple[int, ...], planes: int) -> tuple[int, int, list[_Moves]]:
    """down, up and how the spikes of each tensor move that a layer reads; channels: planes and all."""
    scale = geometry(layer).scale(layer) or Fraction(1)
    down, up = scale.denominator, scale.numerator
    area, ends = down**2, np.cumsum(channels)
    sources = np.split(np.arange(ends[-1] * area), ends[:-1] * area)
    joined = np.concatenate([each.reshape(planes, -1, down, down) for each in sources], axis=1)
    made = move(layer, [joined.reshape(-1, down, down)], planes)
    targets = np.full((up**2, area, ends[-1]), -1, np.int64)
    for (bit, y, x), source in np.ndenumerate(made):
        targets[y * up + x, source % area, source // area] = bit
    return down, up, [_by_eights(each, -(-len(made) // 64)) for each in np.split(targets, ends[:-1], axis=2)]


def _by_eights(targets: NDArray[np.int64], words: int) -> _Moves:
    """targets int64 (up², down², bits): which bit of an output each becomes, or -1; words: of an output."""
    targets = np.pad(targets, [(0, 0), (0, 0), (0, -targets.shape[2] % 8)], constant_values=-1)
    eights = targets.reshape(*targets.shape[:2], -1, 8)
    ends = np.zeros((*eights.shape[:2], words + 1), np.int64)
    entries: list[tuple[int, int, int]] = []
    known: dict[tuple[int, ...], int] = {}
    for phase, pixel in np.ndindex(*eights.shape[:2]):
        ends[phase, pixel, 0] = len(entries)
        for word in range(words):
            for number, bits in enumerate(eights[phase, pixel]):
                here = np.where(bits // 64 == word, bits % 64, -1)
                if (here >= 0).any():
                    table = known.setdefault(tuple(here.tolist()), len(known))
                    entries.append((number // 8, number % 8 * 8, table))
            ends[phase, pixel, word + 1] = len(entries)
    seen = np.arange(256, dtype=np.uint64)
    tables = np.zeros((len(known), 256), np.uint64)
    for bits, table in known.items():
        for i, bit in enumerate(bits):
            if bit >= 0:
                tables[table] |= (seen >> np.uint64(i) & np.uint64(1)) << np.uint64(bit)
    return _Moves(np.array(entries, np.int64).reshape(-1, 3), ends, tables)


def move_spikes(
    layer: Layer, read: Sequence[Source], rect: Rect, planes: int, out: WideSpikes
) -> Callable[[int, int], None]:
    """rows(first, last): write these rows of an arranging layer's spikes over `rect`, which is that of `out`."""
    down, up, moves = _moves(layer, tuple(each.value.channels for each in read), planes)
    places = [
        np.array([rect.y0, rect.x0, each.value.pad - each.rect.y0, each.value.pad - each.rect.x0], np.int64)
        for each in read
    ]

    def rows(first: int, last: int) -> None:
        block = np.array([first, last, 0, rect.width], np.int64)
        for source, at, m in zip(read, places, moves, strict=True):
            numbers = (m.entries, m.ends, m.tables)
            moving.move(source.value.words, at, down, up, *numbers, out.words, out.pad, block)

    return rows


def constant(layer: Any, rect: Rect, unit: int) -> Ints:
    """Planes of constants on the input plane's grid, int32 (C, rows, columns)."""
    values = np.rint(np.array(layer.values, np.float64) * unit).astype(np.int32)
    return np.ascontiguousarray(np.broadcast_to(values[:, None, None], (len(values), rect.height, rect.width)))
