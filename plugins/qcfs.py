"""Scales of a network that was trained with clipped or quantised activations (QCFS, Bu et al. 2022).

The ceiling λ that training found for a layer is its scale, θ = λ and v(0) = θ/2. For a constant input, and T equal to the L
levels that were trained, the rate of a layer is then its activation h(x) exactly. Nothing is calibrated but the output and
layers without a ceiling beside others that have one, such as those that conversion adds: they take a percentile of their
absolute values; an output that is an image takes 1.

A neuron that starts half full has rounded its count already. One that also releases what is left after T, at α = 0.75 as
`mprn` does untrained, would round a second time, and give a fifth of a spike too many on average; so α is set to nearly 1,
where it yet answers to training. For DnCNN at T = 10 that is worth 1.0 dB, and nothing once
its layers are fitted (`nspike.converting.regression`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from nspike_plugins._histogram import histograms

from nspike import Calibration, Converter, Method, Option, Scales, UsageError, hookimpl

OUTPUT = "output"
RELEASE = {"mprn.beta": 3.0, "mprn_beta.alpha": 1.0}
"""α = 0.976 and 1."""


@hookimpl
def register_converters(register: Any) -> None:
    """Register the converter."""
    register(CONVERTER)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ of every layer as trained; of layers that conversion added, from the calibration images."""
    network = calibration.network
    trained = {a.name: a for a in network.activations if a.ceiling is not None}
    others = [a for a in network.activations if a.name not in trained]
    if others and not trained:
        raise UsageError(
            f"converter qcfs: layer {others[0].name!r} of this network has no ceiling: train it with clipped or "
            'quantised activations (nspike train, activation = "qcfs"), or convert it with rueckauer'
        )
    measured = histograms(calibration, {a.name: a.channels for a in others} | {OUTPUT: network.channels})
    ceilings = {name: np.broadcast_to(np.array(a.ceiling), (a.channels,)).copy() for name, a in trained.items()}
    ceilings |= {name: histogram.percentiles(options["percentile"], "layer") for name, histogram in measured.items()}
    if network.mode == "image":
        ceilings[OUTPUT] = np.ones(network.channels)
    thresholds = {name: np.ones(scale.size) for name, scale in ceilings.items()}
    return Scales(ceilings, thresholds, {"v_init": options["v_init"], **RELEASE})


CONVERTER = Converter(
    name="qcfs",
    summary="the scales that a network with clipped or quantised activations was trained with",
    source="Bu et al. 2022, arXiv:2303.04347",
    options=(
        Option("v_init", 0.5, "initial membrane as a fraction of the threshold", low=-1.0, high=1.0),
        Option("percentile", 99.9, "of a residual output's absolute values; 100 is the largest", low=50.0, high=100.0),
    ),
    scales=scales,
)

METHOD = Method(
    name="qcfs",
    summary="a network trained with L levels, run by integrate-and-fire neurons that start half full",
    source=CONVERTER.source,
    converter=CONVERTER.name,
    neuron="if",
    timesteps=8,
    trained_by="train",
    needs_training=True,
    recipe={"activation": "qcfs", "levels": 8},
)
