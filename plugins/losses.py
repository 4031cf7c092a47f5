"""Losses, with d = restored - target:

mse           mean of d²
l1            mean of |d|
charbonnier   mean of √(d² + ε²), ε = 10⁻³                       Lai et al. 2017
fft           mean of |F(d)|, F the Fourier transform             Cho et al. 2021 (MIMO-UNet)
ssim          1 - SSIM, in windows of 7×7 as the metric `uniform7`   Wang et al. 2004; Zhao et al. 2017, as a loss
energy        mean firing rate over the layers, each neuron of a layer weighing the same: equation 17 of SpikingIR, for
              layers of one size; the normaliser is T, and the post steps are not counted
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nspike import Loss, Tensor, hookimpl, operation, spectral_norm

EPSILON = 1e-3
WINDOW = 7
SMALL = (0.01**2, 0.03**2)
"""C1 and C2 of SSIM."""
UNBIASED = WINDOW**2 / (WINDOW**2 - 1)

Rates = Mapping[str, Tensor]


@hookimpl
def register_losses(register: Any) -> None:
    """Register all six."""
    for loss in (MSE, L1, CHARBONNIER, FFT, SSIM, ENERGY):
        register(loss)


def mse(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """Mean of d², d = restored - target."""
    return (restored - target).square().mean()


def l1(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """Mean of |d|, d = restored - target."""
    return (restored - target).abs().mean()


def charbonnier(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """Mean of √(d² + ε²), d = restored - target."""
    return ((restored - target).square() + EPSILON**2).sqrt().mean()


def fft(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """Mean of |F(d)|."""
    return spectral_norm(restored - target)


def _sums(x: np.ndarray) -> np.ndarray:
    """Sums over the windows that lie inside (N, C, H, W)."""
    for axis in (2, 3):
        length = x.shape[axis] - WINDOW + 1
        shifted = [x.take(range(first, first + length), axis) for first in range(WINDOW)]
        x = np.add.reduce(shifted)
    return x


def _d_window(g: np.ndarray, out: np.ndarray, x: np.ndarray) -> np.ndarray:
    around = (WINDOW - 1, WINDOW - 1)
    return _sums(np.pad(g, ((0, 0), (0, 0), around, around))) / g.dtype.type(WINDOW**2)


@operation(_d_window)
def window(x: np.ndarray) -> np.ndarray:
    """The means over the windows that lie inside, (N, C, H - 6, W - 6)."""
    return _sums(x) / x.dtype.type(WINDOW**2)


def ssim(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """1 - SSIM, the mean over windows and channels."""
    a, b = window(restored), window(target)
    ab, aa, bb = a * b, a.square(), b.square()
    covariance = (window(restored * target) - ab) * UNBIASED
    variances = (window(restored.square()) - aa + window(target.square()) - bb) * UNBIASED
    c1, c2 = SMALL
    likeness = ((ab * 2.0 + c1) * (covariance * 2.0 + c2)) / ((aa + bb + c1) * (variances + c2))
    return 1.0 - likeness.mean()


def energy(restored: Tensor, target: Tensor, rates: Rates) -> Tensor:
    """Mean firing rate of the layers, in spikes per neuron and step."""
    per_layer = list(rates.values())
    return sum(per_layer[1:], start=per_layer[0]) / float(len(per_layer))


MSE = Loss("mse", "mean squared error", "the usual loss of denoising and super-resolution", mse)
L1 = Loss("l1", "mean absolute error", "the usual loss of newer restoration networks", l1)
CHARBONNIER = Loss(
    "charbonnier", "mean absolute error, smooth at zero", "Lai et al. 2017, doi:10.1109/CVPR.2017.618", charbonnier
)
FFT = Loss("fft", "mean magnitude of the error's spectrum", "Cho et al. 2021, doi:10.1109/ICCV48922.2021.00460", fft)
SSIM = Loss(
    "ssim",
    "1 - structural similarity, in windows of 7×7",
    "Zhao et al. 2017, doi:10.1109/TCI.2016.2644865; Wang et al. 2004",
    ssim,
)
ENERGY = Loss(
    "energy",
    "mean firing rate of the layers",
    "SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026), equation 17",
    energy,
    of_spikes=True,
)
