"""The spikes of one layer over its rectangle of a tile, of a single step, held as the numbers whose digits they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.engine.spikes import Spikes, WideSpikes, Words
from nspike.kernels import numbers
from nspike.kernels.digits import MOST_STRIDE, OFFSET, WIDE_PIXELS
from nspike.kernels.numbers import DIGITS
from nspike.runtime.buffers import Pool

MEMORY = Pool()
"""Of numbers."""
_BEHIND = max(16, WIDE_PIXELS) * MOST_STRIDE
"""How many pixels behind the last one kernels read, without using them."""


@dataclass(frozen=True)
class DigitSpikes:
    """flat uint8: (rows, columns, C) numbers, with `pad` rows and columns of silence on each side, and some bytes more.

    shape : rows, columns and C without the padding. digits : how many planes of each sign there are; signed : whether there are
    those of negative gain. See `nspike.kernels.numbers`.
    """

    flat: NDArray[np.uint8]
    shape: tuple[int, int, int]
    pad: int
    digits: int
    signed: bool

    @classmethod
    def empty(cls, height: int, width: int, channels: int, pad: int, digits: int, signed: bool) -> "DigitSpikes":
        """Numbers of this shape, to be filled in: only the padding is set."""
        whole = (height + 2 * pad) * (width + 2 * pad)
        flat = MEMORY.take(((whole + _BEHIND) * channels,), np.uint8)
        out, silent = cls(flat, (height, width, channels), pad, digits, signed), OFFSET * signed
        if pad:
            around = out.padded()
            around[:pad], around[-pad:] = silent, silent
            around[:, :pad], around[:, -pad:] = silent, silent
        return out

    def give_back(self) -> None:
        """Let its memory be used again: nothing may read it any more."""
        MEMORY.give(self.flat)

    @property
    def row(self) -> int:
        """How many numbers lie from row to row."""
        return (self.shape[1] + 2 * self.pad) * self.shape[2]

    def index(self, y: int, x: int) -> int:
        """The index of the first number of a pixel."""
        return (y + self.pad) * self.row + (x + self.pad) * self.shape[2]

    @property
    def planes(self) -> int:
        """The number of spike planes."""
        return self.digits << self.signed

    def array(self) -> NDArray[np.uint8]:
        """A view (rows, columns, C), the padding left out."""
        height, width, _ = self.shape
        return self.padded()[self.pad : self.pad + height, self.pad : self.pad + width]

    def padded(self) -> NDArray[np.uint8]:
        """A view (rows, columns, C) with the padding."""
        rows = self.shape[0] + 2 * self.pad
        return self.flat[: rows * self.row].reshape(rows, -1, self.shape[2])

    def count(
        self, at: tuple[int, int], planes: int, fan_y: NDArray[np.int64], fan_x: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `WideSpikes.count`."""
        assert planes == self.planes
        columns = fan_x.shape[1]
        order = [half * DIGITS + k for half in range(1 + self.signed) for k in range(self.digits)]
        changes = np.flatnonzero((fan_x[:, 1:] != fan_x[:, :-1]).any(axis=0)) + 1
        runs = np.concatenate([[0], changes, [columns]]).astype(np.int64)
        events, weighted = np.zeros(2 * DIGITS, np.int64), np.zeros((len(fan_y), 2 * DIGITS), np.int64)
        where, signed = np.array([self.index(*at), self.row], np.int64), int(self.signed)
        numbers.count(self.flat, where, self.shape[2], signed, fan_y.shape[1], runs, fan_y, fan_x, events, weighted)
        return events[order, None], weighted[:, order].T[:, :, None]

    def packed(self, at: tuple[int, int], height: int, width: int, pad: int = 0) -> WideSpikes:
        """The spikes of height × width pixels from position `at` on."""
        channels = self.shape[2]
        out = WideSpikes.empty(height, width, 1, self.planes * channels, pad)
        where = np.array([self.index(*at), self.row], np.int64)
        numbers.pack(self.flat, where, channels, int(self.signed), self.digits, out.words, pad)
        return out

    def block(self, at: tuple[int, int], step: int, height: int, width: int) -> Words:
        """As `WideSpikes.block`."""
        assert step == 0
        out = np.empty((self.planes * self.shape[2], height), np.uint64)
        where = np.array([self.index(*at), self.row], np.int64)
        numbers.columns(self.flat, where, self.shape[2], int(self.signed), self.digits, width, out)
        return out

    def rows(self, first: int, last: int) -> WideSpikes:
        """The spikes of rows first .. last-1."""
        return self.packed((first, 0), last - first, self.shape[1])

    def step(self, step: int) -> WideSpikes:
        """The spikes of one step, counted from 0, of which there is one."""
        assert step == 0
        return self.packed((0, 0), *self.shape[:2])

    def dense(self) -> NDArray[np.bool_]:
        """bool (1, channels, rows, columns), the channels of all planes."""
        return self.step(0).dense()


AnySpikes = Spikes | DigitSpikes
