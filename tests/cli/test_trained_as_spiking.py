"""A model that was trained as a spiking network says so in its file, and no plain network is run or compared."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import nspike
from nspike.images.file import ImageData, write
from nspike.model import shipped
from nspike.model.file import load, read_info
from tests.cli.console import run
from tests.plugins.spikerir_float import tensors

CONVERT = ("--converter", "direct", "--plugin", "lif_hard", "--set", "tau=2", "-T", 3)
QUICK = ("--steps", 1, "--batch", 1, "--patch", 16)


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys):
    """An imported network plain.h5, the spiking one model.h5, and a folder of photos."""
    monkeypatch.chdir(tmp_path)
    save_file(tensors(width=8, group=4, blocks=1, levels=2), tmp_path / "net.safetensors")
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos" / "a.png", ImageData(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)))
    imported = ("import", "net.safetensors", "--network", "spikerir_lite", "--sigma", 25, "-o", "plain.h5")
    assert run(capsys, *imported).code == 0
    assert run(capsys, "convert", "plain.h5", *CONVERT, "-o", "model.h5").code == 0
    return tmp_path


def test_the_file_says_so(desk, capsys):
    assert [read_info(name).info.trained for name in ("plain.h5", "model.h5")] == ["spiking", "spiking"]
    assert "trained:          as a spiking network" in run(capsys, "info", "model.h5").out
    assert "no: convert it with `nspike convert --converter direct`" in run(capsys, "info", "plain.h5").out
    assert json.loads(run(capsys, "info", "model.h5", "--json", "-").out)["info"]["trained"] == "spiking"
    assert read_info(shipped.find("dncnn-s25")).info.trained == "plain"
    assert "trained:          as a plain network" in run(capsys, "info", "dncnn-s25").out


@pytest.mark.parametrize(
    "command",
    [
        ("run", "photos/a.png", "--model", "model.h5", "--ann", "-o", "out.png"),
        ("evaluate", "model.h5", "--data", "photos", "--sigma", 25, "--ann"),
        ("audit", "photos/a.png", "--model", "model.h5", "--ann", "--json", "out.json"),
        ("run", "photos/a.png", "--model", "plain.h5", "--ann", "-o", "out.png"),
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_its_plain_network_is_not_run(desk, capsys, command):
    outcome = run(capsys, *command)
    assert outcome.code == 2
    assert (
        "was trained as a spiking network: its plain network, with ReLUs for its neurons, was never trained"
        in outcome.err
    )
    assert not list(desk.glob("out.*"))


def test_training_from_scratch_says_so(desk, capsys):
    """What `nspike train --spiking` makes has no plain network either."""
    told = ("--data", "photos", "--set", 'degradation={kind = "noise", sigma = 25}', *QUICK, "--quiet")
    small = ("--set", "network_options={width = 4, depth = 3}")
    assert run(capsys, "train", "dncnn", "--spiking", "-T", 2, *told, *small, "-o", "direct.h5").code == 0
    assert read_info("direct.h5").info.trained == "spiking"
    assert "trained:          as a spiking network" in run(capsys, "info", "direct.h5").out
    for command in (
        ("run", "photos/a.png", "--model", "direct.h5", "--ann", "-o", "out.png"),
        ("evaluate", "direct.h5", "--data", "photos", "--sigma", 25, "--ann"),
    ):
        refused = run(capsys, *command)
        assert (refused.code, "never trained; leave out --ann" in refused.err) == (2, True)
        assert "or name a model that has one" in refused.err
    assert "ANN" not in run(capsys, "evaluate", "direct.h5", "--data", "photos", "--sigma", 25).out
    assert not list(desk.glob("out.*"))


def test_methods_are_not_applied_to_it(desk, capsys):
    compare = ("compare", "--data", "photos", "--sigma", 25, "-o", "table")
    refused = run(capsys, *compare, "--network", "model.h5", "--methods", "rueckauer")
    assert (refused.code, "give it as a row of its own, --model LABEL=FILE" in refused.err) == (2, True)
    assert not (desk / "table").exists()
    assert run(capsys, *compare, "--model", "mine=model.h5").code == 0
    listed = json.loads((desk / "table" / "table.json").read_text())["rows"]
    assert [row["label"] for row in listed] == ["mine"]


def test_nothing_is_compared_with_a_plain_network(desk, capsys):
    evaluated = ("evaluate", "model.h5", "--data", "photos", "--sigma", 25)
    outcome = run(capsys, *evaluated)
    assert outcome.code == 0
    assert "ANN" not in outcome.out
    assert "conversion rate" not in outcome.out
    assert "the same layers done densely" in outcome.out
    found = json.loads(run(capsys, *evaluated, "--json", "-").out)
    assert found["trained"] == "spiking"
    assert (found["mean"]["ann"], found["mean"]["conversion_rate"]) == (None, None)
    assert "ann" not in found["images"][0]
    assert found["mean"]["energy"]["paper"]["ratio"] > 0
    summary = nspike.evaluate(nspike.load("model.h5"), "photos", sigma=25).summary()
    assert not {"psnr_ann", "conversion_rate"} & set(summary)
    shown = run(capsys, "run", "photos/a.png", "--model", "model.h5", "-v", "-o", "out.png").out
    assert "the same layers done densely" in shown
    audited = run(capsys, "audit", "photos/a.png", "--model", "model.h5").out
    assert "ANN: the same layers done densely, as there is no plain network" in audited


def test_no_other_converter_takes_it(desk, capsys):
    for name in ("plain.h5", "model.h5"):
        outcome = run(capsys, "convert", name, "--calibrate", "photos", "-o", "other.h5")
        assert outcome.code == 2
        assert "converter rueckauer goes by what the plain network computes" in outcome.err


def test_it_is_not_chosen_for_the_plain_network(desk, capsys, monkeypatch):
    files = {"plain": desk / "model.h5"}
    monkeypatch.setattr(shipped, "shipped", lambda: tuple(files.items()))
    assert shipped.default_for("denoise") == "plain"
    with pytest.raises(nspike.ModelError, match="no model for the task denoise"):
        shipped.default_for("denoise", plain=True)


def test_finetuning_goes_on_from_its_spiking_weights(desk, capsys):
    told = ("--data", "photos", "--set", 'degradation={kind = "noise", sigma = 25}', *QUICK, "--quiet")
    first = run(capsys, "finetune", "model.h5", *told, "--rate", 1e-3, "-o", "tuned.h5")
    assert (first.code, first.err) == (0, "")
    second = run(capsys, "finetune", "tuned.h5", *told, "--rate", 1e-30, "-o", "again.h5")
    assert (second.code, second.err) == (0, "")
    start, tuned, again = (load(name) for name in ("model.h5", "tuned.h5", "again.h5"))
    assert tuned.info.trained == again.info.trained == "spiking"
    kernel = tuned.spiking.weights["latent_block1_dw"]
    assert not np.array_equal(kernel, start.parameters["latent_block1_dw.weight"])
    np.testing.assert_array_equal(again.spiking.weights["latent_block1_dw"], kernel)
    refused = run(capsys, "finetune", "model.h5", *told, "--set", "warm_start=regression", "-o", "warm.h5")
    assert refused.code == 2
    assert "warm_start fits kernels to the plain network" in refused.err


def test_training_the_plain_network_makes_one(desk, capsys):
    told = ("--data", "photos", "--set", 'degradation={kind = "noise", sigma = 25}', *QUICK, "--quiet")
    outcome = run(capsys, "train", "--model", "model.h5", *told, "-o", "relu.h5")
    assert (outcome.code, outcome.err) == (0, "")
    assert read_info("relu.h5").info.trained == "plain"
