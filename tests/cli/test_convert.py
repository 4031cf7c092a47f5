import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import nspike
from nspike.converting.importing import import_checkpoint
from nspike.graph.layer import Activation
from nspike.graph.plain_layer import Pointwise
from nspike.images.file import ImageData, write
from nspike.model.file import load, load_integers, save
from tests.cli.console import run
from tests.converting.graphs import model_of, residual
from tests.converting.test_importing import dncnn_tensors

QUICK = ("--crops", 3, "--crop-size", 16)


@pytest.fixture
def ann(tmp_path):
    """An imported network, and beside it a folder of images."""
    save_file(dncnn_tensors(), tmp_path / "small.safetensors")
    path = tmp_path / "ann.h5"
    save(path, import_checkpoint(tmp_path / "small.safetensors", "dncnn", degradation={"sigma": 25.0}))
    (tmp_path / "photos").mkdir()
    draw = np.random.default_rng(0)
    for name in "ab":
        write(tmp_path / "photos" / f"{name}.png", ImageData(draw.integers(0, 256, (24, 24), np.uint8)))
    return path


def convert(capsys, ann, *arguments):
    photos, target = ann.parent / "photos", ann.parent / "snn.h5"
    return run(capsys, "convert", ann, "--calibrate", photos, "-o", target, *QUICK, *arguments)


def test_convert(capsys, ann):
    outcome = convert(capsys, ann)
    assert (outcome.code, outcome.err) == (0, "")
    assert "if, membrane, T = 10" in outcome.out
    model = load(ann.parent / "snn.h5")
    assert (model.spiking.neuron, model.spiking.head, model.spiking.timesteps) == ("if", "membrane", 10)
    assert model.info.provenance["converter"] == "rueckauer"
    assert model.info.provenance["calibration"] == {"crops": 3, "crop_size": 16, "seed": 0}
    assert model.info.provenance["checkpoint"] == "small.safetensors"
    integers = load_integers(ann.parent / "snn.h5")
    assert {"exponent", "weights", "theta"} <= set(integers["output"])


def test_convert_as_told(capsys, ann):
    told = ("--plugin", "mprn", "-T", 4, "--set", "v_init=0.25", "--option", "percentile=99", "--name", "mine")
    outcome = convert(capsys, ann, *told, "--json", "-")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["info"]["name"] == "mine"
    assert report["info"]["provenance"]["converter_options"]["percentile"] == 99
    assert report["report"]["layers"]
    spiking = load(ann.parent / "snn.h5").spiking
    assert (spiking.neuron, spiking.head, spiking.timesteps) == ("mprn", "cpm", 4)
    assert {layer["v_init"] for layer in spiking.neuron_parameters["mprn"].values()} == {0.25}


def test_the_best_by_default_and_fast(capsys, ann):
    assert "layers fitted" in convert(capsys, ann).out
    best = load(ann.parent / "snn.h5")
    assert set(best.spiking.weights) == {conv.name for conv in best.network.convs[1:]}
    assert best.info.provenance["fitted"] == {"windows": 3, "to": "targets"}
    assert best.info.provenance["converter_options"]["per"] == "channel"
    assert "layers fitted" not in convert(capsys, ann, "--fast", "--overwrite").out
    fast = load(ann.parent / "snn.h5")
    assert not fast.spiking.weights
    assert fast.info.provenance["converter_options"]["per"] == "layer"
    assert {layer["v_init"] for layer in fast.spiking.neuron_parameters["if"].values()} == {0.0}


def test_parts_may_be_given_either_way(capsys, ann):
    assert convert(capsys, ann, "--plugin", "head:rate", "--plugin", "lif").code == 0
    assert load(ann.parent / "snn.h5").spiking.head == "rate"
    assert convert(capsys, ann, "--head", "cpm", "--converter", "rueckauer", "-T", 2, "--overwrite").code == 0
    assert load(ann.parent / "snn.h5").spiking.head == "cpm"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["-T", 0], 2, "T = 0 is out of range"),
        (["-T", 1000], 2, "T = 1000 is out of range"),
        (["--plugin", "mpnr"], 4, "Did you mean 'mprn'"),
        (["--plugin", "dncnn"], 2, "a plugin of kind network cannot be used here"),
        (["--plugin", "mprn", "--plugin", "if"], 2, "two plugins of kind neuron"),
        (["--head", "rate", "--plugin", "cpm"], 2, "two plugins of kind head"),
        (["--plugin", "rueckauer", "--converter", "qcfs"], 2, "two plugins of kind converter"),
        (["--head", "rat"], 4, "Did you mean 'rate'"),
        (["--option", "percentil=99"], 2, "unknown option 'percentil'"),
        (["--option", "percentile=high"], 2, "percentile = 'high'"),
        (["--option", "percentile"], 2, "expected NAME=VALUE"),
        (["--set", "v_init=much"], 2, "a parameter is a number"),
        (["--set", "v_init=7"], 2, "out of range"),
        (["--set", "alpha=1"], 2, "unknown parameter 'alpha'"),
        (["--crops", 0], 2, "at least 1 crop"),
    ],
)
def test_wrong_use(capsys, ann, arguments, code, error):
    outcome = convert(capsys, ann, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert error in outcome.err
    assert not (ann.parent / "snn.h5").exists()


def test_wrong_files(capsys, ann, tmp_path):
    photos, target = tmp_path / "photos", tmp_path / "snn.h5"
    for model, folder, output, code, error in [
        (tmp_path / "none.h5", photos, target, 3, "no such model file"),
        (tmp_path / "small.safetensors", photos, target, 3, "nspike import"),
        (ann, tmp_path / "none", target, 3, "none"),
        (ann, tmp_path, target, 3, "no images"),
        (ann, photos, tmp_path / "none" / "snn.h5", 5, "does not exist"),
    ]:
        outcome = run(capsys, "convert", model, "--calibrate", folder, "-o", output, *QUICK)
        assert (outcome.code, outcome.out) == (code, "")
        assert error in outcome.err


def test_a_network_with_layers_that_have_no_spiking_form_is_refused_with_all_their_names(capsys, ann):
    model = load(ann)
    layers = []
    for layer in model.network.layers:
        if isinstance(layer, Activation):
            layer = Pointwise(layer.name, layer.source, layer.channels, "leaky_relu", slope=0.1)
        layers.append(layer)
    plain = replace(model, network=replace(model.network, layers=tuple(layers)))
    save(ann, plain)
    outcome = convert(capsys, ann)
    assert outcome.code == 2
    assert f"{len(model.network.activations)} of its layers have no spiking form" in outcome.err
    for activation in model.network.activations:
        assert repr(activation.name) in outcome.err
    assert "replace it by ReLU and fine-tune the plain network" in outcome.err
    assert not (ann.parent / "snn.h5").exists()


def test_a_network_that_enlarges_is_calibrated_on_smaller_images(capsys, ann):
    save(ann, model_of(residual(1, 4), task="superres", degradation={"scales": [2]}))
    outcome = convert(capsys, ann, "--fast")
    assert outcome.code == 0
    assert "first0.in" in outcome.out
    assert load(ann.parent / "snn.h5").network.is_spiking


def test_a_network_trained_as_a_spiking_one_needs_no_images(capsys, ann):
    target = ann.parent / "snn.h5"
    told = ("convert", ann, "-o", target, "--converter", "direct", "--option", "theta=0.3", "--plugin", "lif", "-T", 3)
    refused = run(capsys, *told, "--calibrate", ann.parent / "photos")
    assert refused.code == 2
    assert "converter direct takes no images" in refused.err
    assert not target.exists()
    outcome = run(capsys, *told)
    assert (outcome.code, outcome.err) == (0, "")
    model = load(target)
    assert model.info.provenance["converter_options"] == {"theta": 0.3}
    assert "fitted" not in model.info.provenance
    names = [a.name for a in model.network.activations]
    assert all((model.spiking.thresholds[name] == 0.3).all() for name in names)
    assert all((scale == 1).all() for scale in model.spiking.scales.values())
    assert "layers fitted" not in outcome.out


def test_other_converters_need_images(capsys, ann):
    outcome = run(capsys, "convert", ann, "-o", ann.parent / "snn.h5")
    assert outcome.code == 2
    assert "converter rueckauer finds scales on images: give some, --calibrate FOLDER" in outcome.err


def test_a_method_by_its_name(capsys, ann):
    """Neuron and converter are called alike; the converter says T, and nothing is fitted after it."""
    outcome = convert(capsys, ann, "--plugin", "few_spikes", "--option", "slots=4")
    assert (outcome.code, outcome.err) == (0, "")
    assert "few_spikes, membrane, T = 1\n" in outcome.out
    model = load(ann.parent / "snn.h5")
    assert (model.spiking.neuron, model.spiking.timesteps) == ("few_spikes", 1)
    assert model.info.provenance["converter"] == "few_spikes"
    assert "fitted" not in model.info.provenance


def test_a_baseline(capsys, ann):
    """The result is compared with another plain network; a network of another kind is refused before any work."""
    plain = load(ann)
    stronger = {name: array * np.float32(0.5) for name, array in plain.parameters.items()}
    save(ann.parent / "plain.h5", replace(plain, parameters=stronger, info=replace(plain.info, name="stronger")))
    assert convert(capsys, ann, "--fast", "--baseline", ann.parent / "plain.h5").code == 0
    compared = load(ann.parent / "snn.h5")
    assert compared.info.provenance["baseline"]["name"] == "stronger"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    assert not np.array_equal(
        nspike.restore(compared, pixels, ann=True).image, nspike.restore(plain, pixels, ann=True).image
    )
    assert convert(capsys, ann, "--fast", "--overwrite").code == 0
    np.testing.assert_array_equal(compared.run(pixels).image, load(ann.parent / "snn.h5").run(pixels).image)
    other = ann.parent / "other.h5"
    save(other, model_of(residual(), 0))
    outcome = convert(capsys, ann, "--overwrite", "--baseline", other)
    assert outcome.code == 2
    assert "is another network than" in outcome.err
