"""What a tensor of an ONNX graph is while the graph is read: constants, feature maps, the noise level."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Known = np.ndarray
"""A constant; large planes of one number are broadcast views, which take no memory."""

Sizes = tuple[int, int, int]
"""Channels, height, width of a layer."""


class Unsupported(Exception):
    """Why a node has no place in a network; the message completes "node NAME (OPERATOR): "."""


@dataclass(frozen=True)
class Atom:
    """A factor of an axis of a layer: position = (outer · size + its position) · step + inner. axis : 0 C, 1 H, 2 W."""

    axis: int
    size: int
    step: int = 1


Axes = tuple[tuple[Atom, ...], ...]
"""For each axis of a tensor the atoms that it is made of, the outermost first; those of size 1 are left out."""


@dataclass(frozen=True)
class Feature:
    """A layer's values, its axes arranged in some way.

    pad : zeros around them (top, left, bottom, right), for a convolution to take over; rows : (first, last, step) of the
    rows that are taken, until the columns are too.
    """

    layer: str
    axes: Axes
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    rows: tuple[int, int, int] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape, of a batch of 1."""
        sizes = [int(np.prod([atom.size for atom in axis], dtype=np.int64)) for axis in self.axes]
        if any(self.pad):
            sizes[2] += self.pad[0] + self.pad[2]
            sizes[3] += self.pad[1] + self.pad[3]
        return tuple(sizes)


@dataclass(frozen=True)
class Noise:
    """The noise level, the same everywhere, times a factor."""

    shape: tuple[int, ...]
    factor: float = 1.0


@dataclass(frozen=True)
class Failed:
    """What a node that has no place would have given; what reads it is passed over."""


Value = Known | Feature | Noise | Failed


def whole(sizes: Sizes) -> Axes:
    """The axes N, C, H, W of a layer as it is."""
    return ((), *((Atom(axis, size),) if size > 1 else () for axis, size in enumerate(sizes)))


def channels_last(sizes: Sizes) -> Axes:
    """The axes N, H, W, C of a layer."""
    batch, channels, height, width = whole(sizes)
    return (batch, height, width, channels)


def merged(atoms: list[Atom]) -> tuple[Atom, ...]:
    """The atoms of one axis, adjacent ones that are one run of positions made one."""
    kept: list[Atom] = []
    for atom in atoms:
        if atom.size == 1:
            continue
        last = kept[-1] if kept else None
        if last is not None and last.axis == atom.axis and last.step == atom.size * atom.step:
            kept[-1] = Atom(atom.axis, last.size * atom.size, atom.step)
        else:
            kept.append(atom)
    return tuple(kept)


def reshaped(axes: Axes, shape: list[int]) -> Axes:
    """The axes after a reshape to `shape`. Raises Unsupported where it would cut across an axis."""
    atoms = [atom for axis in axes for atom in axis][::-1]
    result = []
    for size in shape:
        taken: list[Atom] = []
        while size > 1:
            if not atoms:
                raise Unsupported(f"the shape {shape} does not hold as many values")
            atom = atoms.pop()
            if size % atom.size == 0:
                taken.append(atom)
                size //= atom.size
            elif atom.size % size == 0:
                inner = atom.size // size
                taken.append(Atom(atom.axis, size, atom.step * inner))
                atoms.append(Atom(atom.axis, inner, atom.step))
                size = 1
            else:
                raise Unsupported(f"the shape {shape} cuts across the channels or the rows of the image")
        result.append(merged(taken))
    if atoms:
        raise Unsupported(f"the shape {shape} does not hold as many values")
    return tuple(result)


@dataclass
class Node:
    """A node with the values that it reads.

    name, op : for messages; base : for the names of its layers; readers : of each output, how many nodes read it; core,
    tail : whether its output is the network's, before what only clips it, or is what clips it.
    """

    name: str
    op: str
    base: str
    values: list[Value | None]
    attributes: dict[str, Any]
    readers: list[int]
    opset: int
    core: bool = False
    tail: bool = False
    inputs: list[str] = field(default_factory=list)

    def get(self, index: int) -> Value | None:
        """An input, None if it is not given."""
        return self.values[index] if index < len(self.values) else None

    def known(self, index: int, what: str) -> NDArray[Any]:
        """An input that must be a constant, as an array."""
        value = self.get(index)
        if not isinstance(value, np.ndarray):
            raise Unsupported(f"its {what} is {'not given' if value is None else 'no constant'}")
        return value

    def optional(self, index: int, what: str) -> NDArray[Any] | None:
        """The same, None where it is not given."""
        return None if self.get(index) is None else self.known(index, what)

    def numbers(self, attribute: str, index: int, what: str) -> list[int] | None:
        """Integers that older opsets give as an attribute and newer ones as an input; None where they are not given."""
        given = self.attributes.get(attribute)
        if given is None and (found := self.optional(index, what)) is not None:
            given = found.reshape(-1).tolist()
        return None if given is None else [int(n) for n in given]
