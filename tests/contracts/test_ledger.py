"""Accounts and ledger. Random networks are compared with a brute-force count in `test_engine`; here are the hand-worked ones."""

import numpy as np

from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import OUTPUT, Info, Model, Spiking
from tests.graphs import run


def hand_made(timesteps=2):
    """One channel that fires at every step where the image is white; 5 channels of 3×3 read it; a 3×3 output."""
    layers = (
        Conv("one", IMAGE, 1, 1, 1, bias=False),
        Activation("a", "one", 1),
        Conv("two", "a", 1, 5, 3),
        Activation("b", "two", 5),
        Conv("three", "b", 5, 1, 3),
    )
    network = Network("hand", 1, layers, "three", "subtract")
    parameters = {
        "one.weight": np.ones((1, 1, 1, 1), np.float32),
        "two.weight": np.zeros((5, 1, 3, 3), np.float32),
        "two.bias": np.array([0, 1, 0, 0, 0], np.float32),  # the second channel fires everywhere, at every step
        "three.weight": np.zeros((1, 5, 3, 3), np.float32),
        "three.bias": np.ones(1, np.float32),
    }
    ones = {"a": np.ones(1), "b": np.ones(5), OUTPUT: np.ones(1)}
    return Model(Info("hand", "denoise", "gray"), network, parameters, Spiking("if", "cpm", timesteps, ones, ones))


def test_a_ledger_by_hand():
    """A 3×4 image, white in a corner and inside: 4 + 9 = 13 positions of a 3×3 kernel read those pixels."""
    pixels = np.zeros((1, 1, 3, 4), np.uint8)
    pixels[0, 0, 0, 0] = pixels[0, 0, 1, 1] = 255
    _, ledger, spikes = run(hand_made(), pixels, "if", "cpm")
    a, b, output = ledger.layers
    assert (a.name, a.shape, b.name, b.shape, output.name) == ("a", (1, 3, 4), "b", (5, 3, 4), "output")
    assert a.events.tolist() == [[2, 2]]
    assert a.synops.tolist() == [13 * 5] * 2
    assert a.synops_paper.tolist() == [2 * 9 * 5] * 2
    assert a.neuron_updates.tolist() == [12, 12]
    assert a.bias_additions.tolist() == [0, 0]
    assert spikes["b"][0, :, 1].all()
    taps = (2 + 3 + 2) * (2 + 3 + 3 + 2)  # of a 3×3 kernel inside 3×4 pixels
    assert b.events.tolist() == [[12, 12]]
    assert b.synops.tolist() == [taps, taps]
    assert b.synops_paper.tolist() == [12 * 9] * 2
    assert b.neuron_updates.tolist() == [60, 60]
    assert b.bias_additions.tolist() == [12, 12]  # one of five biases is not zero
    assert output.events.tolist() == [[12, 12]]
    assert output.synops.tolist() == [0, 0]
    assert output.bias_additions.tolist() == [12, 12]
    assert (ledger.head_synops, ledger.head_synops_paper, ledger.head_macs) == (2 * taps, 2 * 12 * 9, 12)
    assert (ledger.analog_macs, ledger.analog_macs_paper) == (12, 12)
    assert ledger.ann_macs == 12 + 5 * taps + 5 * taps
    assert ledger.ann_macs_paper == 12 * (1 + 45 + 45)
    assert ledger.output_additions == 12  # the skip
    assert ledger.weights == 1 + 45 + 45
    assert ledger.spikes == 4 + 24 + 24
    assert ledger.synops == 2 * 65 + 2 * taps + 2 * taps
    assert ledger.synops_paper == 2 * 90 + 2 * 108 + 2 * 108
    assert ledger.firing_rate == 52 / ((12 + 60 + 12) * 2)


def test_without_an_output_neuron():
    pixels = np.full((3, 1, 2, 2), 255, np.uint8)
    _, ledger, _ = run(hand_made(3), pixels, "mprn", "membrane")
    assert [layer.name for layer in ledger.layers] == ["a", "b"]
    assert (ledger.planes, ledger.timesteps, ledger.post_steps) == (3, 3, 1)
    assert ledger.output_additions == 12 * 3 + 12
    assert (ledger.head_synops, ledger.head_macs) == (0, 0)
    a, b = ledger.layers
    assert a.events.tolist() == [[12, 12, 12, 0]]
    assert a.synops.tolist() == [12 * 4 * 5] * 3 + [0]
    assert b.bias_additions.tolist() == [12, 12, 12, 0]
    assert b.neuron_updates.tolist() == [60] * 4
    assert all(isinstance(layer.events, np.ndarray) and layer.events.dtype == np.int64 for layer in ledger.layers)
