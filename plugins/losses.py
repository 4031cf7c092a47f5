"""Losses, with d = restored - target:

mse           mean of d²
l1            mean of |d|
charbonnier   mean of √(d² + ε²), ε = 10⁻³                       Lai et al. 2017
fft           mean of |F(d)|, F the Fourier transform             Cho et al. 2021 (MIMO-UNet)
ssim          1 - SSIM, in windows of 7×7 as the metric `uniform7`   Wang et al. 2004; Zhao et al. 2017, as a loss
l1_fft        l1 + w·fft, w = 0.1                                   ESDNet, Song et al. 2024; SpikerIR
hkd           l1_fft + γ·Σ_i mean of (f_i - t_i)², γ = 0.12         H-KD of SpikerIR; f_i: features, over T, t_i: the teacher's
tet           (1 - λ)·mean over t of ℓ(O(t)) + λ·mean of (O(t) - φ)²   Deng et al. 2022, equation 12; λ = 0, φ = 1
energy        mean firing rate over the layers, each neuron of a layer weighing the same: equation 17 of SpikingIR, for
              layers of one size; the normaliser is T, and the post steps are not counted

O(t) is what step t alone restores; ℓ is `mse` unless the option `loss` says otherwise.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from nspike import Loss, LossInput, Option, Tensor, hookimpl, operation, spectral_norm

EPSILON = 1e-3
WINDOW = 7
SMALL = (0.01**2, 0.03**2)
"""C1 and C2 of SSIM."""
UNBIASED = WINDOW**2 / (WINDOW**2 - 1)


@hookimpl
def register_losses(register: Any) -> None:
    """Register them all."""
    for loss in (MSE, L1, CHARBONNIER, FFT, SSIM, L1_FFT, HKD, TET, ENERGY):
        register(loss)


def mse(seen: LossInput) -> Tensor:
    """Mean of d², d = restored - target."""
    return (seen.output - seen.target).square().mean()


def l1(seen: LossInput) -> Tensor:
    """Mean of |d|, d = restored - target."""
    return (seen.output - seen.target).abs().mean()


def charbonnier(seen: LossInput) -> Tensor:
    """Mean of √(d² + ε²), d = restored - target."""
    return ((seen.output - seen.target).square() + EPSILON**2).sqrt().mean()


def fft(seen: LossInput) -> Tensor:
    """Mean of |F(d)|."""
    return spectral_norm(seen.output - seen.target)


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


def ssim(seen: LossInput) -> Tensor:
    """1 - SSIM, the mean over windows and channels."""
    a, b = window(seen.output), window(seen.target)
    ab, aa, bb = a * b, a.square(), b.square()
    covariance = (window(seen.output * seen.target) - ab) * UNBIASED
    variances = (window(seen.output.square()) - aa + window(seen.target.square()) - bb) * UNBIASED
    c1, c2 = SMALL
    likeness = ((ab * 2.0 + c1) * (covariance * 2.0 + c2)) / ((aa + bb + c1) * (variances + c2))
    return 1.0 - likeness.mean()


def l1_fft(seen: LossInput) -> Tensor:
    """Mean of |d| and w times the mean of |F(d)|."""
    return l1(seen) + fft(seen) * float(seen.options["w"])


def hkd(seen: LossInput) -> Tensor:
    """`l1_fft`, and γ times the squared distance of each tapped feature from the teacher's."""
    distances = [(seen.features[name] - teacher).square().mean() for name, teacher in seen.teacher.items()]
    return l1_fft(seen) + sum(distances[1:], start=distances[0]) * float(seen.options["gamma"])


def tet(seen: LossInput) -> Tensor:
    """The loss ℓ on what every step restores, and λ times their squared distance from φ."""
    steps, weight = seen.steps, float(seen.options["lambda"])
    assert steps is not None  # it is what the loss needs
    loss = OF_STEPS[seen.options["loss"]](replace(seen, output=steps))
    if weight == 0:
        return loss
    return loss * (1 - weight) + (steps - float(seen.options["phi"])).square().mean() * weight


OF_STEPS = {"mse": mse, "l1": l1, "charbonnier": charbonnier, "fft": fft}
"""What ℓ may be: a mean over all axes, so that of all steps together is the mean over them."""


def energy(seen: LossInput) -> Tensor:
    """Mean firing rate of the layers, in spikes per neuron and step."""
    per_layer = list(seen.rates.values())
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
_W = Option("w", 0.1, "the weight of the spectrum", low=0.0, high=1e6)
L1_FFT = Loss(
    "l1_fft",
    "mean absolute error and a tenth of that of the spectrum",
    "Song et al. 2024 (ESDNet); SpikerIR",
    l1_fft,
    options=(_W,),
)
HKD = Loss(
    "hkd",
    "l1_fft and the distance of features from a teacher's",
    "SpikerIR's hybrid knowledge distillation, equation 2 and γ = 0.12",
    hkd,
    options=(_W, Option("gamma", 0.12, "the weight of the features", low=0.0, high=1e6)),
    needs=("teacher",),
)
TET = Loss(
    "tet",
    "a loss on what every step restores",
    "Temporal Efficient Training, Deng et al. 2022 (ICLR), equation 12",
    tet,
    options=(
        Option("loss", "mse", "of each step", choices=tuple(OF_STEPS)),
        Option("lambda", 0.0, "the weight of the second term; the paper's is 1e-3", low=0.0, high=1.0),
        Option("phi", 1.0, "what the second term pulls every step's output to", low=-1e6, high=1e6),
    ),
    needs=("steps",),
)
ENERGY = Loss(
    "energy",
    "mean firing rate of the layers",
    "SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026), equation 17",
    energy,
    of_spikes=True,
)
