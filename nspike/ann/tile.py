"""One tile of the plain ANN: its layers in order, in memory that is used again."""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.folding import fold_batch_norm
from nspike.graph.geometry import geometry, widths
from nspike.graph.layer import IMAGE, Activation, Concat, Conv, Gate, Layer
from nspike.graph.network import Network
from nspike.model.model import OUTPUT

Floats = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""top, left, bottom, right."""


_ROWS = 8  # rows a thread takes at a time


@dataclass(frozen=True)
class PackedConv:
    """A convolution with its weights and bias in the layout of `nspike.kernels.dense`."""

    conv: Conv
    weights: Floats
    bias: Floats


@dataclass(frozen=True)
class _Field:
    """A layer's values on a region of the image, with `margin` pixels around it that are zero outside the image."""

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

    def inside(self, region: Region) -> Floats:
        """A view of the values on `region`, which must lie within this one and its margin."""
        y, x = self.margin + region[0] - self.region[0], self.margin + region[1] - self.region[1]
        return self.view[y : y + region[2] - region[0], x : x + region[3] - region[1]]


class Buffers:
    """Memory that is used again: fresh pages cost as much as a tenth of a convolution."""

    def __init__(self) -> None:
        self.free: list[Floats] = []

    def field(self, region: Region, margin: int, channels: int) -> _Field:
        """Memory for a feature map, its margin set to 0."""
        from nspike.kernels.dense import SLACK

        height, width = (region[i + 2] - region[i] + 2 * margin for i in (0, 1))
        size = (height * width + SLACK) * channels
        fitting = [i for i, flat in enumerate(self.free) if size <= flat.size <= 4 * size]
        best = min(fitting, key=lambda i: self.free[i].size, default=None)
        if best is None:  # those that are much too small are not needed any more
            self.free = [flat for flat in self.free if 4 * flat.size < size]
        field = _Field(np.empty(size, np.float32) if best is None else self.free.pop(best), region, margin, channels)
        if margin:
            view = field.view
            view[:margin] = view[-margin:] = view[:, :margin] = view[:, -margin:] = 0
        return field

    def give(self, field: _Field) -> None:
        """Take back the memory of a feature map that is not read any more."""
        self.free = [*self.free[-3:], field.flat]


@dataclass(frozen=True)
class _Tile:
    """A tile while it runs: what has been computed is in `fields`, by layer."""

    network: Network
    packed: Mapping[str, PackedConv]
    core: Region
    size: tuple[int, int]
    halos: Mapping[str, int]
    margins: Mapping[str, int]
    buffers: Buffers
    pool: Executor
    fields: dict[str, _Field]

    def empty(self, name: str, channels: int) -> _Field:
        """Memory for the values of layer `name`: the core with the layer's halo, cut off at the image's border."""
        (top, left, bottom, right), reach = self.core, self.halos[name]
        height, width = self.size
        region = (max(0, top - reach), max(0, left - reach), min(height, bottom + reach), min(width, right + reach))
        self.fields[name] = self.buffers.field(region, self.margins[name], channels)
        return self.fields[name]

    def inside(self, name: str) -> Floats:
        """The values (h, w, channels) of layer `name` on the core."""
        return self.fields[name].inside(self.core)


def run_tile(
    network: Network, packed: Mapping[str, PackedConv], image: Floats, core: Region, buffers: Buffers, pool: Executor
) -> Iterator[tuple[str, Floats]]:
    """Yield the values (h, w, channels) of every activation on `core`, and of the output; each valid until the next."""
    halos, last_use = network.halos(), _last_use(network)
    margins = dict.fromkeys(halos, 0)
    for layer in network.layers:
        for source in layer.sources:
            first, last = geometry(layer).needs(layer, 0, 1)
            margins[source] = max(margins[source], -first, last - 1)
    height, width = image.shape[1:]
    tile = _Tile(network, packed, core, (height, width), halos, margins, buffers, pool, {})
    field = tile.empty(IMAGE, network.channels)
    top, left, bottom, right = field.region
    field.inside(field.region)[...] = image[:, top:bottom, left:right].transpose(1, 2, 0)
    for i, layer in enumerate(network.layers):
        values = PLAIN[type(layer)].run(tile, layer)
        if values is not None:
            yield OUTPUT if layer.name == network.output else layer.name, values
        for name in [name for name in tile.fields if last_use[name] <= i]:
            buffers.give(tile.fields.pop(name))


def _conv(tile: _Tile, conv: Conv) -> Floats | None:
    if conv.name != tile.network.output:
        return None  # the activation after it computes it
    _convolve(tile, conv.name, tile.empty(conv.name, conv.out_channels), tile.network.rectify)
    return tile.inside(conv.name)


def _activation(tile: _Tile, layer: Activation) -> Floats:
    field = tile.empty(layer.name, layer.channels)
    _convolve(tile, layer.source, field, True)
    if layer.ceiling is not None:
        _limit(layer, field.inside(field.region))
    return tile.inside(layer.name)


def _concat(tile: _Tile, layer: Concat) -> None:
    parts = [tile.fields[source] for source in layer.sources]
    field = tile.empty(layer.name, sum(part.channels for part in parts))
    np.concatenate([p.inside(field.region) for p in parts], axis=2, out=field.inside(field.region))


def _gate(tile: _Tile, gate: Gate) -> Floats:
    one = np.float32(1)
    values = tile.inside(gate.source) * (tile.inside(IMAGE) - one) + one
    return np.maximum(values, np.float32(0)) if tile.network.rectify else values


def _convolve(tile: _Tile, name: str, out: _Field, rectify: bool) -> None:
    """The convolution `name` on the region of `out`, in chunks of rows on all threads."""
    from nspike.kernels.dense import NARROW_PIXELS, convolve_rows

    packed = tile.packed[name]
    conv, source = packed.conv, tile.fields[packed.conv.source]
    target = out.inside(out.region)
    row = source.view.shape[1] * source.channels
    y, x = (source.margin + out.region[i] - source.region[i] - conv.radius for i in (0, 1))
    scratch = (target.shape[1] + NARROW_PIXELS) * packed.bias.size

    def chunk(first: int) -> None:
        last = min(first + _ROWS, target.shape[0])
        sums = np.empty(scratch, np.float32)
        origin = y * row + x * source.channels
        convolve_rows(
            source.flat, origin, row, source.channels, packed.weights, conv.kernel, packed.bias, rectify, target,
            first, last, sums,
        )  # fmt: skip

    list(tile.pool.map(chunk, range(0, target.shape[0], _ROWS)))


def _limit(layer: Activation, values: Floats) -> None:
    """Clip (h, w, channels), and round to the layer's levels, in place."""
    top = np.asarray(layer.ceiling, np.float32)
    if layer.levels is None:
        np.minimum(values, top, out=values)
        return
    levels = np.float32(layer.levels)
    for row in values:
        row[...] = top * (np.clip(np.floor(row * (levels / top) + np.float32(0.5)), 0, levels) / levels)


@dataclass(frozen=True)
class _Kind:
    """How a kind of layer is run: (tile, layer) -> the values that are handed out, if any.

    reads : (network, layer) -> the names of what it reads when it is run; fused : (network, layer) -> whether another layer
    computes it, so that it takes no memory.
    """

    run: Callable[[_Tile, Any], Floats | None]
    reads: Callable[[Network, Any], tuple[str, ...]] = lambda network, layer: tuple(layer.sources)
    fused: Callable[[Network, Any], bool] = lambda network, layer: False


PLAIN: dict[type[Layer], _Kind] = {
    Conv: _Kind(_conv, fused=lambda network, conv: bool(conv.name != network.output)),
    Activation: _Kind(_activation, reads=lambda network, layer: network.layer(layer.source).sources),
    Concat: _Kind(_concat),
    Gate: _Kind(_gate, reads=lambda network, gate: (gate.source, IMAGE)),
}


def _last_use(network: Network) -> dict[str, int]:
    """For each layer and the image: the index of the last layer that reads its values, its own if none does."""
    last = {IMAGE: 0} | {layer.name: i for i, layer in enumerate(network.layers)}
    for i, layer in enumerate(network.layers):
        for source in PLAIN[type(layer)].reads(network, layer):
            last[source] = max(last[source], i)
    return last


def live_channels(network: Network) -> int:
    """The most channels that are in memory at once."""
    last_use, live, most = _last_use(network), {IMAGE: network.channels}, network.channels
    channels = widths(network.layers, network.channels)
    for i, layer in enumerate(network.layers):
        if not PLAIN[type(layer)].fused(network, layer):
            live[layer.name] = channels[layer.name]
        most = max(most, sum(live.values()))
        live = {name: count for name, count in live.items() if last_use[name] > i}
    return most


def pack(network: Network, parameters: Mapping[str, Floats]) -> dict[str, PackedConv]:
    """Every convolution in the kernel's layout, batch norm folded."""
    from nspike.kernels.dense import pack as pack_kernel

    if any(conv.batch_norm_eps is not None for conv in network.convs):
        network, parameters = fold_batch_norm(network, parameters)
    packed = {}
    for conv in network.convs:
        shape = conv.kernel_shape
        weights = parameters.get(f"{conv.name}.weight")
        bias = parameters.get(f"{conv.name}.bias") if conv.bias else np.zeros(conv.out_channels, np.float32)
        if weights is None or weights.shape != shape or bias is None or bias.shape != shape[:1]:
            raise ModelError(
                f"network {network.name}: the parameters of {conv.name!r} are missing or not of shape {shape}"
            )
        rows, padded = pack_kernel(np.asarray(weights, np.float32))
        packed[conv.name] = PackedConv(conv, rows, np.pad(np.asarray(bias, np.float32), (0, padded - bias.size)))
    return packed
