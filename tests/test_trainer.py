"""From a dictionary to a trained model, without files."""

import numpy as np
import pytest

import nspike
from nspike.errors import ModelError, UsageError
from nspike.images import Picture, write
from nspike.trainer import with_baseline
from tests.tiny import picture, tiny_model

QUICK = {"steps": 2, "batch": 2, "patch": 16}


@pytest.fixture
def photos(tmp_path):
    for i in range(2):
        write(tmp_path / f"{i}.png", Picture(picture(32, 40, seed=i)))
    return tmp_path


class Told:
    def __init__(self):
        self.calls = []

    def began(self, done, steps):
        self.calls.append(("began", done, steps))

    def stepped(self, record, steps):
        self.calls.append(("stepped", record.step))

    def validated(self, validation):
        self.calls.append(("validated", validation.step))


def test_nothing_is_written_without_an_output(photos, monkeypatch):
    monkeypatch.chdir(photos)
    before, told = sorted(photos.iterdir()), Told()
    values = {"model": tiny_model(timesteps=2), "data": photos, "validation": photos, "validation_every": 1, **QUICK}
    trained = nspike.finetune(values, watch=told)
    assert told.calls == [
        ("began", 0, 2), ("validated", 0), ("stepped", 1), ("validated", 1), ("stepped", 2), ("validated", 2),
    ]  # fmt: skip
    assert sorted(photos.iterdir()) == before
    assert trained.best == max(trained.validations, key=lambda v: v.psnr)
    assert trained.model.info.quality[photos.name]["psnr"] == pytest.approx(trained.best.psnr)


def test_the_best_model_is_the_result(photos):
    """Steps that make it worse: the model from before them is kept."""
    model = tiny_model(timesteps=2)
    values = {"model": model, "data": photos, "validation": photos, **QUICK, "rate": 0.3, "clip": 1e9}
    trained = nspike.finetune(values)
    assert trained.validations[-1].psnr < trained.validations[0].psnr
    assert trained.step == 0
    pixels = picture(24, 24)
    np.testing.assert_array_equal(trained.model.run(pixels).image, model.run(pixels).image)
    last = nspike.finetune({key: value for key, value in values.items() if key != "validation"})
    assert last.step == 2
    assert not np.array_equal(last.model.run(pixels).image, model.run(pixels).image)


def test_parts_that_a_plan_replaces(photos):
    values = {"model": tiny_model(), "data": photos, **QUICK, "steps": 1}
    plan = {"neuron": "mprn_beta", "head": "cpm", "timesteps": 2, "neuron_parameters": {"v_init": 0.25}}
    spiking = nspike.finetune(values | plan).model.spiking
    assert (spiking.neuron, spiking.head, spiking.timesteps) == ("mprn_beta", "cpm", 2)
    assert spiking.neuron_parameters["mprn_beta"]["relu1"]["v_init"] == 0.25


def test_baselines(photos):
    tuned = nspike.finetune({"model": tiny_model(), "data": photos, **QUICK}).model
    with pytest.raises(UsageError, match="is another network than tiny"):
        with_baseline(tuned, tiny_model(width=4))
    with pytest.raises(UsageError, match="follows from its own ANN"):
        with_baseline(tiny_model(), tiny_model(seed=2))
    with pytest.raises(ModelError, match="has no spiking form"):
        with_baseline(nspike.train({"model": tiny_model(), "data": photos, **QUICK}).model, tiny_model())
