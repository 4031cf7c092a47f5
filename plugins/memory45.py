"""Arithmetic and memory traffic at 45 nm: what `horowitz45` leaves out, and where most of the energy goes.

A simple model, the same for both networks: every operand is read from a memory, every result written back, nothing is
reused in a register. So both sides are upper bounds.

    synaptic operation    a 16-bit weight is read, a 32-bit membrane is read and written
    neuron update         a 32-bit membrane is read and written
    bias, skip            a 32-bit number is read, a 32-bit membrane is read and written
    MAC, first layer      a 16-bit weight and a 32-bit input are read, a 32-bit sum is read and written; so the head's
    MAC of the ANN        a 32-bit weight and a 32-bit input are read, a 32-bit sum is read and written

Membranes, inputs and sums lie in a memory of 32 KB; weights in the smallest of the memories of 8 KB, 32 KB and 1 MB that
holds them all, larger networks in several of 1 MB. A weight comes from DRAM once for a picture. Spikes themselves (a bit
each) are not charged. Accesses cost what they do per 64 bits, in proportion to the bits.
"""

from typing import Any

from nspike_plugins._arithmetic45 import E_MAC, SOURCE, additions, exact, updates

from nspike import EnergyColumn, EnergyModel, Ledger, hookimpl

SRAM = ((8 * 1024, 10e-12), (32 * 1024, 20e-12), (1024 * 1024, 100e-12))
"""Bytes of a memory, and joules for an access to 64 bits of it."""

WORKING = SRAM[1][1] / 64
"""Joules for a bit of membranes, inputs and sums."""

DRAM = 1.95e-9 / 64
"""Joules for a bit of DRAM: the middle of 1.3 to 2.6 nJ for 64 bits."""

WEIGHT_BITS, WORD_BITS = 16, 32


@hookimpl
def register_energy_models(register: Any) -> None:
    """Register the model."""
    register(MEMORY45)


def weight_bit(weights: int, bits: int) -> float:
    """Joules for a bit of the memory that holds this many weights of this many bits."""
    fitting = [energy for size, energy in SRAM if weights * bits <= size * 8]
    return (fitting[0] if fitting else SRAM[-1][1]) / 64


def spiking_traffic(ledger: Ledger) -> float:
    """Joules of the spiking network's memory traffic."""
    weight = WEIGHT_BITS * weight_bit(ledger.weights, WEIGHT_BITS)
    read_write = 2 * WORD_BITS * WORKING
    read = WORD_BITS * WORKING
    return (
        ledger.synops * (weight + read_write)
        + updates(ledger) * read_write
        + additions(ledger) * (read + read_write)
        + (ledger.analog_macs + ledger.head_macs) * (weight + read + read_write)
        + ledger.weights * WEIGHT_BITS * DRAM
    )


def ann_traffic(ledger: Ledger) -> float:
    """Joules of the ANN's memory traffic."""
    each = WORD_BITS * weight_bit(ledger.weights, WORD_BITS) + 3 * WORD_BITS * WORKING
    return ledger.ann_macs * each + ledger.weights * WORD_BITS * DRAM


def estimate(ledger: Ledger) -> tuple[EnergyColumn, ...]:
    """Arithmetic with memory, and memory alone."""
    spiking, ann = spiking_traffic(ledger), ann_traffic(ledger)
    return (
        EnergyColumn("arithmetic and memory", exact(ledger) + spiking, E_MAC * ledger.ann_macs + ann),
        EnergyColumn("memory alone", spiking, ann),
    )


MEMORY45 = EnergyModel(
    name="memory45",
    summary="arithmetic and memory traffic at 45 nm, without any reuse in registers",
    source=SOURCE,
    constants={
        "MAC": (4.6, "pJ"),
        "AC": (0.9, "pJ"),
        "SRAM 8 KB": (10.0, "pJ per 64 bits"),
        "SRAM 32 KB": (20.0, "pJ per 64 bits"),
        "SRAM 1 MB": (100.0, "pJ per 64 bits"),
        "DRAM": (1950.0, "pJ per 64 bits (the middle of 1300 to 2600)"),
    },
    formula={
        "arithmetic and memory": "the column `exact` of horowitz45 + memory alone",
        "memory alone": "W16 + 2·M32 for a synaptic operation, 2·M32 for a neuron update, 3·M32 for a bias or skip, "
        "W16 + 3·M32 for a MAC of the first layer or head, and each weight once from DRAM; ANN: W32 + 3·M32 for a MAC, and "
        "each weight once from DRAM. W: the smallest SRAM that holds all weights (1 MB if none); M: SRAM of 32 KB; the "
        "number is the bits",
    },
    estimate=estimate,
)
