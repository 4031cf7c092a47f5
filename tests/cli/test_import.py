import json

import pytest
from safetensors.numpy import save_file

from nspike.model.file import load
from tests.cli.console import launch, run
from tests.converting.test_importing import dncnn_tensors


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "small.safetensors"
    save_file(dncnn_tensors(), path)
    return path


def test_import(capsys, checkpoint, tmp_path):
    target = tmp_path / "ann.h5"
    outcome = run(capsys, "import", checkpoint, "--network", "dncnn", "--sigma", "25", "-o", target)
    assert (outcome.code, outcome.err) == (0, "")
    assert "small, denoise sigma 25" in outcome.out
    assert "dncnn, 3 convolutions, 225 parameters, from safetensors" in outcome.out
    assert load(target).info.degradation == {"sigma": 25.0}


def test_report(capsys, checkpoint, tmp_path):
    options = ("--task", "superres", "--scale", 4, "--scale", 2, "--name", "x", "--licence", "CC0")
    target = tmp_path / "ann.h5"
    outcome = run(capsys, "import", checkpoint, "--network", "dncnn", *options, "-o", target, "--json", "-")
    report = json.loads(outcome.out)
    assert report["info"]["degradation"] == {"scales": [2, 4]}
    assert (report["info"]["name"], report["info"]["licence"], report["parameters"]) == ("x", "CC0", 225)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--network", "aodnet"], 3, "missing keys"),
        (["--network", "dncn"], 4, "Did you mean 'dncnn'"),
        (["--network", "dncnn", "--format", "pytorch"], 3, "small.safetensors"),
        (["--network", "dncnn", "--format", "zip"], 4, "no format 'zip'"),
        (["--network", "dncnn", "--sigma", "nan"], 2, "nan"),
        (["--network", "dncnn", "--sigma", "300"], 2, "300"),
        (["--network", "dncnn", "--scale", "2"], 2, "--scale has no meaning for the task denoise"),
        (["--network", "dncnn", "--sigma", "2", "--scale", "2"], 2, "give one of them"),
        (["--network", "dncnn", "--task", "paint"], 2, "paint"),
        ([], 2, "--network"),
        (
            ["--plugin", "dncnn", "--network", "vdsr"],
            2,
            "two plugins of kind network are given, vdsr and dncnn; give one",
        ),
        (["--plugin", "rueckauer"], 2, "a plugin of kind converter cannot be used here"),
    ],
)
def test_wrong_use(capsys, checkpoint, tmp_path, arguments, code, error):
    outcome = run(capsys, "import", checkpoint, *arguments, "-o", tmp_path / "ann.h5")
    assert (outcome.code, outcome.out) == (code, "")
    assert error in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["small.safetensors"]


def test_plugins_stand_for_network_and_format(capsys, checkpoint, tmp_path):
    parts = ("--plugin", "network:dncnn", "--plugin", "format:safetensors")
    outcome = run(capsys, "import", checkpoint, *parts, "-o", tmp_path / "ann.h5")
    assert (outcome.code, outcome.err) == (0, "")
    assert "from safetensors" in outcome.out


def test_real_process(checkpoint, tmp_path):
    good = ("import", checkpoint, "--network", "dncnn", "-o")
    assert launch(*good, tmp_path / "ann.h5").code == 0
    assert launch(*good, tmp_path / "none" / "ann.h5").code == 5
    checkpoint.write_bytes(checkpoint.read_bytes()[:50])
    outcome = launch(*good, tmp_path / "other.h5")
    assert outcome.code == 3
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "other.h5").exists()
