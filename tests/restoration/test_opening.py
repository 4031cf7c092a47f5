import numpy as np
import pytest

import nspike
from nspike.errors import ModelError
from nspike.integer.rounding import as_arrays, build
from nspike.model import file as weights
from nspike.registry.parts import head_of, neuron_of
from nspike.restoration.choice import Chooser, Request
from tests.tiny import image, tiny_model

MODEL = tiny_model()
INTEGERS = as_arrays(build(MODEL, neuron_of(MODEL), head_of(MODEL)))


def changed(layer, name, change):
    """The integers of MODEL with one array changed, or left out where `change` gives none."""
    arrays = {key: dict(value) for key, value in INTEGERS.items()}
    array = change(arrays[layer].pop(name))
    return arrays | {layer: arrays[layer] | ({} if array is None else {name: array})}


def one_less(array):
    """A copy whose last number is smaller by 1."""
    array = array.copy()
    array.ravel()[-1] -= 1
    return array


FORGED = [
    *[(layer, name, one_less) for layer in INTEGERS for name, array in INTEGERS[layer].items() if array.size],
    ("relu1", "bias", lambda array: array.astype(np.int64)),
    ("relu1", "bias", lambda array: array[None]),
    ("relu1", "bias", lambda array: None),
]


@pytest.mark.parametrize(("layer", "name", "change"), FORGED)
def test_integers_that_do_not_follow_from_the_numbers_are_refused(tmp_path, layer, name, change):
    """All digests in the file are those of what is in it."""
    path = tmp_path / "forged.h5"
    weights.save(path, MODEL, changed(layer, name, change))
    assert weights.read_info(path).digest == weights.digest(MODEL)
    with pytest.raises(ModelError, match=f"forged.h5: integers/{layer}/{name} is not what follows"):
        nspike.load(path)
    with pytest.raises(ModelError, match="is not what follows"):
        Chooser(Request(model=str(path))).choose(image())


def test_a_layer_too_many(tmp_path):
    weights.save(tmp_path / "m.h5", MODEL, INTEGERS | {"relu9": INTEGERS["relu1"]})
    with pytest.raises(ModelError, match="integers/relu9/bias is not what follows"):
        nspike.load(tmp_path / "m.h5")


def test_what_is_loaded(tmp_path):
    weights.save(tmp_path / "without.h5", MODEL)
    nspike.save(tmp_path / "with.h5", MODEL)
    for name in ("without", "with"):
        assert weights.digest(nspike.load(tmp_path / f"{name}.h5")) == weights.digest(MODEL)


def test_a_model_whose_neuron_is_not_there_is_loaded(tmp_path):
    """Only running it needs the neuron."""
    weights.save(tmp_path / "m.h5", tiny_model(neuron="of-another-plugin"), INTEGERS)
    assert nspike.load(tmp_path / "m.h5").spiking.neuron == "of-another-plugin"
