"""Percentiles of a layer's positive values from histograms over the floats' own exponents and first bits.

256 bins an octave, linear between: the memory is bounded, and neither the order of the images nor their number matters.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nspike import Calibration

FEWEST = 64
"""With fewer positive values than this a channel takes its layer's scale."""
LEAST = 0.01
"""The smallest scale of a channel, in units of its layer's."""

_SHIFT = 15  # of a float32's bits: eight of the mantissa stay, 256 bins an octave
_FIRST = int(np.float32(2.0**-20).view(np.int32)) >> _SHIFT
_BINS = 32 * 256  # up to 2^12


class Histogram:
    """The distribution of a layer's positive values, per channel."""

    def __init__(self, channels: int) -> None:
        self.counts = np.zeros((channels, _BINS), np.int64)
        self.most = np.zeros(channels, np.float32)
        self.seen = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the positive values of float32 (C, H, W)."""
        channels = len(values)
        self.seen += values.size
        flat = np.ascontiguousarray(values, np.float32).reshape(channels, -1)
        self.most = np.maximum(self.most, flat.max(axis=1))
        bins = np.clip((flat.view(np.int32) >> _SHIFT) - _FIRST, 0, _BINS - 1)
        bins += np.arange(channels, dtype=np.int32)[:, None] * _BINS
        self.counts += np.bincount(bins[flat > 0], minlength=self.counts.size).reshape(self.counts.shape)

    def percentiles(self, percent: float, per: str) -> NDArray[np.float64]:
        """λ, float64 (C,): positive, 1 for a layer without positive values."""
        whole = _percentile(self.counts.sum(axis=0), float(self.most.max()), percent) or 1.0
        scales = np.full(len(self.counts), whole)
        if per == "channel":
            for c, counts in enumerate(self.counts):
                if counts.sum() >= FEWEST:
                    scales[c] = max(_percentile(counts, float(self.most[c]), percent), LEAST * whole)
        return scales

    def quantiles(self, percent: float) -> NDArray[np.float64]:
        """λ of the layer as of `percentiles`, but of all its values, those not positive counting as zeros.

        Where that is zero, the largest value.
        """
        counts = self.counts.sum(axis=0)
        zeros = self.seen - int(counts.sum())
        most = float(self.most.max())
        rank = percent / 100.0 * (self.seen - 1) - zeros
        at = _between(counts, rank, most) if counts.any() and percent < 100.0 and rank >= 0 else most
        return np.full(len(self.counts), at or 1.0)


def histograms(calibration: Calibration, channels: Mapping[str, int]) -> dict[str, Histogram]:
    """Of the values of these layers of so many channels on the calibration images; magnitudes where both signs occur."""
    signed = {a.name for a in calibration.network.activations if a.signed} | {"output"}
    made = {name: Histogram(count) for name, count in channels.items()}
    for values in calibration.activations():
        for name, histogram in made.items():
            histogram.add(np.abs(values[name]) if name in signed else values[name])
    return made


def _percentile(counts: NDArray[np.int64], most: float, percent: float) -> float:
    """The percentile of the values in a histogram whose largest value is `most`; 0 for none."""
    total = int(counts.sum())
    if total == 0 or percent >= 100.0:
        return most
    return _between(counts, percent / 100.0 * (total - 1), most)


def _between(counts: NDArray[np.int64], rank: float, most: float) -> float:
    """The value of a rank from 0, between whole ones linearly; at most `most`."""
    cumulative = np.cumsum(counts)
    below, above = (_value(counts, cumulative, int(r)) for r in (np.floor(rank), np.ceil(rank)))
    return min(below + (above - below) * (rank % 1.0), most)


def _value(counts: NDArray[np.int64], cumulative: NDArray[np.int64], rank: int) -> float:
    """About the value number `rank`, from 0: values are taken to be spread evenly over their bin."""
    index = int(np.searchsorted(cumulative, rank, side="right"))
    low, high = (np.array([index + _FIRST, index + 1 + _FIRST], np.int32) << _SHIFT).view(np.float32)
    share = (rank - int(cumulative[index]) + int(counts[index]) + 0.5) / int(counts[index])
    return float(low) + (float(high) - float(low)) * share
