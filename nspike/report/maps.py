"""Where a layer fires: its spikes per neuron and step at each pixel, gathered tile by tile, at a bounded size."""

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nspike.engine.tile import LayerSpikes

LONGEST = 256
"""The longest side of a map, in pixels."""


class RateMaps:
    """An engine's observer. Each pixel of a map is the mean over `factor` × `factor` pixels, channels, steps and planes.

    planes, height, width : of the network's image. spike_planes : by layer, how many planes the spikes of each neuron have, all
    of which it may fire in one step, if not one. scales : by layer, its height over that of the image, if not 1.
    """

    def __init__(
        self,
        planes: int,
        height: int,
        width: int,
        timesteps: int,
        spike_planes: Mapping[str, int] | None = None,
        scales: Mapping[str, Fraction] | None = None,
    ) -> None:
        self._spike_planes, self._scales = spike_planes or {}, scales or {}
        self._planes, self._size, self._timesteps = planes, (height, width), timesteps
        self._spikes: dict[str, NDArray[np.float64]] = {}
        self._channels: dict[str, int] = {}

    def _sides(self, layer: str) -> tuple[int, int]:
        scale = self._scales.get(layer, Fraction(1))
        return int(self._size[0] * scale), int(self._size[1] * scale)

    def factor(self, layer: str) -> int:
        """How many pixels of a layer, along each axis, one pixel of its map stands for."""
        return max(1, -(-max(self._sides(layer)) // LONGEST))

    def __call__(self, seen: "LayerSpikes") -> None:
        """Add the spikes of a layer over a tile's core."""
        layer, core, spikes, factor = seen.layer, seen.core, seen.dense(), self.factor(seen.layer)
        shape = tuple(-(-side // factor) for side in self._sides(layer))
        total = self._spikes.setdefault(layer, np.zeros(shape))
        self._channels[layer] = spikes.shape[1] // self._spike_planes.get(layer, 1)
        rows = np.arange(core.y0, core.y1) // factor
        columns = np.arange(core.x0, core.x1) // factor
        np.add.at(total, (rows[:, None], columns[None, :]), spikes.sum(axis=(0, 1), dtype=np.int64))

    def rates(self) -> dict[str, NDArray[np.float64]]:
        """Layer -> float64 (h, w): spikes per neuron and step of T."""
        return {layer: total / (self._pixels(layer) * self._channels[layer]) for layer, total in self._spikes.items()}

    def _pixels(self, layer: str) -> NDArray[np.int64]:
        """How many pixels, of all planes and steps, each pixel of a map stands for."""
        factor = self.factor(layer)
        covered = [
            np.minimum(np.arange(factor, side + factor, factor), side) - np.arange(0, side, factor)
            for side in self._sides(layer)
        ]
        return covered[0][:, None] * covered[1] * (self._planes * self._timesteps)
