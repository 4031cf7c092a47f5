"""Burst spikes: n = clip(⌊u/θ⌋, 0, Γ), and the quantile that scales are."""

import numpy as np
import pytest
from nspike_plugins import aodnet, burst, dncnn, if_
from nspike_plugins._histogram import Histogram

from nspike.ann import run as ann
from nspike.contracts.converter import Calibration
from nspike.converting.conversion import convert
from nspike.errors import PluginError, UsageError
from nspike.registry.plugins import registry
from tests.graphs import chain as random_chain
from tests.graphs import image, random_model, run
from tests.plugins.chains import aod, chain
from tests.plugins.traces import trace
from tests.tiny import tiny_model


def scales(plugin, tensors, images, **options):
    network, parameters = plugin.read(tensors)
    calibration = Calibration(network, parameters, 10, lambda: ann.activations(network, parameters, images))
    return burst.CONVERTER.scales(calibration, burst.CONVERTER.values(options)), list(calibration.activations())


@pytest.mark.parametrize("percent", [60.0, 99.0, 99.9, 100.0])
def test_a_quantile_counts_zeros(percent):
    values = np.maximum(np.random.default_rng(0).normal(0.2, 1.0, (3, 100, 200)), 0).astype(np.float32)
    histogram = Histogram(3)
    histogram.add(values[:, :70])
    histogram.add(values[:, 70:])
    np.testing.assert_allclose(histogram.quantiles(percent), [np.quantile(values, percent / 100)] * 3, rtol=2e-3)


def test_a_layer_that_is_hardly_active_takes_its_largest_value():
    values = np.zeros((1, 100, 100), np.float32)
    histogram = Histogram(1)
    histogram.add(values)
    assert histogram.quantiles(99.9).tolist() == [1.0]
    values[0, 0, :3] = 0.1, 0.25, 0.2
    histogram.add(values)
    assert histogram.quantiles(99.9).tolist() == [0.25]


@pytest.mark.parametrize("gamma", [1, 5])
def test_values_above_one_are_divided(gamma):
    images = [3 * np.random.default_rng(i).random((1, 40, 40), dtype=np.float32) for i in range(3)]
    found, every = scales(dncnn, chain(4, 9), images, gamma=gamma, percentile=99.0)
    for name in ("relu1", "relu3"):
        values = np.concatenate([seen[name].ravel() for seen in every])
        assert values.max() > 1
        expected = np.quantile(np.where(values > 1, values / np.float32(gamma), values), 0.99)
        np.testing.assert_allclose(found.scales[name], [expected] * 9, rtol=2e-3)
    residuals = np.concatenate([np.abs(seen["output"]).ravel() for seen in every])
    np.testing.assert_allclose(found.scales["output"], np.quantile(residuals, 0.99), rtol=2e-3)
    assert found.neuron_parameters == {"v_init": 0.0, "burst.gamma": float(gamma)}
    assert scales(aodnet, aod(), [image[:1].repeat(3, 0) for image in images])[0].scales["output"].tolist() == [1, 1, 1]


def test_what_waits_elsewhere_leaves_at_once():
    """A drive of 2.3 thresholds: two spikes a step, and a third when the rests have added up; a plain neuron fires one."""
    fired = trace(burst.NEURON, 2.3).spikes["relu1"][:, :, 0, 0].astype(int)
    assert (fired @ [1, 2, 4]).tolist() == [2, 2, 2, 3, 2]
    assert trace(if_.NEURON, 2.3).spikes["relu1"][:, 0, 0, 0].tolist() == [True] * 5
    assert trace(burst.NEURON, 9.0).spikes["relu1"][0, :, 0, 0].tolist() == [True, False, True], "at most five"


def test_a_burst_of_one_is_the_plain_neuron():
    network = random_chain(9, 5)
    own = {"burst": {a.name: {"gamma": 1.0} for a in network.activations}}
    model = random_model(network, 1, level=0.6, neuron_parameters=own)
    pixels = image(0, 1, 1, 7, 8)
    (_, _, spikes), (_, _, trains) = (run(model, pixels, n) for n in (burst.NEURON, if_.NEURON))
    np.testing.assert_array_equal(spikes["act0"][:, :, :9], trains["act0"])
    assert not spikes["act0"][:, :, 9:].any()


def test_gamma_is_a_whole_number():
    model = tiny_model(neuron="burst")
    with pytest.raises(PluginError, match=r"neuron burst: most_spikes is 2.5; expected a whole number from 1 to 7"):
        model.run(np.zeros((8, 8), np.uint8), parameters={"gamma": 2.5})
    with pytest.raises(UsageError, match="gamma = 8 is out of range"):
        model.run(np.zeros((8, 8), np.uint8), parameters={"gamma": 8})


def test_a_short_run_is_nearer_to_the_ann_than_plain_neurons():
    draw = np.random.default_rng(0)
    images, quality = [draw.random((1, 40, 40), dtype=np.float32) for _ in range(4)], {}
    for neuron in ("if", "burst"):
        parts = {"neuron": registry().neurons[neuron], "head": registry().heads["membrane"], "timesteps": 3}
        _, report = convert(tiny_model(), images, converter=burst.CONVERTER, options={"percentile": 95.0}, **parts)
        quality[neuron] = report.psnr_to_ann
    assert quality["burst"] > quality["if"]
