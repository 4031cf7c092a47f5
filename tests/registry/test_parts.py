"""Swapping parts of a model."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.errors import ModelError, PluginError, UsageError
from nspike.registry.parts import check, head_of, neuron_of, swap
from tests.tiny import tiny_model


def test_nothing_to_swap():
    model = tiny_model()
    assert swap(model) == (model, [])
    assert swap(model, neuron="mprn", head="membrane", timesteps=4)[1] == []


def test_swapping_keeps_weights_and_says_so():
    model = tiny_model()
    swapped, changes = swap(model, neuron="if", head="rate", timesteps=7)
    assert swapped.parameters is model.parameters
    assert swapped.spiking.scales is model.spiking.scales
    assert (swapped.spiking.neuron, swapped.spiking.head, swapped.spiking.timesteps) == ("if", "rate", 7)
    assert [change.split(" (")[0] for change in changes] == [
        "neuron if instead of mprn",
        "head rate instead of membrane",
        "T = 7 instead of 4",
    ]
    assert (neuron_of(swapped).name, head_of(swapped).name) == ("if", "rate")


def test_own_parameters_are_the_models_where_it_stores_them():
    model = tiny_model(neuron="if")
    assert "its own parameters its defaults" in swap(model, neuron="mprn")[1][0]
    stored = {"mprn": {"relu1": {"beta": 1.0}, "relu2": {"beta": 2.0}}}
    model = model.with_spiking(replace(model.spiking, neuron_parameters=stored))
    swapped, changes = swap(model, neuron="mprn")
    assert "the model’s" in changes[0]
    assert swapped.spiking.neuron_parameters["mprn"]["relu2"] == {"beta": 2.0}


@pytest.mark.parametrize("timesteps", [0, -3])
def test_too_few_steps(timesteps):
    with pytest.raises(UsageError, match="at least 1 step"):
        swap(tiny_model(), timesteps=timesteps)


def test_too_many_steps():
    assert swap(tiny_model(), timesteps=125)[0].spiking.timesteps == 125
    with pytest.raises(UsageError, match="at most T = 125"):
        swap(tiny_model(), timesteps=126)
    assert swap(tiny_model(), neuron="if", timesteps=126)[0].spiking.timesteps == 126


def test_unknown_parts():
    with pytest.raises(PluginError, match="mprn"):
        swap(tiny_model(), neuron="mprm")
    with pytest.raises(PluginError, match="there is no head"):
        swap(tiny_model(), head="if")


def test_a_plain_ann():
    ann = replace(tiny_model(), spiking=None)
    with pytest.raises(ModelError, match="--ann"):
        swap(ann, timesteps=3)


def test_stored_parameters_are_checked():
    model = tiny_model()
    wrong = {"mprn": {"relu1": {"beta": 99.0}}}
    with pytest.raises(ModelError, match=r"relu1.*out of range"):
        check(model.with_spiking(replace(model.spiking, neuron_parameters=wrong)))
    wrong = {"membrane": {"weight": np.zeros((1, 1, 3, 3))}}
    with pytest.raises(ModelError, match="has no parameter 'weight'"):
        check(model.with_spiking(replace(model.spiking, head_parameters=wrong)))
