"""What the layers of a network that is no chain read over one tile, as their kernels take it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine import linear
from nspike.engine.digit_conv import DigitConv
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.plan import Op
from nspike.engine.spikes import WideSpikes
from nspike.engine.tensors import ROWS, Tile
from nspike.engine.window import Around, Rect
from nspike.engine.wiring import Fill
from nspike.graph.layer import IMAGE
from nspike.kernels import digits, numbers


def like_image(tile: Tile, op: Op) -> bool:
    """Whether an op reads the image, or what is like it."""
    return all(tile.plan.carries[name] == "image" for name in op.reads)


def gathered(tile: Tile, op: Op) -> tuple[WideSpikes, Rect]:
    """The spikes that a convolution or gate reads, those of several sources side by side, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    names = part.sources
    if len(names) == 1:
        return tile.tensors[names[0]], tile.place(names[0])
    rect = linear.read_rect(part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]])
    words = []
    for name in names:
        (y, x), pad = (rect.y0 - tile.place(name).y0, rect.x0 - tile.place(name).x0), tile.pad
        words.append(tile.tensors[name].words[y + pad : y + pad + rect.height, x + pad : x + pad + rect.width])
    joined = np.zeros((rect.height + 2 * tile.pad, rect.width + 2 * tile.pad, *_joined(words)), np.uint64)
    inner = joined[tile.pad : tile.pad + rect.height, tile.pad : tile.pad + rect.width]
    np.concatenate(words, axis=3, out=inner)
    return WideSpikes(joined, tile.pad, joined.shape[3] * 64), rect


def spikes_of(tile: Tile, op: Op) -> tuple[Any, Rect]:
    """The spikes that a convolution or gate reads as its kernel takes them, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    wired = tile.wired[part.layer.name]
    return numbers_of(tile, op, wired) if isinstance(wired, DigitConv) else gathered(tile, op)


def numbers_of(tile: Tile, op: Op, conv: DigitConv) -> tuple[DigitSpikes, Rect]:
    """The numbers that a convolution reads, those of several sources side by side, and what they cover."""
    part = op.stage or op.writer
    assert part is not None
    first = tile.tensors[part.sources[0]]
    if len(part.sources) == 1 and type(first) is DigitSpikes:
        return first, tile.place(part.sources[0])
    rect, border = linear.read_rect(part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]]), tile.plan.border
    whole = sum(channels for channels, _ in conv.sources)
    out, c = DigitSpikes.empty(rect.height, rect.width, whole, border, conv.digits, False), 0
    for name, (channels, signed) in zip(part.sources, conv.sources, strict=True):
        out.padded()[..., c : c + channels] = digits.OFFSET * signed
        inside, source = rect.within(tile.place(name)), tile.tensors[name]
        if type(source) is DigitSpikes:
            out.array()[..., c : c + channels] = source.array()[inside.slices]
        else:
            tile.each(_put_together(source, inside, channels, signed, out, c), rect.height, ROWS)
        c += channels
    return out, rect


def _put_together(
    source: WideSpikes, inside: Rect, channels: int, signed: bool, out: DigitSpikes, c: int
) -> Callable[[int, int], None]:
    """rows(first, last): the numbers of packed spikes from channel `c` on."""
    at = np.array([inside.y0 + source.pad, inside.x0 + source.pad], np.int64)
    where = np.array([out.index(0, 0) + c, out.row], np.int64)

    def rows(first: int, last: int) -> None:
        block = np.array([first, last, inside.width], np.int64)
        numbers.put_together(source.words, at, channels, int(signed), out.digits, out.shape[2], out.flat, where, block)

    return rows


def _joined(words: list[NDArray[np.uint64]]) -> tuple[int, int]:
    return words[0].shape[2], sum(each.shape[3] for each in words)


def fill_of(tile: Tile, op: Op) -> Fill:
    """How the current of a convolution or gate is filled in."""
    part = op.stage or op.writer
    assert part is not None
    layer, rect, limits = part.layer, tile.rects[op.at], tile.limits[part.layer.sources[0]]
    wired = tile.wired[layer.name]
    if like_image(tile, op):
        (name,) = op.reads
        return wired.fill(tile.tensors[name], Around(tile.rects[name], rect, limits, tile.integers.timesteps))
    read, source = spikes_of(tile, op)
    if IMAGE in op.reads:
        read = read, tile.tensors[IMAGE][:, *rect.within(tile.rects[IMAGE]).slices]
    return wired.fill(read, Around(source, rect, limits, tile.integers.timesteps))
