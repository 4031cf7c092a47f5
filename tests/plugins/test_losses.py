"""The losses: their values by hand, their gradients."""

import numpy as np
import pytest
from nspike_plugins import losses

import nspike
from nspike.registry.plugins import registry

draw = np.random.default_rng(0)
A, B = draw.random((2, 3, 4, 5)), draw.random((2, 3, 4, 5))
C, D = draw.random((2, 3, 9, 8)), draw.random((2, 3, 9, 8))
ALL = (losses.MSE, losses.L1, losses.CHARBONNIER, losses.FFT, losses.SSIM, losses.ENERGY)


@pytest.mark.parametrize("loss", ALL[:4], ids=lambda loss: loss.name)
def test_gradients(loss):
    nspike.check_gradients(lambda a, b: loss.compute(a, b, {}), A, B)


def test_ssim():
    nspike.check_gradients(lambda a, b: losses.SSIM.compute(a, b, {}), C, D)
    value = losses.SSIM.compute(nspike.Tensor(C), nspike.Tensor(D), {}).item()
    metric = [
        nspike.ssim(c.transpose(1, 2, 0), d.transpose(1, 2, 0), window="uniform7") for c, d in zip(C, D, strict=True)
    ]
    assert value == pytest.approx(1 - np.mean(metric), abs=1e-12)


def test_values():
    d = A - B
    expected = {
        "mse": np.mean(d**2),
        "l1": np.mean(np.abs(d)),
        "charbonnier": np.mean(np.sqrt(d**2 + 1e-6)),
        "fft": np.mean(np.abs(np.fft.fft2(d))),
    }
    for name, value in expected.items():
        loss = registry().losses[name]
        assert not loss.of_spikes
        assert loss.compute(nspike.Tensor(A), nspike.Tensor(B), {}).item() == pytest.approx(value, rel=1e-12)


def test_energy_is_the_mean_of_the_layers():
    rates = [nspike.Tensor(np.float64(value), requires_grad=True) for value in (0.1, 0.2, 0.6)]
    value = losses.ENERGY.compute(None, None, dict(zip("abc", rates, strict=True)))
    assert losses.ENERGY.of_spikes
    assert value.item() == pytest.approx(0.3)
    value.backward()
    assert [float(rate.grad) for rate in rates] == pytest.approx([1 / 3] * 3)


def test_equal_images_cost_nothing():
    for loss in (losses.MSE, losses.L1, losses.FFT):
        x = nspike.Tensor(A, requires_grad=True)
        value = loss.compute(x, nspike.Tensor(A), {})
        value.backward()
        assert value.item() == 0
        assert not x.grad.any()


def test_registered():
    assert {loss.name for loss in ALL} <= set(registry().losses)
