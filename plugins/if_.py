"""The integrate-and-fire neuron with soft reset (Rueckauer et al. 2017; RMP-SNN, Han et al. 2020).

    u(t) = v(t-1) + I(t);   s(t) = [u(t) >= θ];   v(t) = u(t) - θ·s(t);   v(0) = v_init·θ

What is above the threshold stays in the membrane, so that T steps lose no charge: Σ I = θ·Σ s + v(T) - v(0).
"""

from typing import Any

from nspike import Neuron, Parameter, hookimpl


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


NEURON = Neuron(
    name="if",
    summary="integrate-and-fire, soft reset",
    source="Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682",
    parameters=(Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold; QCFS uses 0.5"),),
)
