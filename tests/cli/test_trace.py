"""`nspike trace`, through real files."""

import json
import resource
import subprocess
import sys

import pytest

import nspike
from tests.cli.console import interrupt, run
from tests.cli.traces import names
from tests.desk import write


def test_trace(here, capsys):
    done = run(capsys, "trace", "photo.png", "--sigma", 25)
    assert done.code == 0, done
    assert "photo.png: model dncnn-s25, mprn, membrane, T = 4 + 1" in done.out
    assert "trace written to photo_trace.h5" in done.out
    done = run(capsys, "trace", "photo.png", "--sigma", 25, "--layer", "relu2", "-o", "t.h5", "--json", "-")
    report = json.loads(done.out)
    assert [layer["name"] for layer in report["layers"]] == ["relu2"]
    assert report["layers"][0]["shape"] == [1, 5, 8, 40, 48]
    assert report["bytes"] == (here / "t.h5").stat().st_size
    certificate = nspike.audit(nspike.load("dncnn-s25"), "photo.png").certificate
    assert report["layers"][0]["sha256"] == [step["sha256"] for step in certificate["layers"][1]["steps"]]


def test_swapped_parts_and_windows(here, capsys):
    done = run(capsys, "trace", "photo.png", "--plugin", "if", "-T", 6, "--window", 3, 4, 10, 11, "--json", "-")
    report = json.loads(done.out)
    assert (report["neuron"], report["T"], report["post_steps"]) == ("if", 6, 0)
    assert report["window"] == {"x": 3, "y": 4, "width": 10, "height": 11}
    assert any("neuron if instead of mprn" in change for change in report["changes"])


def test_what_is_there_is_kept(here, capsys, traced):
    before = traced.read_bytes()
    done = run(capsys, "trace", "photo.png")
    assert done.code == 5
    assert "photo_trace.h5: it exists already; --overwrite replaces it" in done.err
    assert traced.read_bytes() == before
    assert run(capsys, "trace", "photo.png", "--overwrite").code == 0
    done = run(capsys, "trace", "photo.png", "-o", "photo.png", "--overwrite")
    assert done.code == 2
    assert "would replace an input" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["photo.png", "--layer", "relu3"], 2, "Did you mean 'relu2'"),
        (["photo.png", "--window", 40, 0, 9, 9], 2, "lies outside the image, which is 48x40"),
        (["photo.png", "--window", 1, 1, 0, 9], 2, "at least 1x1"),
        (["gone.png"], 3, "No such file"),
        (["photo.png", "--model", "dncnn-s26"], 3, "Did you mean 'dncnn-s25'"),
        (
            ["photo.png", "--plugin", "memory45"],
            2,
            "a plugin of kind energy cannot be used here, only of kind neuron or head",
        ),
        (["photo.png", "-o", "none/t.h5"], 5, "the folder none does not exist"),
    ],
)
def test_bad_input(here, capsys, arguments, code, says):
    before = names(here)
    done = run(capsys, "trace", *arguments)
    assert done.code == code, done
    assert says in done.err
    assert names(here) == before


def test_a_full_disk(here, tmp_path):
    """A limit on the size of files stands for it; the older trace stays, and the HDF5 library does not crash at the end."""
    write(here / "large.png", 300, 300)
    (here / "t.h5").write_bytes(b"older")
    before = names(here)
    command = [sys.executable, "-m", "nspike", "trace", "large.png", "-o", "t.h5", "--overwrite"]
    command += ["--model", str(tmp_path / "shelf" / "dncnn-s25.h5")]

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited, timeout=60)
    assert (done.returncode, done.stderr) == (5, "nspike: cannot write t.h5: File too large\n")
    assert names(here) == before
    assert (here / "t.h5").read_bytes() == b"older"


def test_control_c_from_outside(here, tmp_path):
    write(here / "large.png", 1200, 1200)  # long enough on a busy machine
    before = names(here)
    interrupt("trace", "large.png", "-T", 60, "--tile", 64, "--model", tmp_path / "shelf" / "dncnn-s25.h5")
    assert names(here) == before
