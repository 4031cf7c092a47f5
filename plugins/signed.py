"""The integrate-and-fire neuron with signed spikes: for features that are not behind a ReLU.

    u = v + I;   s = 1 where u >= θ, -1 where u <= -θ, else 0;   v = u - θ·s;   v(0) = v_init·θ

A negative spike goes into a plane of its own, which the next layer reads with its kernel negated; it is one event and one
accumulation for each tap, as any. No charge is lost: Σ I = θ·Σ s + v(T) - v(0).
"""

from typing import Any

from nspike import Neuron, Parameter, hookimpl


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


NEURON = Neuron(
    name="signed",
    summary="integrate-and-fire with positive and negative spikes, soft reset",
    source="Wang et al. 2022 (signed neuron with memory), without their limit on negative spikes",
    parameters=(Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),),
    planes=(1, -1),
)
