"""Training a spiking network from random kernels, through time: no plain network comes before it.

What SpikerIR and ESDNet do: T steps of the image as it is (direct encoding), batch norm over time
(`nspike.trainable.time_norm`), back-propagation through time with surrogate gradients, AdamW, a cosine after a rise. λ = 1
everywhere: a spike is worth 1, a layer's threshold is `threshold`, and γ starts at it, as do currents of the image that have no
batch norm. Papers leave the rate and the rise open; those of `DirectOptions` are ours.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nspike.contracts.neuron import Neuron
from nspike.converting.lowering import lower
from nspike.degradations.batches import Batch, Levels, untold
from nspike.fitting.distilling import Distillation
from nspike.fitting.finetuning import FineTuning, FineTuningOptions
from nspike.graph.initialise import initial_parameters, without_batch_norm
from nspike.graph.layer import Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking, spiking_of


@dataclass(frozen=True)
class DirectOptions(FineTuningOptions):
    """How to train a spiking network from scratch: the keys of `FineTuningOptions`, with other defaults.

    Thresholds stay as they are unless `neuron_rate` is given.
    """

    optimiser: str = "adamw"
    rate: float = 1e-3
    weight_decay: float = 1e-4
    floor: float = 1e-4
    warmup: float = 0.05
    pixel: str | dict[str, Any] = "l1_fft"
    batch_norm: bool = True
    neuron_rate: float = 0.0


@dataclass(frozen=True)
class Start:
    """What direct training starts from.

    model : spiking, with random kernels. normed : the convolutions with batch norm, and how many channels share one.
    """

    model: Model
    normed: Mapping[str, int]


def start(
    network: Network,
    info: Info,
    neuron: Neuron,
    *,
    head: str,
    timesteps: int,
    threshold: float,
    parameters: Mapping[str, float],
    seed: int,
) -> Start:
    """A network lowered to spikes with random kernels; batch norm where it declares one, else at all convolutions but the last.

    Raises UsageError for layers that have no spiking form, and for parameters that the neuron does not have.
    """
    declared = {conv.name: conv for conv in network.convs if conv.batch_norm_eps is not None}
    plain = without_batch_norm(network)
    lowered, arrays = lower(plain, initial_parameters(plain, seed))
    names = {conv.name for conv in lowered.convs if conv.tied is None and conv.name != lowered.output}
    names &= set(declared) if declared else names
    normed = {name: declared[name].normed_together if name in declared else 1 for name in names}
    lowered = lowered.changed(Conv, lambda conv: replace(conv, bias=True) if conv.name in names else conv)
    for conv in lowered.convs:
        if conv.bias and conv.tied is None:
            arrays.setdefault(f"{conv.name}.bias", np.zeros(conv.out_channels, np.float32))
    values = neuron.values(parameters)
    widths = {a.name: a.channels for a in lowered.activations} | {OUTPUT: lowered.channels}
    spiking = Spiking(
        neuron=neuron.name,
        head=head,
        timesteps=timesteps,
        scales={name: np.ones(count) for name, count in widths.items()},
        thresholds={name: np.full(count, 1.0 if name == OUTPUT else threshold) for name, count in widths.items()},
        neuron_parameters={neuron.name: {a.name: dict(values) for a in lowered.activations}},
    )
    ordered = {conv.name: normed[conv.name] for conv in lowered.convs if conv.name in normed}
    return Start(Model(info, lowered, arrays, spiking), ordered)


class DirectTraining(FineTuning):
    """A run; see `FineTuning`. `threshold` is where γ starts."""

    options: DirectOptions

    def __init__(
        self,
        start: Start,
        options: DirectOptions,
        batches: Callable[[int], Batch],
        *,
        threshold: float,
        state: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        distillation: Distillation | None = None,
        sigmas: Callable[[int], Levels] = untold,
    ) -> None:
        super().__init__(
            start.model,
            options,
            batches,
            state=state,
            settings=settings,
            distillation=distillation,
            sigmas=sigmas,
            normed=start.normed,
            gain=threshold,
        )

    @property
    def model(self) -> Model:
        """The model with the current parameters, which are the network's own: λ is 1."""
        model = self.network.to_model()
        spiking = spiking_of(model)
        own = {conv.name for conv in model.network.convs if conv.tied is None}
        kernels = {f"{name}.weight": array for name, array in spiking.weights.items() if name in own}
        biases = {f"{name}.bias": array for name, array in spiking.biases.items() if name in own}
        left = {name: array for name, array in spiking.weights.items() if name not in own}
        left_biases = {name: array for name, array in spiking.biases.items() if name not in own}
        spiking = replace(spiking, weights=left, biases=left_biases)
        return replace(model, parameters={**model.parameters, **kernels, **biases}, spiking=spiking)
