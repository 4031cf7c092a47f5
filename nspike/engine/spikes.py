"""The spikes of one layer over one tile, packed in bits: by channel for many channels, along the row for a few.

Channels are the layer's planes one after the other, (plane, channel). Positions are those of a chain's frame, the tile's core
with the whole network's halo around it; in other networks those of the layer's own rectangle.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.kernels import narrow, wide

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class WideSpikes:
    """words uint64 (rows, columns, steps, channels/64), with `pad` rows and columns of zeros on each side."""

    words: Words
    pad: int
    channels: int

    @classmethod
    def empty(cls, height: int, width: int, steps: int, channels: int, pad: int) -> "WideSpikes":
        """Spikes of this shape, none set; height and width in pixels."""
        return cls(np.zeros((height + 2 * pad, width + 2 * pad, steps, -(-channels // 64)), np.uint64), pad, channels)

    def count(
        self, at: tuple[int, int], planes: int, fan_y: NDArray[np.int64], fan_x: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count each plane from position `at` on: events (planes, steps) and, per reader, weighted (planes, n, steps)."""
        wanted = np.eye(planes, dtype=np.bool_).repeat(self.channels // planes, axis=1)
        return self.count_some(at, wanted, fan_y, fan_x)

    def count_some(
        self, at: tuple[int, int], wanted: NDArray[np.bool_], fan_y: NDArray[np.int64], fan_x: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `count`, of the groups of channels that `wanted` says, bool (groups, channels)."""
        steps = self.words.shape[2]
        masks = words_of(wanted, self.words.shape[3])
        events, weighted = (
            np.zeros((len(wanted), steps), np.int64),
            np.zeros((len(wanted), len(fan_y), steps), np.int64),
        )
        origin = np.array([at[0] + self.pad, at[1] + self.pad], np.int64)
        wide.count(self.words, origin, masks, fan_y, fan_x, events, weighted)
        return events, weighted

    def block(self, at: tuple[int, int], step: int, height: int, width: int) -> Words:
        """A block of up to 64 columns from position `at` on, uint64 (channels, height), bit x being column x."""
        out = np.empty((self.channels, height), np.uint64)
        wide.block_bits(
            self.words,
            np.array([at[0] + self.pad, at[1] + self.pad], np.int64),
            step,
            height,
            width,
            self.channels,
            out,
        )
        return out

    def put(self, step: int, at: tuple[int, int], bits: NDArray[np.bool_]) -> None:
        """Set the spikes of a step from position `at` on to bits (channels, rows, columns)."""
        (y, x), (_, height, width) = (at[0] + self.pad, at[1] + self.pad), bits.shape
        self.words[y : y + height, x : x + width, step] = words_of(bits.transpose(1, 2, 0), self.words.shape[3])

    def rows(self, first: int, last: int) -> "WideSpikes":
        """A view of rows first .. last-1."""
        return WideSpikes(self.words[first : last + 2 * self.pad], self.pad, self.channels)

    def step(self, step: int) -> "WideSpikes":
        """The spikes of one step, counted from 0, as a copy with a single step."""
        return WideSpikes(np.ascontiguousarray(self.words[:, :, step : step + 1]), self.pad, self.channels)

    def dense(self) -> NDArray[np.bool_]:
        """bool (steps, channels, rows, columns), the padding left out."""
        inner = self.words[self.pad : self.words.shape[0] - self.pad, self.pad : self.words.shape[1] - self.pad]
        return bits_of(inner, self.channels).transpose(2, 3, 0, 1)


@dataclass(frozen=True)
class NarrowSpikes:
    """words uint64 (steps, channels, rows, columns/64); `width` columns are in use."""

    words: Words
    width: int

    @classmethod
    def empty(cls, height: int, width: int, steps: int, channels: int) -> "NarrowSpikes":
        """Spikes of this shape, none set; height and width in pixels."""
        return cls(np.zeros((steps, channels, height, -(-width // 64)), np.uint64), width)

    @property
    def channels(self) -> int:
        """The number of spike planes times the channels of the layer."""
        return int(self.words.shape[1])

    def count(
        self, at: tuple[int, int], planes: int, fan_y: NDArray[np.int64], fan_x: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Count spikes; arguments and result as of `WideSpikes.count`."""
        steps, channels, origin = self.words.shape[0], self.channels // planes, np.array(at, np.int64)
        events, weighted = np.zeros((planes, steps), np.int64), np.zeros((planes, len(fan_y), steps), np.int64)
        for i in range(planes):
            part = np.array([i * channels, (i + 1) * channels], np.int64)
            narrow.count(self.words, origin, part, fan_y, fan_x, events[i], weighted[i])
        return events, weighted

    def block(self, at: tuple[int, int], step: int, height: int, width: int) -> Words:
        """Return a block of up to 64 columns, uint64 (channels, height), as `WideSpikes.block`."""
        out = np.empty((self.channels, height), np.uint64)
        narrow.block_bits(self.words, np.array(at, np.int64), step, height, width, 0, self.channels, out)
        return out

    def put(self, step: int, at: tuple[int, int], bits: NDArray[np.bool_]) -> None:
        """As `WideSpikes.put`, the rest of the rows being silent."""
        (y, x), (channels, height, width) = at, bits.shape
        rows = np.zeros((channels, height, self.width), np.bool_)
        rows[:, :, x : x + width] = bits
        self.words[step, :, y : y + height] = words_of(rows, self.words.shape[3])

    def rows(self, first: int, last: int) -> "NarrowSpikes":
        """A view of rows first .. last-1."""
        return NarrowSpikes(self.words[:, :, first:last], self.width)

    def step(self, step: int) -> "NarrowSpikes":
        """The spikes of one step, counted from 0, as a view with a single step."""
        return NarrowSpikes(self.words[step : step + 1], self.width)

    def dense(self) -> NDArray[np.bool_]:
        """bool (steps, channels, rows, columns)."""
        return bits_of(self.words, self.width)


Spikes = WideSpikes | NarrowSpikes


def to_wide(spikes: Spikes, pad: int) -> WideSpikes:
    """The same spikes packed by channel, with at least `pad` of padding. A copy where the packing differs."""
    if isinstance(spikes, WideSpikes):
        return spikes
    steps, channels, height, _ = spikes.words.shape
    out = WideSpikes.empty(height, spikes.width, steps, channels, pad)
    for step in range(steps):  # unpacked, all steps would take eight times their memory and more
        bits = bits_of(spikes.words[step], spikes.width).transpose(1, 2, 0)
        out.words[pad : pad + height, pad : pad + spikes.width, step] = words_of(bits, out.words.shape[3])
    return out


def to_narrow(spikes: Spikes) -> NarrowSpikes:
    """The same spikes packed along the row. A copy where the packing differs."""
    if isinstance(spikes, NarrowSpikes):
        return spikes
    inner = spikes.words[
        spikes.pad : spikes.words.shape[0] - spikes.pad, spikes.pad : spikes.words.shape[1] - spikes.pad
    ]
    height, width, steps, _ = inner.shape
    out = NarrowSpikes.empty(height, width, steps, spikes.channels)
    for step in range(steps):
        out.words[step] = words_of(bits_of(inner[:, :, step], spikes.channels).transpose(2, 0, 1), out.words.shape[3])
    return out


def bits_of(words: Words, count: int) -> NDArray[np.bool_]:
    """The first `count` bits along the last axis of words."""
    packed = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)[..., : -(-count // 8)]
    return np.unpackbits(packed, axis=-1, count=count, bitorder="little").view(np.bool_)


def words_of(bits: NDArray[np.bool_], count: int) -> Words:
    """The opposite: bits along the last axis as `count` words."""
    packed = np.packbits(bits, axis=-1, bitorder="little")
    out = np.zeros((*bits.shape[:-1], 8 * count), np.uint8)
    out[..., : packed.shape[-1]] = packed
    return out.view("<u8").astype(np.uint64, copy=False)
