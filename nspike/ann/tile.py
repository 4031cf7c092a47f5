"""One tile of the plain ANN: its layers in order, in memory that is used again."""

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.errors import ModelError
from nspike.graph.folding import fold_batch_norm
from nspike.graph.layer import IMAGE, Activation, Concat, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT

Floats = NDArray[np.float32]
Region = tuple[int, int, int, int]
"""top, left, bottom, right."""


_ROWS = 8  # rows a thread takes at a time


@dataclass(frozen=True)
class Packed:
    """A convolution as the kernel wants it."""

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
        """(h + 2·margin, w + 2·margin, channels)."""
        top, left, bottom, right = self.region
        shape = (bottom - top + 2 * self.margin, right - left + 2 * self.margin, self.channels)
        return self.flat[: math.prod(shape)].reshape(shape)

    def inside(self, region: Region) -> Floats:
        """The values on a smaller region."""
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
        if best is None:  # those that are a little too small would only lie about
            self.free = [flat for flat in self.free if 4 * flat.size < size]
        field = _Field(np.empty(size, np.float32) if best is None else self.free.pop(best), region, margin, channels)
        if margin:
            view = field.view
            view[:margin] = view[-margin:] = view[:, :margin] = view[:, -margin:] = 0
        return field

    def give(self, field: _Field) -> None:
        """Take back the memory of a feature map that is not read any more."""
        self.free = [*self.free[-3:], field.flat]


def run_tile(
    network: Network, packed: Mapping[str, Packed], image: Floats, core: Region, buffers: Buffers, pool: Executor
) -> Iterator[tuple[str, Floats]]:
    """Yield the values (h, w, channels) of every activation on `core`, and of the output; each valid until the next."""
    halos, last_use = network.halos(), _last_use(network)
    height, width = image.shape[1:]
    margins = dict.fromkeys(halos, 0)
    for layer in network.layers:
        for source in layer.sources:
            margins[source] = max(margins[source], layer.radius if isinstance(layer, Conv) else 0)

    def empty(name: str, channels: int) -> _Field:
        reach = halos[name]
        region = (
            max(0, core[0] - reach),
            max(0, core[1] - reach),
            min(height, core[2] + reach),
            min(width, core[3] + reach),
        )
        return buffers.field(region, margins[name], channels)

    fields = {IMAGE: empty(IMAGE, network.channels)}
    top, left, bottom, right = fields[IMAGE].region
    fields[IMAGE].inside((top, left, bottom, right))[...] = image[:, top:bottom, left:right].transpose(1, 2, 0)
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Activation):
            fields[layer.name] = empty(layer.name, layer.channels)
            _convolve(packed[layer.source], fields, fields[layer.name], True, pool)
            if layer.ceiling is not None:
                _limit(layer, fields[layer.name].inside(fields[layer.name].region))
            yield layer.name, fields[layer.name].inside(core)
        elif isinstance(layer, Concat):
            parts = [fields[source] for source in layer.sources]
            fields[layer.name] = empty(layer.name, sum(part.channels for part in parts))
            region = fields[layer.name].region
            np.concatenate([p.inside(region) for p in parts], axis=2, out=fields[layer.name].inside(region))
        elif layer.name == network.output:
            if isinstance(layer, Conv):
                field = empty(layer.name, layer.out_channels)
                _convolve(packed[layer.name], fields, field, network.rectify, pool)
                values = field.inside(core)
            else:
                values = fields[layer.source].inside(core) * (fields[IMAGE].inside(core) - np.float32(1)) + np.float32(
                    1
                )
                values = np.maximum(values, np.float32(0)) if network.rectify else values
            yield OUTPUT, values
        for name in [name for name in fields if last_use[name] <= i]:
            buffers.give(fields.pop(name))


def _convolve(packed: Packed, fields: Mapping[str, _Field], out: _Field, rectify: bool, pool: Executor) -> None:
    """A convolution on the region of `out`, in chunks of rows on all threads."""
    from nspike.kernels.dense import NARROW_PIXELS, convolve_rows

    conv, source = packed.conv, fields[packed.conv.source]
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

    list(pool.map(chunk, range(0, target.shape[0], _ROWS)))


def _limit(layer: Activation, values: Floats) -> None:
    """Clip (h, w, channels), and round to the layer's levels, in place."""
    top = np.asarray(layer.ceiling, np.float32)
    if layer.levels is None:
        np.minimum(values, top, out=values)
        return
    levels = np.float32(layer.levels)
    for row in values:
        row[...] = top * (np.clip(np.floor(row * (levels / top) + np.float32(0.5)), 0, levels) / levels)


def _last_use(network: Network) -> dict[str, int]:
    """For each layer and the image: the index of the last layer that reads its values, its own if none does."""
    last = {IMAGE: 0} | {layer.name: i for i, layer in enumerate(network.layers)}
    for i, layer in enumerate(network.layers):
        # an activation computes the convolution before it
        reads = network.layer(layer.source) if isinstance(layer, Activation) else layer
        for source in reads.sources:
            last[source] = max(last[source], i)
        if layer.name == network.output and not isinstance(layer, Conv):
            last[IMAGE] = i
    return last


def live_channels(network: Network) -> int:
    """The most channels that are in memory at once."""
    last_use, live, most = _last_use(network), {IMAGE: network.channels}, network.channels
    for i, layer in enumerate(network.layers):
        if isinstance(layer, Activation):
            live[layer.name] = layer.channels
        elif isinstance(layer, Concat):
            live[layer.name] = sum(a.channels for a in network.activations_into(layer.name))
        elif layer.name == network.output:
            live[layer.name] = network.channels
        most = max(most, sum(live.values()))
        live = {name: channels for name, channels in live.items() if last_use[name] > i}
    return most


def pack(network: Network, parameters: Mapping[str, Floats]) -> dict[str, Packed]:
    """Every convolution as the kernel wants it, batch norm folded."""
    from nspike.kernels.dense import pack as pack_kernel

    if any(conv.batch_norm_eps is not None for conv in network.convs):
        network, parameters = fold_batch_norm(network, parameters)
    packed = {}
    for conv in network.convs:
        shape = (conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
        weights = parameters.get(f"{conv.name}.weight")
        bias = parameters.get(f"{conv.name}.bias") if conv.bias else np.zeros(conv.out_channels, np.float32)
        if weights is None or weights.shape != shape or bias is None or bias.shape != shape[:1]:
            raise ModelError(
                f"network {network.name}: the parameters of {conv.name!r} are missing or not of shape {shape}"
            )
        rows, padded = pack_kernel(np.asarray(weights, np.float32))
        packed[conv.name] = Packed(conv, rows, np.pad(np.asarray(bias, np.float32), (0, padded - bias.size)))
    return packed
