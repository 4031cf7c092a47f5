"""Sums of weights as tables that spikes are looked up in, in the layout of `nspike.kernels.streams`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nspike.kernels.streams import COLUMNS
from nspike.kernels.vector import NARROW

WORD = 64

Table = NDArray[np.int16]
"""int16 (2^n, 16): every sum of n rows of weights."""
Looked = list[tuple[int, int, Table]]
"""(number of the spikes, first input channel, table) of what is looked up for 16 sums."""


def every_sum(weights: NDArray[np.int64]) -> Table:
    """The table of weights int64 (n, 16)."""
    chosen = np.arange(1 << len(weights))[:, None] >> np.arange(len(weights)) & 1
    return (chosen @ weights).astype(np.int16)


def passes(looked: Looked) -> list[Looked]:
    """The same in as few parts as it takes for no sum of a part to leave 16 bits."""
    low = high = np.zeros(NARROW, np.int64)
    made: list[Looked] = []
    for one in looked:
        least, most = one[2].min(axis=0).astype(np.int64), one[2].max(axis=0).astype(np.int64)
        low, high = low + least, high + most
        if not made or low.min() < -(2**15) or high.max() >= 2**15:
            made.append([])
            low, high = least, most
        made[-1].append(one)
    return made


@dataclass(eq=False)
class Listing:
    """Chunks and tables for the kernels, each table once."""

    chunks: list[tuple[int, ...]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)

    def add(self, positions: Sequence[Sequence[Sequence[Looked]]], across: int) -> NDArray[np.int64]:
        """The ends int64 (passes, positions, across + 1) of the passes of each block of each position."""
        count = max(len(block) for blocks in positions for block in blocks)
        ends = np.zeros((count, len(positions), across + 1), np.int64)
        for number in range(count):
            for position, blocks in enumerate(positions):
                ends[number, position] = len(self.chunks)
                for i, block in enumerate(blocks):
                    for term, bit, table in block[number] if number < len(block) else []:
                        self.chunks.append((term, bit // WORD, 0, bit % WORD, len(table) - 1, self._place(table)))
                    ends[number, position, i + 1 :] = len(self.chunks)
        return ends

    def _place(self, table: Table) -> int:
        if id(table) not in self.places:
            self.places[id(table)] = sum(map(len, self.tables)) * 2 * NARROW
            self.tables.append(table)
        return self.places[id(table)]

    def arrays(self) -> tuple[NDArray[np.int64], Table]:
        """chunks int64 (n, 6), whose words from step to step are not filled in, and tables, flat."""
        return np.array(self.chunks, np.int64).reshape(-1, COLUMNS), np.concatenate(self.tables).ravel()
