"""The contract of a method: what it gives to conversion and training, and what it refuses."""

import pytest

from nspike.contracts.method import Method
from nspike.errors import PluginError
from nspike.fitting.recipe import FineTuningRecipe, TrainingRecipe
from nspike.registry.plugins import registry


def method(**fields):
    return Method(**{"name": "mine", "summary": "", "source": "", **fields})


def test_conversion_names_every_part():
    mine = method(
        converter="qcfs", options={"v_init": 0.25}, neuron="mprn", neuron_parameters={"beta": 1.0}, head="cpm"
    )
    assert mine.conversion() == {
        "converter": "qcfs",
        "options": {"v_init": 0.25},
        "neuron": "mprn",
        "neuron_parameters": {"beta": 1.0},
        "head": "cpm",
        "timesteps": 10,
        "fast": True,
    }
    assert mine.conversion(3)["timesteps"] == 3
    assert mine.training() == {}


def test_training_is_a_recipe():
    tuned = method(trained_by="finetune", options={"percentile": 99.0}, recipe={"k": 0.1, "timesteps": 7})
    recipe = FineTuningRecipe.of({"model": "ann.h5", "data": ["."], **tuned.training(5)})
    assert (recipe.converter, recipe.converter_options, recipe.timesteps) == ("rueckauer", {"percentile": 99.0}, 7)
    assert recipe.options.k == 0.1
    plain = method(trained_by="train", recipe={"activation": "qcfs", "levels": 4})
    assert TrainingRecipe.of({"network": "dncnn", "data": ["."], **plain.training(5)}).options.levels == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trained_by": "tune"}, "trained_by is 'tune'; expected one of 'none', 'train', 'finetune'"),
        ({"needs_training": True}, "it has needs_training; say by `trained_by`"),
        ({"recipe": {"k": 0.1}}, "it has a recipe; say by `trained_by`"),
        ({"timesteps": 0}, "timesteps is 0; expected a whole number from 1"),
        ({"timesteps": 2.5}, "timesteps is 2.5; expected a whole number from 1"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(PluginError) as caught:
        method(**fields)
    assert message in str(caught.value)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(PluginError, match=r"there is no method 'ruckauer'. Did you mean 'rueckauer'"):
        registry().methods["ruckauer"]
