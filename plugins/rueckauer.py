"""Data-based threshold balancing (Rueckauer et al. 2017).

λ of a layer is a percentile of its positive ANN activations over the calibration images (100: the largest), so that a
spike is worth λ and a neuron that always fires represents the activation λ. Larger activations are clipped; a larger λ
makes every spike coarser. Concatenations are rescaled slice by slice, and biases divided by λ, by the core.

A signed layer, and a signed output (a residual), takes the percentile of its absolute value; an output that is an image
takes λ = 1. `per` channel, a channel with few positive values takes its layer's λ, and none goes below a hundredth of it:
what is hardly ever active would otherwise be rescaled by a number that a few pixels decide.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._histogram import histograms

from nspike import Calibration, Converter, Method, Option, Scales, hookimpl

OUTPUT = "output"


@hookimpl
def register_converters(register: Any) -> None:
    """Register the converter."""
    register(CONVERTER)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ of every layer from the calibration images, θ = `theta_scale`."""
    network = calibration.network
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    found = histograms(calibration, channels)
    ceilings = {name: h.percentiles(options["percentile"], options["per"]) for name, h in found.items()}
    if network.mode == "image":
        ceilings[OUTPUT] = np.ones(network.channels)
    thresholds = {name: np.full(count, options["theta_scale"]) for name, count in channels.items()}
    thresholds[OUTPUT] = np.ones(network.channels)
    return Scales(ceilings, thresholds, {"v_init": options["v_init"]})


CONVERTER = Converter(
    name="rueckauer",
    summary="scales from a percentile of the ANN's activations (data-based threshold balancing)",
    source="Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682",
    options=(
        Option("percentile", 99.9, "of the positive activations; 100 is the largest", low=50.0, high=100.0),
        Option("per", "layer", "one scale for each layer, or for each channel", choices=("layer", "channel")),
        Option(
            "theta_scale", 1.0, "threshold in units of the scale; 0.3-0.7 fires more (Diet-SNN)", low=0.05, high=4.0
        ),
        Option("v_init", 0.0, "initial membrane as a fraction of the threshold; 0.5 as in QCFS", low=-1.0, high=1.0),
    ),
    scales=scales,
)

METHOD = Method(
    name="rueckauer",
    summary="integrate-and-fire neurons, scales from a percentile of the ANN's activations",
    source=CONVERTER.source,
    converter=CONVERTER.name,
    neuron="if",
    timesteps=20,
)
