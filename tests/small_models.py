"""Small models, for tests of what holds and handles models."""

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking


def small_network(channels=1, width=4):
    """Three convolutions and two layers of neurons; the second convolution has batch norm and no bias."""
    layers = (
        Conv("conv1", IMAGE, channels, width, 3),
        Activation("act1", "conv1", width),
        Conv("conv2", "act1", width, width, 3, bias=False, batch_norm_eps=1e-5),
        Activation("act2", "conv2", width),
        Conv("conv3", "act2", width, channels, 3),
    )
    return Network("small", channels, layers, "conv3", "subtract")


def small_ann(seed=0, **info):
    """An ANN with random parameters."""
    draw = np.random.default_rng(seed)
    network = small_network()
    parameters = {}
    for conv in network.convs:
        shape = (conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
        parameters[f"{conv.name}.weight"] = draw.normal(size=shape).astype(np.float32)
        if conv.bias:
            parameters[f"{conv.name}.bias"] = draw.normal(size=shape[0]).astype(np.float32)
        if conv.batch_norm_eps:
            for part in ("weight", "bias", "mean", "var"):
                parameters[f"{conv.name}.bn_{part}"] = draw.uniform(0.5, 1, shape[0]).astype(np.float32)
    described = {"name": "small", "task": "denoise", "colour": "gray", "degradation": {"sigma": 25.0}} | info
    return Model(Info(**described), network, parameters)


def small_snn(seed=0, **info):
    """The same, with a spiking form that has everything a model file can hold."""
    model = small_ann(seed, **info)
    draw = np.random.default_rng(seed + 1)
    names = {a.name: a.channels for a in model.network.activations} | {OUTPUT: 1}
    return model.with_spiking(
        Spiking(
            neuron="if",
            head="membrane",
            timesteps=10,
            scales={name: draw.uniform(0.5, 2, channels) for name, channels in names.items()},
            thresholds={name: np.ones(channels) for name, channels in names.items()},
            neuron_parameters={"mprn": {"act1": {"beta": 0.1}, "act2": {"beta": -1 / 3}}, "if": {}},
            head_parameters={"cpm": {"weight": draw.normal(size=(1, 1, 3, 3)), "bias": np.zeros(1)}},
            weights={"conv2": draw.normal(size=(4, 4, 3, 3)).astype(np.float32)},
            biases={"conv2": draw.normal(size=4).astype(np.float32)},
        )
    )
