"""Leaky integrate-and-fire neurons, their leak in integers: with soft reset (`lif`) and with hard reset (`lif_hard`).

    u = v·(1 - 1/τ) + I·(1 - d·(1 - 1/τ));   s = [u >= θ];   v = u - θ·s, or 0 where s = 1 (hard);   v(0) = v_init·θ

d = `decay_input`: with 0 the input is taken as it is, with 1 it is divided by τ: u = v + (I - v)/τ. These are SpikingJelly's
LIFNode with `decay_input=False` and `True`, soft (`v_reset=None`) and hard (`v_reset=0.0`); networks trained with it use
τ = 2. Both factors are multiples of 2^-16, and the product is rounded, as is part of the definition
(`nspike.contracts.neuron`).

A leak forgets input, which a converted network never learnt to expect, so the default is a slow one: τ = 16 forgets about
half of a charge in 10 steps, and its factor is exact.
"""

from collections.abc import Mapping
from typing import Any

from nspike import Neuron, Parameter, hookimpl


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neurons."""
    register(NEURON)
    register(HARD)


def keep(parameters: Mapping[str, float]) -> float:
    """What is left of the membrane at the next step: 1 - 1/τ."""
    return 1.0 - 1.0 / parameters["tau"]


def input_factor(parameters: Mapping[str, float]) -> float:
    """What the input is multiplied by: 1, or 1/τ where the input decays too."""
    return 1.0 - parameters["decay_input"] * keep(parameters)


_PARAMETERS = (
    Parameter("tau", 16.0, 1.0, 65536.0, "time constant of the leak in steps"),
    Parameter(
        "decay_input", 0.0, 0.0, 1.0, "1: the input is divided by tau, as in SpikingJelly's default; 0: it is not"
    ),
    Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
)

NEURON = Neuron(
    name="lif",
    summary="leaky integrate-and-fire, soft reset, integer leak",
    source="Gerstner and Kistler 2002; SpikingJelly's LIFNode with v_reset=None",
    parameters=_PARAMETERS,
    keep=keep,
    input_factor=input_factor,
)

HARD = Neuron(
    name="lif_hard",
    summary="leaky integrate-and-fire, reset to zero, integer leak",
    source="Gerstner and Kistler 2002; SpikingJelly's LIFNode with v_reset=0",
    parameters=_PARAMETERS,
    keep=keep,
    input_factor=input_factor,
    reset="zero",
)
