"""Six networks that are not in nspike, from PyTorch by ONNX through the whole command line, without a line of code."""

import json
from pathlib import Path

import pytest

from nspike.images import file as images
from nspike.model.file import load
from tests.cli.console import run
from tests.desk import write

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "data" / "onnx"

NETWORKS = {
    "unet_torchscript_11": ("photo.png", ("--sigma", "25"), 1),  # transposed convolutions, skips
    "edsr_dynamo_21": ("rgb.png", ("--scale", "2"), 2),  # residual blocks, pixel shuffle
    "ircnn_torchscript_17": ("photo.png", ("--sigma", "25"), 1),  # dilated
    "depthwise_dynamo_19": ("rgb.png", ("--task", "derain"), 1),  # depthwise and grouped convolutions
    "noise_map_torchscript_17": ("rgb.png", ("--sigma", "25"), 1),  # told the noise level
    "ffdnet_dynamo_18": ("photo.png", ("--sigma", "25"), 1),  # pixel unshuffle
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("photo.png"), 37, 43)
    write(Path("rgb.png"), 37, 43, 3)
    for i in range(2):
        write(Path(f"photos/p{i}.png"), 64, 66, 3, seed=i)
    return tmp_path


@pytest.mark.parametrize("name", NETWORKS)
def test_from_onnx_to_spikes(capsys, here, name):
    image, options, scale = NETWORKS[name]

    def succeeds(*arguments):
        outcome = run(capsys, *arguments)
        assert outcome.code == 0, outcome.err
        return outcome

    succeeds("import", FOLDER / f"{name}.onnx", *options, "-o", "ann.h5")
    succeeds("run", image, "--model", "ann.h5", "--ann", "-o", "plain.png")
    succeeds("convert", "ann.h5", "--calibrate", "photos", "--fast", "-T", 3, "-o", "snn.h5")
    succeeds("run", image, "--model", "snn.h5", "-o", "spiking.png")
    for made in ("plain.png", "spiking.png"):
        assert images.read(made).pixels.shape[:2] == (37 * scale, 43 * scale)
    succeeds("audit", image, "--model", "snn.h5", "--json", "certificate.json")
    outcome = succeeds("audit", image, "--model", "snn.h5", "--verify", "certificate.json", "--threads", 1)
    assert "every spike the same" in outcome.out
    certificate = json.loads(Path("certificate.json").read_text())
    assert certificate["totals"]["spikes"] > 0
    tuning = ("--data", "photos", "--steps", 1, "--batch", 2, "--patch", 24)
    succeeds("finetune", "snn.h5", *tuning, "-o", "tuned.h5")
    assert load("tuned.h5").spiking.timesteps == 3
