"""Few-spikes neurons (Stöckl and Maass, Nature Machine Intelligence 2021): a value is sent as binary digits, in K slots.

    n = clip(⌊u/θ + round⌋, 0, 2^K - 1),  u = Σ I;   the spike in slot k = 1..K is the digit of n worth 2^(K-k)

A neuron first gathers all that arrives, then sends n, the highest digit first: at most K spikes where a rate code needs up to
2^K - 1. The next layer doubles its membranes from slot to slot, so a spike is one accumulation for each target. The authors fit
threshold and worth of each slot to an activation function; for a ReLU they are these. That n is rounded is ours, and so are
negative digits for features that are not behind a ReLU, the same of -u.

T = 1: a step is one pass of K slots through the network, and each layer begins after the one before has ended. With round = 1/2,
n is what a quantised activation with L = 2^K - 1 levels has (QCFS), so that a network that was trained with these loses only
the rounding to integers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._histogram import histograms

from nspike import Calibration, Converter, Method, Neuron, Option, Parameter, Scales, UsageError, hookimpl

OUTPUT = "output"
SLOTS, MOST = 5, 6
LEVELS = 2**SLOTS - 1
SOURCE = "Stöckl and Maass 2021, doi:10.1038/s42256-021-00311-4"


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_converters(register: Any) -> None:
    """Register the converter."""
    register(CONVERTER)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def most_spikes(parameters: Mapping[str, float]) -> float:
    """The largest number that the slots can say."""
    return 2 ** parameters["slots"] - 1


def fire(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """Where n = 1 begins, in thresholds."""
    return 1 - parameters["round"]


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ of every layer: its ceiling, as trained or a percentile of each channel, over 2^K - 1."""
    network, largest = calibration.network, 2 ** options["slots"] - 1
    for activation in network.activations:
        if activation.levels not in (None, largest):
            raise UsageError(
                f"converter few_spikes: layer {activation.name!r} was trained with {activation.levels} levels, and "
                f"{options['slots']} slots have {largest}; train it with levels = {largest}, or convert it with qcfs"
            )
    ceilings = {
        a.name: np.broadcast_to(np.array(a.ceiling), (a.channels,)).copy()
        for a in network.activations
        if a.ceiling is not None
    }
    others = {a.name: a.channels for a in network.activations if a.name not in ceilings} | {OUTPUT: network.channels}
    for name, histogram in histograms(calibration, others).items():
        ceilings[name] = histogram.percentiles(options["percentile"], "layer" if name == OUTPUT else "channel")
    if network.mode == "image":
        ceilings[OUTPUT] = np.ones(network.channels)
    found = {name: ceiling if name == OUTPUT else ceiling / largest for name, ceiling in ceilings.items()}
    thresholds = {name: np.ones(scale.size) for name, scale in found.items()}
    return Scales(found, thresholds, {"few_spikes.slots": float(options["slots"])})


NEURON = Neuron(
    name="few_spikes",
    summary="sends a value as binary digits, at most five spikes, or six",
    source=SOURCE,
    parameters=(
        Parameter("slots", float(SLOTS), 1.0, float(MOST), "K, how many digits there are, a whole number"),
        Parameter(
            "round", 0.5, 0.0, 0.75, "how much is added before rounding down, in thresholds; 0.5 rounds to nearest"
        ),
    ),
    planes=tuple(2**k for k in range(MOST)),
    digits=True,
    most_spikes=most_spikes,
    fire=fire,
)

CONVERTER = Converter(
    name="few_spikes",
    summary="what is trained, or a percentile of each channel, divided by the largest number of K binary digits",
    source=SOURCE,
    options=(
        Option(
            "percentile",
            99.9,
            "of the positive activations of an untrained layer; 100 is the largest",
            low=50.0,
            high=100.0,
        ),
        Option("slots", SLOTS, "K, and the neuron's own", low=1, high=MOST),
    ),
    scales=scales,
    fits=False,
    timesteps=1,
)

METHOD = Method(
    name="few_spikes",
    summary="values as five binary digits, at most five spikes a neuron",
    source=SOURCE,
    converter=CONVERTER.name,
    neuron=NEURON.name,
    timesteps=1,
    trained_by="train",
    recipe={"activation": "qcfs", "levels": LEVELS},
)
