"""Layers that only move what they read, in training: images, currents and spikes there, gradients back.

Arrays have the axes (..., H, W, C); channels of spikes are plane-major, and each plane is moved by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import attach
from nspike.graph import arrange
from nspike.graph.layer import ChannelShuffle, Concat, Layer, Nearest, PixelShuffle, PixelUnshuffle, Slice
from nspike.graph.network import Network
from nspike.runtime.parallel import each
from nspike.trainable.spike_train import SpikeTrain, packed

Array = NDArray[Any]


def moved(layer: Layer, read: Sequence[Array], planes: int = 1) -> Array:
    """What an arranging layer makes of arrays (..., H, W, planes·C)."""
    if type(layer) in MAPS:
        return MAPS[type(layer)].forward(layer, read[0], planes)
    first = arrange.move(layer, [np.moveaxis(x, -1, -3) for x in read], planes)
    return np.ascontiguousarray(np.moveaxis(first, -3, -1))


def moved_back(layer: Layer, gradient: Array, widths: Sequence[int], planes: int = 1) -> list[Array]:
    """The gradients of what an arranging layer reads, of `widths` channels each, from its own (..., H, W, planes·C)."""
    if type(layer) in MAPS:
        return [MAPS[type(layer)].back(layer, gradient, planes)]
    first = np.moveaxis(gradient, -1, -3)
    split = first.reshape(*first.shape[:-3], planes, first.shape[-3] // planes, *first.shape[-2:])
    parts = BACK[type(layer)](layer, split, widths)
    flat = [part.reshape(*part.shape[:-4], -1, *part.shape[-2:]) for part in parts]
    return [np.ascontiguousarray(np.moveaxis(part, -3, -1)) for part in flat]


def moved_train(network: Network, layer: Layer, trains: Sequence[SpikeTrain]) -> SpikeTrain:
    """The spikes of an arranging layer other than a concatenation, of the parts that it reads, and its gradient."""
    planes = trains[0].planes
    joined = _joined([train.dense() for train in trains], len(planes))  # (N, steps, channels, H, W)
    dense = arrange.move(layer, [joined], len(planes))
    train = packed(dense, trains[0].pad, planes)
    widths = [part.neurons for part in trains]

    def backward(gradient: tuple[Any, Any]) -> list[Any]:
        spikes, _ = gradient
        if spikes is None:
            return [None] * len(trains)
        count = spikes.shape[-1] // train.neurons  # of a rate there is one number for all planes
        (whole,) = moved_back(layer, spikes, [sum(widths)], count)
        return [(part, None) for part in moved_back(_CONCAT, whole, widths, count)]

    attach(train, trains, backward)
    return train


_CONCAT = Concat("", ())


def _joined(read: Sequence[Array], planes: int) -> Array:
    return read[0] if len(read) == 1 else arrange.move(_CONCAT, list(read), planes)


def _sliced_back(layer: Any, g: Array, widths: Sequence[int]) -> list[Array]:
    out = np.zeros((*g.shape[:-3], widths[0], *g.shape[-2:]), g.dtype)
    out[..., layer.first : layer.first + layer.channels, :, :] = g
    return [out]


def _summed(layer: Any, g: Array, widths: Sequence[int]) -> list[Array]:
    n, (*lead, height, width) = layer.factor, g.shape
    return [np.asarray(g.reshape(*lead, height // n, n, width // n, n).sum(axis=(-3, -1)))]


BACK: Mapping[type[Layer], Callable[[Any, Array, Sequence[int]], list[Array]]] = {
    Concat: lambda layer, g, widths: np.split(g, np.cumsum(widths)[:-1], axis=-3),
    Slice: _sliced_back,
    Nearest: _summed,
}
"""The transposed maps of `nspike.graph.arrange.MOVES`: (layer, gradient (..., C, H, W), the channels of each source)."""


# ----- Maps from channel to channel -----


@dataclass(frozen=True)
class _Map:
    """Some of `nspike.graph.arrange.MOVES`, channels last: one copy by `nspike.kernels.moving`.

    index : of a layer and the channels of a plane where pixels are few, int64 (factor², C): which of those channels each
    channel is where pixels are many. factor : of a layer. to_many : whether it goes from few pixels to many.
    """

    index: Callable[[Any, int], NDArray[np.int64]]
    factor: Callable[[Any], int]
    to_many: bool

    def forward(self, layer: Any, x: Array, planes: int) -> Array:
        return self._run(layer, x, planes, self.to_many)

    def back(self, layer: Any, g: Array, planes: int) -> Array:
        return self._run(layer, g, planes, not self.to_many)

    def _run(self, layer: Any, x: Array, planes: int, to_many: bool) -> Array:
        from nspike.kernels import moving

        r = self.factor(layer)
        *lead, height, width, channels = x.shape
        few = channels if to_many else channels * r**2
        index = self.index(layer, few // planes)
        offsets = np.arange(planes)[:, None] * (few // planes)
        every = np.ascontiguousarray((offsets + index[:, None]).reshape(len(index), -1))
        size = (height * r, width * r, few // r**2) if to_many else (height // r, width // r, few)
        read = np.ascontiguousarray(x).reshape(-1, height, width, channels)
        out = np.empty((len(read), *size), x.dtype)
        move, whole = moving.spread if to_many else moving.gather, np.dtype(f"i{x.dtype.itemsize}")

        def some(_: int, first: int, last: int) -> None:
            move(read[first:last].view(whole), every, r, out[first:last].view(whole))

        each(some, len(read))
        return out.reshape(*lead, *size)


def _shuffled(layer: Any, channels: int) -> NDArray[np.int64]:
    return np.arange(channels).reshape(layer.groups, -1).T.reshape(1, -1)


def _phases(layer: Any, channels: int) -> NDArray[np.int64]:
    return np.arange(channels).reshape(-1, layer.factor**2).T


MAPS: Mapping[type[Layer], _Map] = {
    ChannelShuffle: _Map(_shuffled, lambda layer: 1, True),
    PixelShuffle: _Map(_phases, lambda layer: layer.factor, True),
    PixelUnshuffle: _Map(_phases, lambda layer: layer.factor, False),
}
