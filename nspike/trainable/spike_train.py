"""The packed spikes of a batch as a tensor: what spiking layers that are trained hand to each other."""

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor, record
from nspike.runtime.parallel import each

Floats = NDArray[np.float32]


class SpikeTrain(Tensor):
    """The spikes of a layer.

    Parameters
    ----------
    words : uint64 (N, H + 2·pad, W + 2·pad, steps, words), bit c of a pixel's words being channel c.
    channels, pad : how many channels, and how wide the border of zeros is.
    planes : the gains of the spike planes; a neuron has a channel in each, and those of a plane lie together.

    Its gradient is a pair: ∂L/∂s float32 (steps, N, H, W, planes·C) or None, and float32 (steps,) or None, which is added
    to every neuron's. Between layers of `nspike.trainable.rate_rule` the first is ∂L/∂n float32 (N, H, W, neurons).
    """

    def __init__(self, words: NDArray[np.uint64], channels: int, pad: int, planes: tuple[int, ...] = (1,)) -> None:
        super().__init__(np.zeros(0, np.float32))
        self.data = words
        self.channels = channels
        self.pad = pad
        self.planes = planes
        self._weighted: tuple[bytes, Floats] | None = None

    @property
    def neurons(self) -> int:
        """The number of neurons at each pixel."""
        return self.channels // len(self.planes)

    def combine(self, parts: list[Any]) -> Any:
        """The sum of what the layers after, and the rate, contribute."""
        dense = [part for part, _ in parts if part is not None]
        added = [part for _, part in parts if part is not None]
        return (reduce(np.add, dense) if dense else None), (reduce(np.add, added) if added else None)

    def dense(self) -> NDArray[np.bool_]:
        """bool (N, steps, C, H, W), the border left out."""
        _, height, width = self.data.shape[:3]
        inner = self.data[:, self.pad : height - self.pad, self.pad : width - self.pad]
        packed = np.ascontiguousarray(inner).astype("<u8", copy=False).view(np.uint8)
        bits = np.unpackbits(packed, axis=-1, count=self.channels, bitorder="little").view(np.bool_)
        return bits.transpose(0, 3, 4, 1, 2)

    def floats(self, step: int) -> Floats:
        """The spikes of one step as float32 (N, H, W, C)."""
        from nspike.kernels import through_time

        n, height, width = self.data.shape[:3]
        out = np.empty((n, height - 2 * self.pad, width - 2 * self.pad, self.channels), np.float32)
        through_time.unpack(self.data, self.pad, step, out)
        return out

    def weighted(self, worth: NDArray[np.float64]) -> Floats:
        """n = Σ worth(t)·gain·s(t), float32 (N, H, W, neurons); kept, as a layer and its readers ask for the same."""
        key = worth.tobytes()
        if self._weighted is None or self._weighted[0] != key:
            self._weighted = key, self._weigh(worth.astype(np.float32))
        return self._weighted[1]

    def _weigh(self, worth: Floats) -> Floats:
        from nspike.kernels import counting

        n, height, width = self.data.shape[:3]
        out = np.zeros((n, height - 2 * self.pad, width - 2 * self.pad, self.neurons), np.float32)
        column = np.arange(self.channels, dtype=np.int32) % np.int32(self.neurons)
        gain = np.repeat(np.array(self.planes, np.float32), self.neurons)

        def rows(_: int, first: int, last: int) -> None:
            counting.weigh(self.data, self.pad, worth, column, gain, out, first, last)

        each(rows, n * out.shape[1])
        return out

    def events(self) -> NDArray[np.int64]:
        """How many spikes there are at each step, int64 (steps,)."""
        from nspike.kernels import through_time

        events = np.zeros(self.data.shape[3], np.int64)
        through_time.count(self.data, events)
        return events


def packed(dense: NDArray[np.bool_], pad: int, planes: tuple[int, ...]) -> SpikeTrain:
    """The train of spikes bool (N, steps, channels, H, W)."""
    n, steps, channels, height, width = dense.shape
    words = -(-channels // 64)
    bits = np.packbits(dense.transpose(0, 3, 4, 1, 2), axis=-1, bitorder="little")
    data = np.zeros((n, height + 2 * pad, width + 2 * pad, steps, words * 8), np.uint8)
    data[:, pad : pad + height, pad : pad + width, :, : bits.shape[-1]] = bits
    return SpikeTrain(data.view("<u8").astype(np.uint64, copy=False), channels, pad, planes)


def rate(train: SpikeTrain, timesteps: int, *, post: bool = False) -> Tensor:
    """(1/T)·Σ s over the steps up to T, the mean over images, pixels and neurons; with `post` over the post steps too."""
    n, height, width, steps, _ = train.data.shape
    neurons = n * (height - 2 * train.pad) * (width - 2 * train.pad) * train.neurons
    counted = np.arange(steps) < (steps if post else timesteps)
    share = 1.0 / (timesteps * neurons)

    def backward(g: Any) -> list[Any]:
        return [(None, np.where(counted, np.float32(float(g) * share), np.float32(0)))]

    return record(np.float64(train.events()[counted].sum() * share), [train], backward)
