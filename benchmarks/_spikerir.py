"""`spikerir_lite` with random kernels and thresholds that make every layer fire at an asked rate."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.engine import run as engine
from nspike.engine.program import build
from nspike.graph.layer import Activation, Add, ChannelShuffle, Conv, PixelShuffle, PixelUnshuffle
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking

LIF = {"tau": 2.0, "decay_input": 1.0, "v_init": 0.0}
"""The neuron that `lif_hard` networks are trained with."""


def spikerir_lite(width: int = 48, group: int = 12, blocks: int = 2, levels: int = 4) -> Network:
    """The network of colour images, batch norm folded: all convolutions have a bias."""
    layers: list[Any] = [Conv("embed", "image", 3, width, 3)]

    def some(stage: str, wide: int) -> str:
        for i in range(1, blocks + 1):
            name, source = f"{stage}_block{i}", layers[-1].name
            layers.extend(
                [
                    Activation(f"{name}_lif1", source, wide),
                    Conv(f"{name}_dw", f"{name}_lif1", wide, wide, 3, groups=wide),
                    Activation(f"{name}_lif2", f"{name}_dw", wide),
                    Conv(f"{name}_gp", f"{name}_lif2", wide, wide, 1, groups=wide // group),
                    ChannelShuffle(f"{name}_shuffle", f"{name}_gp", wide // group),
                    Add(name, (source, f"{name}_shuffle")),
                ]
            )
        return str(layers[-1].name)

    skips = []
    for i in range(1, levels):
        wide = width << i - 1
        skips.append(some(f"enc{i}", wide))
        layers += [
            Activation(f"down{i}_lif", skips[-1], wide),
            PixelUnshuffle(f"down{i}_unshuffle", f"down{i}_lif", 2),
            Conv(f"down{i}", f"down{i}_unshuffle", 4 * wide, 2 * wide, 1, groups=wide),
        ]
    some("latent", width << levels - 1)
    for i in range(levels - 1, 0, -1):
        wide = width << i
        layers += [
            Activation(f"up{i}_lif", layers[-1].name, wide),
            Conv(f"up{i}", f"up{i}_lif", wide, 2 * wide, 1, groups=wide // 4),
            PixelShuffle(f"up{i}_shuffle", f"up{i}", 2),
            Add(f"skip{i}", (f"up{i}_shuffle", skips.pop())),
        ]
        some(f"dec{i}", width << i - 1)
    layers += [Activation("out_lif", layers[-1].name, width), Conv("out", "out_lif", width, 3, 3)]
    return Network("spikerir_lite", 3, tuple(layers), "out", "add")


def random_model(network: Network, neuron: str = "lif_hard", timesteps: int = 4, seed: int = 0) -> Model:
    """Random kernels; θ = 1 of every layer."""
    draw, parameters = np.random.default_rng(seed), {}
    for conv in network.convs:
        spread = 1.0 / np.sqrt(np.prod(conv.kernel_shape[1:]))
        parameters[f"{conv.name}.weight"] = draw.normal(0, spread, conv.kernel_shape).astype(np.float32)
        parameters[f"{conv.name}.bias"] = draw.normal(0, 0.05, conv.out_channels).astype(np.float32)
    ones = {a.name: np.ones(a.channels) for a in network.activations} | {OUTPUT: np.ones(network.channels)}
    given = LIF if neuron.startswith("lif") else {"v_init": 0.5}
    own = {neuron: {a.name: given for a in network.activations}}
    spiking = Spiking(neuron, "membrane", timesteps, ones, ones, neuron_parameters=own)
    return Model(Info(network.name, "denoise", "rgb"), network, parameters, spiking)


def firing(model: Model, neuron: Neuron, head: Any, plane: NDArray[np.int32]) -> dict[str, float]:
    """Spikes per neuron and step of each layer."""
    ledger = engine.run(build(model, neuron, head), plane, sink=lambda _: None)
    return {layer.name: float(layer.events.sum() / layer.neuron_updates.sum()) for layer in ledger.layers}


def shared_rates(network: Network, low: float = 0.10, high: float = 0.25, seed: int = 1) -> dict[str, float]:
    """A rate for each layer of neurons, drawn between `low` and `high`."""
    draw = np.random.default_rng(seed)
    return {a.name: float(draw.uniform(low, high)) for a in network.activations}
