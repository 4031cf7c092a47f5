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


def attend(layer: StepAttention, parameters: Mapping[str, Floats], x: Floats, out: Floats, in_rows: InRows) -> None:
    """Gates over time, channels and places, and a ReLU, on the whole image."""
    each = layer.channels // layer.steps
    means = x.sum((0, 1), dtype=np.float64).reshape(layer.steps, each) / (x.shape[0] * x.shape[1])
    largest = x.max((0, 1)).reshape(layer.steps, each).astype(np.float64)
    time = _gate(parameters["time1"], parameters["time2"], means.mean(1), largest.max(1))[:, None]
    # gates are positive: the largest of what is gated is the largest gated
    channel = _gate(parameters["channel1"], parameters["channel2"], (time * means).mean(0), (time * largest).max(0))
    gate = (time * channel).ravel().astype(np.float32)
    pooled = np.empty((*x.shape[:2], 2))

    def pool(first: int, last: int) -> None:
        z = x[first:last] * gate
        pooled[first:last, :, 0] = z.mean(2, dtype=np.float64)
        pooled[first:last, :, 1] = z.max(2)

    def finish(first: int, last: int) -> None:
        np.maximum(x[first:last] * gate, _0, out=out[first:last])
        out[first:last] *= place[first:last, :, None]

    in_rows(len(x), pool)
    place = _places(parameters["space"], pooled)
    in_rows(len(x), finish)


def _gate(first: Floats, second: Floats, *pooled: Doubles) -> Doubles:
    """σ of the sum of a perceptron's answers to pooled values (C,)."""
    from scipy.special import expit

    w1, w2 = first.astype(np.float64), second.astype(np.float64)
    answers = sum(w2 @ np.maximum(w1 @ values, 0) for values in pooled)
    return np.asarray(expit(answers))


def _places(kernel: Floats, pooled: Doubles) -> Floats:
    """σ of the zero-padded convolution of (rows, columns, 2), float32 (rows, columns)."""
    from scipy.special import expit

    size = kernel.shape[2]
    padded = np.pad(pooled, ((size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    rows, columns = pooled.shape[:2]
    total = np.zeros((rows, columns))
    for i in range(size):
        for j in range(size):
            for channel in range(2):
                total += float(kernel[0, channel, i, j]) * padded[i : i + rows, j : j + columns, channel]
    return np.asarray(expit(total), np.float32)
