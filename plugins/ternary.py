"""The ternary spike (Guo et al., AAAI 2024): spikes of +1 and -1, of a trained amplitude; for networks that are trained directly.

    u = 0.25·v + I;   s = sign(u) where |u| >= θ/2, else 0;   v = u·(1 - |s|);   v(0) = v_init·θ

The amplitude a that a layer learns, s being worth a·s, is folded into the kernels that read it: spikes stay ternary, and a
sign is free. The surrogate derivative of s is that of u/θ clipped to ±1. The published code keeps a at 1, and θ too; here
both are trained.
"""

from collections.abc import Mapping
from typing import Any

from nspike import Method, Neuron, Parameter, hookimpl

SOURCE = "Guo et al. 2024 (AAAI), arXiv:2312.06372"


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
    return parameters["leak"]


def fire(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """Half of the threshold."""
    return 0.5


def amplitude(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """What a spike is worth to the next layer; the reset, to zero, comes before it."""
    return parameters["amplitude"]


NEURON = Neuron(
    name="ternary",
    summary="leaky, spikes of both signs and of trained amplitude, reset to zero",
    source=SOURCE,
    parameters=(
        Parameter("amplitude", 1.0, 0.0, 2.0, "what a spike is worth", open_low=True, trainable=True),
        Parameter("leak", 0.25, 0.0, 1.0, "what is left of the membrane at the next step"),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    keep=keep,
    fire=fire,
    amplitude=amplitude,
    reset="zero",
    planes=(1, -1),
    # one for |u/θ ∓ 1/2| < 1/2: the two crossings together are the derivative of u/θ clipped to ±1
    surrogate="rectangle",
    surrogate_unit="threshold",
)

METHOD = Method(
    name="ternary",
    summary="spikes of both signs and of trained amplitude, trained directly",
    source=SOURCE,
    neuron=NEURON.name,
    timesteps=15,
    trained_by="finetune",
    needs_training=True,
    recipe={"batch_norm": True},
)
