"""The currents of a batch as tensors, and the layers that make currents of currents, there and back.

Arrays are int32 (N, steps, H, W, C), or (N, 1, H, W, C) for what is the same at every step up to T and then 0. Gradients
are float32 (steps, N, H, W, C), or (N, H, W, C) of the charge of all steps, in units of the scale that currents share: a mean
is a mean there, by however many bits its grid is finer.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.graph.layer import Add, AveragePool, Bilinear, Layer
from nspike.trainable.layer import Doubles, Floats, Ints
from nspike.trainable.spike_train import SpikeTrain


class Current(Tensor):
    """A current; see the module."""

    def __init__(self, data: Ints) -> None:
        super().__init__(np.zeros(0, np.float32))
        self.data = np.ascontiguousarray(data)

    def combine(self, parts: list[Any]) -> Any:
        """The sum of what the layers after contribute; a part alone is handed on as it is."""
        return reduce(np.add, parts)


class GivenInput:
    """A current that neurons integrate, and perhaps others, as their `Input`.

    Parameters
    ----------
    current : of which. exponent : int64 (C,), it is in units of 2^-exponent of its scale. timesteps : T.
    """

    fast = False
    hands_on = True

    def __init__(self, current: Current, exponent: NDArray[np.int64], timesteps: int) -> None:
        self.current, self.exponent, self.timesteps = current, exponent, timesteps
        count, _, height, width, _ = current.data.shape
        self.shape = (count, height, width)

    @property
    def trains(self) -> list[SpikeTrain]:
        """None."""
        return []

    @property
    def words(self) -> NDArray[np.uint64]:
        """None: nothing is read."""
        return np.zeros(0, np.uint64)

    @property
    def parents(self) -> list[Tensor]:
        """The current."""
        return [self.current]

    def currents(self) -> Ints:
        """The current itself."""
        return np.asarray(self.current.data)

    def back_in_time(self, currents: Floats, sums: Doubles) -> list[Any]:
        """∂L/∂I, handed on."""
        return [currents]

    def charge(self) -> Floats:
        """What arrives at all steps together, in units of the current's scale."""
        data = self.current.data
        total = data.sum(axis=1, dtype=np.int64) if data.shape[1] > 1 else data[:, 0].astype(np.int64) * self.timesteps
        return np.ldexp(total.astype(np.float64), -self.exponent).astype(np.float32)

    def back_through_rate(self, charge: Floats) -> list[Any]:
        """The gradient of the charge, handed on."""
        return [charge]


def joined(read: Sequence[Ints], shifts: Sequence[NDArray[np.int64] | None], timesteps: int, steps: int) -> list[Ints]:
    """Currents shifted to one grid and as long as one another."""
    shifted = [x if shift is None else x << shift.astype(np.int32) for x, shift in zip(read, shifts, strict=True)]
    if len({x.shape[1] for x in shifted}) == 1:
        return shifted
    return [_lengthened(x, timesteps, steps) for x in shifted]


def _lengthened(x: Ints, timesteps: int, steps: int) -> Ints:
    if x.shape[1] == steps:
        return x
    out = np.zeros((len(x), steps, *x.shape[2:]), np.int32)
    out[:, :timesteps] = x
    return out


# ----- Forward -----


def _sum(layer: Any, read: Sequence[Ints]) -> Ints:
    return reduce(np.add, read)


def _blocks(x: NDArray[Any], size: int) -> NDArray[Any]:
    """The sum of each size×size block of (..., H, W, C)."""
    *lead, height, width, channels = x.shape
    return np.asarray(
        x.reshape(*lead, height // size, size, width // size, size, channels).sum(axis=(-4, -2), dtype=x.dtype)
    )


def _enlarged(x: Ints, axis: int) -> Ints:
    """Weights 1 and 3 along an axis: x[j-1] + 3·x[j] and 3·x[j] + x[j+1], the border repeated."""
    x = np.moveaxis(x, axis, 0)
    before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
    out = np.stack([before + 3 * x, 3 * x + after], axis=1).reshape(-1, *x.shape[1:])
    return np.moveaxis(out, 0, axis)


FORWARD: Mapping[type[Layer], Callable[[Any, Sequence[Ints]], Ints]] = {
    Add: _sum,
    AveragePool: lambda layer, read: _blocks(read[0], layer.size),
    Bilinear: lambda layer, read: _enlarged(_enlarged(read[0], -3), -2),
}
"""(layer, the currents that it reads, shifted) -> its current, on a grid that is finer by the bits of its weights."""


# ----- Back -----


def _repeated(g: Floats, size: int) -> Floats:
    return np.repeat(np.repeat(g, size, axis=-3), size, axis=-2)


def _reduced(g: Floats, axis: int) -> Floats:
    """The transposed map of `_enlarged`, in quarters."""
    g = np.moveaxis(g, axis, 0)
    even, odd = g[::2], g[1::2]
    out = 3 * (even + odd)
    out[:-1] += even[1:]
    out[1:] += odd[:-1]
    out[0] += even[0]
    out[-1] += odd[-1]
    return np.moveaxis(out * np.float32(0.25), 0, axis)


BACK: Mapping[type[Layer], Callable[[Any, Floats], list[Floats]]] = {
    Add: lambda layer, g: [g] * len(layer.sources),
    AveragePool: lambda layer, g: [_repeated(g * np.float32(1 / layer.size**2), layer.size)],
    Bilinear: lambda layer, g: [_reduced(_reduced(g, -2), -3)],
}
"""(layer, the gradient of its current) -> those of the currents that it reads."""
