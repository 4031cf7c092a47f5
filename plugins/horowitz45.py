"""Arithmetic alone, at 45 nm: 4.6 pJ for a multiply-accumulate (3.7 + 0.9) and 0.9 pJ for an accumulation, 32-bit float.

The constants that the papers on spiking networks use. The column `paper` is theirs: every spike reaches k²·C_out targets,
the border ignored; the first layer, which reads the picture, is charged at every step, or once; no biases, no neurons, of
the head its convolution alone. The column `exact` charges all that the ledger counts: the fan-out that each spike has, the
first layer once (its current is the same at every step), biases, the skip from the picture, one accumulation for each
update of a neuron, and the head's scaled additions as multiply-accumulates. The ANN is charged its multiply-accumulates
alone, not its biases, ReLUs and skips: where the two sides differ, it is in the ANN's favour.
"""

from typing import Any

from nspike_plugins._arithmetic45 import E_AC, E_MAC, SOURCE, exact

from nspike import EnergyColumn, EnergyModel, Ledger, hookimpl


@hookimpl
def register_energy_models(register: Any) -> None:
    """Register the model."""
    register(HOROWITZ45)


def estimate(ledger: Ledger) -> tuple[EnergyColumn, ...]:
    """The papers' column, the same with the first layer charged once, and all that the ledger counts."""
    ann, first = E_MAC * ledger.ann_macs_paper, E_MAC * ledger.analog_macs_paper
    spikes = E_AC * ledger.synops_paper
    return (
        EnergyColumn("paper", spikes + first * ledger.timesteps, ann),
        EnergyColumn("paper, first layer once", spikes + first, ann),
        EnergyColumn("exact", exact(ledger), E_MAC * ledger.ann_macs),
    )


HOROWITZ45 = EnergyModel(
    name="horowitz45",
    summary="arithmetic at 45 nm: 4.6 pJ a multiply-accumulate, 0.9 pJ an accumulation",
    source=SOURCE,
    constants={"MAC": (4.6, "pJ"), "AC": (0.9, "pJ")},
    formula={
        "paper": "AC × synaptic operations + MAC × first layer × T, the border ignored; ANN: MAC × its MACs",
        "paper, first layer once": "AC × synaptic operations + MAC × first layer, the border ignored; ANN: MAC × its MACs",
        "exact": "AC × (synaptic operations + biases + skip + neuron updates) + MAC × (first layer + head), as counted; "
        "ANN: MAC × its MACs",
    },
    estimate=estimate,
)
