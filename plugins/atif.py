"""The adaptive-threshold neuron of SPIDEN's authors (ATIF; Castagnetti et al. 2023), for networks that are trained directly.

    u = v + I;   s = [u >= θ];   v = u - θ·s;   output θ·s;   v(0) = v_init·θ

θ is trained, one for each layer, from 0.9 on, in the middle of where the published code draws it, and folded into the kernels
that read the spikes. So a layer is a quantiser of T levels whose step θ/T is trained. Here θ is the parameter `theta` times
the layer's threshold, which training may move as well: then output and threshold are two numbers. The surrogate derivative is
that of a sigmoid of slope 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Method, Neuron, Parameter, hookimpl

SOURCE = "Castagnetti, Pegatoquet and Miramond 2023 (SPIDEN), doi:10.3389/fnins.2023.1224457"


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def theta(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """The threshold, what a spike takes and what it is worth, as a fraction of the layer's threshold."""
    return parameters["theta"]


def slope(x: NDArray[Any]) -> NDArray[Any]:
    """σ(x)(1 - σ(x))."""
    small = np.exp(-np.abs(x))
    return np.asarray(small / np.square(1 + small), x.dtype)


NEURON = Neuron(
    name="atif",
    summary="integrate-and-fire whose threshold is trained and scales its spikes, soft reset",
    source=SOURCE,
    parameters=(
        Parameter("theta", 0.9, 0.0, 2.0, "threshold, and what a spike is worth", open_low=True, trainable=True),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the layer's threshold"),
    ),
    fire=theta,
    amplitude=theta,
    surrogate=slope,
)

METHOD = Method(
    name="spiden",
    summary="neurons of trained threshold and scale, trained directly",
    source=SOURCE,
    neuron=NEURON.name,
    timesteps=15,
    trained_by="finetune",
    needs_training=True,
    recipe={"batch_norm": True},
)
