"""Where a layer fires: its spikes per neuron and step at each pixel, gathered tile by tile, at a bounded size."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nspike.model.model import OUTPUT

if TYPE_CHECKING:
    from nspike.engine.tile import LayerSpikes

LONGEST = 256
"""The longest side of a map, in pixels."""


class RateMaps:
    """An engine's observer. Each pixel of a map is the mean over `factor` × `factor` pixels, channels, steps and planes.

    planes : of the image; spike_planes : of each neuron's spikes, all of which it may fire in one step.
    """

    def __init__(self, planes: int, height: int, width: int, timesteps: int, spike_planes: int = 1) -> None:
        self._spike_planes = spike_planes
        self.factor = max(1, -(-max(height, width) // LONGEST))
        self._planes, self._size, self._timesteps = planes, (height, width), timesteps
        self._spikes: dict[str, NDArray[np.float64]] = {}
        self._channels: dict[str, int] = {}

    def __call__(self, seen: "LayerSpikes") -> None:
        """Add the spikes of a layer over a tile's core."""
        layer, core, spikes = seen.layer, seen.core, seen.dense()
        shape = tuple(-(-side // self.factor) for side in self._size)
        total = self._spikes.setdefault(layer, np.zeros(shape))
        self._channels[layer] = spikes.shape[1] // (1 if layer == OUTPUT else self._spike_planes)
        rows = np.arange(core.y0, core.y1) // self.factor
        columns = np.arange(core.x0, core.x1) // self.factor
        np.add.at(total, (rows[:, None], columns[None, :]), spikes.sum(axis=(0, 1), dtype=np.int64))

    def rates(self) -> dict[str, NDArray[np.float64]]:
        """Layer -> float64 (h, w): spikes per neuron and step of T."""
        covered = [
            np.minimum(np.arange(self.factor, side + self.factor, self.factor), side) - np.arange(0, side, self.factor)
            for side in self._size
        ]
        pixels = covered[0][:, None] * covered[1] * (self._planes * self._timesteps)
        return {layer: total / (pixels * self._channels[layer]) for layer, total in self._spikes.items()}
