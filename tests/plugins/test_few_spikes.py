"""Few spikes: a value as binary digits, and that a network trained with as many levels loses nothing."""

import dataclasses

import numpy as np
import pytest
from nspike_plugins import burst, few_spikes

from nspike.ann import run as ann
from nspike.contracts.converter import Calibration
from nspike.contracts.signed import signed_form
from nspike.converting.by_name import convert
from nspike.errors import PluginError, UsageError
from nspike.model.model import Model
from tests.graphs import chain as random_chain
from tests.graphs import image, random_model, run
from tests.plugins.traces import trace
from tests.tiny import tiny_model


def quantised(levels: int = 31) -> Model:
    """A plain network whose activations have levels, up to a ceiling of each channel's own."""
    model = tiny_model()
    layers = []
    for layer in model.network.layers:
        if hasattr(layer, "ceiling"):
            ceiling = tuple(np.random.default_rng(layer.channels).uniform(0.3, 0.9, layer.channels).tolist())
            layer = dataclasses.replace(layer, ceiling=ceiling, levels=levels)
        layers.append(layer)
    return dataclasses.replace(model, network=dataclasses.replace(model.network, layers=tuple(layers)), spiking=None)


@pytest.mark.parametrize(
    ("drive", "digits"),
    [
        (0.4, [0, 0, 0, 0, 0]),
        (0.5, [1, 0, 0, 0, 0]),
        (1.6, [0, 1, 0, 0, 0]),
        (17.5, [0, 1, 0, 0, 1]),
        (40.0, [1, 1, 1, 1, 1]),
        (-3.0, [0, 0, 0, 0, 0]),
    ],
)
def test_a_value_is_its_digits_lowest_plane_first(drive, digits):
    """17.5 thresholds are rounded to 18 = 16 + 2: two spikes; nothing is over 31."""
    fired = trace(few_spikes.NEURON, drive, parameters={}, timesteps=1).spikes["relu1"]
    assert fired[0, :, 0, 0].astype(int).tolist() == [*digits, 0]


def test_negative_numbers_are_rounded_like_positive_ones():
    """Of a layer whose features may be negative: -2.6 is -3, and -2.4 is -2, in planes of their own."""
    for drive, digits in ((-2.6, [1, 1]), (-2.4, [0, 1]), (-0.4, [0, 0])):
        fired = trace(signed_form(few_spikes.NEURON), drive, timesteps=1).spikes["relu1"][0, :, 0, 0].astype(int)
        assert fired.tolist() == [0] * 6 + [*digits, 0, 0, 0, 0]


def test_the_slots_limit_the_digits():
    own = {"few_spikes": {"relu1": {"slots": 2.0}}}
    fired = tiny_model(neuron="few_spikes")
    assert few_spikes.most_spikes({"slots": 2.0}) == 3
    with pytest.raises(UsageError, match="slots = 7 is out of range"):
        fired.run(np.zeros((8, 8), np.uint8), parameters={"slots": 7})
    with pytest.raises(PluginError, match="most_spikes is"):
        fired.run(np.zeros((8, 8), np.uint8), parameters={"slots": 1.5})
    network = random_chain(9, 5)
    own = {"few_spikes": {a.name: {"slots": 2.0} for a in network.activations}}
    _, _, spikes = run(
        random_model(network, 1, level=0.6, neuron_parameters=own), image(0, 1, 1, 7, 8), few_spikes.NEURON
    )
    assert spikes["act0"][:, :, :18].any()
    assert not spikes["act0"][:, :, 18:].any()


def test_a_digit_is_one_accumulation_where_a_burst_is_as_many_as_it_says():
    """The spikes of burst with the same limit are the same, of which the higher digits cost more; neurons are updated less."""
    network = random_chain(9, 5)
    own = {
        "few_spikes": {a.name: {"slots": 3.0, "round": 0.0} for a in network.activations},
        "burst": {a.name: {"gamma": 7.0} for a in network.activations},
    }
    model = random_model(network, 1, level=3.0, neuron_parameters=own)
    pixels = image(0, 1, 1, 7, 8)
    (_, few, digits), (_, many, bursts) = (run(model, pixels, n) for n in (few_spikes.NEURON, burst.NEURON))
    np.testing.assert_array_equal(digits["act0"][:, :, :27], bursts["act0"])
    events = few.layers[0].events[:3]
    np.testing.assert_array_equal(events, many.layers[0].events)
    assert (events.sum(axis=1) > 0).all()
    fan = 9 * 5
    np.testing.assert_array_equal(few.layers[0].synops_paper, fan * events.sum(axis=0))
    np.testing.assert_array_equal(many.layers[0].synops_paper, fan * ([1, 2, 4] @ events))
    np.testing.assert_array_equal(few.layers[0].neuron_updates, 3 * many.layers[0].neuron_updates)


def test_a_network_trained_with_these_levels_is_the_same_in_spikes():
    model, draw = quantised(), np.random.default_rng(0)
    images = [draw.random((1, 40, 40), dtype=np.float32) for _ in range(4)]
    converted, report = convert(model, images, converter="few_spikes", neuron="few_spikes")
    assert converted.spiking.timesteps == 1
    assert report.psnr_to_ann > 60
    for activation in model.network.activations:
        np.testing.assert_allclose(converted.spiking.scales[activation.name] * 31, activation.ceiling)
    with pytest.raises(UsageError, match="'relu1' was trained with 10 levels, and 5 slots have 31"):
        convert(quantised(10), images, converter="few_spikes", neuron="few_spikes")
    half, _ = convert(
        quantised(3), images, converter="few_spikes", options={"slots": 2}, neuron="few_spikes", fast=True
    )
    assert {own["slots"] for own in half.spiking.neuron_parameters["few_spikes"].values()} == {2.0}


def test_a_plain_network_takes_a_percentile_of_each_channel():
    model, draw = tiny_model(), np.random.default_rng(0)
    images = [draw.random((1, 40, 40), dtype=np.float32) for _ in range(3)]
    seen = list(ann.activations(model.network, model.parameters, images))
    calibration = Calibration(model.network, model.parameters, 1, lambda: seen)
    found = few_spikes.CONVERTER.scales(calibration, few_spikes.CONVERTER.values({"percentile": 99.0}))
    values = np.concatenate([each["relu1"].reshape(len(each["relu1"]), -1) for each in seen], axis=1)
    expected = [np.quantile(channel[channel > 0], 0.99) / 31 if (channel > 0).any() else None for channel in values]
    for own, wanted in zip(found.scales["relu1"], expected, strict=True):
        assert wanted is None or own == pytest.approx(wanted, rel=2e-2)
    assert found.neuron_parameters == {"few_spikes.slots": 5.0}
