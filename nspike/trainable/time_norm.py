"""Batch norm over time and batch (tdBN; Zheng et al., AAAI 2021) while a spiking network trains, folded into its kernels.

    I = γ·x̂ + β,  x̂ = (y - μ)/√(σ² + ε),  y = V * s          per channel; μ, σ²: over the steps up to T, images and pixels

in units of the current's scale, in which thresholds are about 1: the paper's α·θ is in γ. The kernel that runs is rounded from
V·γ/√(σ² + ε) with the running means of μ and σ², which is what is exported. While a network learns, the integer currents that
it gives are moved to the mean and variance of their own batch, and gradients go through those:

    ∂L/∂y = γ/√(σ² + ε)·(g - mean of g - x̂·mean of g·x̂),  g = ∂L/∂I;   ∂L/∂γ = Σ g·x̂;   ∂L/∂β = Σ g

In its last steps (`settled`) it runs on the frozen running means alone: what trains then is what is exported, spike for spike.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.integer.grid import RANGE, IntegerLayer
from nspike.runtime.parallel import each
from nspike.trainable.layer import Doubles, Floats, Ints, KernelParameters

EPSILON = 1e-5
MOMENTUM = 0.1
"""How much of a batch enters the running means."""
_LEAST = 1e-6


class TimeNorm:
    """The batch norm of one convolution.

    Parameters
    ----------
    kernel : its floats without batch norm; without a bias it gets one.
    together : how many channels, one after the other, share their γ, β and statistics.
    """

    def __init__(self, kernel: KernelParameters, together: int = 1) -> None:
        assert kernel.weight is not None
        self.weight, self.together = kernel.weight, together
        count = len(self.weight.data) // together
        bias = np.zeros(count * together, np.float32) if kernel.bias is None else kernel.bias.data.astype(np.float32)
        self.gain = Tensor(np.sqrt(np.ones(count, np.float32) + np.float32(EPSILON)), requires_grad=True)
        self.shift = Tensor(bias.reshape(count, together).mean(axis=1), requires_grad=True)
        self.mean, self.variance = Tensor(np.zeros(count, np.float32)), Tensor(np.ones(count, np.float32))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a training state keeps, by name; what has no gradient follows from the batches."""
        return {
            "weight": self.weight,
            "norm_gain": self.gain,
            "norm_shift": self.shift,
            "norm_mean": self.mean,
            "norm_variance": self.variance,
        }

    @property
    def root(self) -> Floats:
        """√(σ² + ε) of the running variance, float32."""
        return np.asarray(np.sqrt(self.variance.data + np.float32(EPSILON)), np.float32)

    def folded(self, settled: bool) -> KernelParameters:
        """The kernel and bias that are rounded; their gradients go to γ and β too once it has settled."""
        gain, shift = (self.gain, self.shift) if settled else (Tensor(self.gain.data), Tensor(self.shift.data))
        factor = gain / self.root
        bias = shift - factor * self.mean.data
        return KernelParameters(self.weight * self._wide(factor).reshape(-1, 1, 1, 1), self._wide(bias))

    def _wide(self, tensor: Tensor) -> Tensor:
        """A number for each channel, of one for those that share it."""
        return tensor if self.together == 1 else tensor[np.repeat(np.arange(tensor.size), self.together)]

    def begin(self, gain: float) -> None:
        """Start anew with this γ, and β = 0."""
        self.gain.data = np.full_like(self.gain.data, gain)
        self.shift.data = np.zeros_like(self.shift.data)

    def keep(self, batch: "NormedBatch") -> None:
        """Begin with the statistics of a batch that has run, the function of the network being kept."""
        factor, bias = self.gain.data / self.root, self.shift.data - self.gain.data / self.root * self.mean.data
        self.follow(batch, 1.0)
        self.gain.data = factor * self.root
        self.shift.data = np.asarray(bias + factor * self.mean.data)

    def follow(self, batch: "NormedBatch", momentum: float = MOMENTUM) -> None:
        """Let a batch that has run enter the running statistics."""
        for tensor, value in ((self.mean, batch.mean), (self.variance, batch.variance)):
            tensor.data = (tensor.data + momentum * (value - tensor.data)).astype(np.float32)


@dataclass
class NormedBatch:
    """The currents of one convolution in one batch, normalised by their own statistics.

    mean, variance : of y, float64 (C/together,). given : the currents as the kernel gave them, int32 (N, steps or 1, H, W, C).
    """

    norm: TimeNorm
    timesteps: int
    mean: Doubles = field(default_factory=lambda: np.zeros(0))
    variance: Doubles = field(default_factory=lambda: np.zeros(0))
    given: Ints = field(default_factory=lambda: np.zeros(0, np.int32))

    def normalised(self, given: Ints, integer: IntegerLayer) -> Ints:
        """The currents int32, normalised up to T; those after it, which have no bias, are scaled."""
        from nspike.kernels import normalising

        self.given = given
        self._measure(integer)
        factor, offset = self._forward
        out = np.empty_like(given)
        nothing, most = np.zeros_like(offset), float(RANGE)

        def some(_: int, first: int, last: int) -> None:
            for i in range(first, last):
                n, t = divmod(i, given.shape[1])
                rows = given[n, t].reshape(-1, given.shape[-1])
                own = offset if t < self.timesteps else nothing
                normalising.moved(rows, factor, own, most, out[n, t].reshape(rows.shape))

        each(some, given.shape[0] * given.shape[1])
        return out

    def _measure(self, integer: IntegerLayer) -> None:
        """Set the statistics, and how they are applied there and back."""
        norm, unit = self.norm, np.ldexp(1.0, -integer.exponent)
        sums, count = self._moments(), self.given[:, : self.timesteps, :, :, 0].size
        run = np.repeat(norm.gain.data / norm.root.astype(np.float64), norm.together)  # of y, in the kernel that ran
        alive = np.abs(run) > _LEAST
        per_y = unit / np.where(alive, run, 1)  # from the grid to y
        first, second = sums / count
        mean = per_y * (first - integer.bias)
        square = np.square(per_y) * np.maximum(second - np.square(first), 0) + np.square(mean)
        mean, square = (x.reshape(-1, norm.together).mean(axis=1) for x in (mean, square))
        alive = alive[:: norm.together]
        self.mean = np.where(alive, mean, norm.mean.data)
        self.variance = np.where(alive, np.maximum(square - np.square(mean), 0), norm.variance.data)
        root = np.repeat(np.sqrt(self.variance + EPSILON), norm.together)
        shift, middle = (np.repeat(x, norm.together) for x in (norm.shift.data, self.mean))
        factor = np.repeat(norm.root.astype(np.float64), norm.together) / root
        wide = np.repeat(norm.gain.data.astype(np.float64), norm.together)
        self._forward = factor, (shift - wide * middle / root) / unit - factor * integer.bias
        there = np.repeat(alive, norm.together)
        self._hat = there * per_y / root, there * (-per_y * integer.bias - middle) / root
        self._factor = factor

    def _moments(self) -> Doubles:
        """Σx and Σx², float64 (2, C), of the currents up to T: the same for any number of threads."""
        from nspike.kernels import normalising

        given = self.given[:, : self.timesteps]
        parts = np.zeros((given.shape[0], given.shape[1], 2, given.shape[-1]))

        def some(_: int, first: int, last: int) -> None:
            for i in range(first, last):
                n, t = divmod(i, given.shape[1])
                normalising.moments(given[n, t].reshape(-1, given.shape[-1]), parts[n, t])

        each(some, given.shape[0] * given.shape[1])
        return np.asarray(parts.sum(axis=(0, 1)))

    def back(self, g: Floats) -> tuple[Floats, list[Any]]:
        """From ∂L/∂I (steps, N, H, W, C): that of the currents as the kernel gave them, and ∂L/∂γ and ∂L/∂β."""
        from nspike.kernels import normalising

        steps, count, channels = g.shape[0], g.shape[1], g.shape[-1]
        p, q = self._hat
        parts = np.zeros((self.timesteps, count, 2, channels))
        out = np.empty_like(g)
        mean, slope = np.zeros(channels), np.zeros(channels)
        nothing = np.zeros(channels)

        def pair(i: int) -> tuple[int, int, Floats, Ints]:
            t, n = divmod(i, count)
            at = self.given[n, min(t, self.given.shape[1] - 1)]
            return t, n, g[t, n].reshape(-1, channels), at.reshape(-1, channels)

        def sums(_: int, first: int, last: int) -> None:
            for i in range(first, last):
                t, n, of_pixels, x = pair(i)
                normalising.products(of_pixels, x, p, q, parts[t, n])

        def apply(_: int, first: int, last: int) -> None:
            for i in range(first, last):
                t, n, of_pixels, x = pair(i)
                own = (mean, slope) if t < self.timesteps else (nothing, nothing)
                normalising.backward(of_pixels, x, p, q, self._factor, *own, out[t, n].reshape(of_pixels.shape))

        each(sums, self.timesteps * count)
        totals = self._shared(parts.sum(axis=(0, 1)))
        pixels = self.timesteps * count * g[0, 0, ..., 0].size * self.norm.together
        mean[:], slope[:] = np.repeat(totals / pixels, self.norm.together, axis=1)
        each(apply, steps * count)
        return out, [totals[1].astype(np.float32), totals[0].astype(np.float32)]

    def back_through_rate(self, g: Floats) -> tuple[Floats, list[Any]]:
        """The same from ∂L/∂Q (N, H, W, C), Q the charge of all steps: every step has this gradient."""
        hat = self._mean_hat()
        of_pixels = g.astype(np.float64)
        axes = (0, 1, 2)
        totals = self._shared(np.stack([of_pixels.sum(axis=axes), (of_pixels * hat).sum(axis=axes)]))
        mean, slope = np.repeat(totals / (g[..., 0].size * self.norm.together), self.norm.together, axis=1)
        out = (self._factor * (of_pixels - mean - slope * hat)).astype(np.float32)
        of_gain, of_shift = (self.timesteps * totals[::-1]).astype(np.float32)
        return out, [of_gain, of_shift]

    def charge(self, given: Floats, integer: IntegerLayer) -> Floats:
        """The charge of all steps after normalising, from what the kernel and its bias give, float32 (N, H, W, C)."""
        factor, offset = self._forward
        return np.asarray(factor * given + self.timesteps * np.ldexp(offset, -integer.exponent), np.float32)

    def _mean_hat(self) -> NDArray[np.float64]:
        """The mean over time of x̂, float64 (N, H, W, C)."""
        p, q = self._hat
        return np.asarray(p * self.given[:, : self.timesteps].mean(axis=1, dtype=np.float64) + q)

    def _shared(self, sums: Doubles) -> Doubles:
        """(2, C) summed over the channels that share their numbers."""
        return np.asarray(sums.reshape(2, -1, self.norm.together).sum(axis=2))
