"""What is left in the membranes after the last step: shares of a layer's neurons with v - v(0) above θ/2, and below -θ/2.

What is above is charge that no spike has passed on, which MPRN is to release (SpikingIR, Figure 4). What is below was
inhibited, and where it never fired it says the 0 of a ReLU. The engine keeps no membrane of an inner layer, so a part of
the image is simulated again in float64 with the same integers: about `SIDE` pixels in its middle, as if they were all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.images.plane import from_plane
from nspike.integer import reference as floatsim
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT, Model
from nspike.registry.parts import head_of, neuron_of

SIDE = 48


@dataclass(frozen=True)
class Residual:
    """Of a layer: shares of its neurons in [0, 1], with v - v(0) above θ/2, and below -θ/2."""

    over: float
    under: float


def residuals(model: Model, planes: NDArray[np.integer]) -> Mapping[str, Residual]:
    """Layer -> residual, from the middle of the first plane of (N, C, H, W); empty for a neuron with its own kernel."""
    neuron, head = neuron_of(model), head_of(model)
    if neuron.step is not None:
        return {}
    multiple = model.network.size_multiple
    rows, columns = (_middle(side, multiple) for side in planes.shape[2:])
    network = floatsim.from_integers(build(model, neuron, head))
    run = floatsim.simulate(network, from_plane(planes[0, :, rows, columns]))
    residuals = {}
    for stage in network.stages:
        if stage.name == OUTPUT and not head.fires:
            continue
        left = run.residual[stage.name] / stage.theta[:, None, None]
        residuals[stage.name] = Residual(float((left > 0.5).mean()), float((left < -0.5).mean()))
    return residuals


def _middle(side: int, multiple: int) -> slice:
    """About `SIDE` of `side` pixels, in the middle, from a multiple of the size multiple to one."""
    length = min(side, max(SIDE // multiple, 1) * multiple)
    first = (side - length) // 2 // multiple * multiple
    return slice(first, first + length)
