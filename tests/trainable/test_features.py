"""Steps and features: their values from the engine's spikes and currents, their gradients by finite differences and by parts."""

import numpy as np
import pytest

import nspike
from nspike.trainable.features import check_tap
from tests.trainable.networks import edsr, everything, unet
from tests.trainable.test_general import pixels_for, trainable


def gradients(net, loss):
    loss.backward()
    found = {}
    for name, tensor in net.parameters().items():
        found[name], tensor.grad = np.zeros_like(tensor.data) if tensor.grad is None else tensor.grad, None
    return found


@pytest.mark.parametrize("neuron", ["if", "lif", "signed"])
def test_the_mean_of_the_steps_is_the_output(neuron):
    network = unet(channels=3)
    net, pixels = trainable(network, neuron), pixels_for(network)
    assert net.gives_steps
    outcome = net.run(pixels, steps=True)
    assert outcome.steps.shape == (4, *outcome.restored.shape)
    np.testing.assert_allclose(outcome.steps.data.mean(axis=0), outcome.restored.data, atol=1e-12)
    assert outcome.steps.data.std(axis=0).max() > 0.01

    whole = gradients(net, net.run(pixels).restored.square().mean())
    run = net.run(pixels, steps=True)
    mean = run.steps.mean(axis=0)  # the same function, by way of the steps
    assert mean.shape == run.restored.shape
    for name, gradient in gradients(net, mean.square().mean()).items():
        np.testing.assert_allclose(gradient, whole[name], rtol=2e-3, atol=1e-6, err_msg=name)


def test_gradients_of_a_step_by_differences():
    """The bias of the output layer moves every step alike, and its kernel is linear: exact on the grid."""
    network = unet(channels=3)
    net, pixels = trainable(network), pixels_for(network)
    last = f"{network.output}.bias"
    ours = gradients(net, net.run(pixels, steps=True).steps[2].sum())[last]

    def value():
        return net.run(pixels, steps=True).steps[2].sum().item()

    tensor, step = net.parameters()[last], np.float32(2.0**-6)
    for channel in range(3):
        kept = tensor.data
        ends = []
        for sign in (1, -1):
            tensor.data = kept.copy()
            tensor.data[channel] += sign * step
            ends.append(value())
        tensor.data = kept
        assert ours[channel] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-2)


@pytest.mark.parametrize("gradient", ["time", "rate"])
def test_features_are_means_over_time(gradient):
    network = edsr(width=6, blocks=2)
    net, pixels = trainable(network, gradient=gradient), pixels_for(network)
    taps = ("sum0", "relu1", "shuffled")
    outcome = net.run(pixels, taps=taps)
    model = net.to_model()
    spikes = outcome.trains["relu1"].dense().astype(float)[:, : model.spiking.timesteps].mean(axis=1)
    expected = spikes * model.spiking.scales["relu1"][:, None, None]
    np.testing.assert_allclose(outcome.features["relu1"].data, expected, rtol=1e-6)
    shapes = [outcome.features[name].shape[1:] for name in taps]
    assert shapes == [network.shapes(*pixels.shape[2:])[name] for name in taps]
    assert not outcome.features["sum0"].data.min() >= 0


@pytest.mark.parametrize(("tap", "conv"), [("sum0", "second0"), ("shuffled", "up")])
def test_gradients_of_currents_by_differences(tap, conv):
    """A tapped current is linear in the kernel that makes it, whose spikes do not change."""
    network = edsr(width=6, blocks=1)
    net, pixels = trainable(network), pixels_for(network)
    draw = np.random.default_rng(3)
    weights = draw.normal(size=net.run(pixels, taps=[tap]).features[tap].shape).astype(np.float32)
    ours = gradients(net, (net.run(pixels, taps=[tap]).features[tap] * weights).sum())[f"{conv}.weight"]
    tensor, kept = net.parameters()[f"{conv}.weight"], net.parameters()[f"{conv}.weight"].data
    direction = draw.normal(size=kept.shape).astype(np.float32)
    ends = []
    for sign in (1, -1):
        tensor.data = kept + np.float32(sign * 0.02) * direction
        ends.append(float((net.run(pixels, taps=[tap]).features[tap].data * weights).sum(dtype=np.float64)))
    tensor.data = kept
    assert np.sum(ours * direction) == pytest.approx((ends[0] - ends[1]) / 0.04, rel=1e-2)


@pytest.mark.parametrize("gradient", ["time", "rate"])
def test_gradients_of_spikes_are_those_of_their_rate(gradient):
    """The mean of a feature of neurons is λ times their firing rate."""
    network = unet(channels=3)
    net, pixels = trainable(network, gradient=gradient), pixels_for(network)
    scale = net.to_model().spiking.scales["c"]
    net.model.spiking.scales["c"][:] = scale.mean()
    ours = gradients(net, net.run(pixels, taps=["c"]).features["c"].mean())
    rate = gradients(net, net.run(pixels).rates["c"] * float(scale.mean()))
    assert any(g.any() for g in rate.values())
    for name, gradient_of in ours.items():
        np.testing.assert_allclose(gradient_of, rate[name], rtol=1e-3, atol=1e-6, err_msg=name)


def test_faults_of_taps():
    network = everything()
    for name, said in (
        ("joinde", "no layer 'joinde' to tap.*joined"),
        ("out", "is the output or like the image"),
        ("in", "is the output or like the image"),
        ("down", "inside the neurons 'c' alone; tap 'c'"),
    ):
        with pytest.raises(nspike.UsageError, match=said):
            check_tap(network, name)
    for name in ("joined", "a", "shuffled", "pooled", "deep"):
        check_tap(network, name)
