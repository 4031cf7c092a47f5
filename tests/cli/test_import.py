import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file

from nspike.graph.layer import Constant
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
        (["--plugin", "rueckauer"], 2, "a plugin of kind converter and method cannot be used here"),
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


ONNX = Path(__file__).parents[1] / "data" / "onnx"


def test_onnx_needs_no_network(capsys, tmp_path):
    target = tmp_path / "ann.h5"
    outcome = run(capsys, "import", ONNX / "noise_map_dynamo_18.onnx", "--sigma", "15", "-o", target)
    assert (outcome.code, outcome.err) == (0, "")
    assert "noise_map_dynamo_18, 6 convolutions" in outcome.out
    assert "from onnx" in outcome.out
    assert "assumed: 'sigma' is taken for the noise level / 255" in outcome.out
    (plane,) = load(target).network.of_kind(Constant)
    assert plane.values == (15 / 255,)


def test_the_mode_of_a_network_is_said(capsys, tmp_path):
    target = tmp_path / "ann.h5"
    run(capsys, "import", ONNX / "ircnn_dynamo_20.onnx", "--mode", "add", "--task", "derain", "-o", target)
    assert (load(target).network.mode, load(target).info.task) == ("add", "derain")


def test_an_output_of_a_network_that_enlarges_is_checked(capsys, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = ONNX / "edsr_dynamo_21.onnx"
    image = np.random.default_rng(0).random((1, 3, 20, 24), np.float32)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": image})[0]
    np.save(tmp_path / "in.npy", image)
    for values, code in ((expected, 0), (expected + 0.1, 1), (image, 3)):
        np.save(tmp_path / "out.npy", values)
        check = ("--check", tmp_path / "in.npy", tmp_path / "out.npy")
        assert run(capsys, "import", path, "-o", tmp_path / f"{code}.h5", *check).code == code


def test_what_has_no_place_is_listed(capsys, tmp_path):
    made = onnx.load(ONNX / "ircnn_dynamo_20.onnx")
    for node in made.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Softplus"
    onnx.save(made, tmp_path / "net.onnx")
    outcome = run(capsys, "import", tmp_path / "net.onnx", "-o", tmp_path / "ann.h5")
    assert outcome.code == 3
    assert "(Softplus): no layer does this" in outcome.err
    assert not (tmp_path / "ann.h5").exists()
