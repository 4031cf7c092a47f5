"""A network that is told the noise level: in training each image has its own."""

import numpy as np
import pytest

import nspike
from nspike.ann import run as ann
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import Degradation
from nspike.fitting.finetuning import FineTuning, FineTuningOptions
from nspike.fitting.preparing import at_one_level, from_scratch
from nspike.fitting.recipe import TrainingRecipe
from nspike.fitting.training import Training, TrainingOptions
from nspike.graph.layer import Constant
from nspike.graph.mode import restored
from nspike.images.file import ImageData, write
from nspike.registry.plugins import registry
from nspike.trainable.plain import initial_ceilings
from nspike.trainable.spiking import DifferentiableNetwork
from tests.tiny import image
from tests.trainable.networks import everything
from tests.trainable.test_general import pixels_for, spiking_model

SIGMAS = np.array([5.0, 60.0])
RECIPE = {"network": "ffdnet", "network_options": {"depth": 4, "width": 8}, "steps": 1, "batch": 2, "patch": 24}
RANGE = {"kind": "noise", "sigma": [5, 60]}


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos" / "a.png", ImageData(image(60, 70, seed=1)))
    return tmp_path / "photos"


def alone(model, plane):
    """The restored images, each run with its own level."""
    outputs = []
    for one, sigma in zip(plane, SIGMAS, strict=True):
        network = model.network.at_noise(sigma)
        outputs.append(restored(network.mode, one, ann.run(network, model.parameters, one[None])[0]))
    return np.stack(outputs)


def test_a_plain_network():
    model = from_scratch(TrainingRecipe.of({**RECIPE, "data": ["x"], "degradation": RANGE}))
    plane = np.random.default_rng(0).random((2, model.network.channels, 16, 24), np.float32)
    batches, options = (lambda n: (plane, plane)), TrainingOptions(steps=1)
    told = Training(model, options, batches, sigmas=lambda n: SIGMAS).forward(0).output.data
    np.testing.assert_allclose(told, alone(model, plane), atol=1e-5)
    untold = Training(model, options, batches).forward(0).output.data
    assert np.abs(untold - told).max() > 1e-3


def test_ceilings_start_with_the_levels():
    model = from_scratch(TrainingRecipe.of({**RECIPE, "data": ["x"], "degradation": RANGE}))
    plane = np.random.default_rng(0).random((2, model.network.channels, 16, 24), np.float32)
    same = {"percentile": 99.0, "per": "layer"}
    told = initial_ceilings(model, plane, sigmas=SIGMAS, **same)
    fixed = initial_ceilings(model.at_noise(5.0), plane, **same)
    assert told.keys() == fixed.keys()
    assert told["relu1"] != fixed["relu1"]
    np.testing.assert_array_equal(
        initial_ceilings(model, plane, sigmas=np.full(2, 5.0), **same)["relu1"], fixed["relu1"]
    )


def test_a_spiking_network():
    model, pixels = spiking_model(everything(), "mprn", "cpm"), pixels_for(everything(), 2)
    neuron, head = registry().neurons["mprn"], registry().heads["cpm"]
    together = DifferentiableNetwork(model, neuron, head).run(pixels, sigmas=SIGMAS).restored.data
    for n, sigma in enumerate(SIGMAS):
        own = DifferentiableNetwork(model.at_noise(sigma), neuron, head).run(pixels[n : n + 1]).restored.data
        np.testing.assert_array_equal(together[n], own[0])
    assert not np.array_equal(together, DifferentiableNetwork(model, neuron, head).run(pixels).restored.data)


def test_fine_tuning_tells_it(photos):
    model = spiking_model(everything(), "if", "membrane")
    assert model.network.channels == 1
    batches = CropBatches(model, photos, batch=2, patch=16, degradation=Degradation("noise", {"sigma": [5, 60]}))
    run = FineTuning(model, FineTuningOptions(steps=1), batches, sigmas=batches.sigmas)
    untold = FineTuning(model, FineTuningOptions(steps=1), batches)
    assert run.step().loss != untold.step().loss


def test_train_with_a_range(photos):
    """The loss of the first step is that of the networks of the crops' levels."""
    recipe = {**RECIPE, "data": photos, "degradation": RANGE, "pixel": {"mse": 1.0}}
    trained = nspike.train(recipe)
    model = from_scratch(TrainingRecipe.of({**recipe, "data": [str(photos)]}))
    batches = CropBatches(model, photos, batch=2, patch=24, degradation=Degradation("noise", {"sigma": [5, 60]}))
    (degraded, clean), sigmas = batches(0), batches.sigmas(0)
    errors = []
    for noisy, wanted, sigma in zip(degraded, clean, sigmas, strict=True):
        network = model.network.at_noise(sigma)
        output = restored(network.mode, noisy, ann.run(network, model.parameters, noisy[None])[0])
        errors.append(np.square(output - wanted).mean())
    assert trained.last.loss == pytest.approx(np.mean(errors), rel=1e-5)
    assert trained.model.info.degradation == {"sigma": [5, 60]}


def test_conversion_is_at_the_middle_of_the_range(photos):
    trained = nspike.train({**RECIPE, "data": photos, "degradation": RANGE}).model
    model, degradation = at_one_level(trained, None)
    assert (degradation.numbers, model.network.layer("sigma").values) == ({"sigma": 32.5}, (32.5 / 255,))
    assert at_one_level(spiking_model(everything()), Degradation("haze"))[1].kind == "haze"
    tuned = nspike.finetune({"model": trained, "data": photos, "steps": 1, "batch": 2, "patch": 16, "calibration": 2})
    assert [layer.values for layer in tuned.model.network.of_kind(Constant)] == [(32.5 / 255,)]
