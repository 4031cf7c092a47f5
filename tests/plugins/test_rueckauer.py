import dataclasses

import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn
from nspike_plugins._histogram import FEWEST, Histogram
from nspike_plugins.rueckauer import CONVERTER

from nspike.ann import run as ann
from nspike.contracts.converter import Calibration
from nspike.errors import UsageError
from tests.plugins.chains import aod, chain


def scales(plugin, tensors, images, **options):
    network, parameters = plugin.read(tensors)
    calibration = Calibration(network, parameters, 10, lambda: ann.activations(network, parameters, images))
    return CONVERTER.scales(calibration, CONVERTER.values(options)), calibration


@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0, 99.9])
def test_percentiles_are_near_the_exact_ones(percent):
    values = np.exp(np.random.default_rng(0).normal(-2, 1.5, (3, 100, 200))).astype(np.float32)
    values[:, :50] *= -1
    histogram = Histogram(3)
    histogram.add(values[:, :80])
    histogram.add(values[:, 80:])
    exact = [np.percentile(channel[channel > 0], percent) for channel in values]
    np.testing.assert_allclose(histogram.percentiles(percent, "channel"), exact, rtol=2e-3)
    whole = np.percentile(values[values > 0], percent)
    np.testing.assert_allclose(histogram.percentiles(percent, "layer"), [whole] * 3, rtol=2e-3)


def test_the_largest_is_exact_and_nothing_active_gives_one():
    values = np.random.default_rng(1).normal(0, 1, (2, 9, 9)).astype(np.float32)
    histogram = Histogram(2)
    histogram.add(values)
    np.testing.assert_array_equal(histogram.percentiles(100.0, "layer"), [values.max()] * 2)
    silent = Histogram(2)
    silent.add(-np.abs(values))
    np.testing.assert_array_equal(silent.percentiles(99.9, "channel"), [1.0, 1.0])


def test_hardly_active_channels_take_the_layers_scale():
    values = np.zeros((3, 50, 50), np.float32)
    values[0] = 1.0
    values[1, 0, : FEWEST - 1] = 1e-6
    values[2] = 1e-6
    histogram = Histogram(3)
    histogram.add(values)
    found = histogram.percentiles(99.0, "channel")
    np.testing.assert_allclose(found, [1.0, 1.0, 0.01], rtol=5e-3)


def test_scales_of_a_residual_network():
    images = [np.random.default_rng(i).random((1, 40, 40), dtype=np.float32) for i in range(3)]
    found, calibration = scales(dncnn, chain(4, 9), images, percentile=100, theta_scale=0.5, v_init=0.25)
    every = list(calibration.activations())
    for name in ("relu1", "relu3"):
        assert found.scales[name].shape == (9,)
        assert found.scales[name][0] == max(values[name].max() for values in every)
    assert found.scales["output"][0] == max(np.abs(values["output"]).max() for values in every)
    assert found.thresholds["relu2"].tolist() == [0.5] * 9
    assert found.thresholds["output"] == 1
    assert found.neuron_parameters == {"v_init": 0.25}


def test_the_order_of_the_images_does_not_matter_and_an_image_has_scale_one():
    images = [np.random.default_rng(i).random((3, 20, 30), dtype=np.float32) for i in range(3)]
    one, _ = scales(aodnet, aod(), images)
    other, _ = scales(aodnet, aod(), images[::-1])
    for name, scale in one.scales.items():
        np.testing.assert_array_equal(scale, other.scales[name])
    assert one.scales["output"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentil": 99}, "did you mean 'percentile'"),
        ({"percentile": 101}, r"percentile = 101.*\[50, 100\]"),
        ({"per": "pixel"}, "per = pixel; expected one of layer, channel"),
        ({"percentile": "many"}, "percentile = 'many'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UsageError, match=f"(?i){message}"):
        CONVERTER.values(options)


@pytest.mark.parametrize("mode", ["image", "subtract", "add"])
def test_an_output_that_is_an_image_has_scale_one(mode):
    """However bright it is; a residual has the scale of its values."""
    network, parameters = dncnn.read(chain(4, 3))
    parameters = parameters | {f"{network.output}.bias": np.full(1, 5.0, np.float32)}
    network = dataclasses.replace(network, mode=mode)
    images = [np.random.default_rng(0).random((1, 12, 12), dtype=np.float32)]
    calibration = Calibration(network, parameters, 10, lambda: ann.activations(network, parameters, images))
    found = CONVERTER.scales(calibration, CONVERTER.values({"percentile": 100})).scales["output"]
    largest = max(np.abs(values["output"]).max() for values in calibration.activations())
    assert largest > 2
    assert found.tolist() == [1.0 if mode == "image" else largest]
