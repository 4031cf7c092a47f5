"""`nspike train`: networks from scratch and from models, their recipes, and bad input."""

import json

import numpy as np
import pytest

from nspike.model.file import load
from tests.cli.console import run
from tests.cli.test_finetune import desk as desk
from tests.cli.test_finetune import lines
from tests.desk import checkpoint

NOISE = ("--set", "degradation={kind = 'noise', sigma = 25}")
SMALL = ("--set", "network_options={depth = 3, width = 4}")
QUICK = ("--patch", 16, "--batch", 2, "--steps", 3, "--data", "photos", "-o", "out.h5")


def train(capsys, *arguments):
    return run(capsys, "train", *arguments, *QUICK)


def test_from_scratch(capsys, desk):
    outcome = train(capsys, "dncnn", *NOISE, *SMALL, "--validation", "check", "--name", "fresh", "--json", "-")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    model = load(desk / "out.h5")
    assert model.spiking is None
    assert (model.info.name, model.info.task, model.info.colour) == ("fresh", "denoise", "gray")
    assert model.info.degradation == {"sigma": 25}
    assert len(model.network.convs) == 3
    recipe = model.info.provenance["training"]
    assert (recipe["network"], recipe["network_options"], recipe["done"]) == ("dncnn", {"depth": 3, "width": 4}, 3)
    assert set(model.info.quality["check"]) == {"psnr", "psnr_input", "ssim"}
    assert [v["firing_rate"] for v in report["validations"]] == [None, None]
    assert run(capsys, "evaluate", "out.h5", "--ann", "--data", "check").code == 0


def test_a_broken_recipe_is_told_of_before_a_missing_output(capsys, desk):
    (desk / "bad.toml").write_text("data = = 3")
    for command in ("train", "finetune"):
        outcome = run(capsys, command, "bad.toml")
        assert (outcome.code, "bad.toml: is no TOML" in outcome.err) == (3, True)
    (desk / "good.toml").write_text("data = ['photos']")
    outcome = run(capsys, "train", "good.toml")
    assert (outcome.code, "'-o'" in outcome.err) == (2, True)


def test_quantised_converted_and_tuned(capsys, desk):
    assert train(capsys, "dncnn", *NOISE, *SMALL).code == 0
    (desk / "out.h5").rename(desk / "ann.h5")
    (desk / "out.state.npz").unlink()
    told = ("--activation", "qcfs", "--levels", 4)
    outcome = train(capsys, "dncnn", "--model", "ann.h5", *told)
    assert outcome.code == 0, outcome.err
    model = load(desk / "out.h5")
    assert {layer.levels for layer in model.network.activations} == {4}
    assert model.info.provenance["training"]["before"]["activation"] == "relu"
    tuned = run(
        capsys, "finetune", "out.h5", "--data", "photos", "-o", "snn.h5", "--plugin", "mprn", "-T", 4, "--patch", 16,
        "--set", "converter=qcfs", "--set", "warm_start=regression", "--set", "warm_crops=4", "--set", "calibration=4",
        "--set", "baseline=ann.h5", "--steps", 2, "--batch", 2,
    )  # fmt: skip
    assert tuned.code == 0, tuned.err
    snn = load(desk / "snn.h5")
    assert snn.info.provenance["converter"] == "qcfs"
    assert all(layer.ceiling is None for layer in snn.network.activations), "the baseline is the plain network"
    np.testing.assert_allclose(
        snn.spiking.scales["relu1"], np.broadcast_to(model.network.activations[0].ceiling, 4), rtol=1e-6
    )


def test_a_model_by_its_file_needs_no_network(capsys, desk):
    assert train(capsys, "dncnn", *NOISE, *SMALL).code == 0
    (desk / "out.h5").rename(desk / "ann.h5")
    (desk / "out.state.npz").unlink()
    assert train(capsys, "ann.h5", "--activation", "qcfs").code == 0
    assert load(desk / "out.h5").network.activations[0].levels == 8
    outcome = train(capsys, "ann.h5", "--model", "other.h5")
    assert (outcome.code, "are two models; give one" in outcome.err) == (2, True)
    outcome = train(capsys)
    assert (outcome.code, "nothing to train" in outcome.err) == (2, True)


def test_from_a_checkpoint(capsys, desk):
    checkpoint(desk / "net.pth")
    outcome = train(capsys, "dncnn", "--model", "net.pth", *NOISE)
    assert outcome.code == 0, outcome.err
    assert load(desk / "out.h5").info.provenance["checkpoint"] == "net.pth"


def test_what_it_learns_to_undo(capsys, desk):
    assert train(capsys, "dncnn", *SMALL, "--sigma", 5, "--sigma", 50).code == 0
    assert load(desk / "out.h5").info.degradation == {"sigma": [5, 50]}
    once = run(capsys, "train", "vdsr", *SMALL, "--scale", 3, "--scale", 2, *QUICK[:-1], "large.h5")
    assert once.code == 0, once.err
    assert load(desk / "large.h5").info.degradation == {"scales": [2, 3]}


def test_sigma_keeps_the_kind_of_noise(capsys, desk):
    """Of a recipe, and of a model."""
    (desk / "recipe.toml").write_text(
        'network = "dncnn"\nnetwork_options = {depth = 3, width = 4}\ndegradation = {kind = "jpeg", sigma = 5, share = 0.25}\n'
    )
    assert train(capsys, "recipe.toml", "--sigma", 10).code == 0
    jpeg = {"kind": "jpeg", "sigma": 10, "quality": [70, 98], "share": 0.25}
    assert load(desk / "out.h5").info.degradation == jpeg
    again = run(capsys, "train", "out.h5", "--sigma", 20, *QUICK[:-1], "again.h5")
    assert again.code == 0, again.err
    assert load(desk / "again.h5").info.degradation == jpeg | {"sigma": 20}
    (desk / "hazy.toml").write_text('network = "aodnet"\ndegradation = {kind = "haze"}\n')
    outcome = run(capsys, "train", "hazy.toml", "--sigma", 20, *QUICK[:-1], "hazy.h5")
    assert (outcome.code, "--sigma: the recipe's degradation haze has no sigma" in outcome.err) == (2, True)


def test_haze_is_made_from_clean_images(capsys, desk):
    outcome = train(capsys, "aodnet")
    assert outcome.code == 0, outcome.err
    model = load(desk / "out.h5")
    assert (model.info.task, model.info.colour) == ("dehaze", "rgb")


def test_it_goes_on(capsys, desk):
    assert train(capsys, "dncnn", *NOISE, *SMALL).code == 0
    before = (desk / "out.h5").read_bytes()
    again = train(capsys, "dncnn", *NOISE, *SMALL)
    assert (again.code, "3 of them before" in again.out) == (0, True)
    assert (desk / "out.h5").read_bytes() == before
    assert len(lines(desk / "out.history.jsonl")) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["dnccn", *NOISE], 4, "Did you mean 'dncnn'"),
        (["dncnn"], 2, "does not say for which noise"),
        (["dncnn", *NOISE, "--set", "network_options={dept = 3}"], 2, "unknown option 'dept'"),
        (["dncnn", *NOISE, "--activation", "qfcs"], 2, "Did you mean 'qcfs'"),
        (["dncnn", *NOISE, "--set", "neuron=mprn"], 2, "unknown key 'neuron'"),
        (["dncnn", *NOISE, "--plugin", "vdsr"], 2, "dncnn and vdsr are two networks; give one"),
        (["dncnn", *NOISE, "--plugin", "energy"], 2, "unknown key 'energy'"),
        (["dncnn", *NOISE, "--plugin", "mprn"], 4, "is a neuron, which cannot be used here"),
        (["dncnn", "--model", "none.h5", *NOISE], 3, "no such model file"),
        (["vdsr", "--model", "tiny.h5"], 2, "is the network dncnn, not vdsr"),
        (["dncnn", *NOISE, *SMALL, "--rate", 1e30], 3, "; no state had been saved yet"),
        (["dncnn", *NOISE, "--sigma", 15], 2, "--sigma and --set degradation say the same twice"),
        (["dncnn", "--sigma", 25, "--scale", 2], 2, "give one of them"),
        (["dncnn", "--sigma", 25, "--sigma", 15], 2, "twice a range, the lower one first"),
        (["vdsr", "--sigma", 25], 2, "--sigma is for the task denoise, this network is for superres"),
        (["dncnn", "--scale", 2], 2, "--scale is for the task superres, this network is for denoise"),
        (["tiny.h5", "--scale", 2], 2, "--scale is for the task superres, this network is for denoise"),
    ],
)
def test_wrong_use(capsys, desk, arguments, code, error):
    outcome = train(capsys, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert error in outcome.err
    assert not (desk / "out.h5").exists()


def test_a_recipe_without_a_network(capsys, desk):
    (desk / "recipe.toml").write_text('data = ["photos"]\n')
    outcome = run(capsys, "train", "recipe.toml", "-o", "out.h5")
    assert outcome.code == 2
    assert "neither network nor model" in outcome.err
