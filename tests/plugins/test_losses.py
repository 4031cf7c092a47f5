"""The losses: their values by hand, their gradients."""

import numpy as np
import pytest
from nspike_plugins import losses

import nspike
from nspike.registry.plugins import registry

draw = np.random.default_rng(0)
A, B = draw.random((2, 3, 4, 5)), draw.random((2, 3, 4, 5))
C, D = draw.random((2, 3, 9, 8)), draw.random((2, 3, 9, 8))
STEPS = draw.random((4, 2, 3, 4, 5))
FEATURES = [draw.random((2, 3, 2, 2)), draw.random((2, 4, 4, 4))]
TEACHER = [draw.random((2, 3, 2, 2)), draw.random((2, 4, 4, 4))]
ALL = (
    losses.MSE,
    losses.L1,
    losses.CHARBONNIER,
    losses.FFT,
    losses.SSIM,
    losses.L1_FFT,
    losses.HKD,
    losses.TET,
    losses.ENERGY,
)


def seen(output, target, **more):
    """What a loss is given, of arrays or tensors."""
    output, target = (x if isinstance(x, nspike.Tensor) else nspike.Tensor(x) for x in (output, target))
    return nspike.LossInput(output, target, **more)


def named(arrays):
    return {f"layer{i}": x if isinstance(x, nspike.Tensor) else nspike.Tensor(x) for i, x in enumerate(arrays)}


@pytest.mark.parametrize("loss", ALL[:4], ids=lambda loss: loss.name)
def test_gradients(loss):
    nspike.check_gradients(lambda a, b: loss.compute(seen(a, b)), A, B)


def test_ssim():
    nspike.check_gradients(lambda a, b: losses.SSIM.compute(seen(a, b)), C, D)
    value = losses.SSIM.compute(seen(C, D)).item()
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
        assert loss.compute(seen(A, B)).item() == pytest.approx(value, rel=1e-12)


def test_energy_is_the_mean_of_the_layers():
    rates = [nspike.Tensor(np.float64(value), requires_grad=True) for value in (0.1, 0.2, 0.6)]
    value = losses.ENERGY.compute(seen(A, B, rates=dict(zip("abc", rates, strict=True))))
    assert losses.ENERGY.of_spikes
    assert value.item() == pytest.approx(0.3)
    value.backward()
    assert [float(rate.grad) for rate in rates] == pytest.approx([1 / 3] * 3)


def test_equal_images_cost_nothing():
    for loss in (losses.MSE, losses.L1, losses.FFT):
        x = nspike.Tensor(A, requires_grad=True)
        value = loss.compute(seen(x, A))
        value.backward()
        assert value.item() == 0
        assert not x.grad.any()


def test_registered():
    assert {loss.name for loss in ALL} <= set(registry().losses)


def test_l1_and_spectrum():
    options = losses.L1_FFT.values({"w": 0.3})
    nspike.check_gradients(lambda a, b: losses.L1_FFT.compute(seen(a, b, options=options)), A, B)
    value = losses.L1_FFT.compute(seen(A, B, options=losses.L1_FFT.values())).item()
    assert value == pytest.approx(np.abs(A - B).mean() + 0.1 * np.abs(np.fft.fft2(A - B)).mean(), rel=1e-12)


def test_distillation():
    """The features' distances are added up, each a mean; neither the teacher nor its shapes change."""
    options = losses.HKD.values()
    assert options == {"w": 0.1, "gamma": 0.12}

    def loss(output, *features, **more):
        return losses.HKD.compute(
            seen(output, B, features=named(features), teacher=named(TEACHER), options=options, **more)
        )

    nspike.check_gradients(loss, A, *FEATURES)
    distance = sum(np.mean((f - t) ** 2) for f, t in zip(FEATURES, TEACHER, strict=True))
    plain = losses.L1_FFT.compute(seen(A, B, options=losses.L1_FFT.values())).item()
    assert loss(A, *FEATURES).item() == pytest.approx(plain + 0.12 * distance, rel=1e-12)
    assert losses.HKD.needs == ("teacher",)


@pytest.mark.parametrize("name", ["mse", "l1", "charbonnier", "fft"])
def test_loss_of_every_step(name):
    options = losses.TET.values({"loss": name})
    own = registry().losses[name]
    value = losses.TET.compute(seen(A, B, steps=nspike.Tensor(STEPS), options=options)).item()
    assert value == pytest.approx(np.mean([own.compute(seen(step, B)).item() for step in STEPS]), rel=1e-12)
    options = losses.TET.values({"loss": name, "lambda": 0.25, "phi": 0.5})
    both = losses.TET.compute(seen(A, B, steps=nspike.Tensor(STEPS), options=options)).item()
    assert both == pytest.approx(0.75 * value + 0.25 * np.mean((STEPS - 0.5) ** 2), rel=1e-12)
    nspike.check_gradients(lambda steps: losses.TET.compute(seen(A, B, steps=steps, options=options)), STEPS)


def test_options_and_needs():
    with pytest.raises(nspike.UsageError, match=r"loss hkd: unknown option 'gama'.*gamma"):
        losses.HKD.values({"gama": 1})
    with pytest.raises(nspike.UsageError, match="loss tet: loss = ssim; expected one of mse"):
        losses.TET.values({"loss": "ssim"})
    with pytest.raises(nspike.PluginError, match=r"needs 'teachers'.*teacher"):
        nspike.Loss("mine", "x", "here", losses.mse, needs=("teachers",))
