"""Neurons of a tile whose spikes are held as numbers, and the passes that fire them."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from nspike.engine.digit_conv import DigitConv, Placed
from nspike.engine.digit_passes import DigitPass
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.plan import Op
from nspike.engine.prepared import Prepared
from nspike.engine.reading import fill_of, numbers_of
from nspike.engine.tensors import CURRENTS, MEMORY, ROWS, Tile
from nspike.engine.window import Rect
from nspike.integer.rounding import Stage
from nspike.kernels import digits

Ints = NDArray[np.int32]


def neurons_of_numbers(tile: Tile, op: Op) -> DigitSpikes:
    """The spikes of neurons whose numbers are held."""
    assert op.stage is not None
    stage, rect, p = op.stage, tile.rects[op.at], tile.prepared[op.stage.name]
    out = _silent(tile, stage, rect)
    if not stage.fused:
        name = stage.layer.name
        arriving = Placed(tile.tensors[name], tile.place(name))
        where = arriving.where(rect)
        tile.each(lambda first, last: _fire_numbers(p, arriving.current, where, out, first, last), rect.height, ROWS)
        return out
    wired = tile.wired[stage.layer.name]
    if isinstance(wired, DigitConv):
        read, at = numbers_of(tile, op, wired)
        tile.each(wired.rows(read, at, rect, fired=out, form=p.form), rect.height, ROWS)
        return out
    fill = fill_of(tile, op)

    def rows(first: int, last: int) -> None:
        band, across = np.empty((1, last - first, rect.width, stage.channels), np.int32), rect.width * stage.channels
        fill(first, last, band, 0)
        _fire_numbers(p, band, [-first * across, across], out, first, last)

    tile.each(rows, rect.height, max(1, min(CURRENTS // (rect.width * stage.channels), ROWS)))
    return out


def _fire_numbers(p: Prepared, current: Ints, where: list[int], out: DigitSpikes, first: int, last: int) -> None:
    """Rows first .. last-1 of neurons; where : the index of the current of the first of all, and how many lie from row to row."""
    assert p.form is not None
    places = np.array([where, [out.index(0, 0), out.row]], np.int64)
    block = np.array([first, last, out.shape[1]], np.int64)
    digits.fire(current.reshape(-1), places, out.shape[2], p.form, out.flat, block)


def _silent(tile: Tile, stage: Stage, rect: Rect) -> DigitSpikes:
    signed = stage.dynamics.down > 0
    digits, border = len(stage.neuron.planes) >> signed, tile.plan.border
    return DigitSpikes.empty(rect.height, rect.width, stage.channels, border, digits, signed)


def run_pass(tile: Tile, op: Op, own: DigitPass) -> Ints | None:
    """The current of a pass, or None where nothing else reads it; its neurons' numbers are kept until they are asked for."""
    rect = tile.rects[own.op.at]
    made = rect if own.conv.factor == 1 else rect.scaled(Fraction(own.conv.factor))
    bases = tuple(Placed(tile.tensors[base], tile.place(base)) for base in own.bases)
    fired = kept = form = None
    if own.neurons is not None:
        p = tile.prepared[own.neurons]
        fired, form = _silent(tile, p.stage, made), p.form
        tile.fired[own.neurons], tile.places[own.neurons] = fired, made
    if own.kept:
        if own.reused is not None:
            kept = Placed(tile.tensors[own.reused], tile.place(own.reused))
        else:
            kept = Placed(MEMORY.take((1, made.height, made.width, own.conv.channels), np.int32), made)
        tile.places[op.name] = kept.rect
    read, at = numbers_of(tile, own.op, own.conv)
    tile.each(own.conv.rows(read, at, rect, bases, kept, fired, form), rect.height, ROWS)
    return None if kept is None else kept.current
