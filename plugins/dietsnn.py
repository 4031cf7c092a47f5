"""Diet-SNN (Rathi and Roy 2020): a leak and a threshold that every layer learns.

    u = keep·v + I;   z = u/θ - 1;   s = [z > 0];   v = u - θ·s;   v(0) = v_init·θ

The test is strict: in integers it is u >= θ + 1. keep begins at 1, and θ at 0.3 of the 99.7th percentile of the currents that
arrive while the layers before it already spike (converter `spikenorm`). The surrogate derivative of s is 0.3·max(0, 1 - |z|),
with respect to z. The published networks have neither bias nor batch norm; ours keep their biases.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike import Method, Neuron, Parameter, hookimpl

SOURCE = "Rathi and Roy 2020, arXiv:2008.03658"


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def keep(parameters: Mapping[str, float]) -> float:
    """What is left of the membrane at the next step."""
    return parameters["keep"]


def slope(z: NDArray[Any]) -> NDArray[Any]:
    """0.3·max(0, 1 - |z|)."""
    return np.asarray(0.3 * np.maximum(1 - np.abs(z), 0), z.dtype)


NEURON = Neuron(
    name="dietsnn",
    summary="leaky integrate-and-fire whose leak and threshold are trained, strict test, soft reset",
    source=SOURCE,
    parameters=(
        Parameter("keep", 1.0, 0.0, 1.0, "what is left of the membrane at the next step", trainable=True),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    keep=keep,
    strict=True,
    surrogate=slope,
    surrogate_unit="threshold",
)

METHOD = Method(
    name="dietsnn",
    summary="neurons of trained leak and threshold, from low thresholds on",
    source=SOURCE,
    converter="spikenorm",
    options={"percentile": 99.7, "theta_scale": 0.3},
    neuron=NEURON.name,
    timesteps=5,
    trained_by="finetune",
    needs_training=True,
)
