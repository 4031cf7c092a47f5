"""Scales from what arrives as spikes, against a slow simulation in floats."""

import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn, if_, membrane
from nspike_plugins.spikenorm import CONVERTER

from nspike.converting.conversion import convert
from nspike.errors import PluginError, UsageError
from nspike.graph.layer import IMAGE, Concat
from nspike.model.model import Info, Model
from nspike.restoration.method import Model as Runnable
from tests.plugins.chains import aod, chain
from tests.tiny import tiny_model
from tests.trainable.test_rate_layer import correlate


def ann(plugin, tensors, task):
    network, parameters = plugin.read(tensors)
    return Model(Info("n", task, "gray" if network.channels == 1 else "rgb"), network, parameters)


def converted(model, images, **options):
    parts = {"converter": CONVERTER, "neuron": if_.NEURON, "head": membrane.HEAD, "timesteps": 4}
    return convert(model, images, options=options, **parts)[0]


def images(channels, sizes=((12, 10), (9, 11), (12, 10))):
    return [np.random.default_rng(i).random((channels, *size), dtype=np.float32) for i, size in enumerate(sizes)]


def naive(model, planes, timesteps, decide):
    """λ of every activation: each layer of each image, step by step, from the spikes of the layers before."""
    network, scales, spikes = model.network, {}, [{} for _ in planes]
    reads = {layer.name: layer.sources for layer in network.of_kind(Concat)}
    for activation in network.activations:
        conv = network.layer(activation.source)
        weight, bias = (model.parameters[f"{conv.name}.{key}"].astype(np.float64) for key in ("weight", "bias"))
        arriving = []
        for plane, own in zip(planes, spikes, strict=True):
            steps = []
            for t in range(timesteps):
                names = reads.get(conv.source, (conv.source,))
                parts = [plane.astype(np.float64) if n == IMAGE else own[n][t] * scales[n] for n in names]
                steps.append(correlate(np.concatenate(parts)[None], weight)[0] + bias[:, None, None])
            arriving.append(np.array(steps))
        scale = scales[activation.name] = decide(arriving)
        for currents, own in zip(arriving, spikes, strict=True):
            v, own[activation.name] = np.zeros(currents.shape[1:]), []
            for current in currents:
                v = v + current
                fired = v >= scale
                v = v - scale * fired
                own[activation.name].append(fired)
    return scales


@pytest.mark.parametrize(
    ("plugin", "tensors", "task", "channels"), [(dncnn, chain(4, 9), "denoise", 1), (aodnet, aod(), "dehaze", 3)]
)
def test_the_largest_current_at_any_step(plugin, tensors, task, channels):
    model, planes = ann(plugin, tensors, task), images(channels)
    found = converted(model, planes, timesteps=6).spiking
    seen = [np.rint(plane * 65535) / 65535 for plane in planes]
    expected = naive(model, seen, 6, lambda currents: max(c.max() for c in currents))
    for name, scale in expected.items():
        np.testing.assert_allclose(found.scales[name], scale, rtol=2e-3)
    assert all(np.all(theta == 1) for theta in found.thresholds.values())


def test_a_percentile_and_the_two_factors():
    model, planes = ann(dncnn, chain(3, 9), "denoise"), images(1)
    found = converted(model, planes, timesteps=5, percentile=90.0, scale=0.5, theta_scale=0.3, v_init=0.25).spiking
    seen = [np.rint(plane * 65535) / 65535 for plane in planes]

    def decide(currents):
        values = np.concatenate([c.ravel() for c in currents])
        return 0.5 * np.percentile(values[values > 0], 90.0)

    for name, scale in naive(model, seen, 5, decide).items():
        np.testing.assert_allclose(found.scales[name], scale, rtol=5e-3)
        assert np.all(found.thresholds[name] == 0.3)
    assert found.thresholds["output"].tolist() == [1.0]
    assert found.neuron_parameters["if"]["relu1"] == {"v_init": 0.25}


def test_one_step_is_enough_for_any_current():
    """λ is the largest, so no neuron that starts empty ever holds two thresholds at the first step."""
    model = converted(tiny_model(), images(1), timesteps=4)
    result = Runnable(**vars(model)).run(np.full((12, 10), 255, np.uint8))
    assert result.ledger.spikes > 0


def test_a_scale_that_is_none_is_refused():
    import dataclasses

    def scales(calibration, options):
        calibration.layer_by_layer(lambda name, currents: np.zeros(8), 2)

    broken = dataclasses.replace(CONVERTER, name="broken", scales=scales)
    with pytest.raises(PluginError, match=r"layer 'relu1' was given the scale .*; expected 8 positive numbers"):
        convert(tiny_model(), images(1), converter=broken, neuron=if_.NEURON, head=membrane.HEAD)
    with pytest.raises(UsageError, match=r"timesteps = 0; expected a number in \[1, 126\]"):
        converted(tiny_model(), images(1), timesteps=0)
