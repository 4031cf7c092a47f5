"""The pages are enough to write a checker from: a simulator written from them agrees in every spike, digest and pixel."""

from pathlib import Path

import numpy as np
import pytest

import nspike
from nspike.inspection.auditing import audit
from nspike.model.shipped import find
from tests.desk import write
from tests.graphs import branched, random_model
from tests.inspection.networks import edsr, ffdnet, model_of, shuffles, unet
from tests.inspection.simulator import simulate
from tests.test_imports import imports
from tests.tiny import image, tiny_model


def agree(path, photo, pixels):
    """Compare the simulator with an audit of the same model and image."""
    done = audit(nspike.load(path), photo)
    digest, stages, result = simulate(path, pixels)
    assert digest == done.certificate["model"]["digest"]
    for layer in done.certificate["layers"]:
        expected = [(sum(step["events"]), step["sha256"]) for step in layer["steps"]]
        assert stages[layer["name"]] == expected, layer["name"]
    np.testing.assert_array_equal(result, done.result.image)
    assert result.dtype == done.result.image.dtype
    assert done.certificate["totals"]["spikes"] > 50


def test_the_simulator_imports_nothing_of_nspike():
    source = Path(__file__).with_name("simulator.py").read_text(encoding="utf-8")
    assert {module.split(".")[0] for module, _, _ in imports(source)} == {"h5py", "hashlib", "json", "math", "numpy"}


def test_aodnet(tmp_path):
    agree(find("aodnet"), write(tmp_path / "hazy.png", 14, 15, 3), image(14, 15, 3))


@pytest.mark.parametrize(
    ("model", "shape", "dtype"),
    [
        (tiny_model(head="cpm", width=4), (9, 10), np.uint8),
        (tiny_model(head="recycling", neuron="if", width=4), (16, 15, 3), np.uint16),
        (tiny_model(neuron="mprn_beta", head="rate", width=4), (6, 66), np.uint8),
        (tiny_model("dehaze", "rgb", "image", width=8), (17, 16), np.uint8),
        (random_model(branched(2, 3, 3, channels=3, gate=True), timesteps=3), (6, 5, 3), np.uint8),
        (tiny_model(neuron="lif", head="rate", width=4, timesteps=9), (9, 10), np.uint8),
        (tiny_model(neuron="lif_hard", head="cpm", width=4, timesteps=9), (9, 10), np.uint8),
        (tiny_model(neuron="signed", head="cpm", width=4), (9, 10), np.uint8),
        (model_of(unet(), 1, timesteps=3, neuron="mprn", head="cpm"), (5, 66), np.uint8),
        (model_of(ffdnet(), 3, timesteps=3), (9, 10, 3), np.uint8),
        (model_of(edsr(), 3, timesteps=6, neuron="lif_hard"), (5, 6, 3), np.uint8),
        (model_of(shuffles(), 4, timesteps=3, neuron="signed", head="rate"), (7, 6), np.uint8),
    ],
    ids=[
        *("dncnn", "16 bits, colour", "mprn_beta", "grey in colour", "concat and gate", "lif", "lif_hard", "signed"),
        *("several resolutions", "image-like planes", "enlarged", "groups and moves"),
    ],
)
def test_small_networks(tmp_path, model, shape, dtype):
    leak = {"tau": 3.0, "decay_input": 0.5}
    given = {"mprn_beta": {"alpha": 0.8, "beta": 0.5}, "lif": leak, "lif_hard": leak}
    if own := given.get(model.spiking.neuron):
        from dataclasses import replace

        parameters = {model.spiking.neuron: {a.name: own for a in model.network.activations}}
        model = model.with_spiking(replace(model.spiking, neuron_parameters=parameters))
    nspike.save(tmp_path / "m.h5", model)
    photo = tmp_path / "photo.png"
    agree(tmp_path / "m.h5", write(photo, *shape, dtype=dtype), image(*shape, dtype=dtype))
