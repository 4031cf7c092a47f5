"""Layers that only move what they read, in training: images, currents and spikes there, gradients back.

Arrays have the axes (..., H, W, C); channels of spikes are plane-major, and each plane is moved by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import attach
from nspike.graph import arrange
from nspike.graph.layer import ChannelShuffle, Concat, Layer, Nearest, PixelShuffle, PixelUnshuffle, Slice
from nspike.graph.network import Network
from nspike.trainable.spike_train import SpikeTrain, packed

Array = NDArray[Any]


def moved(layer: Layer, read: Sequence[Array], planes: int = 1) -> Array:
    """What an arranging layer makes of arrays (..., H, W, planes·C)."""
    if type(layer) in LAST:
        return _moved_last(LAST[type(layer)], layer, read[0], planes)
    first = arrange.move(layer, [np.moveaxis(x, -1, -3) for x in read], planes)
    return np.ascontiguousarray(np.moveaxis(first, -3, -1))


def _moved_last(function: Callable[[Any, Array], Array], layer: Layer, x: Array, planes: int) -> Array:
    split = x.reshape(*x.shape[:-1], planes, x.shape[-1] // planes)
    out = function(layer, split)
    return out.reshape(*out.shape[:-2], -1)


def moved_back(layer: Layer, gradient: Array, widths: Sequence[int], planes: int = 1) -> list[Array]:
    """The gradients of what an arranging layer reads, of `widths` channels each, from its own (..., H, W, planes·C)."""
    if type(layer) in LAST_BACK:
        return [_moved_last(LAST_BACK[type(layer)], layer, gradient, planes)]
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


def _swapped(x: Array, groups: int) -> Array:
    channels = x.shape[-1]
    return x.reshape(*x.shape[:-1], groups, channels // groups).swapaxes(-1, -2).reshape(x.shape)


def _spread(layer: Any, x: Array) -> Array:
    *lead, height, width, planes, channels = x.shape
    r, kept = layer.factor, channels // layer.factor**2
    split = x.reshape(-1, height, width, planes, kept, r, r).transpose(0, 1, 5, 2, 6, 3, 4)
    return split.reshape(*lead, height * r, width * r, planes, kept)


def _gathered(layer: Any, x: Array) -> Array:
    *lead, height, width, planes, channels = x.shape
    r = layer.factor
    split = x.reshape(-1, height // r, r, width // r, r, planes, channels).transpose(0, 1, 3, 5, 6, 2, 4)
    return split.reshape(*lead, height // r, width // r, planes, channels * r**2)


LAST: Mapping[type[Layer], Callable[[Any, Array], Array]] = {
    ChannelShuffle: lambda layer, x: _swapped(x, layer.groups),
    PixelShuffle: _spread,
    PixelUnshuffle: _gathered,
}
"""Some of `nspike.graph.arrange.MOVES`, of an array (..., H, W, planes, C): one copy instead of two that turn it."""

LAST_BACK: Mapping[type[Layer], Callable[[Any, Array], Array]] = {
    ChannelShuffle: lambda layer, g: _swapped(g, g.shape[-1] // layer.groups),
    PixelShuffle: _gathered,
    PixelUnshuffle: _spread,
}
"""Their transposed maps."""
