"""The layers of the float64 reference but the neurons: the image and currents through a network, all steps at once.

Arrays are float64: of the image and what is like it (C, H, W), of currents (steps, C, H, W); spikes are bool
(steps, planes·C, H, W).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.graph.arrange import MOVES, move_spikes
from nspike.graph.layer import Add, AveragePool, Bilinear, Constant, Conv, Gate, Layer
from nspike.graph.network import Network
from nspike.images.plane import UNIT
from nspike.integer.currents import gate_weights, image_current
from nspike.integer.spike_channels import Planes, counted, inputs, spike_planes, spike_sources

Floats = NDArray[np.float64]

_CHUNK = 2**21  # numbers that an unrolled convolution may hold


@dataclass(frozen=True)
class FloatCurrent:
    """A convolution or gate in units of its current's scale.

    weights : (phases, C, I, k, k), a second phase for the post steps, I being the spike channels of a group; empty for a
    gate, which has `gate` (C,). bias : (C,). exponent : int64 (C,) of a rounded one, else none.
    """

    weights: Floats
    gate: Floats
    bias: Floats
    exponent: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Run:
    """What layers need of a run: the network, T, the post steps, the image (C, H, W) in [0, 1], an activation's spike planes."""

    network: Network
    timesteps: int
    post_steps: int
    image: Floats
    planes: Callable[[str], Planes]


def _conv(conv: Any, read: Sequence[NDArray[Any]], current: FloatCurrent | None, run: Run) -> Floats:
    assert current is not None
    if not spike_sources(run.network, conv.name):
        return _constant(_analog(conv, read[0], current), current, run)
    places = inputs(run.network, conv.name, conv.groups, run.planes).places
    before, after = (
        convolve(spikes, weights, conv, places)
        for spikes, weights in zip(np.split(read[0], [run.timesteps]), current.weights[[0, -1]], strict=True)
    )
    return np.concatenate([before + current.bias[:, None, None], after])


def _gate(gate: Any, read: Sequence[NDArray[Any]], current: FloatCurrent | None, run: Run) -> Floats:
    assert current is not None
    value = current.gate[:, None, None]
    if current.exponent is None:
        each: Floats = (run.image - 1.0) * value
    else:
        k = current.exponent[:, None, None]
        each = np.asarray(np.ldexp(gate_weights(np.rint(run.image * UNIT), value, k), -k))
    parts = [
        (spike_planes(run.network, p, run.planes), run.network.widths[p]) for p in spike_sources(run.network, gate.name)
    ]
    currents = np.asarray(counted(read[0], parts, 1) * each, np.float64)
    currents[: run.timesteps] += current.bias[:, None, None]
    return currents


def _constant(values: Floats, current: FloatCurrent, run: Run) -> Floats:
    """What is the same at every step up to T, and nothing after it."""
    silent = np.zeros((run.post_steps, *values.shape))
    return np.concatenate([np.stack([values + current.bias[:, None, None]] * run.timesteps), silent])


def _analog(conv: Any, image: Floats, current: FloatCurrent) -> Floats:
    """The current that the image causes, rounded once for a rounded layer."""
    places = np.arange(conv.in_channels).reshape(conv.groups, -1)
    if current.exponent is None:
        return np.asarray(convolve(image[None], current.weights[0], conv, places)[0])
    k = current.exponent[:, None, None]
    sums = convolve(np.rint(image * UNIT)[None], current.weights[0], conv, places)[0]
    return np.asarray(np.ldexp(image_current(np.ldexp(sums, k)), -k), np.float64)


def convolve(x: NDArray[np.generic], weights: Floats, conv: Conv, places: NDArray[np.int64]) -> Floats:
    """Zero-padded correlation of (S, channels, H, W) with float64 (C, I, k, k): float64 (S, C, H/stride, W/stride).

    places : which of the channels each group reads, int64 (groups, I).
    """
    out = len(weights) // len(places)
    parts = [
        _convolve_group(x[:, read], weights[first * out : (first + 1) * out], conv) for first, read in enumerate(places)
    ]
    return np.concatenate(parts, axis=1)


def _convolve_group(x: NDArray[np.generic], weights: Floats, conv: Conv) -> Floats:
    (count, channels, height, width), (out, _, size, _) = x.shape, weights.shape
    rows, columns = -(-height // conv.stride), -(-width // conv.stride)
    result = np.empty((count, out, rows, columns))
    flat = weights.transpose(0, 2, 3, 1).reshape(out, -1)
    chunk = max(1, _CHUNK // (channels * size * size * rows * columns))
    for first in range(0, count, chunk):
        part = x[first : first + chunk].transpose(1, 0, 2, 3)
        part = np.pad(part, ((0, 0), (0, 0), conv.pads, conv.pads))
        taps = np.empty((size, size, channels, part.shape[1], rows, columns))
        for dy, dx in np.ndindex(size, size):
            y, x_ = dy * conv.dilation, dx * conv.dilation
            taps[dy, dx] = part[:, :, y :: conv.stride, x_ :: conv.stride][:, :, :rows, :columns]
        product = flat @ taps.reshape(flat.shape[1], -1)
        result[first : first + chunk] = product.reshape(out, -1, rows, columns).transpose(1, 0, 2, 3)
    return result


def _average(layer: Any, read: Sequence[NDArray[Any]], *_: object) -> Floats:
    size, (*lead, height, width) = layer.size, read[0].shape
    blocks = read[0].reshape(*lead, height // size, size, width // size, size)
    return np.asarray(blocks.sum(axis=(-3, -1)) / size**2, np.float64)


def _bilinear(layer: Any, read: Sequence[NDArray[Any]], *_: object) -> Floats:
    return _enlarged(_enlarged(read[0]).swapaxes(-1, -2)).swapaxes(-1, -2)


def _enlarged(x: Floats) -> Floats:
    """Twice the columns: x[j-1]/4 + 3·x[j]/4 and 3·x[j]/4 + x[j+1]/4."""
    before, after = (np.concatenate(ends, axis=-1) for ends in ((x[..., :1], x[..., :-1]), (x[..., 1:], x[..., -1:])))
    return np.stack([(before + 3 * x) / 4, (3 * x + after) / 4], axis=-1).reshape(*x.shape[:-1], -1)


def _arrange(layer: Any, read: Sequence[NDArray[Any]], _: object, run: Run) -> NDArray[Any]:
    if read[0].dtype != np.bool_:
        return MOVES[type(layer)](layer, read)
    joined = np.concatenate(read, axis=-3)
    if len(layer.sources) > 1:
        return joined
    return move_spikes(run.network, layer, joined, len(spike_planes(run.network, layer.name, run.planes)))


def _plane(layer: Any, read: Sequence[NDArray[Any]], *_: object) -> Floats:
    values = np.array(layer.values)[:, None, None]
    return np.broadcast_to(values, (len(values), *read[0].shape[1:])).astype(np.float64)


LAYERS: Mapping[type[Layer], Callable[..., Any]] = {
    Conv: _conv,
    Gate: _gate,
    Add: lambda layer, read, *_: sum(read),
    AveragePool: _average,
    Bilinear: _bilinear,
    Constant: _plane,
    **dict.fromkeys(MOVES, _arrange),
}
"""(layer, the arrays that it reads, a convolution's or gate's numbers, the run) -> its array, for each kind but activations."""
