"""Thresholds from what arrives as spikes (Spike-Norm, Sengupta et al. 2019; RMP-SNN, Han, Srinivasan and Roy 2020).

Layer by layer, the layers before it being converted and simulated with spikes for `timesteps` steps, λ of a layer is the largest
current that any of its neurons gets at any step in any calibration image, or a percentile of the positive currents:

    λ_l = scale · max over t, neurons, images of I_l(t)

A neuron then hardly ever has to fire more than once a step, so nothing is clipped that spikes could carry; a spike is worth
much, and small currents take long. RMP-SNN lowers its thresholds by `scale` for fewer steps. The papers keep the kernels
and let a spike be worth 1, which in their networks without biases is the same up to a factor; here it is worth λ, so that
biases and concatenations stay right.

A residual output takes the percentile of the ANN's absolute values; an output that is an image takes λ = 1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from nspike_plugins._histogram import Histogram
from numpy.typing import NDArray

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
    """λ of every layer from the spikes of those before, θ = `theta_scale`."""
    network = calibration.network
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    signed = {a.name for a in network.activations if a.signed}

    def decide(name: str, currents: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
        histogram = Histogram(channels[name])
        for steps in currents:
            for current in steps:
                histogram.add(np.abs(current) if name in signed else current)
        return histogram.percentiles(options["percentile"], "layer") * float(options["scale"])

    found = calibration.layer_by_layer(decide, options["timesteps"])
    output = Histogram(network.channels)
    for values in calibration.activations():
        output.add(np.abs(values[OUTPUT]))
    found[OUTPUT] = output.percentiles(options["percentile"], "layer")
    if network.mode == "image":
        found[OUTPUT] = np.ones(network.channels)
    thresholds = {name: np.full(count, options["theta_scale"]) for name, count in channels.items()}
    thresholds[OUTPUT] = np.ones(network.channels)
    return Scales(found, thresholds, {"v_init": options["v_init"]})


CONVERTER = Converter(
    name="spikenorm",
    summary="scales from the largest current while the layers before already spike",
    source="Sengupta et al. 2019, doi:10.3389/fnins.2019.00095; Han et al. 2020, arXiv:2003.01811",
    options=(
        Option("percentile", 100.0, "of the positive currents; 100 is the largest", low=50.0, high=100.0),
        Option("timesteps", 10, "how many steps are simulated", low=1, high=126),
        Option("scale", 1.0, "what the scale is multiplied by, threshold and worth of a spike", low=0.05, high=4.0),
        Option("theta_scale", 1.0, "threshold alone in units of the scale; Diet-SNN: 0.3", low=0.05, high=4.0),
        Option("v_init", 0.0, "initial membrane as a fraction of the threshold", low=-1.0, high=1.0),
    ),
    scales=scales,
)

METHOD = Method(
    name="rmp",
    summary="soft-reset neurons, thresholds from the largest current while simulating with spikes",
    source="Han, Srinivasan and Roy 2020 (RMP-SNN), arXiv:2003.01811",
    converter=CONVERTER.name,
    neuron="if",
    timesteps=20,
)
