"""The firing rate of a ledger, from numbers by hand."""

import dataclasses

import numpy as np

from nspike.contracts.ledger import LayerLedger, Ledger


def test_firing_rate():
    """Spikes of both planes and of the post step, per neuron and step up to T."""
    none = np.zeros(4, np.int64)
    layers = tuple(
        LayerLedger(name, (channels, 5, 7), np.array([[9, 8, 7, 6]]), none, none, none, none)
        for name, channels in (("a", 2), ("b", 3))
    )
    counts = dict.fromkeys(
        ("analog_macs", "analog_macs_paper", "output_additions", "head_synops", "head_synops_paper", "head_macs"), 0
    )
    ledger = Ledger(2, (1, 5, 7), 3, 1, layers, **counts, ann_macs=0, ann_macs_paper=0, weights=0)
    assert ledger.firing_rate == 60 / (2 * (2 + 3) * 5 * 7 * 3)
    assert dataclasses.replace(ledger, layers=()).firing_rate == 0
