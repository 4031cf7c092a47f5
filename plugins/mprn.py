"""The membrane potential release neuron (MPRN) of SpikingIR (AAAI 2026), equations (13)-(16).

Steps 1..T are those of the soft-reset integrate-and-fire neuron. In one step more, in which only the spikes of the layer
before arrive (no image, no bias; layer by layer, so that a release cascades), a neuron fires at a lower threshold:

    s(T+1) = [v(T) + I(T+1) >= α·θ];   α = 0.5·sigmoid(β) + 0.5;   v(T+1) = v(T) + I(T+1) - θ·s(T+1)

α > 0.5 is what keeps a release from leaving a larger |residual| than it found. Rates stay divided by T: the charge was
delivered in T steps. The paper does not say what arrives in step T+1; this reading measured best on AOD-Net.
"""

from collections.abc import Mapping
from decimal import Context, Decimal
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


_EXACT = Context(prec=40)
_DECIMALS = Decimal("1e-12")


def alpha(beta: float) -> float:
    """The release threshold as a fraction of θ, in [0.5, 1]: 0.5·sigmoid(beta) + 0.5, rounded to 12 decimals.

    Computed with 40 decimal digits, in integers: a library's `exp` differs in its last bit from system to system.
    """
    half = Decimal("0.5")
    fraction = _EXACT.divide(half, _EXACT.add(1, Decimal(-beta).exp(_EXACT)))
    return float(_EXACT.add(fraction, half).quantize(_DECIMALS))


def fire(parameters: Mapping[str, float], step: int, timesteps: int) -> float:
    """The threshold as a fraction of θ: 1 up to T, α after."""
    return 1.0 if step <= timesteps else alpha(parameters["beta"])


NEURON = Neuron(
    name="mprn",
    summary="integrate-and-fire that releases what is left in its membrane in one step after T",
    source="SpikingIR, AAAI 2026, equations (13)-(16)",
    parameters=(
        # 0 gives α = 0.75, where α is most sensitive to training; beyond ±30 a float64 α no longer changes
        Parameter("beta", 0.0, -30.0, 30.0, "sets the release threshold α = 0.5·sigmoid(beta) + 0.5", trainable=True),
        Parameter("v_init", 0.0, -1.0, 1.0, "initial membrane as a fraction of the threshold"),
    ),
    post_steps=1,
    fire=fire,
)

METHOD = Method(
    name="spikingir",
    summary="neurons that release their membranes after T, a convolutional pixel mapper, fine-tuned",
    source="SpikingIR: A Novel Converted SNN for Efficient Image Restoration (AAAI 2026)",
    neuron=NEURON.name,
    head="cpm",
    trained_by="finetune",
    recipe={"k": 0.01},
)
