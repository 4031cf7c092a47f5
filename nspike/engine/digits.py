"""The layout of convolutions whose spikes are the digits of numbers: see `nspike.kernels.digits`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.integer.grid import NEVER_FIRES, SPIKE_LIMIT
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.integer.writer import Writer
from nspike.kernels.digits import NARROW, OFFSET, QUAD, WIDE

MOST = 127
"""The largest byte with a sign."""
WORD = 64


def reads_digits(integers: IntegerNetwork, part: Stage | Writer) -> bool:
    """Whether `nspike.kernels.digits` can convolve the spikes that a stage or writer reads."""
    conv: Any = part.layer
    if part.gate.size or not part.sources or integers.steps > 1 or (conv.groups, conv.dilation) != (1, 1):
        return False
    if any(integers.network.widths[source] % NARROW for source in part.sources):
        return False
    planes = [integers.planes(source) for source in part.sources]
    up = [sum(gain > 0 for gain in each) for each in planes]
    if len(set(up)) > 1 or up[0] < 2 or not all(_are_digits(each) for each in planes):
        return False
    return SPIKE_LIMIT // max(planes[0]) <= MOST  # the weights of fewer planes are no bytes


def _are_digits(planes: Sequence[int]) -> bool:
    """Whether planes are 1, 2, 4, .., and then none or as many of the same with negative gains, and their sum is a byte."""
    up = [gain for gain in planes if gain > 0]
    both = tuple(up + [-gain for gain in up])
    most = OFFSET - 1 if len(planes) > len(up) else MOST
    return up == [1 << i for i in range(len(up))] and sum(up) <= most and tuple(planes) in (tuple(up), both)


Form = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], int, tuple[int, ...]]
"""Of neurons that fire digits, see `nspike.kernels.digits.fire`."""


def form_of(stage: Stage, steps: int) -> Form | None:
    """The form of a stage's neurons, or None where these are others: with a leak, or another number of channels."""
    own, planes, channels = stage.dynamics, stage.neuron.planes, stage.channels
    if stage.neuron.step is not None or steps > 1 or own.up < 2 or not _are_digits(planes):
        return None
    if own.leaks or own.to_zero or (channels not in (NARROW, 2 * NARROW) and channels % WORD):
        return None
    threshold, reset = stage.threshold[0].astype(np.int64), stage.reset[0].astype(np.int64)
    most = np.minimum(threshold + reset * (own.most - 1), NEVER_FIRES).astype(np.int32)
    each = [1 << k for k in range(own.up)]
    limits = np.minimum([threshold + reset * (n - 1) for n in each], NEVER_FIRES).astype(np.int32)
    worth = np.minimum([reset * n for n in each], NEVER_FIRES).astype(np.int32)
    return stage.v0, most, limits.ravel(), worth.ravel(), int(own.down > 0), (1,) * own.up


def layout(
    integers: IntegerNetwork, part: Stage | Writer, weights: NDArray[np.int16], bias: NDArray[np.int32]
) -> tuple[Any, ...]:
    """The arguments of `nspike.kernels.digits.convolve` from `sources` to `constant`; weights int16 (1, C, I, k, k)."""
    network, (count, _, size, _) = integers.network, weights[0].shape
    sources, kernels, constant, word, first = [], [], bias.astype(np.int64), 0, 0
    for source in part.sources:
        planes, channels = integers.planes(source), network.widths[source]
        kernel = weights[0][:, first : first + channels].astype(np.int64)  # of the plane of gain 1
        signed = min(planes) < 0
        if signed:
            constant -= OFFSET * kernel.sum(axis=(1, 2, 3))
        sources.append((word, channels, int(signed)))
        kernels.append(kernel)
        word += -(-channels * len(planes) // WORD)
        first += channels * len(planes)
    whole = np.concatenate(kernels, axis=1)
    assert np.abs(whole).max(initial=0) <= MOST  # see `reads_digits`
    lanes = NARROW if count <= NARROW else WIDE
    blocks = -(-count // lanes)
    table = np.zeros((blocks * lanes, *whole.shape[1:]), np.int8)
    table[:count] = whole
    quads = table.transpose(2, 3, 1, 0).reshape(size, -1, QUAD, blocks, lanes).transpose(3, 0, 1, 4, 2)
    added = np.zeros(blocks * lanes, np.int32)
    added[:count] = constant
    up = (1,) * sum(gain > 0 for gain in integers.planes(part.sources[0]))
    return np.array(sources, np.int64), up, np.ascontiguousarray(quads).ravel(), lanes, added
