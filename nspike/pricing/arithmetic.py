"""Arithmetic alone: a multiply-accumulate (MAC) and an accumulation (AC) of 32-bit floats, as papers price spiking networks.

The column `paper` is theirs: every spike reaches k²·C_out targets, the border ignored; the first layer, which reads the
image, is charged at every step, or once; no biases, no neurons, of the head its convolution alone. The column `exact`
charges all that the ledger counts: the fan-out that each spike has, the first layer once (its current is the same at every
step), biases, the skip from the image, one accumulation for each update of a neuron, and the head's scaled additions as
multiply-accumulates. The ANN is charged its multiply-accumulates alone, not its biases, ReLUs and skips: where the two
sides differ, it is in the ANN's favour.
"""

from nspike.contracts.energy import EnergyColumn, EnergyModel
from nspike.contracts.ledger import Ledger
from nspike.pricing.costs import Costs

MAC, AC = ("float32_multiply", "float32_add"), ("float32_add",)


def exact(costs: Costs, ledger: Ledger) -> float:
    """Joules of all the spiking network's arithmetic, an update of a neuron being priced as one accumulation."""
    accumulations = ledger.synops + ledger.additions + ledger.neuron_updates
    return costs.joules(*AC) * accumulations + costs.joules(*MAC) * (ledger.analog_macs + ledger.head_macs)


def arithmetic_energy(costs: Costs, name: str) -> EnergyModel:
    """The energy model `name` of a table with float32_add and float32_multiply. Raises PluginError where they lack."""
    mac, ac = costs.joules(*MAC), costs.joules(*AC)

    def estimate(ledger: Ledger) -> tuple[EnergyColumn, ...]:
        ann, first = mac * ledger.ann_macs_paper, mac * ledger.analog_macs_paper
        spikes = ac * ledger.synops_paper
        return (
            EnergyColumn("paper", spikes + first * ledger.timesteps, ann),
            EnergyColumn("paper, first layer once", spikes + first, ann),
            EnergyColumn("exact", exact(costs, ledger), mac * ledger.ann_macs),
        )

    picojoules = {"MAC": costs.picojoules(*MAC), "AC": costs.picojoules(*AC)}
    return EnergyModel(
        name=name,
        summary=f"arithmetic, {costs.title}: {picojoules['MAC']:g} pJ a multiply-accumulate, "
        f"{picojoules['AC']:g} pJ an accumulation",
        source=f"{costs.source} ({costs.year})",
        constants={key: (value, "pJ") for key, value in picojoules.items()},
        formula={
            "paper": "AC × synaptic operations + MAC × first layer × T, the border ignored; ANN: MAC × its MACs",
            "paper, first layer once": "AC × synaptic operations + MAC × first layer, the border ignored; "
            "ANN: MAC × its MACs",
            "exact": "AC × (synaptic operations + biases + skip + neuron updates) + MAC × (first layer + head), "
            "as counted; ANN: MAC × its MACs",
        },
        estimate=estimate,
    )
