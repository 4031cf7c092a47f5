"""The networks that the benchmarks build in SpikingJelly and snnTorch spike as the engine does, thresholds by channel too."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nspike.images.plane import to_plane
from nspike.registry.parts import swap
from tests.tiny import image, tiny_model

pytest.importorskip("spikingjelly.activation_based.neuron", reason="SpikingJelly is not installed")
pytest.importorskip("snntorch", reason="snnTorch is not installed")


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    yield pytest.importorskip("_speed")
    for name in [name for name in sys.modules if name in ("_speed", "_peers", "_models", "_common")]:
        del sys.modules[name]


def model(by_channel, betas):
    """A tiny model whose thresholds differ from channel to channel, and whose release thresholds from layer to layer."""
    spiking = tiny_model(width=6).spiking
    rng = np.random.default_rng(5)
    thresholds = {n: rng.uniform(0.6, 1.4, t.size) if by_channel else t for n, t in spiking.thresholds.items()}
    own = {"relu1": {"beta": betas[0], "v_init": 0.25}, "relu2": {"beta": betas[1], "v_init": 0.5}}
    spiking = replace(spiking, thresholds=thresholds, neuron_parameters={"mprn": own, "if": {}})
    return replace(tiny_model(width=6), spiking=spiking)


def near(counts, found):
    """Within a thousandth: where u = θ, which snnTorch does not fire at, and where a scaled sum is rounded."""
    return abs(counts - found) <= found // 1000


@pytest.mark.parametrize("by_channel", [False, True])
def test_the_peers_spike_as_the_engine_does(speed, by_channel):
    case = speed.Case("tiny", swap(model(by_channel, (-2.0, 2.0)), neuron="if")[0])
    plane = to_plane(image(64, 96)[..., None].transpose(2, 0, 1)[None] / 255)
    found = speed.check(case, plane, 1)
    texts = {name: text for name, text in found.items() if isinstance(text, str) and name != "case"}
    assert len(texts) == 4
    for name, text in texts.items():
        counts, same = text.split(", ", 1)
        ours = found["nspike mprn" if "mprn" in name else "nspike if"]
        assert ours > 1000
        assert near(int(counts), ours), name
        if not by_channel and "SpikingJelly" in name:
            assert (int(counts), same) == (ours, "the same in every layer")


def test_release_thresholds_are_each_layers_own(speed):
    """Were they the first layer's in every layer, the counts would be those of the second model."""
    plane = to_plane(image(64, 96)[..., None].transpose(2, 0, 1)[None] / 255)
    totals = []
    for betas in ((-2.0, 2.0), (-2.0, -2.0)):
        tiny = model(True, betas)
        ledger = speed.run_engine(tiny, plane, 1)
        jelly = speed.SpikingJelly(speed.peer(tiny, plane, True), multi_step=False)
        jelly.run(count=True)
        for layer in ledger.layers:
            assert near(jelly.network.counts[layer.name], int(layer.events.sum())), layer.name
        totals.append(ledger.spikes)
    assert not near(*totals)
