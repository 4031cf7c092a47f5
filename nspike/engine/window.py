"""Rectangles of an image, and the input and output of a finished one."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from nspike.graph.geometry import times


@dataclass(frozen=True)
class Rect:
    """Rows y0 .. y1 and columns x0 .. x1 of the image, or of a layer at its own resolution."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.x1 - self.x0

    def grown(self, margin: int, height: int, width: int) -> "Rect":
        """With a margin on each side, cut off at the border of an image of height × width."""
        return Rect(
            max(self.y0 - margin, 0),
            min(self.y1 + margin, height),
            max(self.x0 - margin, 0),
            min(self.x1 + margin, width),
        )

    def within(self, outer: "Rect") -> "Rect":
        """The same rectangle, counted from the first row and column of `outer`."""
        return Rect(self.y0 - outer.y0, self.y1 - outer.y0, self.x0 - outer.x0, self.x1 - outer.x0)

    def scaled(self, scale: Fraction) -> "Rect":
        """The same rectangle at a resolution `scale` times as high; its corners must be whole numbers there."""
        return Rect(*(times(side, scale) for side in (self.y0, self.y1, self.x0, self.x1)))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices of rows and columns, to index an array (height, width)."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


@dataclass(frozen=True, eq=False)
class Around:
    """What a layer needs to know of a tile: where its source and its output lie, and the source's height and width."""

    source: Rect
    rect: Rect
    limits: tuple[int, int]
    timesteps: int


@dataclass(frozen=True, eq=False)
class Part:
    """A finished rectangle of image plane n.

    core : where it lies.
    plane : int32 (C, height, width), what the network was given there, on the input plane's grid.
    output : float64 (C, scale·height, scale·width), the network's output there, in units of the ANN's.
    """

    n: int
    core: Rect
    plane: NDArray[np.int32]
    output: NDArray[np.float64]

    def bands(self, rows: int) -> Iterator["Part"]:
        """The same in bands of up to `rows` rows, as views."""
        for y in range(0, self.core.height, rows):
            last = min(y + rows, self.core.height)
            core = Rect(self.core.y0 + y, self.core.y0 + last, self.core.x0, self.core.x1)
            yield Part(self.n, core, self.plane[:, y:last], self.output[:, self.scale * y : self.scale * last])

    @property
    def scale(self) -> int:
        """How many times as high and wide as the image the output is."""
        return int(self.output.shape[1] // self.plane.shape[1])

    def cropped(self, height: int, width: int) -> "Part":
        """What of it lies inside an image of height × width, as views; nothing of the padding."""
        y1, x1, scale = min(self.core.y1, height), min(self.core.x1, width), self.scale
        if (y1, x1) == (self.core.y1, self.core.x1):
            return self
        core = Rect(self.core.y0, max(y1, self.core.y0), self.core.x0, max(x1, self.core.x0))
        rows, columns = core.height, core.width
        return Part(self.n, core, self.plane[:, :rows, :columns], self.output[:, : scale * rows, : scale * columns])
