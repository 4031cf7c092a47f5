"""`benchmarks/train_on_gpu.py` without a GPU: its crops, its plain network, and a run through to the model."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.ann.run import run as plain
from nspike.degradations.batches import CropBatches
from nspike.degradations.kinds import Degradation
from tests.tiny import image, tiny_model

torch = pytest.importorskip("torch")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    yield importlib.import_module("train_on_gpu")
    for name in ("train_on_gpu", "train_chain", "_bfloat16"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path):
    for i, (height, width) in enumerate([(150, 140), (160, 133), (129, 171)]):
        Image.fromarray(image(width, height, seed=i)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_crops_are_of_the_images_and_as_they_are_degraded(script, folder):
    """Enlarged by 3 of a bicubic third: every clean crop lies in an image, its degraded one at the same place."""
    model = tiny_model(head="cpm")
    degradation = Degradation("bicubic", {"scales": [3]})
    batches = CropBatches(model, folder, degradation=degradation)
    pool = script.Pool(batches)
    torch.manual_seed(3)
    degraded, clean = (each.numpy()[:, 0] for each in pool.draw(6, 20))
    images = [np.asarray(Image.open(folder / f"{i}.png"), np.float32) / np.float32(255) for i in range(3)]
    for crop, low in zip(clean, degraded, strict=True):
        turned = [(np.rot90(a, r), np.rot90(b, r)) for a, b in ((crop, low), (crop.T, low.T)) for r in range(4)]
        (number, y, x), (a, b) = next(
            ((i, *at), pair)
            for i, whole in enumerate(images)
            for pair in turned
            if (at := place(whole, pair[0])) is not None
        )
        _, (made,) = script.planes((batches.sources[number], model.info, degradation))
        np.testing.assert_array_equal(made[y : y + 20, x : x + 20], b)
        assert np.abs(a - b).max() > 0.01


def place(whole, part):
    """Where a part lies in an image: (y, x), or None."""
    windows = np.lib.stride_tricks.sliding_window_view(whole, part.shape)
    for y, x in np.argwhere(np.abs(windows[..., 0, 0] - part[0, 0]) < 1e-6):
        if np.abs(windows[y, x] - part).max() < 1e-6:
            return y, x
    return None


def test_the_plain_network_is_that_of_nspike(script):
    model = tiny_model(width=16, head="cpm")
    x = torch.rand(2, 1, 24, 24)
    made, _ = script.Plain(nspike.to_torch(model, ann=True)).run(x)
    expected = plain(model.network, model.parameters, x.numpy())
    np.testing.assert_allclose(made.detach().numpy(), x.numpy() - expected, atol=0.02)


@pytest.mark.parametrize("form", ["--ann", "--timesteps=3"])
def test_a_run_writes_a_model(script, folder, tmp_path, monkeypatch, form, capsys):
    given = tiny_model(width=16, head="cpm").with_provenance(fine_tuning={"steps": 3})
    nspike.save(str(tmp_path / "given.h5"), given)
    output = tmp_path / "made.h5"
    told = ["--data", str(folder), "--held", "1", "--steps", "2", "--batch", "1", "--patch", "16", form]
    monkeypatch.setattr(sys, "argv", ["train_on_gpu.py", str(tmp_path / "given.h5"), "-o", str(output), *told])
    script.main()
    made = nspike.load(output)
    assert (made.spiking is None) is (form == "--ann")
    report = json.loads(capsys.readouterr().out.splitlines()[-1].split(": ", 1)[1])
    assert report["steps"] == 2
    assert report["after"] != report["before"]
    history = made.info.provenance["training" if form == "--ann" else "fine_tuning"]
    assert history["script"] == "benchmarks/train_on_gpu.py"
    assert form != "--ann" or "fine_tuning" not in made.info.provenance


def test_a_spiking_network_is_compared_with_the_baseline(script, folder, tmp_path, monkeypatch):
    """A plain network for another noise level, and a spiking one that holds it to be compared with."""
    nspike.save(str(tmp_path / "given.h5"), tiny_model(width=16, head="cpm").with_provenance(fine_tuning={"steps": 3}))
    told = ["--data", str(folder), "--held", "1", "--steps", "1", "--batch", "1", "--patch", "16"]

    def run(output, *options, given="given.h5"):
        line = ["train_on_gpu.py", str(tmp_path / given), "-o", str(tmp_path / output), *told, *options]
        monkeypatch.setattr(sys, "argv", line)
        script.main()
        return nspike.load(tmp_path / output)

    other = run("plain.h5", "--ann", "--sigma", "40")
    made = run("made.h5", "--baseline", str(tmp_path / "plain.h5"))
    assert other.info.degradation == {"sigma": 40}
    assert made.info.provenance["baseline"]["name"] == "plain"
    again = run("again.h5", "--ann", given="made.h5").info.provenance
    assert again["training"]["earlier"] == other.info.provenance["training"]
    assert "baseline" not in again
    for name, value in nspike.load(tmp_path / "plain.h5").parameters.items():
        np.testing.assert_array_equal(made.parameters[name], value)
    with pytest.raises(SystemExit):
        run("spiking.h5", "--sigma", "40")


def test_sigma_makes_no_denoiser_of_another_network(script, folder, tmp_path, monkeypatch, capsys):
    nspike.save(str(tmp_path / "large.h5"), tiny_model(task="superres", colour="y", mode="add"))
    line = ["train_on_gpu.py", str(tmp_path / "large.h5"), "--data", str(folder), "-o", str(tmp_path / "made.h5")]
    monkeypatch.setattr(sys, "argv", [*line, "--ann", "--sigma", "40"])
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert "--sigma is for denoisers; tiny is for the task superres" in capsys.readouterr().err
    assert not (tmp_path / "made.h5").exists()
