"""A network that was trained as a spiking one: every spike is worth 1 and every layer's threshold is the one it was trained with.

    λ = 1,   θ = `theta`

in units of the current, as in SpikingJelly and the networks written with it (v_threshold; 0.15 in ESDNet). The parameters are
taken as they are, batch norm folded: nothing is calibrated or fitted. Leak, reset and v(0) are the neuron's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nspike import Calibration, Converter, Option, Scales, hookimpl

OUTPUT = "output"


@hookimpl
def register_converters(register: Any) -> None:
    """Register the converter."""
    register(CONVERTER)


def scales(calibration: Calibration, options: Mapping[str, Any]) -> Scales:
    """λ = 1 and θ = `theta` for every layer; 1 for the output."""
    network = calibration.network
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    thresholds = {name: np.full(count, options["theta"]) for name, count in channels.items()}
    thresholds[OUTPUT] = np.ones(network.channels)
    return Scales({name: np.ones(count) for name, count in channels.items()}, thresholds)


CONVERTER = Converter(
    name="direct",
    summary="a network trained as a spiking one, as it is: spikes worth 1, one threshold",
    source="SpikingJelly's convention, Fang et al. 2023, doi:10.1126/sciadv.adi1480",
    options=(Option("theta", 0.15, "the threshold of all layers, in units of their currents", low=1e-6, high=1e6),),
    scales=scales,
    calibrates=False,
)
