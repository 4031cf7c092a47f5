"""`nspike evaluate`, through real files."""

import json
from dataclasses import replace

import pytest
from PIL import Image

import nspike
from nspike.model.file import save
from tests.cli.console import run
from tests.tiny import image, tiny_model

MODEL = tiny_model()


@pytest.fixture
def here(tmp_path, monkeypatch):
    save(tmp_path / "tiny.h5", MODEL)
    save(tmp_path / "ann.h5", replace(MODEL, spiking=None))
    (tmp_path / "data").mkdir()
    for i in range(2):
        Image.fromarray(image(30, 32 + i, seed=i)).save(tmp_path / "data" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_and_json(here, capsys):
    done = run(capsys, "evaluate", "tiny.h5", "--data", "data", "--sigma", 15, "--json", "r.json")
    assert done.code == 0
    for text in ("protocol gray, sigma 15, seed 0", "0.png", "conversion rate", "modelled, not measured", "gauss11"):
        assert text in done.out
    found = json.loads((here / "r.json").read_text())
    same = nspike.evaluate(MODEL, here / "data", sigma=15).to_dict()
    assert found["mean"]["psnr"] == same["mean"]["psnr"]
    assert found["mean"]["ssim"] == same["mean"]["ssim_gauss11"]
    assert found["changes"] == []
    rate = found["mean"]["conversion_rate"]
    assert rate == pytest.approx(min(100, 100 * found["mean"]["psnr"] / found["mean"]["ann"]["psnr"]))
    assert f"conversion rate {rate:.2f} % (of the ANN's PSNR; at most 100)" in done.out
    assert f"PSNR {found['mean']['psnr']:.3f} dB" in done.out


def test_swapped_parts_and_limit(here, capsys):
    arguments = ["evaluate", "tiny.h5", "--data", "data", "--plugin", "if", "-T", 3, "--limit", 1, "--json", "-"]
    found = json.loads(run(capsys, *arguments).out)
    assert len(found["changes"]) == 2
    assert [image["name"] for image in found["images"]] == ["0.png"]
    assert "not the shipped configuration" in run(capsys, *arguments[:-2]).out


def test_a_plain_ann(here, capsys):
    done = run(capsys, "evaluate", "ann.h5", "--data", "data", "--ann")
    assert done.code == 0
    assert "plain ANN" in done.out
    assert "conversion rate" not in done.out
    done = run(capsys, "evaluate", "ann.h5", "--data", "data")
    assert done.code == 3
    assert "--ann" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere"], 3, "nowhere"),
        (["--data", "data", "--protocol", "grey"], 2, "'gray'"),
        (["--data", "data", "--protocol", "y-crop"], 2, "super-resolution"),
        (["--data", "data", "--scale", "2"], 2, "keeps the size"),
        (["--data", "data", "-T", "0"], 2, "at least 1"),
        (["--data", "data", "--plugin", "rueckauer"], 2, "converter"),
        (["--data", "data", "--plugin", "horowitz45", "--plugin", "memory45"], 2, "one energy model"),
        (["--data", "data", "--ann", "--plugin", "if"], 2, "plain ANN"),
        ([], 2, "--data"),
    ],
)
def test_errors(here, capsys, arguments, code, message):
    done = run(capsys, "evaluate", "tiny.h5", *arguments)
    assert (done.code, message in done.err) == (code, True), done
