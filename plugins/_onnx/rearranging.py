"""Reshapes and transposes as layers: pixel shuffles in either direction, channel shuffles."""

from typing import Any

import numpy as np
from nspike_plugins._onnx.values import Atom, Axes, Sizes, Unsupported

from nspike import ChannelShuffle, PixelShuffle, PixelUnshuffle

Step = tuple[type[Any], int, Sizes]
"""A kind of layer, its factor or groups, and the sizes that it gives."""


def layers_for(axes: Axes, sizes: Sizes) -> list[Step]:
    """The layers that arrange a layer of `sizes` into N, C, H, W in the way of `axes`. Raises Unsupported."""
    if len(axes) != 4 or axes[0]:
        raise _strange(axes)
    channels, rows, columns = axes[1:]
    if len(rows) == len(columns) == 2:
        return _shuffle(axes, sizes)
    if all(atom.axis == 0 for atom in channels):
        if [[a.axis for a in axis] for axis in (rows, columns)] != [[1] * (sizes[1] > 1), [2] * (sizes[2] > 1)]:
            raise _strange(axes)
        return _channel_shuffle(channels, sizes, axes)
    return _unshuffle(axes, sizes)


def _shuffle(axes: Axes, sizes: Sizes) -> list[Step]:
    channels, (row, down), (column, right) = axes[1:]
    factor = down.size
    square = (row, column) == (Atom(1, sizes[1]), Atom(2, sizes[2])) and (down.axis, right.axis, right.size) == (
        0,
        0,
        factor,
    )
    if not square or sizes[0] % factor**2:
        raise _strange(axes)
    rest = sizes[0] // factor**2
    steps: list[Step] = []
    if (down.step, right.step) == (factor * rest, rest) and rest > 1 and _steps(channels) == [(rest, 1)]:
        steps.append((ChannelShuffle, factor**2, sizes))  # the blocks outside, as TensorFlow has them
    elif (down.step, right.step) != (factor, 1) or _steps(channels) != [(rest, factor**2)] * (rest > 1):
        raise _strange(axes)
    return [*steps, (PixelShuffle, factor, (rest, sizes[1] * factor, sizes[2] * factor))]


def _unshuffle(axes: Axes, sizes: Sizes) -> list[Step]:
    channels, rows, columns = axes[1:]
    blocks = [atom for atom in channels if atom.axis != 0]
    if len(blocks) != 2 or [atom.axis for atom in blocks] != [1, 2] or blocks[0].size != blocks[1].size:
        raise _strange(axes)
    factor = blocks[0].size
    coarse = tuple((Atom(axis, sizes[axis] // factor, factor),) if sizes[axis] > factor else () for axis in (1, 2))
    if (rows, columns) != coarse or any(atom.step != 1 for atom in blocks):
        raise _strange(axes)
    full = (sizes[0] * factor**2, sizes[1] // factor, sizes[2] // factor)
    steps: list[Step] = [(PixelUnshuffle, factor, full)]
    whole = [Atom(0, sizes[0])] if sizes[0] > 1 else []
    if list(channels) == [*blocks, *whole] and whole:
        steps.append((ChannelShuffle, sizes[0], full))
    elif list(channels) != [*whole, *blocks]:
        raise _strange(axes)
    return steps


def _channel_shuffle(channels: tuple[Atom, ...], sizes: Sizes, axes: Axes) -> list[Step]:
    if len(channels) == 2 and int(np.prod([atom.size for atom in channels])) == sizes[0]:
        (inner, outer) = channels
        if (inner.step, outer.step) == (1, inner.size):
            return [(ChannelShuffle, outer.size, sizes)]
    raise _strange(axes)


def _steps(atoms: tuple[Atom, ...]) -> list[tuple[int, int]]:
    return [(atom.size, atom.step) for atom in atoms if atom.axis == 0]


def _strange(axes: Axes) -> Unsupported:
    words = ", ".join("·".join(f"{'CHW'[a.axis]}{a.size}" for a in axis) or "1" for axis in axes)
    return Unsupported(
        f"it reads a feature map arranged as ({words}), which is no pixel shuffle, pixel unshuffle or channel shuffle"
    )
