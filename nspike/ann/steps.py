"""Spiking networks in floats, T steps side by side: neurons, attention, and the mean over the steps.

Values are float32 (rows, columns, T·C). Every number is computed in one order, whatever threads there are; sums over the image
are float64.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nspike.graph.plain_layer import Leaky, StepAttention, StepMean

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
InRows = Callable[[int, Callable[[int, int], None]], None]

_0 = np.float32(0)


def fire(layer: Leaky, currents: Floats, out: Floats) -> None:
    """The spikes, 0 or 1, of currents."""
    each = layer.channels // layer.steps
    keep, threshold = np.float32(layer.keep), np.float32(layer.threshold)
    v = np.zeros((*currents.shape[:2], each), np.float32)
    for t in range(layer.steps):
        now = slice(t * each, (t + 1) * each)
        u = v * keep + currents[..., now]
        fires = u >= threshold
        out[..., now] = fires
        v = np.where(fires, _0, u)


def mean_over_steps(layer: StepMean, values: Floats, out: Floats) -> None:
    """The mean over the steps, (rows, columns, C)."""
    by_step = values.reshape(*values.shape[:2], layer.steps, -1)
    total = by_step[..., 0, :].copy()
    for t in range(1, layer.steps):
        total += by_step[..., t, :]
    np.multiply(total, np.float32(1 / layer.steps), out=out)


def gates(layer: StepAttention, parameters: Mapping[str, Floats], averages: Floats, most: Floats) -> Floats:
    """The gates over time and channels together, (T·C,), from the means and the largest values over the whole image."""
    each = layer.channels // layer.steps
    means, largest = (values.astype(np.float64).reshape(layer.steps, each) for values in (averages, most))
    time = _gate(parameters["time1"], parameters["time2"], means.mean(1), largest.max(1))[:, None]
    # gates are positive: the largest of what is gated is the largest gated
    channel = _gate(parameters["channel1"], parameters["channel2"], (time * means).mean(0), (time * largest).max(0))
    return np.asarray((time * channel).ravel(), np.float32)


def attend(kernel: Floats, gate: Floats, x: Floats, at: tuple[int, int], out: Floats, in_rows: InRows) -> None:
    """Those gates, the one over places and a ReLU.

    x : what is gated, with as many pixels around `out` as the kernel (1, 2, k, k) reads, but for those outside the image; at :
    the first pixel of `out` in it.
    """
    half, (height, width) = kernel.shape[2] // 2, out.shape[:2]
    pooled = np.zeros((height + 2 * half, width + 2 * half, 2))
    y, z = half - at[0], half - at[1]
    inside = pooled[y : y + x.shape[0], z : z + x.shape[1]]
    core = x[at[0] : at[0] + height, at[1] : at[1] + width]

    def pool(first: int, last: int) -> None:
        for row, own in zip(x[first:last], inside[first:last], strict=True):
            gated = row * gate
            own[:, 0] = gated.mean(1, dtype=np.float64)
            own[:, 1] = gated.max(1)

    def finish(first: int, last: int) -> None:
        np.maximum(core[first:last] * gate, _0, out=out[first:last])
        out[first:last] *= place[first:last, :, None]

    in_rows(len(x), pool)
    place = _places(kernel, pooled)
    in_rows(height, finish)


def _gate(first: Floats, second: Floats, *pooled: Doubles) -> Doubles:
    """σ of the sum of a perceptron's answers to pooled values (C,)."""
    from scipy.special import expit

    w1, w2 = first.astype(np.float64), second.astype(np.float64)
    answers = sum(w2 @ np.maximum(w1 @ values, 0) for values in pooled)
    return np.asarray(expit(answers))


def _places(kernel: Floats, padded: Doubles) -> Floats:
    """σ of the convolution of (rows + k - 1, columns + k - 1, 2), float32 (rows, columns)."""
    from scipy.special import expit

    size = kernel.shape[2]
    rows, columns = (side - size + 1 for side in padded.shape[:2])
    total = np.zeros((rows, columns))
    for i in range(size):
        for j in range(size):
            for channel in range(2):
                total += float(kernel[0, channel, i, j]) * padded[i : i + rows, j : j + columns, channel]
    return np.asarray(expit(total), np.float32)
