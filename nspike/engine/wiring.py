"""How a convolution or gate outside the fused kernels gets its current: its numbers laid out, once for each program.

A `Wired` layer fills rows of a current, int32 (steps, rows, columns, C), or (1, rows, columns, C) where it reads the image
or what is like it: such a current is the same at every step up to T, and there is none after.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine import digit_conv
from nspike.engine.digit_conv import DigitConv
from nspike.engine.digits import reads_digits
from nspike.engine.prepared import Prepared, aligned, padded, spike_channels
from nspike.engine.spikes import WideSpikes, bits_of
from nspike.engine.window import Around, Rect
from nspike.graph.layer import Conv, Gate, Layer
from nspike.integer.currents import gate_weights
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.spike_channels import Planes, counted, inputs
from nspike.integer.writer import Writer
from nspike.kernels import depthwise, image, masked, strided
from nspike.kernels.vector import TAIL

Ints = NDArray[np.int32]


Fill = Callable[[int, int, Ints, int], None]
"""fill(first row, last row, out, row): the current of these rows of the output's rectangle, from row `row` of `out` on."""

Rows = Callable[[int, int], None]
"""rows(first row, last row) of the output's rectangle."""


@dataclass(frozen=True, eq=False)
class ImageConv:
    """A convolution of the image or what is like it; see `nspike.kernels.image.image_current`."""

    taps: NDArray[np.int64]
    weights: NDArray[np.float64]
    bias: Ints

    def fill(self, read: Any, around: Around) -> Fill:
        """read : int32 (C, rows, columns), the planes over `around.source`."""
        read = np.ascontiguousarray(read)

        def rows(first: int, last: int, out: Ints, row: int) -> None:
            places, block = places_of(around, first - row, 0), block_of(around, first, last)
            image.image_current(read, places, self.taps, self.weights, self.bias, block, out)

        return rows


@dataclass(frozen=True, eq=False)
class SpikeConv:
    """A convolution of spikes: `nspike.kernels.strided.convolve`, or that of depthwise ones.

    layout : its arguments between `taps` and `steps`.
    """

    kernel: Callable[..., None]
    taps: NDArray[np.int64]
    layout: tuple[Any, ...]
    bias: Ints

    def fill(self, read: Any, around: Around) -> Fill:
        """read : the spikes over `around.source`, those of several sources side by side."""

        def rows(first: int, last: int, out: Ints, row: int) -> None:
            places, block = places_of(around, first - row, read.pad), block_of(around, first, last)
            self.kernel(read.words, places, self.taps, *self.layout, around.timesteps, self.bias, block, out)

        return rows

    def fire(self, read: WideSpikes, around: Around, neurons: Prepared, out: WideSpikes, v_out: Ints) -> Rows:
        """The rows of declared neurons that integrate this current."""
        p = neurons

        def rows(first: int, last: int) -> None:
            places, block = places_of(around, 0, read.pad), block_of(around, first, last)
            numbers = (around.timesteps, p.bias, block, out.words, p.v0, p.threshold, p.reset, p.dynamics, v_out)
            self.kernel(read.words, places, self.taps, *self.layout, *numbers)

        return rows


@dataclass(frozen=True, eq=False)
class Depthwise(SpikeConv):
    """A depthwise convolution that `nspike.kernels.depthwise` can run where declared neurons of one plane integrate it.

    offsets, rows : its offsets and weights.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int16]

    def fire(self, read: WideSpikes, around: Around, neurons: Prepared, out: WideSpikes, v_out: Ints) -> Rows:
        """As of `SpikeConv`."""
        p, (_, wide, steps, words) = neurons, read.words.shape
        if v_out.size or p.stage.neuron.planes != (1,) or steps > around.timesteps:
            return super().fire(read, around, neurons, out, v_out)
        along, across = (self.offsets * (wide, 1)).sum(axis=1), np.arange(len(self.offsets))
        inside, apart = (tuple((each * steps * words).tolist()) for each in (along, across))
        columns = words * WORD
        numbers = (padded(p.v0, columns), padded(p.threshold, columns, NEVER_FIRES), padded(p.reset, columns))
        bias = padded(p.bias[0], columns)

        def rows(first: int, last: int) -> None:
            places, block = places_of(around, 0, read.pad), block_of(around, first, last)
            laid = (self.offsets, inside, apart, self.rows, bias, block, out.words, out.pad)
            depthwise.convolve(read.words, places, *laid, *numbers, p.dynamics)

        return rows


@dataclass(frozen=True, eq=False)
class SpikeGate:
    """A gate: n spikes are worth n·λ·(x - 1) of the image at their pixel; `parts` as of `spike_channels.counted`."""

    gate: NDArray[np.float64]
    exponent: NDArray[np.int64]
    bias: Ints
    sources: tuple[int, ...]
    parts: tuple[tuple[Planes, int], ...]

    def fill(self, read: Any, around: Around) -> Fill:
        """read : the spikes over `around.source`, and the image int32 (C, rows, columns) over `around.rect`."""
        spikes, plane = read
        gates = gate_weights(plane, self.gate[:, None, None], self.exponent[:, None, None]).astype(np.int32)
        gates = np.ascontiguousarray(gates.transpose(1, 2, 0))

        def rows(first: int, last: int, out: Ints, row: int) -> None:
            for t in range(len(out)):
                fired = counted(spikes_at(spikes, self.sources, around, first, last, t), self.parts, -1)
                into = out[t, row : row + last - first]
                np.multiply(gates[first:last], fired, out=into)
                into += self.bias[int(t >= around.timesteps)]

        return rows


Wired = ImageConv | SpikeConv | DigitConv | SpikeGate


def spikes_at(
    spikes: WideSpikes, sources: Sequence[int], around: Around, first: int, last: int, step: int
) -> NDArray[np.bool_]:
    """The spikes of one step in rows of the output's rectangle, bool (rows, columns, channels), of sources side by side."""
    rect = Rect(around.rect.y0 + first, around.rect.y0 + last, around.rect.x0, around.rect.x1).within(around.source)
    pad = spikes.pad
    words = spikes.words[pad + rect.y0 : pad + rect.y1, pad + rect.x0 : pad + rect.x1, step]
    parts, word = [], 0
    for channels in sources:
        parts.append(bits_of(words[..., word : word + -(-channels // 64)], channels))
        word += -(-channels // 64)
    return np.concatenate(parts, axis=-1)


def places_of(around: Around, first: int, pad: int) -> NDArray[np.int64]:
    """`places` of `nspike.kernels.strided` for an output that begins at row `first` of the rectangle."""
    source, rect = around.source, around.rect
    begin = (pad - source.y0, pad - source.x0, -(rect.y0 + first), -rect.x0)
    return np.array([*begin, *around.limits], np.int64)


def block_of(around: Around, first: int, last: int) -> NDArray[np.int64]:
    """`block` of the kernels: rows first .. last-1 of the output's rectangle."""
    rect = around.rect
    return np.array([rect.y0 + first, rect.y0 + last, rect.x0, rect.x1], np.int64)


def wire(integers: IntegerNetwork, part: Stage | Writer, packed: bool = False) -> Wired:
    """Lay out the convolution or gate of a fused stage, or one that stands by itself; packed: for spikes that are packed, digits
    of numbers too."""
    if not packed and reads_digits(integers, part):
        weights, bias, _ = _numbers(part)
        return digit_conv.lay_out(integers, part, weights, bias)
    return WIRED[type(part.layer)](integers, part, part.layer)


def _numbers(part: Stage | Writer) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int64]]:
    """Weights, bias and exponent."""
    return (part.weights, part.bias, part.exponent) if isinstance(part, Writer) else _of_stage(part)


def _of_stage(stage: Stage) -> tuple[NDArray[np.int16], NDArray[np.int32], NDArray[np.int64]]:
    return stage.integer.weights, stage.integer.bias, stage.integer.exponent


def _conv(integers: IntegerNetwork, part: Stage | Writer, conv: Any) -> Wired:
    weights, bias, _ = _numbers(part)
    taps = np.array([conv.kernel, conv.stride, conv.dilation, conv.pads[0]], np.int64)
    if not part.sources:
        return ImageConv(taps, _image_weights(weights[0], conv.groups), bias)
    both = np.stack([bias, np.zeros_like(bias)])
    group, channel = _bits(integers, part, conv)
    each = conv.out_channels // conv.groups
    if len(part.sources) == 1 and each in SMALL and conv.in_channels == conv.out_channels:
        layout = masked_layout(weights, each, group, channel)
        total = np.abs(weights.astype(np.int64)).sum(axis=(2, 3, 4))
        if each == conv.stride == len(layout[1]) == len(weights) and total.max() <= depthwise.LARGEST:
            return Depthwise(masked.convolve, taps, layout, both, *depthwise_layout(weights, conv))
        return SpikeConv(masked.convolve, taps, layout, both)
    return SpikeConv(strided.convolve, taps, in_blocks(weights, conv.groups, group, channel), both)


def _image_weights(weights: NDArray[np.int16], groups: int) -> NDArray[np.float64]:
    """Weights int16 (C, I, k, k) for `nspike.kernels.image.image_current`, zeros between the groups."""
    channels, read, size, _ = weights.shape
    rows = np.zeros((size, size, groups * read, -(-channels // LANES) * LANES))
    for first in range(0, channels, channels // groups):
        group, last = first * groups // channels, first + channels // groups
        rows[:, :, group * read : (group + 1) * read, first:last] = weights[first:last].transpose(2, 3, 1, 0)
    return rows.reshape(-1, rows.shape[-1])


def masked_layout(
    weights: NDArray[np.int16], each: int, group: NDArray[np.int64], channel: NDArray[np.int64]
) -> tuple[int, NDArray[np.int64], NDArray[np.int16]]:
    """Weights int16 (phases, C, planes·each, k, k) for `nspike.kernels.masked.convolve`: each, starts, weights."""
    phases, channels, read, size, _ = weights.shape
    starts = np.flatnonzero((group == 0) & (channel % each == 0))
    parts, count = -(-channels // WORD), -(-read * size * size // TAIL) * TAIL
    rows = np.zeros((phases, count, parts * WORD), np.int16)
    split = weights.reshape(phases, channels, -1, each, size * size).transpose(0, 2, 4, 3, 1)
    rows[:, : read * size * size, :channels] = split.reshape(phases, -1, channels)
    table = aligned((phases, parts * count * WORD))
    table[:] = rows.reshape(phases, count, parts, WORD).transpose(0, 2, 1, 3).reshape(phases, -1)
    return each, starts, table


def depthwise_layout(weights: NDArray[np.int16], conv: Conv) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """Offsets and weights of `nspike.kernels.depthwise.convolve`, from int16 (1, C, 1, k, k)."""
    taps = np.stack(np.meshgrid(*[np.arange(conv.kernel) * conv.dilation - conv.pads[0]] * 2, indexing="ij"), axis=-1)
    words, count = -(-conv.out_channels // WORD), conv.kernel**2
    rows = aligned((words, count, WORD))
    kernel = padded(weights.reshape(conv.out_channels, count).T, words * WORD)
    rows[:] = kernel.reshape(count, words, WORD).transpose(1, 0, 2)
    return taps.reshape(-1, 2), rows.reshape(-1)


SMALL = (1, 2, 4, 8)
"""So many channels of a group are masked instead of listed."""
LANES = 16
WORD = 64


def in_blocks(
    weights: NDArray[np.int16], groups: int, group: NDArray[np.int64], channel: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16], int, int, int, bool]:
    """Weights int16 (phases, C, I, k, k) for `nspike.kernels.strided.convolve`: pieces, ends, weights, and numbers.

    group, channel : int64 (bits,), of each bit of a pixel's words, its group, -1 for none, and which of that group's I it is.
    """
    phases, channels, _, size, _ = weights.shape
    each = channels // groups
    together = min(groups, max(1, (LANES if channels <= LANES else WORD) // each))
    lanes = -(-together * each // LANES) * LANES
    pieces: list[tuple[int, int, int, int, int]] = []
    ends: list[int] = []
    rows, placed = 0, []
    for first_group in range(0, groups, together):
        row = 0
        for first_bit, bits in _runs((group >= first_group) & (group < first_group + together)):
            tall = min(size, WORD // bits)
            for dy in range(0, size, tall):
                height = min(tall, size - dy)
                pieces.append((dy, height, first_bit, bits, row))
                placed.append((len(ends), *pieces[-1]))
                row += height * bits
        ends.append(len(pieces))
        rows = max(rows, row)
    table = aligned((phases, len(ends) * (size * rows + 1) * lanes))
    blocks = table.reshape(phases, len(ends), size * rows + 1, lanes)
    for block, dy, height, first_bit, bits, row in placed:
        for bit in range(first_bit, first_bit + bits):
            first = (group[bit] - block * together) * each
            kernel = weights[:, group[bit] * each : (group[bit] + 1) * each, channel[bit], dy : dy + height]
            for dx in range(size):
                at = dx * rows + row + bit - first_bit
                blocks[:, block, at : at + (height - 1) * bits + 1 : bits, first : first + each] = kernel[
                    ..., dx
                ].transpose(0, 2, 1)
    whole = all(
        height == 1 and first_bit % WORD == 0 and (group[first_bit + bits : first_bit + WORD] < 0).all()
        for _, height, first_bit, bits, _ in pieces
    )
    numbers = rows, lanes, together * each, whole
    return np.array(pieces, np.int64).reshape(-1, 5), np.array(ends, np.int64), table, *numbers


def _runs(wanted: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of up to 64 bits that are set: (first, how many)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(np.int8), [0]])))
    return [
        (at, min(WORD, last - at))
        for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        for at in range(first, last, WORD)
    ]


def _bits(integers: IntegerNetwork, part: Stage | Writer, conv: Conv) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each bit of the sources' words: its group, -1 for none, and which of the group's channels it is."""
    read = inputs(integers.network, conv.name, conv.groups, integers.planes)
    bit_of = packed_bits([spike_channels(integers, source) for source in part.sources])
    count = -(-(int(bit_of[-1]) + 1) // WORD) * WORD
    groups, channels = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    group, channel = np.nonzero(read.gains)  # the groups that read fewer spike channels are filled up with gains of 0
    bits = bit_of[read.places[group, channel]]
    groups[bits], channels[bits] = group, channel
    return groups, channels


def packed_bits(channels: Sequence[int]) -> NDArray[np.int64]:
    """Which bit each spike channel of several sources is, each source starting at a new word."""
    starts = np.cumsum([0, *(-(-n // 64) * 64 for n in channels)])
    return np.concatenate([start + np.arange(n) for start, n in zip(starts, channels, strict=False)])


def _gate(integers: IntegerNetwork, part: Stage | Writer, gate: Any) -> Wired:
    _, bias, exponent = _numbers(part)
    sources = tuple(spike_channels(integers, source) for source in part.sources)
    parts = tuple((integers.planes(source), integers.network.widths[source]) for source in part.sources)
    return SpikeGate(part.gate, exponent, np.stack([bias, np.zeros_like(bias)]), sources, parts)


WIRED: Mapping[type[Layer], Callable[[IntegerNetwork, Stage | Writer, Any], Wired]] = {Conv: _conv, Gate: _gate}
"""How each kind of layer that makes a current is laid out."""
