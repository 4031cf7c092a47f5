import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

import nspike
from nspike.converting.importing import import_checkpoint
from nspike.errors import BadInputError, PluginError
from nspike.model.file import load, save


def dncnn_tensors(channels=1, width=4, seed=0):
    """A small DnCNN as published exports call its layers."""
    draw = np.random.default_rng(seed)
    shapes = {"0": (width, channels, 3, 3), "2": (width, width, 3, 3), "4": (channels, width, 3, 3)}
    weights = {f"{n}.weight": draw.normal(0, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}
    biases = {f"{n}.bias": draw.normal(0, 0.1, shape[0]).astype(np.float32) for n, shape in shapes.items()}
    return weights | biases


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "small.safetensors"
    save_file(dncnn_tensors(), path)
    return path


def test_import(checkpoint, tmp_path):
    model = nspike.import_checkpoint(checkpoint, "dncnn", degradation={"sigma": 25.0}, licence="CC0")
    assert (model.info.name, model.info.task, model.info.colour) == ("small", "denoise", "gray")
    assert model.info.licence == "CC0"
    assert model.info.provenance == {
        "checkpoint": "small.safetensors",
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "format": "safetensors",
        "architecture": "dncnn",
    }
    assert model.spiking is None
    assert np.array_equal(model.parameters[f"{model.network.convs[0].name}.weight"], dncnn_tensors()["0.weight"])
    save(tmp_path / "ann.h5", model)
    assert load(tmp_path / "ann.h5").info == model.info


def test_import_as_told(checkpoint):
    model = import_checkpoint(checkpoint, "dncnn", format="safetensors", name="mine", training={"epochs": 3})
    assert model.info.name == "mine"
    assert model.info.provenance["training"] == {"epochs": 3}
    assert import_checkpoint(checkpoint, "dncnn", task="dehaze").info.task == "dehaze"


def test_colour_follows_the_channels(tmp_path):
    path = tmp_path / "rgb.safetensors"
    save_file(dncnn_tensors(channels=3), path)
    assert import_checkpoint(path, "dncnn").info.colour == "rgb"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t.pop("2.bias"), "2.bias"),
        (lambda t: t.update(extra=np.zeros(3, np.float32)), "extra"),
        (lambda t: t["2.weight"].__setitem__((0, 0, 0, 0), np.nan), "NaN or infinite"),
        (lambda t: t.clear(), "no tensors"),
    ],
)
def test_wrong_tensors(tmp_path, change, error):
    tensors = dncnn_tensors()
    change(tensors)
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path)
    with pytest.raises(BadInputError, match=error) as caught:
        import_checkpoint(path, "dncnn")
    assert str(path) in str(caught.value)


def test_wrong_network(checkpoint):
    with pytest.raises(BadInputError, match=r"small.safetensors: aodnet: missing keys.*unknown keys"):
        import_checkpoint(checkpoint, "aodnet")


def test_wrong_names(checkpoint):
    with pytest.raises(PluginError, match=r"no network 'dncn'. Did you mean 'dncnn'"):
        import_checkpoint(checkpoint, "dncn")
    with pytest.raises(PluginError, match="no format 'torch'"):
        import_checkpoint(checkpoint, "dncnn", format="torch")


def test_wrong_files(tmp_path, checkpoint):
    short = tmp_path / "short.safetensors"
    short.write_bytes(checkpoint.read_bytes()[:100])
    for path, format in (
        (short, None),
        (tmp_path / "none.pth", None),
        (tmp_path / "none.pth", "pytorch"),
        (tmp_path, None),
    ):
        with pytest.raises(BadInputError, match=path.name):
            import_checkpoint(path, "dncnn", format=format)
