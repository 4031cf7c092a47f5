"""Small models with random weights, converted by hand, for tests that need a whole one."""

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Spiking
from nspike.restoration.method import Model


def tiny_model(
    task="denoise",
    colour="gray",
    mode="subtract",
    *,
    neuron="mprn",
    head="membrane",
    timesteps=4,
    width=8,
    seed=1,
    **info,
):
    """Three 3×3 convolutions with two layers of neurons between; its residual is small, so that images stay images."""
    rng = np.random.default_rng(seed)
    channels = 3 if colour == "rgb" else 1
    sizes = [channels, width, width, channels]
    layers, parameters, source = [], {}, IMAGE
    for i in range(3):
        name = f"conv{i + 1}"
        layers.append(Conv(name, source, sizes[i], sizes[i + 1], 3))
        gain = 0.05 if i == 2 and mode != "image" else 1.0
        scale = gain * (2 / (9 * sizes[i])) ** 0.5
        parameters[f"{name}.weight"] = rng.normal(0, scale, (sizes[i + 1], sizes[i], 3, 3)).astype(np.float32)
        parameters[f"{name}.bias"] = rng.normal(0, 0.02 * gain, sizes[i + 1]).astype(np.float32)
        if i < 2:
            source = f"relu{i + 1}"
            layers.append(Activation(source, name, width))
    network = Network("dncnn", channels, tuple(layers), "conv3", mode)
    scales = {"relu1": np.full(width, 1.5), "relu2": np.full(width, 1.5), OUTPUT: np.full(channels, 0.25)}
    spiking = Spiking(neuron, head, timesteps, scales, {name: np.ones(value.size) for name, value in scales.items()})
    degradation = {"denoise": {"sigma": 25.0}, "superres": {"scales": [2, 3, 4]}}.get(task, {})
    return Model(
        Info(info.get("name", "tiny"), task, colour, info.get("degradation", degradation)), network, parameters, spiking
    )


def image(height=40, width=48, channels=None, dtype=np.uint8, seed=0):
    """An image with edges, a gradient and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    value = 0.2 + 0.5 * x / width + 0.2 * ((y // 8) % 2)
    if channels:
        value = np.stack([value * factor for factor in np.linspace(1, 0.6, channels)], axis=2)
    value = np.clip(value + rng.normal(0, 0.03, value.shape), 0, 1)
    return np.rint(value * np.iinfo(dtype).max).astype(dtype)
