"""Dense float32 convolution with stride, dilation and groups, for the plain ANN. No spike is decided here.

Layout and order of sums are those of `nspike.kernels.dense`: kernel row, column, input channel. Each group takes registers
of `lanes` output channels for itself; small groups are joined, with zeros between them, until they fill one. Depthwise
kernels take a loop over channels.
"""

import numpy as np
from numpy.typing import NDArray

from nspike.kernels._jit import kernel
from nspike.kernels.dense import (
    NARROW,
    NARROW_PIXELS,
    WIDE,
    WIDE_PIXELS,
    accumulate_narrow,
    accumulate_wide,
)


@kernel
def convolve_groups(
    x, origin, row, channels, weights, size, stride, dilation, groups, bias, rectify, out, first, last, sums
):
    """Rows first .. last-1 of a convolution, in place in out (H, W, C_out).

    x, origin, row, bias, sums : as for `dense.convolve_rows`; weights flat (groups, blocks, k, k, C_in/groups, lanes), as
    `pack_groups` gives them; x is readable stride·`NARROW_PIXELS` + span pixels past the last.
    """
    width, kept = out.shape[1], out.shape[2]
    padded, inner, each = bias.shape[0], channels // groups, kept // groups
    narrow = each <= NARROW
    lanes = NARROW if narrow else WIDE
    pixels = NARROW_PIXELS if narrow else WIDE_PIXELS
    blocks = padded // (groups * lanes)
    step = stride * channels
    for y in range(first, last):
        for p in range((width + pixels - 1) // pixels * pixels):
            sums[p * padded : (p + 1) * padded] = bias
        for dy in range(size):
            start = origin + (y * stride + dy * dilation) * row
            for g in range(groups):
                for block in range(blocks):
                    lane = (g * blocks + block) * lanes
                    for dx in range(size):
                        at = start + dx * dilation * channels + g * inner
                        taken = (((g * blocks + block) * size + dy) * size + dx) * inner * lanes
                        for p in range(0, width, pixels):
                            target = p * padded + lane
                            if narrow:
                                accumulate_narrow(x, at + p * step, step, weights, taken, inner, sums, target, padded)
                            else:
                                accumulate_wide(x, at + p * step, step, weights, taken, inner, sums, target, padded)
        for p in range(width):
            for g in range(groups):
                at = p * padded + g * blocks * lanes
                found, into = sums[at : at + each], out[y, p, g * each : (g + 1) * each]
                for c in range(each):
                    into[c] = np.float32(0) if rectify and found[c] < 0 else found[c]


@kernel
def convolve_channels(x, origin, row, channels, weights, size, stride, dilation, bias, rectify, out, first, last, sums):
    """As `convolve_groups`, for one channel in each group: weights flat (k, k, C), bias (C,)."""
    width = out.shape[1]
    totals = sums[:channels]
    for y in range(first, last):
        for p in range(width):
            start = origin + y * stride * row + p * stride * channels
            if size == 3:
                three_by_three(x, start, dilation * row, dilation * channels, weights, bias, totals)
            else:
                totals[:] = bias
                for dy in range(size):
                    for dx in range(size):
                        at = start + dilation * (dy * row + dx * channels)
                        taken = (dy * size + dx) * channels
                        values, factors = x[at : at + channels], weights[taken : taken + channels]
                        for c in range(channels):
                            totals[c] += values[c] * factors[c]
            for c in range(channels):
                value = totals[c]
                out[y, p, c] = np.float32(0) if rectify and value < 0 else value


@kernel
def three_by_three(x, at, row, step, weights, bias, totals):
    """All channels of one pixel of a depthwise 3×3 convolution: the taps are `row` and `step` apart, the first at `at`."""
    n = totals.shape[0]
    a, b, c = x[at : at + n], x[at + step : at + step + n], x[at + 2 * step : at + 2 * step + n]
    at += row
    d, e, f = x[at : at + n], x[at + step : at + step + n], x[at + 2 * step : at + 2 * step + n]
    at += row
    g, h, i = x[at : at + n], x[at + step : at + step + n], x[at + 2 * step : at + 2 * step + n]
    upper, middle, lower = weights[: 3 * n], weights[3 * n : 6 * n], weights[6 * n : 9 * n]
    for k in range(n):
        total = bias[k] + a[k] * upper[k]
        total += b[k] * upper[n + k]
        total += c[k] * upper[2 * n + k]
        total += d[k] * middle[k]
        total += e[k] * middle[n + k]
        total += f[k] * middle[2 * n + k]
        total += g[k] * lower[k]
        total += h[k] * lower[n + k]
        total += i[k] * lower[2 * n + k]
        totals[k] = total


def is_depthwise(channels: int, kept: int, groups: int) -> bool:
    """Whether a convolution is one for `convolve_channels`."""
    return channels == kept == groups


def pack_groups(
    weights: NDArray[np.float32], bias: NDArray[np.float32], groups: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Float32 (C_out, C_in/groups, k, k) and (C_out,) as `convolve_groups` or `convolve_channels` take them, and the groups."""
    kept, inner, size, _ = weights.shape
    weights = np.where(np.abs(weights) < 1e-30, np.float32(0), weights)  # denormal numbers, see `dense.pack`
    if is_depthwise(inner * groups, kept, groups):
        return np.ascontiguousarray(weights.transpose(2, 3, 1, 0)).ravel(), np.array(bias), groups
    each = kept // groups
    joined = max((n for n in range(1, groups + 1) if groups % n == 0 and n * each <= NARROW), default=1)
    blocked = np.zeros((groups // joined, joined, each, joined, inner, size, size), np.float32)
    for n in range(joined):
        blocked[:, n, :, n] = weights.reshape(groups // joined, joined, each, inner, size, size)[:, n]
    groups, each, inner = groups // joined, joined * each, joined * inner
    lanes = NARROW if each <= NARROW else WIDE
    blocks = -(-each // lanes)
    padded = np.zeros((groups, blocks * lanes, inner, size, size), np.float32)
    padded[:, :each] = blocked.reshape(groups, each, inner, size, size)
    parts = padded.reshape(groups, blocks, lanes, inner, size, size).transpose(0, 1, 4, 5, 3, 2)
    biases = np.zeros((groups, blocks * lanes), np.float32)
    biases[:, :each] = bias.reshape(groups, each)
    return np.ascontiguousarray(parts).ravel(), biases.ravel(), groups


@kernel
def normalise_pixels(x, weight, bias, eps, centred, out):
    """Layer norm over the channels of each pixel of x (H, W, C), in out: see `nspike.graph.plain_layer.LayerNorm`.

    centred : whether the mean is taken away.
    """
    height, width, channels = x.shape
    for i in range(height):
        for j in range(width):
            mean = 0.0
            for c in range(channels):
                mean += x[i, j, c]
            mean /= channels
            spread = 0.0
            for c in range(channels):
                spread += (x[i, j, c] - mean) ** 2
            scale = 1.0 / np.sqrt(spread / channels + eps)
            shift = mean if centred else 0.0
            for c in range(channels):
                out[i, j, c] = np.float32((x[i, j, c] - shift) * scale * weight[c] + bias[c])
