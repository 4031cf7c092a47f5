"""The output layer where its neurons neither leak nor fire: its membranes at the end are the sum of its input.

Such are those of a head that reads the membranes. See `nspike.kernels.charge`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.digit_conv import DigitConv
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.prepared import Prepared
from nspike.engine.spikes import WideSpikes
from nspike.engine.tables import WORD, Listing, Looked, every_sum, passes
from nspike.engine.window import Around
from nspike.engine.wiring import block_of, places_of
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.kernels import charge
from nspike.kernels.streams import CHUNK
from nspike.kernels.vector import NARROW

Rows = Callable[[int, int], None]

MOST_SUMS = 64
"""The most channels times taps: each pixel's spikes are looked up for all of them."""


@dataclass(frozen=True, eq=False)
class Charge:
    """The layout of such a layer; see `nspike.kernels.charge.charge`."""

    size: int
    padding: int
    chunks: NDArray[np.int64]
    ends: NDArray[np.int64]
    tables: NDArray[np.int16]
    start: NDArray[np.int32]

    def rows(self, read: WideSpikes, around: Around, out: NDArray[np.int32]) -> Rows:
        """rows(first, last): the membranes of these rows into out int32 (rows, columns, C)."""
        chunks = self.chunks.copy()
        chunks[:, 2] = read.words.shape[3]
        laid = (self.size, self.padding, chunks.ravel(), self.ends, self.tables, self.start)

        def rows(first: int, last: int) -> None:
            places, block = places_of(around, 0, read.pad), block_of(around, first, last)
            charge.charge(read.words, places, *laid, block, out)

        return rows


@dataclass(frozen=True, eq=False)
class DigitCharge:
    """The same of a convolution of digits, a single step."""

    conv: DigitConv

    def rows(self, read: DigitSpikes, around: Around, out: NDArray[np.int32]) -> Rows:
        """As of `Charge`."""
        fill = self.conv.fill(read, around)
        return lambda first, last: fill(first, last, out[None], first)


def digit_charge_of(integers: IntegerNetwork, stage: Stage, wired: Any) -> DigitCharge | None:
    """The layout of an output layer of digits, or none where it is no such layer."""
    silent = bool((stage.threshold == NEVER_FIRES).all()) and not stage.dynamics.leaks
    if not silent or integers.post_steps or not isinstance(wired, DigitConv):
        return None
    return DigitCharge(wired.beginning_with(stage.v0))


def charge_of(integers: IntegerNetwork, prepared: Prepared) -> Charge | None:
    """The layout of the output layer of a network, or none where it is no such layer."""
    stage = prepared.stage
    conv: Any = stage.layer
    if not stage.fused or stage.gate.size or len(stage.sources) != 1 or integers.post_steps:
        return None
    silent = prepared.dynamics is None and bool((stage.threshold == NEVER_FIRES).all())
    simple = (conv.stride, conv.dilation, conv.groups) == (1, 1, 1) and conv.pads[0] == conv.pads[1]
    weights = stage.integer.weights
    count = conv.out_channels * conv.kernel**2
    if not silent or not simple or len(weights) != 1 or count > MOST_SUMS or integers.planes(stage.sources[0]) != (1,):
        return None
    lanes = -(-count // NARROW) * NARROW
    table = np.zeros((conv.in_channels, lanes), np.int64)
    table[:, :count] = weights[0].transpose(1, 2, 3, 0).reshape(conv.in_channels, count)
    looked = [_looked_up(table[:, lane : lane + NARROW]) for lane in range(0, lanes, NARROW)]
    start = stage.v0.astype(np.int64) + integers.timesteps * stage.integer.bias.astype(np.int64)
    listing = Listing()
    ends = listing.add([[passes(each) for each in looked]], len(looked))
    chunks, tables = listing.arrays()
    return Charge(
        size=conv.kernel,
        padding=conv.pads[0],
        chunks=chunks,
        ends=np.ascontiguousarray(ends[:, 0]),
        tables=tables,
        start=start.astype(np.int32),
    )


def _looked_up(table: NDArray[np.int64]) -> Looked:
    """The tables of 16 sums, int64 (input channels, 16)."""
    looked: Looked = []
    bit = 0
    while bit < len(table):
        bits = min(CHUNK, len(table) - bit, WORD - bit % WORD)
        looked.append((0, bit, every_sum(table[bit : bit + bits])))
        bit += bits
    return looked
