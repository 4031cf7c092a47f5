"""Batch norm over time and batch (tdBN; Zheng et al., AAAI 2021) while a spiking network trains, folded into its kernels.

    I = γ·(y - μ)/√(σ² + ε) + β,  y = V * s          per channel; μ, σ²: over the steps up to T, images and pixels

in units of the current's scale, in which thresholds are about 1: the paper's α·θ is in γ. At every step of training the
network runs on the folded kernel V·γ/√(σ² + ε) and bias, rounded as any other, so that what trains is what is exported. That
asks for μ and σ² before the kernels are rounded, and currents that are added share a grid: so they are running means of
the batches before, gradients see them as constants, and a batch enters them after it has run. At the start γ and β are those
that leave the network as it is.
"""

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Tensor
from nspike.trainable.layer import KernelParameters
from nspike.trainable.written import Written

EPSILON = 1e-5
MOMENTUM = 0.1
"""How much of a batch enters the running means."""
_LEAST = 1e-6

Doubles = NDArray[np.float64]


class TimeNorm:
    """The batch norm of one convolution.

    Parameters
    ----------
    kernel : its floats without batch norm, which it starts from; without a bias it gets one.
    """

    def __init__(self, kernel: KernelParameters) -> None:
        assert kernel.weight is not None
        self.weight = kernel.weight
        count = len(self.weight.data)
        bias = np.zeros(count, np.float32) if kernel.bias is None else kernel.bias.data.astype(np.float32)
        self.gain = Tensor(np.sqrt(np.ones(count, np.float32) + np.float32(EPSILON)), requires_grad=True)
        self.shift = Tensor(bias.copy(), requires_grad=True)
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

    def folded(self) -> KernelParameters:
        """The kernel and bias that run, with gradients to what is trained."""
        factor = self.gain / np.sqrt(self.variance.data + np.float32(EPSILON))
        return KernelParameters(self.weight * factor.reshape(-1, 1, 1, 1), self.shift - factor * self.mean.data)

    def start(self, written: Written) -> None:
        """Begin with the statistics of a batch, the function of the network being kept."""
        mean, variance = self._statistics(written)
        folded = self.folded()
        assert folded.bias is not None
        factor = np.asarray((self.gain / np.sqrt(self.variance.data + np.float32(EPSILON))).data)
        self.mean.data, self.variance.data = mean.astype(np.float32), variance.astype(np.float32)
        self.gain.data = factor * np.sqrt(self.variance.data + np.float32(EPSILON))
        self.shift.data = np.asarray(folded.bias.data + factor * self.mean.data)

    def update(self, written: Written) -> None:
        """Let a batch that has run enter the statistics."""
        mean, variance = self._statistics(written)
        for tensor, value in ((self.mean, mean), (self.variance, variance)):
            tensor.data = (tensor.data + MOMENTUM * (value - tensor.data)).astype(np.float32)

    def _statistics(self, written: Written) -> tuple[Doubles, Doubles]:
        """Mean and variance of y of each channel, float64 (C,), over the steps up to T, images and pixels."""
        factor = self.gain.data / np.sqrt(self.variance.data.astype(np.float64) + EPSILON)
        alive = np.abs(factor) > _LEAST
        currents = written.currents()[:, : written.shared.timesteps]
        unit = np.ldexp(1.0, -written.integer.exponent)
        sums = currents.sum(axis=(0, 1, 2, 3), dtype=np.float64)
        count = currents.size / len(sums)
        mean = sums / count
        variance = np.square(currents - mean).sum(axis=(0, 1, 2, 3), dtype=np.float64) / count
        mean = (mean - written.integer.bias) * unit / np.where(alive, factor, 1)
        variance = variance * np.square(unit / np.where(alive, factor, 1))
        return np.where(alive, mean, self.mean.data), np.where(alive, variance, self.variance.data)
