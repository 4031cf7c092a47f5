"""The first form of the membrane potential release neuron ("Image restoration based on SNN"), equations (7)-(8).

Steps 1..T are those of the soft-reset integrate-and-fire neuron. In one step more, in which only the spikes of the layer
before arrive, a neuron whose membrane reaches α·θ releases a spike that is worth β instead of 1:

    s(T+1) = [v(T) + I(T+1) >= α·θ];   v(T+1) = v(T) + I(T+1) - β·θ·s(T+1);   the next layer receives β·W·s(T+1)

β is folded into a kernel that the next layer keeps for that step, so that spikes stay binary. α is a fixed number in
(0.5, 1], which the paper does not give: 0.9 is what the figures of its successor draw.
"""

from collections.abc import Mapping
from typing import Any

from nspike import Method, Neuron, Parameter, hookimpl


@hookimpl
def register_neurons(register: Any) -> None:
    """Register the neuron."""
    register(NEURON)


@hookimpl
def register_methods(register: Any) -> None:
    """Register the method."""
    register(METHOD)


def fire(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """The threshold as a fraction of θ: 1 up to T, α after."""
    return 1.0 if step <= timesteps else parameters["alpha"]


def amplitude(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """What a spike is worth: 1 up to T, β after."""
    return 1.0 if step <= timesteps else parameters["beta"]


NEURON = Neuron(
    name="mprn_beta",
    summary="integrate-and-fire that releases a spike of trained value in one step after T",
    source="Image restoration based on Spiking Neural Network (the first report on SpikingIR), equations (7)-(8)",
    parameters=(
        Parameter("alpha", 0.9, 0.5, 1.0, "release threshold as a fraction of the threshold", open_low=True),
        Parameter("beta", 1.0, 0.0, 4.0, "value of the released spike", open_low=True, trainable=True),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    post_steps=1,
    fire=fire,
    amplitude=amplitude,
)

METHOD = Method(
    name="spikingir_v1",
    summary="neurons that release a spike of trained value after T, recycled membranes, fine-tuned",
    source="Image restoration based on Spiking Neural Network (the first report on SpikingIR)",
    neuron=NEURON.name,
    head="recycling",
    trained_by="finetune",
)
