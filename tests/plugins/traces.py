"""One neuron a layer, fed one number: what a hand-worked trace is compared with."""

import numpy as np
from nspike_plugins.membrane import HEAD

from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.integer.reference import from_model, simulate
from nspike.model.model import OUTPUT, Info, Model, Spiking


def trace(neuron, drive, *, parameters=None, weights=(1.0, 1.0), bias=0.0, theta=1.0, timesteps=5):
    """Run a chain of 1×1 convolutions of the given `weights` on an image of one pixel, `drive`; the first has `bias`."""
    layers, arrays, source = [], {}, IMAGE
    for i, weight in enumerate(weights, start=1):
        layers.append(Conv(f"conv{i}", source, 1, 1, 1))
        source = f"relu{i}"
        layers.append(Activation(source, f"conv{i}", 1))
        arrays[f"conv{i}.weight"] = np.full((1, 1, 1, 1), weight, np.float32)
        arrays[f"conv{i}.bias"] = np.full(1, bias if i == 1 else 0.0, np.float32)
    layers.pop()
    network = Network("trace", 1, tuple(layers), f"conv{len(weights)}", "image")
    names = [a.name for a in network.activations]
    one = {name: np.ones(1) for name in [*names, OUTPUT]}
    values = {neuron.name: {name: parameters or {} for name in names}}
    thresholds = one | {name: np.full(1, theta) for name in names}
    spiking = Spiking(neuron.name, HEAD.name, timesteps, one, thresholds, values)
    model = Model(Info("trace", "denoise", "gray"), network, arrays, spiking)
    return simulate(from_model(model, neuron, HEAD), np.full((1, 1, 1), drive))


def spikes(run, name="relu1"):
    """The spike train of a layer as a list of 0 and 1."""
    return run.spikes[name][:, 0, 0, 0].astype(int).tolist()
