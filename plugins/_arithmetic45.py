"""The price of arithmetic at 45 nm, and of all the arithmetic that a ledger counts; for the energy models."""

from nspike import Ledger

E_MAC = 4.6e-12
"""Joules of a 32-bit float multiply-accumulate: 3.7 + 0.9 pJ."""

E_AC = 0.9e-12
"""Joules of a 32-bit float accumulation, the papers' price of a synaptic operation (an integer one is 0.1 pJ)."""

SOURCE = "M. Horowitz, ISSCC 2014, doi:10.1109/ISSCC.2014.6757323"


def updates(ledger: Ledger) -> int:
    """Updates of neurons, over all layers and steps."""
    return sum(int(layer.neuron_updates.sum()) for layer in ledger.layers)


def additions(ledger: Ledger) -> int:
    """Accumulations that no spike causes: biases, and the skip from the picture."""
    return sum(int(layer.bias_additions.sum()) for layer in ledger.layers) + ledger.output_additions


def exact(ledger: Ledger) -> float:
    """Joules of all the spiking network's arithmetic, an update of a neuron being priced as one accumulation."""
    accumulations = ledger.synops + additions(ledger) + updates(ledger)
    return E_AC * accumulations + E_MAC * (ledger.analog_macs + ledger.head_macs)
