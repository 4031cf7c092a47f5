"""The slow, obvious layers: whole numbers, dense arrays (channels, H, W), one loop per definition."""

import numpy as np

from nspike.graph.layer import (
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Conv,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
)
from tests.naive_neurons import half_even, on_grid

UNIT = 65535


def convolve(x, weights, conv=None):
    """x (I, H, W), weights (C, I/groups, k, k), both int64: the zero-padded convolution, tap by tap.

    conv: what has stride, dilation, groups and padding; by default a plain one.
    """
    size = weights.shape[-1]
    conv = conv or Conv("", "", len(x), len(weights), size)
    (before, after), step = conv.pads, conv.stride
    height, width = -(-x.shape[1] // step), -(-x.shape[2] // step)
    padded = np.pad(x.astype(np.int64), ((0, 0), (before, after), (before, after)))
    out = np.zeros((len(weights), height, width), np.int64)
    each, read = len(weights) // conv.groups, len(x) // conv.groups
    for group in range(conv.groups):
        mine, theirs = slice(group * each, (group + 1) * each), slice(group * read, (group + 1) * read)
        for dy in range(size):
            for dx in range(size):
                y, x_ = dy * conv.dilation, dx * conv.dilation
                taken = padded[theirs, y : y + height * step : step, x_ : x_ + width * step : step]
                out[mine] += np.tensordot(weights[mine, :, dy, dx], taken, 1)
    return out


def image_current(plane, weights, conv=None):
    """From the image, rounded once. 65535 is odd, so that no quotient is half-way between integers."""
    return (2 * convolve(plane, weights, conv) + UNIT) // (2 * UNIT)


def gate_weights(plane, value, k):
    """λ·(x - 1) on the channels' grids, (C, H, W)."""
    out = np.zeros(plane.shape, np.int64)
    for c, y, x in np.ndindex(plane.shape):
        n, d = float(value[c]).as_integer_ratio()
        n, d = (int(plane[c, y, x]) - UNIT) * n, UNIT * d
        out[c, y, x] = half_even(n << k[c], d) if k[c] >= 0 else half_even(n, d << -k[c])
    return out


def constant_planes(values, shape):
    planes = np.zeros((len(values), *shape), np.int64)
    for plane, v in zip(planes, values, strict=True):
        n, d = float(v).as_integer_ratio()
        plane[:] = half_even(n * UNIT, d)
    return planes


def moved(layer, read):
    """What a layer that only moves makes of arrays (C, H, W)."""
    if isinstance(layer, Activation):
        return read[0]
    if isinstance(layer, Concat):
        return np.concatenate(read)
    x = read[0]
    count, height, width = x.shape
    if isinstance(layer, ChannelShuffle):
        out, each = np.zeros_like(x), count // layer.groups
        for i in range(layer.groups):
            for j in range(each):
                out[j * layer.groups + i] = x[i * each + j]
        return out
    if isinstance(layer, PixelShuffle | PixelUnshuffle | Nearest):
        r = layer.factor
        if isinstance(layer, PixelShuffle):
            out = np.zeros((count // r**2, height * r, width * r), x.dtype)
        elif isinstance(layer, PixelUnshuffle):
            out = np.zeros((count * r**2, height // r, width // r), x.dtype)
        else:
            out = np.zeros((count, height * r, width * r), x.dtype)
        for i in range(r):
            for j in range(r):
                if isinstance(layer, PixelShuffle):
                    out[:, i::r, j::r] = x[i * r + j :: r**2]
                elif isinstance(layer, PixelUnshuffle):
                    out[i * r + j :: r**2] = x[:, i::r, j::r]
                else:
                    out[:, i::r, j::r] = x
        return out
    return x[layer.first : layer.first + layer.channels]


def moved_spikes(network, layer, read):
    """Spikes are a list of what each part holds: (name, bool (steps, planes, channels, H, W))."""
    joined = [part for each in read for part in each]
    if len(layer.sources) > 1:
        return joined
    assert len({part.shape[1] for _, part in joined}) == 1, "one set of planes"
    whole_ = np.concatenate([part for _, part in joined], axis=2)
    out = np.array([[moved(layer, [plane]) for plane in step] for step in whole_])
    return [(layer.name, out)]


def added(layer, read):
    """A sum of currents, of blocks, or the bilinear enlargement in sixteenths; arrays (C, H, W) on one grid."""
    if isinstance(layer, Add):
        total = read[0] * 0
        for x in read:
            total = total + x
        return total
    (x,) = read
    count, height, width = x.shape
    if isinstance(layer, AveragePool):
        s = layer.size
        out = np.zeros((count, height // s, width // s), np.int64)
        for i in range(s):
            for j in range(s):
                out += x[:, i::s, j::s]
        return out
    assert isinstance(layer, Bilinear)
    out = np.zeros((count, 2 * height, 2 * width), np.int64)
    for y in range(2 * height):
        for x_ in range(2 * width):
            for row, a in quarters(y, height):
                for column, b in quarters(x_, width):
                    out[:, y, x_] += a * b * x[:, row, column]
    return out


def quarters(i, size):
    """(position, quarters of it) that an output of the enlargement along one axis is made of."""
    j = i // 2
    other = j - 1 if i % 2 == 0 else j + 1
    return [(j, 3), (min(max(other, 0), size - 1), 1)]


def grid_column(values, k):
    return np.array([on_grid(v, e) for v, e in zip(values, k, strict=True)], np.int64).reshape(-1, 1, 1)
