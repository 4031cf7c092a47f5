"""Every task there is can be named on the command line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from nspike.contracts.tasks import TASKS
from nspike.images import file as images
from nspike.model.file import load, save
from tests.cli.console import run
from tests.converting.test_importing import dncnn_tensors
from tests.tiny import image, tiny_model


@pytest.fixture
def photo(tmp_path):
    """A colour image in the working folder."""
    path = tmp_path / "photo.png"
    images.write(path, images.ImageData(np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)))
    return path


@pytest.mark.parametrize("command", ["run", "audit", "trace", "diff", "curve", "import"])
def test_help_names_every_task(capsys, command):
    assert f"--task [{'|'.join(TASKS)}]" in " ".join(run(capsys, command, "--help").out.split()).replace("[ ", "[")


@pytest.mark.parametrize("task", ["derain", "deblur", "defocus"])
def test_a_network_is_imported_and_run(capsys, tmp_path, monkeypatch, photo, task):
    monkeypatch.chdir(tmp_path)
    save_file(dncnn_tensors(channels=3), "rainy.safetensors")
    imported = run(capsys, "import", "rainy.safetensors", "--network", "dncnn", "--task", task, "-o", "ann.h5")
    assert (imported.code, imported.err) == (0, "")
    assert load("ann.h5").info.task == task
    ran = run(capsys, "run", photo, "--model", "ann.h5", "--ann", "--json", "-")
    assert json.loads(ran.out)["files"][0]["output"] == f"photo_{task}.png"
    assert (tmp_path / f"photo_{task}.png").exists()


def test_a_task_without_a_bundled_model(capsys, tmp_path, monkeypatch, photo):
    monkeypatch.chdir(tmp_path)
    outcome = run(capsys, "run", photo, "--task", "deblur")
    assert (outcome.code, "no model for the task deblur" in outcome.err) == (3, True)


@pytest.mark.parametrize("task", ["derain", "deblur", "defocus"])
def test_a_task_without_a_bundled_image(capsys, tmp_path, monkeypatch, photo, task):
    monkeypatch.chdir(tmp_path)
    save_file(dncnn_tensors(channels=3), "rainy.safetensors")
    assert run(capsys, "import", "rainy.safetensors", "--network", "dncnn", "--task", task, "-o", "ann.h5").code == 0
    outcome = run(capsys, "run", "--model", "ann.h5", "--ann")
    assert (outcome.code, outcome.err) == (2, f"nspike: no image for {task} comes with nspike; name one to restore\n")


def test_a_file_among_the_shipped_ones_is_enough(capsys, here):
    """A model is chosen by what it says of itself: that of defocus has the task "deblur", as files made earlier have."""
    shelf = here.parent / "shelf"
    images.write(here / "colour.png", images.ImageData(image(24, 26, 3)))
    for name, task, degradation in (
        ("one", "deblur", {"kind": "defocus"}),
        ("two", "deblur", {"kind": "motion"}),
        ("three", "derain", {"kind": "rain"}),
        ("four", "denoise", {"sigma": [0.0, 55.0]}),
    ):
        save(shelf / f"{name}.h5", tiny_model(task, "rgb", degradation=degradation, name=name))
    for task, name in {"defocus": "one", "deblur": "two", "derain": "three", "denoise": "four"}.items():
        ran = json.loads(run(capsys, "run", "colour.png", "--task", task, "--json", "-").out)["files"][0]
        assert (ran["model"], ran["output"]) == (name, f"colour_{task}.png")
    assert run(capsys, "run", "colour.png", "--model", shelf / "one.h5", "--task", "deblur", "-o", "b.png").code == 0
    wrong = run(capsys, "run", "colour.png", "--model", "two", "--task", "defocus")
    assert (wrong.code, "model two is for deblur, not for defocus" in wrong.err) == (2, True)


def test_a_model_made_with_the_neuron_is_taken(capsys, here):
    """Where there is one for the task, in place of another neuron in the model that is taken otherwise; which is said."""
    shelf = here.parent / "shelf"
    images.write(here / "colour.png", images.ImageData(image(24, 26, 3)))
    for name, task, degradation, neuron in (
        ("small", "denoise", {"sigma": [0.0, 200.0]}, "if"),
        ("rain-if", "derain", {"kind": "rain"}, "if"),
        ("rain-mprn", "derain", {"kind": "rain"}, "mprn"),
    ):
        save(shelf / f"{name}.h5", tiny_model(task, "rgb", degradation=degradation, name=name, neuron=neuron))

    def ran(*more):
        outcome = run(capsys, "run", "colour.png", "--json", "-", "--overwrite", "-o", "out.png", *more)
        assert outcome.code == 0
        return json.loads(outcome.out)["files"][0]

    assert (ran("--sigma", 25)["model"], ran("--sigma", 25, "--plugin", "if")["model"]) == ("small", "small")
    made = ran("--sigma", 25, "--plugin", "mprn")
    assert (made["model"], made["changes"]) == ("dncnn-s25", [])
    assert "model dncnn-s25 was made with neuron mprn" in made["notes"]
    assert ran("--plugin", "mprn", "--task", "denoise")["model"].startswith("dncnn-s")
    assert [ran("--task", "derain", "--plugin", neuron)["model"] for neuron in ("if", "mprn")] == [
        "rain-if",
        "rain-mprn",
    ]
    other = ran("--sigma", 25, "--plugin", "mprn_beta")
    assert (other["model"], len(other["changes"])) == ("small", 1), "no model was made with it"
    named = ran("--sigma", 25, "--plugin", "mprn", "--model", "small")
    assert (named["model"], named["neuron"]) == ("small", "mprn")
    assert not any("was made with" in note for note in named["notes"])
