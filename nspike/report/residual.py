"""What is left in the membranes: shares of neurons with |v - v(0)| above 1/2 and 1 threshold (Figure 4 of SpikingIR).

The engine keeps no membrane of an inner layer, so a part of the picture is simulated again in float64 with the same
integers: the `SIDE` pixels in its middle, as if they were the picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike import floatsim
from nspike.integers import build
from nspike.model import OUTPUT, Model
from nspike.parts import head_of, neuron_of
from nspike.plane import from_plane

SIDE = 48


@dataclass(frozen=True)
class Residual:
    """Of a layer: shares of its neurons with |v - v(0)| above 1/2 and above 1 threshold, in [0, 1]."""

    half: float
    one: float


def residuals(model: Model, planes: NDArray[np.integer]) -> Mapping[str, Residual]:
    """Layer -> residual, from the middle of the first plane of (N, C, H, W); empty for a neuron with its own kernel."""
    neuron, head = neuron_of(model), head_of(model)
    if neuron.step is not None:
        return {}
    _, _, height, width = planes.shape
    y, x = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    network = floatsim.from_integers(build(model, neuron, head))
    run = floatsim.simulate(network, from_plane(planes[0, :, y : y + SIDE, x : x + SIDE]))
    found = {}
    for stage in network.stages:
        if stage.name == OUTPUT and not head.fires:
            continue
        left = np.abs(run.residual[stage.name]) / stage.theta[:, None, None]
        found[stage.name] = Residual(float((left > 0.5).mean()), float((left > 1.0).mean()))
    return found
