"""Arithmetic and memory traffic; the traffic takes most of the energy.

A simple model, the same for both networks: every operand is read from a memory, every result written back, nothing is
reused in a register. So both sides are upper bounds.

    synaptic operation    a 16-bit weight is read, a 32-bit membrane is read and written
    neuron update         a 32-bit membrane is read and written
    bias, skip            a 32-bit number is read, a 32-bit membrane is read and written
    MAC, first layer      a 16-bit weight and a 32-bit input are read, a 32-bit sum is read and written; so the head's
    MAC of the ANN        a 32-bit weight and a 32-bit input are read, a 32-bit sum is read and written

Membranes, inputs and sums lie in the table's working memory; weights in the smallest of its memories that holds them all,
larger networks in several of the largest. A weight comes from DRAM once for an image. Spikes themselves (a bit each) are
not charged. Accesses cost what they do per 64 bits, in proportion to the bits.
"""

from nspike.contracts.energy import EnergyColumn, EnergyModel
from nspike.contracts.ledger import Ledger
from nspike.pricing.arithmetic import AC, MAC, exact
from nspike.pricing.costs import Costs

WEIGHT_BITS, WORD_BITS = 16, 32


def spiking_traffic(costs: Costs, ledger: Ledger, input_bits: int = WORD_BITS) -> float:
    """Joules of the spiking network's memory traffic; an input of the first layer and head has `input_bits`."""
    weight = WEIGHT_BITS * costs.weight_bit(ledger.weights, WEIGHT_BITS)
    read_write = 2 * WORD_BITS * costs.working_bit()
    read = WORD_BITS * costs.working_bit()
    return (
        ledger.synops * (weight + read_write)
        + ledger.neuron_updates * read_write
        + ledger.additions * (read + read_write)
        + (ledger.analog_macs + ledger.head_macs) * (weight + input_bits * costs.working_bit() + read_write)
        + ledger.weights * WEIGHT_BITS * costs.dram_bit()
    )


def ann_traffic(costs: Costs, ledger: Ledger) -> float:
    """Joules of the ANN's memory traffic."""
    each = WORD_BITS * costs.weight_bit(ledger.weights, WORD_BITS) + 3 * WORD_BITS * costs.working_bit()
    return ledger.ann_macs * each + ledger.weights * WORD_BITS * costs.dram_bit()


def memory_energy(costs: Costs, name: str) -> EnergyModel:
    """The energy model `name` of a table with float operations and memories. Raises PluginError where they lack."""
    constants = {"MAC": (costs.picojoules(*MAC), "pJ"), "AC": (costs.picojoules(*AC), "pJ"), **costs.memory_constants()}

    def estimate(ledger: Ledger) -> tuple[EnergyColumn, ...]:
        spiking, ann = spiking_traffic(costs, ledger), ann_traffic(costs, ledger)
        whole = exact(costs, ledger) + spiking, costs.joules(*MAC) * ledger.ann_macs + ann
        return EnergyColumn("arithmetic and memory", *whole), EnergyColumn("memory alone", spiking, ann)

    return EnergyModel(
        name=name,
        summary=f"arithmetic and memory traffic, {costs.title}, without any reuse in registers",
        source=f"{costs.source} ({costs.year})",
        constants=constants,
        formula={
            "arithmetic and memory": "AC × (synaptic operations + biases + skip + neuron updates) + "
            "MAC × (first layer + head), as counted, + memory alone; ANN: MAC × its MACs + memory alone",
            "memory alone": "W16 + 2·M32 for a synaptic operation, 2·M32 for a neuron update, 3·M32 for a bias or skip, "
            "W16 + 3·M32 for a MAC of the first layer or head, and each weight once from DRAM; ANN: W32 + 3·M32 for a MAC, "
            "and each weight once from DRAM. W: the smallest SRAM that holds all weights, the largest if none; M: the SRAM "
            f"of {(costs.working or 0) >> 10} KB; the number is the bits",
        },
        estimate=estimate,
    )
