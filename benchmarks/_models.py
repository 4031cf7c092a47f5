"""Models to measure: shipped ones, and synthetic ones whose every layer fires at about an asked rate."""

import itertools
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _common import hazy_plane
from numpy.typing import NDArray

from nspike.ann import run as ann
from nspike.contracts.architecture import Architecture
from nspike.images.plane import UNIT
from nspike.integer.rounding import IntegerNetwork, build
from nspike.model import file as weights
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.registry.parts import head_of, neuron_of, swap
from nspike.registry.plugins import registry

GAIN = 0.5
"""Standard deviation of a synthetic neuron's mean current over the image, in thresholds."""


def architecture(name: str) -> Architecture:
    return registry().networks[name]


def shipped(path: str | Path, neuron: str = "if") -> Model:
    """A model file with another neuron, its head and T kept."""
    return swap(weights.load(Path(path)), neuron=neuron)[0]


def integers(model: Model) -> IntegerNetwork:
    return build(model, neuron_of(model), head_of(model))


def mosaic(plane: NDArray[np.int32], blocks: int = 4, size: int = 24) -> NDArray[np.int32]:
    """A small image made of blocks² pieces of a large one, with the large one's statistics."""
    height, width = plane.shape[2:]
    ys, xs = (np.linspace(0, n - size, blocks).astype(int) for n in (height, width))
    rows = [np.concatenate([plane[..., y : y + size, x : x + size] for x in xs], axis=3) for y in ys]
    return np.ascontiguousarray(np.concatenate(rows, axis=2))


def random_dncnn(rate: float, plane: NDArray[np.int32], timesteps: int = 10, depth: int = 17, width: int = 64) -> Model:
    """DnCNN with random kernels, balanced layer by layer so that each layer of IF neurons fires at `rate` on `plane`.

    Every channel's mean current is brought to one mean and deviation over the image by its kernel's scale and bias,
    as batch norm would; the mean is then found by bisection. No channel is dead, none always fires. λ = θ = 1.
    """
    draw = np.random.default_rng(0)
    tensors: dict[str, NDArray[np.float32]] = {}
    widths = [1, *[width] * (depth - 1), 1]
    spikes = None
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        kernel = draw.normal(0, np.sqrt(2 / (9 * before)), (after, before, 3, 3)).astype(np.float32)
        bias = np.zeros(after, np.float32)
        if i < depth - 1:
            currents = _currents(kernel, spikes, plane, timesteps)
            kernel, bias, spikes = _balanced(kernel, currents, rate, timesteps)
        tensors[f"model.{2 * i}.weight"], tensors[f"model.{2 * i}.bias"] = kernel, bias
    network, parameters = architecture("dncnn").read(tensors)
    names = {a.name: a.channels for a in network.activations} | {OUTPUT: 1}
    ones = {name: np.ones(channels) for name, channels in names.items()}
    info = Info(name=f"random_dncnn_{rate:g}", task="denoise", colour="gray")
    return Model(info, network, parameters, Spiking("if", "membrane", timesteps, ones, ones))


def _currents(
    kernel: NDArray[np.float32], spikes: torch.Tensor | None, plane: NDArray[np.int32], timesteps: int
) -> torch.Tensor:
    """The currents of a layer without bias, float32 (T, C, H, W)."""
    if spikes is not None:
        return F.conv2d(spikes, torch.from_numpy(kernel), padding=1)
    image = torch.from_numpy((plane[0] / UNIT).astype(np.float32))[None]
    return F.conv2d(image, torch.from_numpy(kernel), padding=1).expand(timesteps, -1, -1, -1)


def _balanced(
    kernel: NDArray[np.float32], currents: torch.Tensor, rate: float, timesteps: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], torch.Tensor]:
    """The kernel scaled, the bias, and the spikes (T, C, H, W) at firing rate `rate`."""
    total = currents.mean(dim=0)
    deviation, mean = torch.std_mean(total, dim=(1, 2))
    scale = GAIN / deviation.clamp(min=1e-6)
    currents = currents * scale[:, None, None]
    low, high = -4.0, 4.0
    some = currents[..., ::2, ::2]
    for _ in range(10):
        bias = -mean * scale + GAIN * (low + high) / 2
        low, high = ((low + high) / 2, high) if _fired(some, bias, timesteps).mean() < rate else (low, (low + high) / 2)
    spikes = _fired(currents, bias, timesteps)
    return kernel * scale.numpy()[:, None, None, None], bias.numpy(), spikes


def _fired(currents: torch.Tensor, bias: torch.Tensor, timesteps: int) -> torch.Tensor:
    v = torch.zeros_like(currents[0])
    spikes = []
    for t in range(timesteps):
        v = v + currents[t] + bias[:, None, None]
        spikes.append((v >= 1).float())
        v = v - spikes[-1]
    return torch.stack(spikes)


def random_aodnet(timesteps: int = 10) -> Model:
    """AOD-Net with random kernels, scales from its own activations on a hazy image (99.9th percentile)."""
    draw = np.random.default_rng(0)
    shapes = {1: (3, 3, 1), 2: (3, 3, 3), 3: (3, 6, 5), 4: (3, 6, 7), 5: (3, 12, 3)}
    tensors: dict[str, NDArray[np.float32]] = {}
    for i, (after, before, size) in shapes.items():
        deviation = np.sqrt(2 / (before * size * size))
        tensors[f"conv{i}.weight"] = draw.normal(0, deviation, (after, before, size, size)).astype(np.float32)
        tensors[f"conv{i}.bias"] = np.full(after, 0.2, np.float32)
    network, parameters = architecture("aodnet").read(tensors)
    capture = {a.name: np.empty(0, np.float32) for a in network.activations}
    ann.run(network, parameters, (hazy_plane(120, 160) / UNIT).astype(np.float32), capture=capture)
    scales = {n: np.full(3, max(float(np.percentile(v, 99.9)), 1e-3)) for n, v in capture.items()} | {
        OUTPUT: np.ones(3)
    }
    info = Info(name="random_aodnet", task="dehaze", colour="rgb")
    thresholds = {name: np.ones(3) for name in scales}
    return Model(info, network, parameters, Spiking("if", "membrane", timesteps, scales, thresholds))
