"""How each kind of layer is run in a tile of the plain ANN.

Every value is computed in one order from the same numbers, whatever the tile. Layers that look at the whole image are run with
what they have added up of it before, see `nspike.ann.whole`.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike.ann.field import Buffers, Field, Floats, Region
from nspike.ann.packed import Packed, PackedConv
from nspike.ann.pointwise import POINTWISE
from nspike.ann.steps import attend, fire, gates, mean_over_steps
from nspike.ann.whole import AttentionSums, FrequencySums, PoolSums
from nspike.graph import arrange, geometry
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Constant,
    Conv,
    Gate,
    Layer,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.graph.plain_layer import (
    Attention,
    ChannelPool,
    FrequencySplit,
    GlobalPool,
    LayerNorm,
    Leaky,
    MaxPool,
    Multiply,
    Pointwise,
    Prompt,
    Shrink,
    StepAttention,
    StepMean,
)

_ROWS = 8  # rows a thread takes at a time
_0, _1 = np.float32(0), np.float32(1)


@dataclass(frozen=True)
class Plan:
    """What is known of a network before it runs.

    kept : the layers whose values are handed out; fused : convolutions that the activation after them computes; margins,
    slack : of the fields of each layer and the image.
    """

    network: Network
    packed: Packed
    kept: frozenset[str]

    @cached_property
    def fused(self) -> frozenset[str]:
        """The convolutions that the one activation that reads them computes."""
        readers: dict[str, list[Layer]] = {layer.name: [] for layer in self.network.layers}
        for layer in self.network.layers:
            for source in set(layer.sources) - {IMAGE}:
                readers[source].append(layer)
        activations = {layer.name for layer in self.network.activations}
        return frozenset(
            conv.name
            for conv in self.network.convs
            if conv.name not in self.kept and [r.name in activations for r in readers[conv.name]] == [True]
        )

    def reads(self, layer: Layer) -> tuple[str, ...]:
        """The fields that a layer reads when it runs."""
        if layer.name in self.fused:
            return ()
        names = PLAIN[type(layer)].reads(layer)
        return tuple(read for name in names for read in self._behind(name))

    def _behind(self, name: str) -> tuple[str, ...]:
        return self.network.layer(name).sources if name in self.fused else (name,)

    @cached_property
    def margins(self) -> dict[str, int]:
        """How many zeros a field has around it: what convolutions read there."""
        return self._most(lambda conv: max(conv.pads), 0)

    @cached_property
    def slack(self) -> dict[str, int]:
        """How many pixels past its end a field can be read."""
        from nspike.kernels.dense import NARROW_PIXELS, SLACK

        return self._most(lambda conv: conv.stride * NARROW_PIXELS + conv.span + 1, SLACK)

    def _most(self, count: Callable[[Conv], int], least: int) -> dict[str, int]:
        most = dict.fromkeys([IMAGE, *(layer.name for layer in self.network.layers)], least)
        for conv in self.network.convs:
            most[conv.source] = max(most[conv.source], count(conv))
        return most


@dataclass(frozen=True)
class Tile:
    """A tile while it runs: what has been computed is in `fields`, by layer.

    regions : what is computed of each layer, and of the image; sizes : (height, width) of each on the whole image; whole : what
    layers that look at the whole image have made of their sums.
    """

    plan: Plan
    regions: Mapping[str, Region]
    sizes: Mapping[str, tuple[int, int]]
    whole: Mapping[str, Any]
    buffers: Buffers
    pool: Executor
    fields: dict[str, Field]

    def empty(self, name: str) -> Field:
        """Memory for the values of layer `name`."""
        plan = self.plan
        self.fields[name] = self.buffers.field(
            self.regions[name], plan.margins[name], plan.network.widths[name], plan.slack[name]
        )
        return self.fields[name]

    def read(self, layer: Layer, region: Region | None = None) -> list[Floats]:
        """What a layer reads, on `region` of it, by default its own."""
        region = self.regions[layer.name] if region is None else region
        return [self.fields[source].inside(region) for source in layer.sources]

    def in_rows(self, count: int, run: Callable[[int, int], None]) -> None:
        """Call `run` with (first, last) for chunks of `count` rows, on all threads."""
        list(self.pool.map(lambda first: run(first, min(first + _ROWS, count)), range(0, count, _ROWS)))


def _conv(tile: Tile, conv: Conv) -> None:
    if conv.name not in tile.plan.fused:
        ends = conv.name == tile.plan.network.output and conv.name not in tile.plan.kept
        packed = tile.plan.packed.convs[conv.name]
        _convolve(tile, packed, tile.empty(conv.name), ends and tile.plan.network.rectify)


def _activation(tile: Tile, layer: Activation) -> None:
    out = tile.empty(layer.name)
    values = out.values
    if layer.source in tile.plan.fused:
        _convolve(tile, tile.plan.packed.convs[layer.source], out, not layer.signed)
    elif layer.signed:
        values[...] = tile.read(layer)[0]
    else:
        np.maximum(tile.read(layer)[0], _0, out=values)
    if layer.ceiling is not None:
        _limit(layer, values)


def _limit(layer: Activation, values: Floats) -> None:
    """Clip (h, w, channels), and round to the layer's levels, in place."""
    top = np.asarray(layer.ceiling, np.float32)
    if layer.levels is None:
        np.minimum(values, top, out=values)
        if layer.signed:
            np.maximum(values, -top, out=values)
        return
    levels = np.float32(layer.levels)
    least = -levels if layer.signed else _0
    for row in values:
        row[...] = top * (np.clip(np.floor(row * (levels / top) + np.float32(0.5)), least, levels) / levels)


def _convolve(tile: Tile, packed: PackedConv, out: Field, rectify: bool) -> None:
    """A convolution on the region of `out`, in chunks of rows on all threads."""
    from nspike.kernels import dense, dense_general

    conv, source = packed.conv, tile.fields[packed.conv.source]
    target = out.values
    row = source.view.shape[1] * source.channels
    y, x = (source.margin + out.region[i] * conv.stride - source.region[i] - conv.pads[0] for i in (0, 1))
    origin = y * row + x * source.channels
    scratch = (target.shape[1] + dense.NARROW_PIXELS) * packed.bias.size
    begins = (source.flat, origin, row, source.channels, packed.weights, conv.kernel)

    def chunk(first: int, last: int) -> None:
        ends = (packed.bias, rectify, target, first, last, np.empty(scratch, np.float32))
        if conv.is_plain:
            dense.convolve_rows(*begins, *ends)
        elif dense_general.is_depthwise(conv.in_channels, conv.out_channels, conv.groups):
            dense_general.convolve_channels(*begins, conv.stride, conv.dilation, *ends)
        else:
            dense_general.convolve_groups(*begins, conv.stride, conv.dilation, packed.groups, *ends)

    tile.in_rows(target.shape[0], chunk)


def _concat(tile: Tile, layer: Concat) -> None:
    np.concatenate(tile.read(layer), axis=2, out=tile.empty(layer.name).values)


def _gate(tile: Tile, gate: Gate) -> None:
    image = tile.fields[IMAGE].inside(tile.regions[gate.name])
    tile.empty(gate.name).values[...] = tile.read(gate)[0] * (image - _1) + _1


def _add(tile: Tile, layer: Add) -> None:
    first, second, *others = tile.read(layer)
    values = tile.empty(layer.name).values
    np.add(first, second, out=values)
    for other in others:
        values += other


def _moved(tile: Tile, layer: Slice | ChannelShuffle | PixelShuffle | PixelUnshuffle | Nearest) -> None:
    top, left, bottom, right = tile.regions[layer.name]
    ratio = geometry.geometry(layer).scale(layer)
    f = 1 if ratio is None else ratio.numerator  # what is read reaches to whole blocks of f × f
    (y0, y1), (x0, x1) = (geometry.geometry(layer).needs(layer, *ends) for ends in ((top, bottom), (left, right)))
    moved = arrange.move(layer, [tile.read(layer, (y0, x0, y1, x1))[0].transpose(2, 0, 1)]).transpose(1, 2, 0)
    y, x = top % f, left % f
    tile.empty(layer.name).values[...] = moved[y : y + bottom - top, x : x + right - left]


def _bilinear(tile: Tile, layer: Bilinear) -> None:
    top, left, bottom, right = tile.regions[layer.name]
    source, size = tile.fields[layer.source], tile.sizes[layer.source]

    def along(first: int, last: int, axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """For outputs first .. last-1: where the near pixel is in the source's values, and the other."""
        at = np.arange(first, last)
        near = at // 2
        far = np.clip(near + 2 * (at % 2) - 1, 0, size[axis] - 1)
        return near - source.region[axis], far - source.region[axis]

    rows, columns = along(top, bottom, 0), along(left, right, 1)
    quarter, rest = np.float32(0.25), np.float32(0.75)
    values, out = source.values, tile.empty(layer.name).values

    def chunk(first: int, last: int) -> None:
        tall = values[rows[1][first:last]] * quarter + values[rows[0][first:last]] * rest
        out[first:last] = tall[:, columns[1]] * quarter + tall[:, columns[0]] * rest

    tile.in_rows(bottom - top, chunk)


def _blocks(tile: Tile, layer: AveragePool | MaxPool) -> Iterator[Floats]:
    """The first pixels of every block that a pool reads, the second ones, ..."""
    region = tuple(side * layer.size for side in tile.regions[layer.name])
    source = tile.fields[layer.source].inside((region[0], region[1], region[2], region[3]))
    for y in range(layer.size):
        for x in range(layer.size):
            yield source[y :: layer.size, x :: layer.size]


def _average_pool(tile: Tile, layer: AveragePool) -> None:
    values = tile.empty(layer.name).values
    values[...] = 0
    for part in _blocks(tile, layer):
        values += part
    values *= np.float32(1 / layer.size**2)


def _max_pool(tile: Tile, layer: MaxPool) -> None:
    values = tile.empty(layer.name).values
    values[...] = -np.inf
    for part in _blocks(tile, layer):
        np.maximum(values, part, out=values)


def _constant(tile: Tile, layer: Constant) -> None:
    tile.empty(layer.name).values[...] = np.asarray(layer.values, np.float32)


def _pointwise(tile: Tile, layer: Pointwise) -> None:
    weight = tile.plan.packed.others.get(f"{layer.name}.weight")
    function = POINTWISE[layer.function](layer, weight)
    values, out = tile.read(layer)[0], tile.empty(layer.name).values

    def chunk(first: int, last: int) -> None:
        out[first:last] = function(values[first:last])

    tile.in_rows(len(out), chunk)


def _layer_norm(tile: Tile, layer: LayerNorm) -> None:
    from nspike.kernels.dense_general import normalise_pixels

    weight = tile.plan.packed.others[f"{layer.name}.weight"]
    bias = tile.plan.packed.others.get(f"{layer.name}.bias", np.zeros(layer.channels, np.float32))
    values, out = tile.read(layer)[0], tile.empty(layer.name).values
    tile.in_rows(
        len(out),
        lambda first, last: normalise_pixels(values[first:last], weight, bias, layer.eps, layer.bias, out[first:last]),
    )


def _multiply(tile: Tile, layer: Multiply) -> None:
    region = tile.regions[layer.name]
    first, second = (
        field.values if field.region == (0, 0, 1, 1) else field.inside(region)
        for field in (tile.fields[source] for source in layer.sources)
    )
    np.multiply(first, second, out=tile.empty(layer.name).values)


def _global_pool(tile: Tile, layer: GlobalPool) -> None:
    tile.empty(layer.name).values[...] = tile.whole[layer.name]


def _attention(tile: Tile, layer: Attention) -> None:
    _convolve(tile, tile.whole[layer.name], tile.empty(layer.name), False)


def _mixing(plan: "Plan", layer: Attention, sums: AttentionSums) -> PackedConv:
    return sums.mixing(plan.packed.others[f"{layer.name}.temperature"])


def _frequency_split(tile: Tile, layer: FrequencySplit) -> None:
    shares = tile.fields[layer.sources[1]].values
    region = tile.regions[layer.name]
    values = tile.fields[layer.sources[0]].inside(region)
    tile.whole[layer.name].split(values, shares, region, tile.in_rows, tile.empty(layer.name).values)


def _shrink(tile: Tile, layer: Shrink) -> None:
    top, left, bottom, right = (side * layer.factor for side in tile.regions[layer.name])
    first, step = layer.factor // 2 - 1, layer.factor
    source = tile.fields[layer.source].inside((top, left, bottom, right))
    values = tile.empty(layer.name).values
    values[...] = source[first::step, first::step]
    for y, x in ((0, 1), (1, 0), (1, 1)):
        values += source[first + y :: step, first + x :: step]
    values *= np.float32(0.25)


def _channel_pool(tile: Tile, layer: ChannelPool) -> None:
    from nspike.kernels.whole_image import pool_channels

    values, out = tile.read(layer)[0], tile.empty(layer.name).values
    tile.in_rows(len(out), lambda first, last: pool_channels(values, first, last, out))


def _prompt(tile: Tile, layer: Prompt) -> None:
    scores = tile.fields[layer.sources[1]].values.ravel().astype(np.float64)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    planes = tile.plan.packed.others[f"{layer.name}.weight"]
    mixed = np.einsum("k,kchw->hwc", shares, planes)
    top, left, bottom, right = tile.regions[layer.name]

    def along(first: int, last: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """For outputs first .. last-1 of `size`: the planes' pixel before, the one after, and the share of that."""
        at = np.maximum((np.arange(first, last) + 0.5) * layer.size / size - 0.5, 0.0)
        before = at.astype(np.intp)
        return before, np.minimum(before + 1, layer.size - 1), at - before

    height, width = tile.sizes[layer.name]
    above, below, down = along(top, bottom, height)
    before, after, across = along(left, right, width)
    tall = mixed[above] * (1 - down)[:, None, None] + mixed[below] * down[:, None, None]
    out = tile.empty(layer.name).values
    for y, row in enumerate(tall):
        out[y] = row[before] * (1 - across)[:, None] + row[after] * across[:, None]


@dataclass(frozen=True)
class Whole:
    """How a layer that looks at the whole image is prepared.

    reads : layer -> the names of what it adds up; begin : (layer, height, width of these) -> its sums, whose
    `add(in_rows, first, *rows)` is given rows in order, of which the first is row `first`; end : (plan, layer, sums) -> what
    its `run` finds in `Tile.whole`; around : layer -> how many pixels around its own `run` reads.
    """

    reads: Callable[[Any], tuple[str, ...]]
    begin: Callable[[Any, int, int], Any]
    end: Callable[[Plan, Any, Any], Any] = lambda plan, layer, sums: sums
    around: Callable[[Any], int] = lambda layer: 0


def _leaky(tile: Tile, layer: Leaky) -> None:
    values, out = tile.read(layer)[0], tile.empty(layer.name).values
    tile.in_rows(len(out), lambda first, last: fire(layer, values[first:last], out[first:last]))


def _step_attention(tile: Tile, layer: StepAttention) -> None:
    (top, left, bottom, right), half = tile.regions[layer.name], layer.kernel // 2
    height, width = tile.sizes[layer.name]
    y, x = max(0, top - half), max(0, left - half)
    values = tile.fields[layer.source].inside((y, x, min(height, bottom + half), min(width, right + half)))
    kernel = tile.plan.packed.others[f"{layer.name}.space"]
    attend(kernel, tile.whole[layer.name], values, (top - y, left - x), tile.empty(layer.name).values, tile.in_rows)


class _StepSums:
    """Means and largest values."""

    def __init__(self, layer: StepAttention, height: int, width: int) -> None:
        kinds: tuple[Literal["mean", "max"], ...] = ("mean", "max")
        self.pools = [PoolSums(GlobalPool(layer.name, layer.source, kind), height, width) for kind in kinds]

    def add(self, in_rows: Callable[[int, Callable[[int, int], None]], None], first: int, x: Floats) -> None:
        """Add rows (h, W, T·C)."""
        for pool in self.pools:
            pool.add(in_rows, first, x)


def _gates(plan: Plan, layer: StepAttention, sums: _StepSums) -> Floats:
    own = {part: plan.packed.others[f"{layer.name}.{part}"] for part in layer.parameter_shapes}
    return gates(layer, own, sums.pools[0].value(), sums.pools[1].value())


def _step_mean(tile: Tile, layer: StepMean) -> None:
    values, out = tile.read(layer)[0], tile.empty(layer.name).values
    tile.in_rows(len(out), lambda first, last: mean_over_steps(layer, values[first:last], out[first:last]))


@dataclass(frozen=True)
class Kind:
    """How a kind of layer is run: (tile, layer), which puts its values into a field of the tile.

    reads : layer -> the names of what it then reads, the image too where it needs it beside its sources; whole : what comes
    before where it looks at the whole image.
    """

    run: Callable[[Tile, Any], None]
    reads: Callable[[Any], tuple[str, ...]] = lambda layer: tuple(layer.sources)
    whole: Whole | None = None


PLAIN: dict[type[Layer], Kind] = {
    Conv: Kind(_conv),
    Activation: Kind(_activation),
    Concat: Kind(_concat),
    Gate: Kind(_gate, reads=lambda gate: (gate.source, IMAGE)),
    Add: Kind(_add),
    PixelShuffle: Kind(_moved),
    PixelUnshuffle: Kind(_moved),
    ChannelShuffle: Kind(_moved),
    Slice: Kind(_moved),
    Nearest: Kind(_moved),
    Bilinear: Kind(_bilinear),
    AveragePool: Kind(_average_pool),
    Constant: Kind(_constant),
    Pointwise: Kind(_pointwise),
    MaxPool: Kind(_max_pool),
    GlobalPool: Kind(
        _global_pool,
        reads=lambda layer: (),
        whole=Whole(lambda layer: tuple(layer.sources), PoolSums, lambda plan, layer, sums: sums.value()),
    ),
    LayerNorm: Kind(_layer_norm),
    Multiply: Kind(_multiply),
    Leaky: Kind(_leaky),
    StepAttention: Kind(
        _step_attention,
        whole=Whole(lambda layer: tuple(layer.sources), _StepSums, _gates, lambda layer: layer.kernel // 2),
    ),
    StepMean: Kind(_step_mean),
    Attention: Kind(
        _attention,
        reads=lambda layer: layer.sources[2:],
        whole=Whole(lambda layer: layer.sources[:2], AttentionSums, _mixing),
    ),
    Shrink: Kind(_shrink),
    ChannelPool: Kind(_channel_pool),
    Prompt: Kind(_prompt, reads=lambda layer: layer.sources[1:]),
    FrequencySplit: Kind(_frequency_split, whole=Whole(lambda layer: layer.sources[:1], FrequencySums)),
}
"""Every kind of layer."""
