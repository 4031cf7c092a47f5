"""Which convolutions read digits of numbers, and which neurons fire them: see `nspike.kernels.digits`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.integer.grid import NEVER_FIRES, SPIKE_LIMIT
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.writer import Writer
from nspike.kernels.digits import MOST_STRIDE, NARROW, OFFSET

MOST = 127
"""The largest byte with a sign."""


def reads_digits(integers: IntegerNetwork, part: Stage | Writer) -> bool:
    """Whether `nspike.kernels.digits` can convolve the spikes that a stage or writer reads."""
    conv: Any = part.layer
    if part.gate.size or not part.sources or integers.steps > 1 or (conv.groups, conv.dilation) != (1, 1):
        return False
    if conv.stride > MOST_STRIDE or any(integers.network.widths[source] % NARROW for source in part.sources):
        return False
    planes = [integers.planes(source) for source in part.sources]
    up = [digits_of(each) for each in planes]
    if len(set(up)) > 1 or up[0] < 2 or not all(_are_digits(each) for each in planes):
        return False
    return SPIKE_LIMIT // max(planes[0]) <= MOST  # the weights of fewer planes are no bytes


def digits_of(planes: Sequence[int]) -> int:
    """How many digits the planes of each sign are."""
    return sum(gain > 0 for gain in planes)


def _are_digits(planes: Sequence[int]) -> bool:
    """Whether planes are 1, 2, 4, .., and then none or as many of the same with negative gains, and their sum is a byte."""
    up = [gain for gain in planes if gain > 0]
    both = tuple(up + [-gain for gain in up])
    most = OFFSET - 1 if len(planes) > len(up) else MOST
    return up == [1 << i for i in range(len(up))] and sum(up) <= most and tuple(planes) in (tuple(up), both)


Form = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], int]
"""Of neurons that fire digits, see `nspike.kernels.digits.fire`."""


def form_of(stage: Stage, steps: int) -> Form | None:
    """The form of a stage's neurons, or None where these are others: with a leak, or another number of channels."""
    own, planes = stage.dynamics, stage.neuron.planes
    if stage.neuron.step is not None or steps > 1 or own.up < 2 or not _are_digits(planes):
        return None
    if own.leaks or own.to_zero or stage.channels % NARROW:
        return None
    threshold, reset = stage.threshold[0].astype(np.int64), stage.reset[0].astype(np.int64)
    fires = threshold < NEVER_FIRES
    if (reset[fires] < 1).any():
        return None
    top = np.minimum(threshold + reset * (own.most - 1), NEVER_FIRES).astype(np.int32)
    shift = np.where(fires, threshold - reset - 0.5, 0)
    inverse = np.where(fires, 1 / np.maximum(reset, 1), 0)
    return stage.v0, top, shift, inverse, int(own.down > 0)


def no_form() -> Form:
    """Of no neurons."""
    none, nothing = np.zeros(0, np.int32), np.zeros(0)
    return none, none, nothing, nothing, 0
