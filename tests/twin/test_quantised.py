"""`benchmarks/_quantised.py` against QCFS as the twin computes it, and the mean of its overshoot."""

import importlib
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def quantise(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    yield importlib.import_module("_quantised").Quantise.apply
    sys.modules.pop("_quantised", None)


def given():
    torch.manual_seed(0)
    x = (0.5 * torch.randn(2, 16, 9, 7)).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    return x, torch.linspace(0.3, 1.2, 16)


def test_values_and_gradients(quantise):
    x, ceiling = given()
    own, top = x.clone().requires_grad_(), ceiling.clone().requires_grad_()
    made, g = quantise(own, top, 10, 0.0), torch.randn_like(x)
    made.backward(g)
    z = x.float() * (10 / ceiling).view(1, -1, 1, 1)
    whole, inside = (z + 0.5).floor().clamp(0, 10), (z > 0) & (z < 10)
    torch.testing.assert_close(made, (whole * (ceiling / 10).view(1, -1, 1, 1)).to(torch.bfloat16), rtol=0, atol=0)
    torch.testing.assert_close(own.grad, g * inside, rtol=0, atol=0)
    of_ceiling = torch.where(inside, whole - z, (z >= 10) * 10.0) / 10
    torch.testing.assert_close(top.grad, (g.float() * of_ceiling).sum((0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_the_overshoot(quantise):
    """The mean of what it adds is that of 3·o·u²/(1 + 2·x·L/λ), rounded; far below 0 nothing is added."""
    torch.manual_seed(1)
    x = (0.4 * torch.rand(1, 16, 128, 128) + 0.1).to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
    z, ones = x.float() * 10, torch.ones(16)
    more = (quantise(x, ones, 10, 0.45) * 10).round() - (quantise(x, ones, 10, 0.0) * 10).round()
    excess = 3 * 0.45 * torch.rand_like(z).square() / (1 + 2 * z)
    expected = (z + excess + 0.5).floor() - (z + 0.5).floor()
    clear = (z + 0.5).frac() > 0.01  # of a tie
    assert float(more[clear].float().mean()) == pytest.approx(float(expected[clear].mean()), rel=0.02)
    assert not quantise(torch.full_like(x, -2.0), ones, 10, 0.45).any()
