"""Losses, with d = restored - target:

mse           mean of d²
l1            mean of |d|
charbonnier   mean of √(d² + ε²), ε = 10⁻³                       Lai et al. 2017
fft           mean of |F(d)|, F the Fourier transform             Cho et al. 2021 (MIMO-UNet)
energy        mean firing rate over the layers, each neuron of a layer weighing the same: equation 17 of SpikingIR, for
              layers of one size; the normaliser is T, and the post steps are not counted
"""

from collections.abc import Mapping
from typing import Any

from nspike import Loss, Tensor, hookimpl, spectral_norm

EPSILON = 1e-3

Rates = Mapping[str, Tensor]


@hookimpl
def register_losses(register: Any) -> None:
    """Register all five."""
    for loss in (MSE, L1, CHARBONNIER, FFT, ENERGY):
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
ENERGY = Loss(
    "energy",
    "mean firing rate of the layers",
    "SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026), equation 17",
    energy,
    of_spikes=True,
)
