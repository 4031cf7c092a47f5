"""Burst spikes (Li and Zeng, IJCAI 2022): a neuron that fires up to Γ spikes at a step, and the scales that go with it.

    u = v + I;   n = clip(⌊u/θ⌋, 0, Γ);   v = u - n·θ;   v(0) = v_init·θ

What a plain neuron would have to carry to later steps leaves at once, so that few steps are enough. n is sent in planes of
gains 1, 2 and 4; a burst of n is n accumulations for each tap. Γ = 1 is the plain neuron.

λ of a layer is the 0.999 quantile of all its ANN activations, zeros included, those above 1 first being divided by Γ, as
the authors' code does; of a signed layer or output, of its absolute value; an output that is an image takes λ = 1. Where
less than a thousandth of a layer is active its largest value is taken, and 1 where nothing is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._histogram import Histogram

from nspike import Calibration, Converter, Method, Neuron, Option, Parameter, Scales, hookimpl

OUTPUT = "output"
GAMMA = 5
SOURCE = "Li and Zeng 2022 (IJCAI), doi:10.24963/ijcai.2022/345"


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
    """Γ."""
    return parameters["gamma"]


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ of every layer from the calibration images, θ = 1."""
    network, gamma = calibration.network, np.float32(options["gamma"])
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    signed = {a.name for a in network.activations if a.signed} | {OUTPUT}
    histograms = {name: Histogram(count) for name, count in channels.items()}
    for values in calibration.activations():
        for name, histogram in histograms.items():
            own = np.abs(values[name]) if name in signed else values[name]
            histogram.add(np.where((own > 1) & (name != OUTPUT), own / gamma, own))
    found = {name: h.quantiles(options["percentile"]) for name, h in histograms.items()}
    if network.mode == "image":
        found[OUTPUT] = np.ones(network.channels)
    thresholds = {name: np.ones(count) for name, count in channels.items()}
    return Scales(found, thresholds, {"v_init": options["v_init"], "burst.gamma": float(options["gamma"])})


NEURON = Neuron(
    name="burst",
    summary="integrate-and-fire with up to gamma spikes at a step",
    source=SOURCE,
    parameters=(
        Parameter("gamma", float(GAMMA), 1.0, 7.0, "the most spikes at a step, a whole number"),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    planes=(1, 2, 4),
    most_spikes=most_spikes,
)

CONVERTER = Converter(
    name="burst",
    summary="scales from a quantile of all activations, zeros included, large ones divided by gamma",
    source=SOURCE,
    options=(
        Option("percentile", 99.9, "of all values; 100 is the largest", low=50.0, high=100.0),
        Option("gamma", GAMMA, "what values above 1 are divided by, and the neuron's own", low=1, high=7),
        Option("v_init", 0.0, "initial membrane as a fraction of the threshold", low=-1.0, high=1.0),
    ),
    scales=scales,
)

METHOD = Method(
    name="burst",
    summary="neurons that fire up to five spikes at a step",
    source=SOURCE,
    converter=CONVERTER.name,
    neuron=NEURON.name,
    timesteps=20,
)
