"""Layers that only move what they read, as data: where each channel and each position comes from.

Arrays have the axes (..., C, H, W). Spikes of several planes are plane-major, (..., planes·C, H, W), and each plane is moved by
itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.graph.geometry import geometry
from nspike.graph.layer import ChannelShuffle, Concat, Layer, Nearest, PixelShuffle, PixelUnshuffle, Slice
from nspike.graph.network import Network

Array = NDArray[Any]


def _pixel_shuffle(layer: Any, read: Sequence[Array]) -> Array:
    x, r = read[0], layer.factor
    *lead, channels, height, width = x.shape
    out = x.reshape(-1, channels // r**2, r, r, height, width).transpose(0, 1, 4, 2, 5, 3)
    return out.reshape(*lead, channels // r**2, height * r, width * r)


def _pixel_unshuffle(layer: Any, read: Sequence[Array]) -> Array:
    x, r = read[0], layer.factor
    *lead, channels, height, width = x.shape
    out = x.reshape(-1, channels, height // r, r, width // r, r).transpose(0, 1, 3, 5, 2, 4)
    return out.reshape(*lead, channels * r**2, height // r, width // r)


def _channel_shuffle(layer: Any, read: Sequence[Array]) -> Array:
    x, groups = read[0], layer.groups
    *_, channels, height, width = x.shape
    return x.reshape(-1, groups, channels // groups, height, width).swapaxes(1, 2).reshape(x.shape)


MOVES: Mapping[type[Layer], Callable[[Any, Sequence[Array]], Array]] = {
    Concat: lambda layer, read: np.concatenate(read, axis=-3),
    Slice: lambda layer, read: read[0][..., layer.first : layer.first + layer.channels, :, :],
    ChannelShuffle: _channel_shuffle,
    PixelShuffle: _pixel_shuffle,
    PixelUnshuffle: _pixel_unshuffle,
    Nearest: lambda layer, read: read[0].repeat(layer.factor, axis=-2).repeat(layer.factor, axis=-1),
}
"""What a layer of each arranging kind makes of what it reads: (layer, one array for each source) -> its array, perhaps a view."""


def move(layer: Layer, read: Sequence[Array], planes: int = 1) -> Array:
    """What an arranging layer makes of arrays (..., planes·C, H, W), each plane by itself: an array of the same form."""
    split = [x.reshape(*x.shape[:-3], planes, x.shape[-3] // planes, *x.shape[-2:]) for x in read]
    out = MOVES[type(layer)](layer, split)
    return out.reshape(*out.shape[:-4], planes * out.shape[-3], *out.shape[-2:])


def move_spikes(network: Network, layer: Layer, read: Array, planes: int) -> Array:
    """What an arranging layer other than a concatenation makes of spikes.

    read : (..., channels, H, W), the spike channels of the `parts` that it reads one after the other, each of them plane-major
    with `planes` planes. Returns an array of one part.
    """
    widths = [network.widths[part] for part in parts(network, layer.name)]
    each = np.split(read, planes * np.cumsum(widths)[:-1], axis=-3)
    return move(layer, [move(Concat("", ()), each, planes)], planes)


def origins(layer: Layer, widths: Sequence[int]) -> NDArray[np.int64]:
    """The channels that feed each channel of an arranging layer, int64 (C, n), counted over all that it reads.

    widths : the channels of each of its sources.
    """
    scale = geometry(layer).scale(layer)
    size = 1 if scale is None else scale.denominator
    ids = np.arange(sum(widths), dtype=np.int64)
    read = [
        np.broadcast_to(part[:, None, None], (part.size, size, size)) for part in np.split(ids, np.cumsum(widths)[:-1])
    ]
    out = MOVES[type(layer)](layer, read)
    return np.stack([np.unique(channel) for channel in out])


def parts(network: Network, name: str) -> tuple[str, ...]:
    """The tensors that layer `name` reads, or the image, one after the other: concatenations are replaced by what they join."""
    joined: list[str] = []
    concats = {layer.name for layer in network.of_kind(Concat)}
    for source in network.layer(name).sources:
        joined += parts(network, source) if source in concats else [source]
    return tuple(joined)
