"""`benchmarks/train_chain.py`: a chain in bfloat16 against the twin, whose spikes and gradients are exact."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nspike
from tests.tiny import image, tiny_model

torch = pytest.importorskip("torch")


@pytest.fixture
def train_chain(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    yield importlib.import_module("train_chain")
    for name in ("train_chain", "_bfloat16"):
        sys.modules.pop(name, None)


def on_a_grid(neuron):
    """A model whose numbers are sixteenths: with an image of 0 and 1 every current is one too, and exact in bfloat16."""
    model = tiny_model(width=24, neuron=neuron, head="cpm", mode="image")
    parameters = {name: np.rint(16 * each).astype(np.float32) / 16 for name, each in model.parameters.items()}
    scales = {name: np.ones_like(each) for name, each in model.spiking.scales.items()}
    return replace(model, parameters=parameters, spiking=replace(model.spiking, scales=scales))


@pytest.mark.parametrize("neuron", ["mprn", "if"])
def test_spikes_and_gradients_are_the_exact_ones(train_chain, neuron):
    """Gradients but for what bfloat16 leaves of them."""
    model, x = on_a_grid(neuron), (torch.from_numpy(image(64, 32)[None, None].copy()) > 100).float()
    found = []
    for half in (False, True):
        twin = nspike.to_torch(model).train()
        if half:
            restored, operations = train_chain.Chain(twin).run(x)
        else:
            outcome = twin.run(x)
            restored, fans = outcome.restored, {"relu1": 24 * 9, "relu2": 9}
            spikes = sum(fan * float(outcome.spikes[name].detach().sum()) for name, fan in fans.items())
            operations = spikes / ((24 + 24 * 24 + 24) * 9 * x.numel())
        (restored - 0.5).square().mean().backward()
        gradients = {name: p.grad.flatten().double() for name, p in twin.named_parameters() if p.grad is not None}
        found.append((restored.detach(), operations, gradients))
    (exact, all_of_them, wanted), (near, operations, gradients) = found
    torch.testing.assert_close(near, exact, rtol=0, atol=1e-4)
    assert operations == pytest.approx(all_of_them, rel=1e-6)
    assert set(gradients) == set(wanted)
    for name, own in gradients.items():
        assert torch.dot(own, wanted[name]) >= 0.999 * own.norm() * wanted[name].norm(), name
        assert float(own.norm()) == pytest.approx(float(wanted[name].norm()), rel=0.01), name


def test_the_energy_term_lowers_activity(train_chain):
    torch.manual_seed(0)
    x, after = torch.rand(2, 1, 24, 24), []
    for energy in (0.0, 1.0):
        twin = nspike.to_torch(tiny_model(width=16, head="cpm")).train()
        chain = train_chain.Chain(twin, energy)
        optimiser = torch.optim.Adam(twin.parameters(), 1e-2)
        for _ in range(20):
            optimiser.zero_grad()
            (chain.run(x)[0] - x).square().mean().backward()
            optimiser.step()
            twin.constrain()
        after.append(chain.run(x)[1])
    assert after[1] < 0.8 * after[0]
