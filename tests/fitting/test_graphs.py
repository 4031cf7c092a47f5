"""Networks without a plugin, of several resolutions, from plain weights to a fine-tuned file, from Python and the shell."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.errors import UsageError
from nspike.fitting.memory import check_memory
from nspike.fitting.provenance import with_baseline
from nspike.fitting.recipe import FineTuningRecipe
from nspike.images.file import ImageData, write
from nspike.model.model import Info, Model
from nspike.registry.parts import head_of, neuron_of
from nspike.trainable.spiking import DifferentiableNetwork
from tests.cli.console import run
from tests.tiny import image
from tests.trainable.networks import edsr, model_of, unet
from tests.trainable.test_spiking import agrees_with_the_engine

pytestmark = pytest.mark.slow

QUICK = {"steps": 3, "batch": 2, "patch": 22, "rate": 1e-3}


def imported(kind):
    """As an import of ONNX leaves a network: a name that no plugin has."""
    network = replace(unet(channels=1) if kind == "unet" else edsr(channels=3, blocks=2), name="onnx")
    model = model_of(network, 4)
    parameters = {name: (0.6 * array).astype(np.float32) for name, array in model.parameters.items()}
    if kind == "unet":
        info = Info("my-unet", "denoise", "gray", degradation={"sigma": 25.0})
    else:
        info = Info("my-edsr", "superres", "rgb", degradation={"scales": [2]})
    return Model(info, network, parameters)


@pytest.fixture(params=["unet", "edsr"])
def kind(request):
    return request.param


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        write(folder / f"{i}.png", ImageData(image(60, 70, 3, seed=i)))
    return folder


def test_from_weights_to_a_fine_tuned_model(kind, photos, tmp_path):
    ann, quantised, tuned = (tmp_path / f"{name}.h5" for name in ("ann", "quantised", "tuned"))
    nspike.save(ann, imported(kind))
    trained = nspike.train(
        {"model": str(ann), "data": photos, "activation": "qcfs", "levels": 4, "per": "channel", **QUICK}, quantised
    )
    assert trained.done == 3
    layers = nspike.load(quantised).network.activations
    assert all(layer.levels == 4 and len(layer.ceiling) == layer.channels for layer in layers)
    assert any(layer.signed for layer in layers) == (kind == "edsr")
    values = {"model": str(quantised), "converter": "qcfs", "neuron": "mprn", "timesteps": 4, "data": photos}
    values |= {"warm_start": "regression", "warm_crops": 2, **QUICK, "rate": 1e-5}
    values |= {"validation": photos, "validation_limit": 1} if kind == "unet" else {}
    result = nspike.finetune(values | {"steps": 2}, tuned)
    assert result.done == 2
    assert nspike.finetune(values | {"steps": 2}, tuned).before == 2, "it resumes"
    model = nspike.load(tuned)
    assert model.network.is_spiking
    assert bool(model.info.quality) == (kind == "unet")
    pixels = image(25, 30, 3, seed=9)
    restored = model.run(pixels)
    assert restored.image.shape[:2] == tuple(model.network.scale * side for side in (25, 30))
    assert restored.ledger.layers[0].events.sum() > 0
    with pytest.raises(UsageError, match="is another network than"):
        with_baseline(model, imported("edsr" if kind == "unet" else "unet"))
    compared = with_baseline(model, nspike.load(quantised))
    assert compared.parameters.keys() == model.parameters.keys()


def test_from_the_shell(kind, photos, tmp_path, capsys):
    ann, quantised, tuned = (tmp_path / f"{name}.h5" for name in ("ann", "quantised", "tuned"))
    nspike.save(ann, imported(kind))
    quick = ["--data", photos, "--steps", 2, "--batch", 2, "--patch", 16]
    done = run(capsys, "train", ann, "--activation", "qcfs", *quick, "-o", quantised)
    assert done.code == 0, done.err
    more = ["--set", "converter=qcfs", "--set", "timesteps=3"]
    done = run(capsys, "finetune", quantised, *more, *quick, "-o", tuned)
    assert done.code == 0, done.err
    recipe = nspike.load(tuned).info.provenance["fine_tuning"]
    assert recipe["done"] == 2


def test_a_fine_tuned_model_spikes_as_it_was_trained(kind, photos):
    values = {"model": imported(kind), "converter": "rueckauer", "timesteps": 3, "data": photos, "k": 0.1, **QUICK}
    model = nspike.finetune(values).model
    net = DifferentiableNetwork(model, neuron_of(model), head_of(model))
    plane = np.random.default_rng(3).integers(0, 65536, (1, model.network.channels, 12, 16))
    agrees_with_the_engine(net, plane.astype(np.int32))


def test_memory_counts_neurons_at_their_own_resolution(kind):
    model = imported(kind)
    pixels = {"unet": 8 + 3 * 16 / 4 + 8, "edsr": 5 * 8 + 4 * 8}[kind]
    values = {"model": "x", "data": ["y"], "steps": 1, "batch": 10**9, "patch": 16, "gradient": "time", "timesteps": 4}
    need = 10**9 * 4 * 4 * 16**2 * pixels / 2**30
    with pytest.raises(UsageError, match=f"need at least {need:.3g} GiB".replace("+", r"\+")):
        check_memory(FineTuningRecipe.of(values), model)
