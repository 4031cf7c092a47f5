"""`nspike curve`, through real files."""

import json
import os

import pytest

from tests.cli.console import run
from tests.cli.traces import names


def test_curve(here, capsys):
    done = run(capsys, "curve", "photo.png", "--model", "dncnn-s25", "--reference", "clean.png", "--json", "c.json")
    assert done.code == 0, done
    report = json.loads((here / "c.json").read_text())
    assert [step["step"] for step in report["steps"]] == [1, 2, 3, 4, 5]
    best = max(step["psnr"] for step in report["steps"])
    assert report["stop"] == next(s["step"] for s in report["steps"] if s["psnr"] >= best - 0.1)
    assert f"stop at step {report['stop']} of 5: the first within 0.1 dB of the best" in done.out
    assert "5 post" in done.out
    expected = json.loads(run(capsys, "run", "photo.png", "--model", "dncnn-s25", "--json", "-").out)["files"][0]
    assert report["steps"][-1]["synops"] == expected["synops"]
    done = run(capsys, "curve", "photo.png", "--model", "dncnn-s25", "--match", 1000)
    assert "stop at step 5 of 5: the first at 1000 dB or more against the last, 100 % of the operations" in done.out


def test_images_of_all_steps(here, capsys):
    for name, arguments in (("photo", ["--plugin", "if", "-T", 3]), ("small", ["--task", "superres", "--scale", 2])):
        done = run(capsys, "curve", f"{name}.png", *arguments, "--save-steps", "steps", "--json", "-")
        saved = json.loads(done.out)["saved"]
        run(capsys, "run", f"{name}.png", *arguments, "-o", f"{name}_run.png")
        assert saved[0] == os.path.join("steps", f"{name}_step01.png")
        assert (here / saved[-1]).read_bytes() == (here / f"{name}_run.png").read_bytes()
        assert (here / saved[0]).read_bytes() != (here / saved[-1]).read_bytes()
        done = run(capsys, "curve", f"{name}.png", *arguments, "--save-steps", "steps")
        assert done.code == 5
        assert "exists already" in done.err
        done = run(capsys, "curve", f"{name}.png", *arguments, "--save-steps", "steps", "--overwrite")
        assert done.code == 0
        assert "images written to" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--within", 1], 2, "--within needs --reference"),
        (["--reference", "clean.png", "--match", 1], 2, "--match is for images without --reference"),
        (["--reference", "clean.png", "--within", -1], 2, "within = -1 dB is out of range"),
        (["--match", "nan"], 2, "out of range"),
        (["--reference", "small.png"], 3, "the reference is"),
        (["--reference", "gone.png"], 3, "No such file"),
        (["--save-steps", "photo.png"], 5, "photo.png"),
    ],
)
def test_bad_input_of_curve(here, capsys, arguments, code, says):
    before = names(here)
    done = run(capsys, "curve", "photo.png", *arguments)
    assert done.code == code, done
    assert says in done.err
    assert names(here) == before
