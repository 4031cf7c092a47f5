"""Against a bit-matched quantised ANN: integers on both sides, and an ANN that carries no more than the spikes do.

A neuron that fires up to n times at each of T steps says one of T·n + 1 values, so it is matched by an activation of

    b = ceil(log2(T·n + 1)) bits

(Z. Yan, Z. Bai, W.-F. Wong, "Reconsidering the energy efficiency of spiking neural networks", 2024, arXiv:2409.08290). That
a b-bit ANN restores as well as the spiking network is the assumption of that comparison; it is not measured here. Both sides
have the same weights: 13 bits in the arithmetic (the grid's ±4095), stored in 16. With a and b bits

    MUL(a, b) = int8_multiply·(a·b)/(8·8)      an array multiplier's energy grows with the product of its widths
    ADD       = int32_add                      sums and membranes have 32 bits

    SNN: ADD·(synaptic operations + biases + skip + neuron updates) + (MUL(16, 16) + ADD)·(first layer + head)
    ANN: (MUL(13, b) + ADD)·MACs, those of the first layer (MUL(16, 16) + ADD), as it reads the same pixels

and with memory, as in `nspike.pricing.memory`: a weight of 16 bits for each operation of either side, activations of b bits,
pixels of 16, sums and membranes of 32 read and written, each weight once from DRAM. As there, the ANN is not charged biases,
ReLUs and requantisation; zero activations are not skipped. T alone is counted for b; post steps are charged to the spikes.
"""

from math import ceil, log2

from nspike.contracts.energy import EnergyColumn, EnergyModel
from nspike.contracts.ledger import Ledger
from nspike.errors import UsageError
from nspike.integer.grid import SPIKE_LIMIT
from nspike.pricing.costs import Costs
from nspike.pricing.memory import WEIGHT_BITS, WORD_BITS, spiking_traffic

PIXEL_BITS = 16
ARITHMETIC_BITS = SPIKE_LIMIT.bit_length() + 1  # and the sign

MULTIPLY, ADD = "int8_multiply", "int32_add"


def activation_bits(timesteps: int, most_spikes: int = 1) -> int:
    """Bits that tell 0 to T·n spikes apart, n being `most_spikes`.

    Raises UsageError without steps: of a plain ANN there is nothing to match.
    """
    if timesteps < 1:
        raise UsageError(
            "a bit-matched ANN follows from the steps of a spiking run, and this is of the plain "
            "network; choose another energy model"
        )
    return ceil(log2(timesteps * most_spikes + 1))


def quantised_energy(costs: Costs, name: str) -> EnergyModel:
    """The energy model `name` of a table with int8_multiply, int32_add and memories. Raises PluginError where they lack."""
    add, multiply = costs.joules(ADD), costs.joules(MULTIPLY)
    constants = {
        "MUL(8, 8)": (costs.picojoules(MULTIPLY), "pJ"),
        "ADD": (costs.picojoules(ADD), "pJ"),
        **costs.memory_constants(),
    }

    def mac(weight_bits: int, input_bits: int) -> float:
        return multiply * (weight_bits * input_bits) / 64 + add

    def estimate(ledger: Ledger) -> tuple[EnergyColumn, ...]:
        bits = activation_bits(ledger.timesteps, ledger.most_spikes)
        inner = ledger.ann_macs - ledger.analog_macs
        first = mac(WEIGHT_BITS, PIXEL_BITS)
        snn = add * (ledger.synops + ledger.additions + ledger.neuron_updates)
        snn += first * (ledger.analog_macs + ledger.head_macs)
        ann = mac(ARITHMETIC_BITS, bits) * inner + first * ledger.analog_macs
        shared = WEIGHT_BITS * costs.weight_bit(ledger.weights, WEIGHT_BITS) + 2 * WORD_BITS * costs.working_bit()
        ann_traffic = (
            ledger.ann_macs * shared
            + (inner * bits + ledger.analog_macs * PIXEL_BITS) * costs.working_bit()
            + ledger.weights * WEIGHT_BITS * costs.dram_bit()
        )
        snn_traffic = spiking_traffic(costs, ledger, PIXEL_BITS)
        return (
            EnergyColumn("integers", snn, ann),
            EnergyColumn("integers and memory", snn + snn_traffic, ann + ann_traffic),
        )

    return EnergyModel(
        name=name,
        summary=f"integers, {costs.title}, against an ANN whose activations have ceil(log2(T·n+1)) bits",
        source=f"{costs.source} ({costs.year}); b as Yan, Bai, Wong (2024), arXiv:2409.08290",
        constants=constants,
        formula={
            "integers": "ADD × (synaptic operations + biases + skip + neuron updates) + (MUL(16, 16) + ADD) × (first layer "
            f"+ head); ANN: (MUL({ARITHMETIC_BITS}, b) + ADD) × its MACs, the first layer's as the SNN's; "
            "b = ceil(log2(T·n+1)) bits, n being the most spikes at a step, MUL(a, b) = MUL(8, 8) × ab/64",
            "integers and memory": "integers + W16 + 2·M32 for a synaptic operation, 2·M32 for a neuron update, 3·M32 for a "
            "bias or skip, W16 + M16 + 2·M32 for a MAC of the first layer or head; ANN: W16 + Mb + 2·M32 for a MAC; both: "
            "each weight once from DRAM, 16 bits. W: the smallest SRAM that holds all weights; M: the SRAM of "
            f"{(costs.working or 0) >> 10} KB; the number is the bits",
        },
        estimate=estimate,
    )
