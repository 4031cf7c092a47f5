"""Scales found layer by layer while the layers before already spike: what `nspike.Calibration.layer_by_layer` does.

Each layer is simulated once, by soft-reset integrate-and-fire neurons with v(0) = 0 and θ = λ, on the engine's integers, and
its spikes are kept, packed, for the layers that read it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.converter import Decide
from nspike.contracts.head import Head, OutputLayer
from nspike.errors import PluginError
from nspike.graph.network import Network
from nspike.images.plane import to_plane
from nspike.integer.normalise import current_scales
from nspike.integer.rounding import INTEGRATE_AND_FIRE
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.trainable.spike_train import SpikeTrain
from nspike.trainable.spiking import DifferentiableNetwork

Plane = NDArray[np.float32]
NUMBERS = 1 << 24
"""How many numbers of a current are held at a time."""


def _read(layer: OutputLayer, _: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return layer.to_units(layer.charge) / layer.timesteps


HEAD = Head("charge", "", "", fires=False, read=_read, gradient=lambda layer, _, g: {"charge": g / layer.timesteps})


def layer_by_layer(
    network: Network,
    parameters: Mapping[str, NDArray[np.float32]],
    images: Sequence[Plane],
    decide: Decide,
    timesteps: int,
) -> dict[str, NDArray[np.float64]]:
    """λ of every activation, as `decide` says; see `nspike.contracts.converter.Calibration`.

    Raises PluginError where `decide` answers no positive numbers.
    """
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    scales = {name: np.ones(count) for name, count in channels.items()}
    ones = {name: np.ones(count) for name, count in channels.items()}
    widest = max(np.prod(shape) for shape in network.shapes(*images[0].shape[1:]).values())
    most = max(1, int(NUMBERS // (widest * timesteps)))
    batches = [
        to_plane(np.stack(group[first : first + most]))
        for _, shaped in groupby(sorted(images, key=np.shape), key=np.shape)
        for group in [list(shaped)]
        for first in range(0, len(group), most)
    ]
    known: list[dict[str, SpikeTrain]] = [{} for _ in batches]

    def net() -> DifferentiableNetwork:
        spiking = Spiking(INTEGRATE_AND_FIRE.name, HEAD.name, timesteps, scales, ones)
        model = Model(Info("calibration", "denoise", "gray"), network, parameters, spiking)
        return DifferentiableNetwork(model, INTEGRATE_AND_FIRE, HEAD)

    for activation in network.activations:
        name = activation.name
        before, stage = net(), network.layer(name).sources[0]
        unit = current_scales(network, before.model.spiking)[stage]  # type: ignore[arg-type]

        def currents(
            before: DifferentiableNetwork = before, name: str = name, unit: NDArray[np.float64] = unit
        ) -> Iterator[Plane]:
            for planes, trains in zip(batches, known, strict=True):
                yield from before.currents(planes, name, trains) * unit.astype(np.float32)[:, None, None]

        answer = np.asarray(decide(name, currents()), np.float64)
        if answer.shape != (channels[name],) or not (np.all(np.isfinite(answer)) and np.all(answer > 0)):
            raise PluginError(
                f"layer {name!r} was given the scale {answer}; expected {channels[name]} positive numbers"
            )
        scales[name] = answer
        after = net()
        for i, planes in enumerate(batches):
            known[i] = after.spikes(planes, [name], known[i])
    return {name: scales[name] for name in channels if name != OUTPUT}
