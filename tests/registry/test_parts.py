"""Swapping parts of a model."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.contracts.neuron import Neuron
from nspike.errors import ModelError, PluginError, UsageError
from nspike.registry import parts
from nspike.registry.parts import check, head_of, neuron_of, swap
from tests.tiny import image, tiny_model


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
    assert "(weights and thresholds kept, v_init too; beta its default)" in swap(model, neuron="mprn")[1][0]
    stored = {"mprn": {"relu1": {"beta": 1.0}, "relu2": {"beta": 2.0}}}
    model = model.with_spiking(replace(model.spiking, neuron_parameters=stored))
    swapped, changes = swap(model, neuron="mprn")
    assert "the model’s" in changes[0]
    assert swapped.spiking.neuron_parameters["mprn"]["relu2"] == {"beta": 2.0, "v_init": 0.0}


def stored(**values):
    """A small model with parameters of its neuron, mprn, in its first layer, and the defaults in the second."""
    model = tiny_model()
    return model.with_spiking(replace(model.spiking, neuron_parameters={"mprn": {"relu1": values}}))


def test_what_neurons_share_is_kept():
    model = stored(beta=1.5, v_init=0.5)
    swapped, (change,) = swap(model, neuron="lif")
    assert swapped.spiking.neuron_parameters["lif"] == {
        "relu1": {"tau": 16.0, "decay_input": 0.0, "v_init": 0.5},
        "relu2": {"tau": 16.0, "decay_input": 0.0, "v_init": 0.0},
    }
    assert (
        change == "neuron lif instead of mprn (weights and thresholds kept, v_init too; decay_input, tau its default)"
    )
    assert swap(swapped, neuron="mprn")[0].spiking.neuron_parameters["mprn"] == {
        "relu1": {"beta": 1.5, "v_init": 0.5},
        "relu2": {"beta": 0.0, "v_init": 0.0},
    }


def test_a_parameter_of_another_range_is_another_one():
    """What mprn calls beta sets a threshold; of mprn_beta it is the value of a spike."""
    kept = swap(stored(beta=0.004, v_init=0.5), neuron="mprn_beta")[0].spiking.neuron_parameters["mprn_beta"]["relu1"]
    assert kept == {"alpha": 0.9, "beta": 1.0, "v_init": 0.5}


def test_a_neuron_without_v_init_says_what_is_lost():
    bare = Neuron("bare", "a test's", "a test")
    assert "v(0) is its own, not that of mprn" in parts._neuron_parameters(stored(v_init=0.5), bare)[1]
    assert "v(0)" not in parts._neuron_parameters(tiny_model(), bare)[1]


def test_the_same_arrays_of_two_heads_are_kept():
    model = tiny_model(head="recycling")
    arrays = {"weight": np.full((1, 1, 1, 1), 0.75)}
    model = model.with_spiking(replace(model.spiking, head_parameters={"recycling": arrays}))
    swapped, (change,) = swap(model, head="cpm")
    assert swapped.spiking.head_parameters["cpm"] == {}, "a kernel of another size"
    assert "bias, weight its default" in change


def test_parameters_are_set():
    model = stored(beta=1.5, v_init=0.5)
    swapped, changes = swap(model, parameters={"v_init": 0.25})
    own = swapped.spiking.neuron_parameters["mprn"]
    assert own == {"relu1": {"beta": 1.5, "v_init": 0.25}, "relu2": {"beta": 0.0, "v_init": 0.25}}
    assert changes == ["v_init = 0.25 instead of 0 to 0.5"]
    swapped, changes = swap(model, head="cpm", parameters={"bias": 0.5})
    assert swapped.spiking.head_parameters["cpm"]["bias"].tolist() == [0.5]
    assert changes[1] == "bias = 0.5 instead of 0"
    assert swap(model, head="cpm", parameters={"bias": 0.0})[1] == swap(model, head="cpm")[1]
    assert swap(tiny_model(), parameters={"v_init": 0.0})[1] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"v_int": 0.5}, "Did you mean 'v_init'.*Neuron mprn has: beta, v_init; head membrane has: none"),
        ({"v_init": 3.0}, "out of range"),
        ({"v_init": float("nan")}, "out of range"),
    ],
)
def test_parameters_that_cannot_be_set(given, message):
    with pytest.raises(UsageError, match=message):
        swap(tiny_model(), parameters=given)
    with pytest.raises(UsageError, match="finite"):
        swap(tiny_model(head="cpm"), parameters={"bias": float("inf")})


def test_python_sets_parameters_too():
    array = image()
    model = stored(v_init=0.5)
    same = model.run(array, parameters={"v_init": 0.25})
    assert np.array_equal(same.image, swap(model, parameters={"v_init": 0.25})[0].run(array).image)
    assert not np.array_equal(same.image, model.run(array).image)


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
    with pytest.raises(ModelError, match="ann=True"):
        swap(ann, timesteps=3)


def test_stored_parameters_are_checked():
    model = tiny_model()
    wrong = {"mprn": {"relu1": {"beta": 99.0}}}
    with pytest.raises(ModelError, match=r"relu1.*out of range"):
        check(model.with_spiking(replace(model.spiking, neuron_parameters=wrong)))
    wrong = {"membrane": {"weight": np.zeros((1, 1, 3, 3))}}
    with pytest.raises(ModelError, match="has no parameter 'weight'"):
        check(model.with_spiking(replace(model.spiking, head_parameters=wrong)))
