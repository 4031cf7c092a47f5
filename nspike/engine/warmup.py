"""Compiles every kernel by running tiny networks: chains of many channels and of a few, and one that is no chain."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.head import Head, convolve_spikes
from nspike.contracts.neuron import Neuron
from nspike.engine import run as engine
from nspike.engine.program import build
from nspike.graph.layer import IMAGE, Activation, Add, ChannelShuffle, Conv, Gate, PixelShuffle, PixelUnshuffle
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking


def _model(channels: int, hidden: int, gated: bool) -> Model:
    layers: list[Conv | Activation | Gate] = []
    source, width = IMAGE, channels
    for i in (1, 2):
        out = channels if gated and i == 2 else hidden
        layers += [Conv(f"conv{i}", source, width, out, 3), Activation(f"relu{i}", f"conv{i}", out)]
        source, width = f"relu{i}", out
    layers.append(Gate("last", source, channels) if gated else Conv("last", source, width, channels, 3))
    return _filled(Network("warmup", channels, tuple(layers), "last", "image"))


def _graph(signed: bool) -> Model:
    """With strides, groups, and a current that neurons and a sum share."""
    layers = (
        Conv("conv1", IMAGE, 1, 16, 2, stride=2),
        Activation("relu1", "conv1", 16, signed=signed),
        Conv("conv2", "relu1", 16, 16, 3, dilation=2),
        Activation("relu2", "conv2", 16, signed=signed),
        Conv("conv3", "relu2", 16, 16, 3, groups=16),
        Activation("relu3", "conv3", 16, signed=signed),
        Conv("conv4", "relu3", 16, 16, 3),
        Conv("conv5", "relu3", 16, 16, 3, groups=4),
        Add("sum", ("conv4", "conv5")),
        Activation("relu4", "sum", 16, signed=signed),
        Conv("conv6", "relu4", 16, 4, 1),
        PixelShuffle("last", "conv6", 2),
    )
    return _filled(Network("warmup", 1, layers, "last", "image"))


def _streams() -> Model:
    """With currents that convolutions are added to, and spikes that are moved."""
    layers = (
        Conv("conv1", IMAGE, 1, 16, 3),
        Activation("relu1", "conv1", 16),
        Conv("conv2", "relu1", 16, 16, 3, groups=16),
        Activation("relu2", "conv2", 16),
        Conv("conv3", "relu2", 16, 16, 1, groups=4),
        ChannelShuffle("shuffled", "conv3", 4),
        Add("sum", ("conv1", "shuffled")),
        Activation("relu3", "sum", 16),
        PixelUnshuffle("small", "relu3", 2),
        Conv("conv4", "small", 64, 64, 1),
        Activation("relu4", "conv4", 64),
        Conv("conv5", "relu4", 64, 64, 1),
        PixelShuffle("large", "conv5", 2),
        Add("both", ("large", "sum")),
        Activation("relu5", "both", 16),
        Conv("last", "relu5", 16, 1, 3),
    )
    return _filled(Network("warmup", 1, layers, "last", "image"))


def _filled(network: Network) -> Model:
    """The same with numbers."""
    channels = network.channels
    parameters: dict[str, NDArray[np.float32]] = {}
    for conv in network.convs:
        parameters[f"{conv.name}.weight"] = np.full(conv.kernel_shape, 0.02, np.float32)
        parameters[f"{conv.name}.bias"] = np.zeros(conv.out_channels, np.float32)
    scales = {a.name: np.ones(a.channels) for a in network.activations} | {OUTPUT: np.ones(channels)}
    return Model(Info("warmup", "denoise", "gray"), network, parameters, Spiking("any", "any", 1, scales, scales))


def warm_up(neurons: list[Neuron], head: Head, progress: Callable[[int, int], None] | None = None) -> float:
    """Compile the kernels, and those of `neurons` that bring their own; returns the seconds it took."""
    start = time.perf_counter()
    image = np.zeros((1, 1, 8, 8), np.uint8)
    tasks = [(neuron, hidden) for neuron in neurons for hidden in (16, 3)]
    tasks += [(neuron, 12) for neuron in neurons if neuron.step is not None]  # no multiple of 8 is packed otherwise
    for i, (neuron, hidden) in enumerate(tasks):
        gated = hidden == 3 and neuron.planes == (1,)
        model = _model(1, hidden, gated)
        engine.run(build(model, neuron, head), image, sink=lambda _: None, threads=1, digest=True)
        if progress is not None:
            progress(i + 1, len(tasks))
    for signed in (False, True):
        engine.run(build(_graph(signed), neurons[0], head), image, sink=lambda _: None, threads=1, digest=True)
    for neuron in neurons:
        if neuron.step is None and neuron.planes == (1,) and not neuron.post_steps:
            engine.run(build(_streams(), neuron, head), image, sink=lambda _: None, threads=1, digest=True)
    for most in (1, 1 << 20):  # sums of 32 and of 64 bits
        convolve_spikes(np.full((1, 8, 8), most, np.int32), np.ones((1, 1, 3, 3)))
    return time.perf_counter() - start
