"""Feature maps of a tile, in memory that is used again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""top, left, bottom, right, in pixels of the layer."""


@dataclass(frozen=True)
class Field:
    """A layer's values on a region, with `margin` pixels around it that are zero outside the image."""

    flat: Floats
    region: Region
    margin: int
    channels: int

    @property
    def view(self) -> Floats:
        """The values with their margin, a view (height + 2·margin, width + 2·margin, channels)."""
        top, left, bottom, right = self.region
        shape = (bottom - top + 2 * self.margin, right - left + 2 * self.margin, self.channels)
        return self.flat[: math.prod(shape)].reshape(shape)

    @property
    def values(self) -> Floats:
        """The values on the region, a view (height, width, channels)."""
        return self.inside(self.region)

    def inside(self, region: Region) -> Floats:
        """A view of the values on `region`, which must lie within this one and its margin."""
        y, x = self.margin + region[0] - self.region[0], self.margin + region[1] - self.region[1]
        return self.view[y : y + region[2] - region[0], x : x + region[3] - region[1]]


FREE = 4
"""How many feature maps' memory is kept to be used again."""


class Buffers:
    """Memory that is used again: fresh pages cost as much as a tenth of a convolution."""

    def __init__(self) -> None:
        self.free: list[Floats] = []

    def field(self, region: Region, margin: int, channels: int, slack: int) -> Field:
        """Memory for a feature map, its margin set to 0, readable `slack` pixels past its end."""
        height, width = (region[i + 2] - region[i] + 2 * margin for i in (0, 1))
        size = (height * width + slack) * channels
        best = fitting([flat.size for flat in self.free], size)
        if best is None:  # those that are much too small are not needed any more
            self.free = [flat for flat in self.free if 4 * flat.size < size]
        field = Field(np.empty(size, np.float32) if best is None else self.free.pop(best), region, margin, channels)
        if margin:
            view = field.view
            view[:margin] = view[-margin:] = view[:, :margin] = view[:, -margin:] = 0
        return field

    def give(self, field: Field) -> None:
        """Take back the memory of a feature map that is not read any more."""
        self.free = [*self.free[-(FREE - 1) :], field.flat]


def fitting(free: Sequence[int], size: int) -> int | None:
    """Which of some free sizes is taken for `size` numbers: the least that suffices and is not much too large."""
    suffice = [i for i, other in enumerate(free) if size <= other <= 4 * size]
    return min(suffice, key=lambda i: free[i], default=None)
