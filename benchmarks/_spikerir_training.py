"""A training step of `spikerir-denoise` in nspike and in SpikingJelly.

8 patches of 64×64 in colour, T = 4, L1 + 0.1·FFT, AdamW; batch norms are folded, as in the shipped model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _common import hazy_plane
from numpy.typing import NDArray

BATCH, PATCH = 8, 64


def patches() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(degraded int32 on the input plane, clean float32), (8, 3, 64, 64)."""
    clean, draw = hazy_plane(128, 256)[0], np.random.default_rng(0)
    cut = [clean[:, y : y + PATCH, x : x + PATCH] for y in range(0, 128, PATCH) for x in range(0, 256, PATCH)]
    planes = np.stack(cut)
    noisy = planes + np.rint(draw.normal(0, 25 / 255 * 65535, planes.shape))
    return noisy.astype(np.int32), (planes / 65535).astype(np.float32)


def nspike_lite(path: Path, options: str) -> Callable[[], float]:
    from nspike.autograd.spatial import spectral_norm
    from nspike.autograd.tensor import Tensor
    from nspike.model import file as weights
    from nspike.registry.parts import head_of, neuron_of
    from nspike.trainable.optim import AdamW
    from nspike.trainable.spiking import DifferentiableNetwork

    model = weights.load(path)
    net = DifferentiableNetwork(
        model, neuron_of(model), head_of(model), surrogate="sigmoid", recompute="recompute" in options
    )
    optimiser = AdamW(net.parameters(), 1e-6)
    plane, clean = patches()

    def step() -> float:
        d = net.run(plane).restored - Tensor(clean.astype(np.float64))
        loss = d.abs().mean() + spectral_norm(d) * 0.1
        loss.backward()
        optimiser.step()
        net.constrain()
        return loss.item()

    return step


def jelly_lite(path: Path, options: str) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F
    from spikingjelly.activation_based import neuron, surrogate

    from nspike.graph.layer import IMAGE, Activation, Add, ChannelShuffle, Conv, PixelShuffle, PixelUnshuffle
    from nspike.model import file as weights

    model, multi = weights.load(path), options.split()[0] == "m"
    form = torch.channels_last if "last" in options else torch.contiguous_format
    network, steps = model.network, model.spiking.timesteps
    kernels = {name: torch.nn.Parameter(torch.from_numpy(each.copy())) for name, each in model.parameters.items()}
    for each in kernels.values():
        if each.ndim == 4:
            each.data = each.data.contiguous(memory_format=form)
    nodes = {}
    for layer in network.of_kind(Activation):
        theta = float(model.spiking.thresholds[layer.name][0])
        spikes = surrogate.Sigmoid(4.0)
        nodes[layer.name] = neuron.IFNode(theta, None, spikes, False, "m" if multi else "s")
    optimiser = torch.optim.AdamW(kernels.values(), 1e-6)
    plane, clean = patches()
    image = torch.from_numpy((plane / 65535).astype(np.float32)).contiguous(memory_format=form)
    target = torch.from_numpy(clean)
    plain: dict[type, Callable[[Any, list[torch.Tensor]], torch.Tensor]] = {
        Conv: lambda layer, read: F.conv2d(
            read[0],
            kernels[f"{layer.name}.weight"],
            kernels.get(f"{layer.name}.bias"),
            padding=layer.pads[0],
            groups=layer.groups,
        ),
        Add: lambda layer, read: read[0] + read[1],
        PixelShuffle: lambda layer, read: F.pixel_shuffle(read[0], layer.factor),
        PixelUnshuffle: lambda layer, read: F.pixel_unshuffle(read[0], layer.factor),
        ChannelShuffle: lambda layer, read: F.channel_shuffle(read[0], layer.groups),
    }

    def forward() -> torch.Tensor:
        """The output of every step (T, N, C, H, W) or, a step at a time, (1, N, C, H, W)."""
        values = {IMAGE: image}
        for layer in network.layers:
            read = [values[name] for name in layer.sources]
            if isinstance(layer, Activation):
                values[layer.name] = nodes[layer.name](read[0])
                continue
            repeated = multi and IMAGE not in layer.sources
            flat = [each.flatten(0, 1) if repeated else each for each in read]
            made = plain[type(layer)](layer, flat)
            if multi:  # the first layer's current is the same at every step: computed once
                made = made.unflatten(0, (steps, -1)) if repeated else made.expand(steps, *made.shape)
            values[layer.name] = made
        return values[network.output]

    def step() -> float:
        for name, node in nodes.items():
            node.reset()
            node.v = float(model.spiking.thresholds[name][0]) / 2
        optimiser.zero_grad()
        output = forward().mean(0) if multi else sum(forward() for _ in range(steps)) / steps
        d = image + output - target
        loss = d.abs().mean() + 0.1 * torch.fft.fft2(d).abs().mean()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step
