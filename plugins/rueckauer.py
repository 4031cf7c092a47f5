"""Data-based threshold balancing (Rueckauer et al. 2017).

λ of a layer is a percentile of its positive ANN activations over the calibration pictures (100: the largest), so that a
spike is worth λ and a neuron that always fires stands for the activation λ. Larger activations are clipped; a larger λ
makes every spike coarser. Concatenations are rescaled slice by slice, and biases divided by λ, by the core.

A signed output (a residual) takes the percentile of its absolute value; an output that is a picture takes λ = 1. `per`
channel, a channel with few positive values takes its layer's λ, and none goes below a hundredth of it: what is hardly
ever active would otherwise be rescaled by a number that a few pixels decide.

Percentiles come from histograms over the floats' own exponents and first bits (256 bins an octave, linear between):
the memory is bounded, and neither the order of the pictures nor their number matters.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Calibration, Converter, Option, Scales, hookimpl

OUTPUT = "output"
FEWEST = 64
"""With fewer positive values than this a channel takes its layer's scale."""
LEAST = 0.01
"""The smallest scale of a channel, in units of its layer's."""

_SHIFT = 15  # of a float32's bits: eight of the mantissa stay, 256 bins an octave
_FIRST = int(np.float32(2.0**-20).view(np.int32)) >> _SHIFT
_BINS = 32 * 256  # up to 2^12


@hookimpl
def register_converters(register: Any) -> None:
    """Register the converter."""
    register(CONVERTER)


class Histogram:
    """The distribution of a layer's positive values, per channel."""

    def __init__(self, channels: int) -> None:
        self.counts = np.zeros((channels, _BINS), np.int64)
        self.most = np.zeros(channels, np.float32)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count the positive values of float32 (C, H, W)."""
        channels = len(values)
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


def _percentile(counts: NDArray[np.int64], most: float, percent: float) -> float:
    """The percentile of the values in a histogram whose largest value is `most`; 0 for none."""
    total = int(counts.sum())
    if total == 0 or percent >= 100.0:
        return most
    rank = percent / 100.0 * (total - 1)
    cumulative = np.cumsum(counts)
    below, above = (_value(counts, cumulative, int(r)) for r in (np.floor(rank), np.ceil(rank)))
    return min(below + (above - below) * (rank % 1.0), most)


def _value(counts: NDArray[np.int64], cumulative: NDArray[np.int64], rank: int) -> float:
    """About the value number `rank`, from 0: values are taken to be spread evenly over their bin."""
    found = int(np.searchsorted(cumulative, rank, side="right"))
    low, high = (np.array([found + _FIRST, found + 1 + _FIRST], np.int32) << _SHIFT).view(np.float32)
    share = (rank - int(cumulative[found]) + int(counts[found]) + 0.5) / int(counts[found])
    return float(low) + (float(high) - float(low)) * share


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ of every layer from the calibration pictures, θ = `theta_scale`."""
    network = calibration.network
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    histograms = {name: Histogram(count) for name, count in channels.items()}
    for values in calibration.activations():
        for name, histogram in histograms.items():
            histogram.add(np.abs(values[name]) if name == OUTPUT else values[name])
    found = {name: h.percentiles(options["percentile"], options["per"]) for name, h in histograms.items()}
    if network.mode == "image":
        found[OUTPUT] = np.ones(network.channels)
    thresholds = {name: np.full(count, options["theta_scale"]) for name, count in channels.items()}
    thresholds[OUTPUT] = np.ones(network.channels)
    return Scales(found, thresholds, {"v_init": options["v_init"]})


CONVERTER = Converter(
    name="rueckauer",
    summary="scales from a percentile of the ANN's activations (data-based threshold balancing)",
    source="Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682",
    options=(
        Option("percentile", 99.9, "of the positive activations; 100 is the largest", low=50.0, high=100.0),
        Option("per", "layer", "one scale for each layer, or for each channel", choices=("layer", "channel")),
        Option(
            "theta_scale", 1.0, "threshold in units of the scale; 0.3-0.7 fires more (Diet-SNN)", low=0.05, high=4.0
        ),
        Option("v_init", 0.0, "initial membrane as a fraction of the threshold; 0.5 as in QCFS", low=-1.0, high=1.0),
    ),
    scales=scales,
)
