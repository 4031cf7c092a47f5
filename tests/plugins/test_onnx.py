"""Networks exported by PyTorch, imported without a name: what ONNX Runtime computes is what nspike computes."""

from pathlib import Path

import numpy as np
import pytest

import nspike
from nspike.converting.importing import assumptions
from nspike.graph.layer import (
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Constant,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
)
from nspike.graph.plain_layer import GlobalPool, LayerNorm, MaxPool, Multiply, Pointwise
from tests.plugins.onnx_graphs import difference

FOLDER = Path(__file__).parents[1] / "data" / "onnx"
FILES = sorted(path.name for path in FOLDER.glob("*.onnx"))

EXPECTED = {
    "unet": ("subtract", 1, 4, {AveragePool: 1, PixelShuffle: 2, Activation: 5}),
    "edsr": ("image", 2, 1, {Add: 3, PixelShuffle: 1, Activation: 2}),
    "ircnn": ("subtract", 1, 1, {Activation: 5}),
    "depthwise": ("add", 1, 2, {ChannelShuffle: 1, Bilinear: 1, Nearest: 1, Add: 1}),
    "noise_map": ("image", 1, 2, {Constant: 1, PixelShuffle: 1, Add: 2}),
    "ffdnet": ("image", 1, 2, {PixelUnshuffle: 1, PixelShuffle: 1, Constant: 1}),
    "norms": ("image", 1, 2, {PixelUnshuffle: 1, PixelShuffle: 1, Pointwise: 3}),
    "attention": ("subtract", 1, 2, {GlobalPool: 1, LayerNorm: 1, MaxPool: 1, Multiply: 2, Pointwise: 5, Nearest: 1}),
    "fixed": ("image", 3, 1, {PixelShuffle: 1}),
}
"""Network -> its mode, scale, size multiple, and how many layers it has of some kinds."""


def of(name):
    return name.split("_torchscript")[0].split("_dynamo")[0]


def test_every_network_is_there_from_both_exporters():
    assert {of(name) for name in FILES} == set(EXPECTED)
    assert {int(name.split("_")[-1].split(".")[0]) for name in FILES} >= {11, 12, 13, 14, 16, 17, 18, 19, 20, 21}
    assert max((FOLDER / name).stat().st_size for name in FILES) < 60_000


@pytest.mark.parametrize("name", FILES)
def test_is_what_onnx_runtime_computes(name):
    size = (16, 24) if of(name) == "fixed" else (37, 43)  # sizes that no stride divides, padded
    apart, model = difference(
        FOLDER / name, sigma=30.0, multiple=1 if of(name) == "fixed" else 8, size=size, clipped=of(name) == "edsr"
    )
    network = model.network
    assert apart < 1e-5
    mode, scale, multiple, kinds = EXPECTED[of(name)]
    assert (network.mode, network.scale, network.size_multiple) == (mode, scale, multiple)
    assert {kind: len(network.of_kind(kind)) for kind in kinds} == kinds
    assert network.rectify == (of(name) in ("edsr", "norms"))
    assert model.info.provenance["format"] == "onnx"


@pytest.mark.parametrize("name", FILES)
def test_can_be_saved(tmp_path, name):
    model = nspike.import_checkpoint(FOLDER / name)
    nspike.save(tmp_path / "ann.h5", model)
    read = nspike.load(tmp_path / "ann.h5")
    assert read.network == model.network
    assert all(np.array_equal(read.parameters[key], array) for key, array in model.parameters.items())


def test_the_noise_level_is_told():
    path = FOLDER / "noise_map_dynamo_18.onnx"
    for given, level in (({}, 25.0), ({"sigma": 51.0}, 51.0)):
        model = nspike.import_checkpoint(path, degradation=given)
        (plane,) = model.network.of_kind(Constant)
        assert plane.meaning == "sigma"
        assert plane.values == (pytest.approx(level / 255),)
        assert "noise level" in assumptions(model)[0]


def test_batch_norm_stays_one_where_it_follows_a_convolution():
    network = nspike.import_checkpoint(FOLDER / "norms_torchscript_11.onnx").network
    kept = [conv.name for conv in network.convs if conv.batch_norm_eps is not None]
    assert kept in (["conv"], [])  # PyTorch's exporter folds it, depending on its version
    assert network.convs[0].groups == 4  # the one that stands first is a factor for each channel


def test_task_colour_and_name_follow():
    edsr = nspike.import_checkpoint(FOLDER / "edsr_dynamo_21.onnx")
    assert (edsr.info.task, edsr.info.colour, edsr.info.name) == ("superres", "rgb", "edsr_dynamo_21")
    unet = nspike.import_checkpoint(FOLDER / "unet_dynamo_18.onnx", task="derain", name="mine")
    assert (unet.info.task, unet.info.colour, unet.info.name) == ("derain", "gray", "mine")


def test_mode_can_be_said():
    model = nspike.import_checkpoint(FOLDER / "ircnn_dynamo_20.onnx", mode="add")
    assert model.network.mode == "add"
    with pytest.raises(nspike.UsageError, match="2 times as high"):
        nspike.import_checkpoint(FOLDER / "edsr_dynamo_21.onnx", mode="add")


def test_a_network_is_not_named():
    with pytest.raises(nspike.UsageError, match="the file says itself what is computed"):
        nspike.import_checkpoint(FOLDER / "ircnn_dynamo_20.onnx", "dncnn")
