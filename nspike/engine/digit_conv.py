"""Convolutions of spikes that are the digits of numbers, laid out for `nspike.kernels.digits`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.digits import MOST, Form, digits_of, no_form
from nspike.engine.window import Around, Rect
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.writer import Writer
from nspike.kernels import digits
from nspike.kernels.digits import NARROW, OFFSET, QUAD, WIDE

Ints = NDArray[np.int32]
NOTHING = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class Placed:
    """A current int32 (1, rows, columns, C) and the rectangle that it covers."""

    current: Ints
    rect: Rect

    def where(self, rect: Rect) -> list[int]:
        """The index of the first number of `rect`, and how many lie from row to row."""
        inside, (_, _, columns, channels) = rect.within(self.rect), self.current.shape
        return [(inside.y0 * columns + inside.x0) * channels, columns * channels]


@dataclass(frozen=True, eq=False)
class DigitConv:
    """A convolution of numbers; its bias is part of `constant`.

    size, stride, padding : of the convolution. sources : of each source side by side, its channels and whether it has a sign;
    digits : how many digits their numbers have. factor : by what its current is shuffled, 1 if it is not. channels : of its
    current. weights, lanes, constant : see `nspike.kernels.digits.convolve`.
    """

    size: int
    stride: int
    padding: tuple[int, int]
    sources: tuple[tuple[int, bool], ...]
    digits: int
    factor: int
    channels: int
    weights: NDArray[np.int8]
    lanes: int
    constant: Ints

    def fill(self, read: DigitSpikes, around: Around) -> Callable[[int, int, Ints, int], None]:
        """As of `nspike.engine.wiring.SpikeConv`."""

        def rows(first: int, last: int, out: Ints, row: int) -> None:
            assert out.flags.c_contiguous
            across = out.shape[2] * self.channels
            kept = [(row - first) * across, across]
            self._run(read, around.source, around.rect, (first, last), out.reshape(-1), kept)

        return rows

    def rows(
        self,
        read: DigitSpikes,
        source: Rect,
        rect: Rect,
        bases: tuple[Placed, ...] = (),
        kept: Placed | None = None,
        fired: DigitSpikes | None = None,
        form: Form | None = None,
    ) -> Callable[[int, int], None]:
        """rows(first, last) of `rect`, before its current is shuffled.

        read : numbers over `source`. bases : up to two currents that are added; kept : where the sum is kept; fired : the
        numbers of neurons of this form that fire from it, over all of `rect`, shuffled.
        """
        larger = rect.scaled(Fraction(self.factor))
        added = [(base.current.reshape(-1), base.where(larger)) for base in bases]
        current, at = (NOTHING, [0, 0]) if kept is None else (kept.current.reshape(-1), kept.where(larger))

        def rows(first: int, last: int) -> None:
            self._run(read, source, rect, (first, last), current, at, added, fired, form)

        return rows

    def _run(
        self,
        read: DigitSpikes,
        source: Rect,
        rect: Rect,
        rows: tuple[int, int],
        current: Ints,
        kept: list[int],
        added: Any = (),
        fired: DigitSpikes | None = None,
        form: Form | None = None,
    ) -> None:
        before = self.padding[0]
        begin = read.index(rect.y0 * self.stride - before - source.y0, rect.x0 * self.stride - before - source.x0)
        bases = [*added, *[(NOTHING, [0, 0])] * (2 - len(added))]
        numbers = (NOTHING.view(np.uint8), [0, 0]) if fired is None else (fired.flat, [fired.index(0, 0), fired.row])
        where = np.array([[begin, read.row], bases[0][1], bases[1][1], kept, numbers[1]], np.int64)
        taps = np.array([self.size, self.stride, read.shape[2], self.factor, self.channels], np.int64)
        block = np.array([*rows, rect.width], np.int64)
        arrays = (bases[0][0], bases[1][0], current, no_form() if form is None else form, numbers[0])
        digits.convolve(read.flat, where, taps, self.weights, self.lanes, self.constant, *arrays, block)

    def beginning_with(self, start: Ints) -> "DigitConv":
        """The same whose currents are added to `start`, int32 (C,)."""
        constant = self.constant.copy()
        constant[: len(start)] += start
        return replace(self, constant=constant)


def lay_out(
    integers: IntegerNetwork,
    part: Stage | Writer,
    weights: NDArray[np.int16],
    bias: NDArray[np.int32],
    factor: int = 1,
) -> DigitConv:
    """The layout of a stage's or writer's convolution; weights int16 (1, C, I, k, k); factor : of a shuffle of its current."""
    conv: Any = part.layer
    network, (count, _, size, _) = integers.network, weights[0].shape
    sources, kernels, constant, first = [], [], bias.astype(np.int64), 0
    for source in part.sources:
        planes, channels = integers.planes(source), network.widths[source]
        kernel = weights[0][:, first : first + channels].astype(np.int64)  # of the plane of gain 1
        signed = min(planes) < 0
        if signed:
            constant = constant - OFFSET * kernel.sum(axis=(1, 2, 3))
        sources.append((channels, signed))
        kernels.append(kernel)
        first += channels * len(planes)
    whole = np.concatenate(kernels, axis=1)
    assert np.abs(whole).max(initial=0) <= MOST  # see `reads_digits`
    order = np.arange(count).reshape(-1, factor * factor).T.ravel()  # (phase, channel) instead of (channel, phase)
    lanes = NARROW if count <= NARROW else WIDE
    blocks = -(-count // lanes)
    table = np.zeros((blocks * lanes, *whole.shape[1:]), np.int8)
    table[:count] = whole[order]
    quads = table.transpose(2, 3, 1, 0).reshape(size, -1, QUAD, blocks, lanes).transpose(3, 0, 1, 4, 2)
    added = np.zeros(blocks * lanes, np.int32)
    added[:count] = constant[order]
    return DigitConv(
        size=size,
        stride=conv.stride,
        padding=conv.pads,
        sources=tuple(sources),
        digits=digits_of(integers.planes(part.sources[0])),
        factor=factor,
        channels=count // factor**2,
        weights=np.ascontiguousarray(quads).ravel(),
        lanes=lanes,
        constant=added,
    )
