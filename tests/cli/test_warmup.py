"""`nspike warmup`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.console import run

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

EVERYTHING = """
import sys, json
import numpy as np
import nspike
import nspike.restoration.method
from nspike.cli.group import main
from nspike.kernels import compile_notice
from nspike.kernels._jit import FOLDER
from nspike.registry.plugins import registry
from tests.graphs import branched, random_model
from tests.tiny import image, tiny_model

def kept():
    return {str(p.relative_to(FOLDER)) for p in FOLDER.rglob("*.nb[ic]")}

before = compile_notice()
assert main(["warmup", "--json", "-"]) == 0
after, warm = compile_notice(), kept()
wide = random_model(branched(20, 30, 70))
gated = random_model(branched(4, 5, 3, channels=3, gate=True))
for neuron in registry().neurons:
    for model, pixels in (
        (tiny_model(), image(70, 66)),
        (tiny_model(), image(70, 66, 3, np.uint16)),
        (tiny_model(width=64), image(20, 20) / 255),
        (tiny_model("superres", "y", "add"), image(20, 20, 3)),
        (wide, image(40, 40)),
        (gated, image(40, 40, 3)),
    ):
        if model is gated and registry().neurons[neuron].planes != (1,):
            continue  # a gate takes spikes of one kind
        for head in registry().heads:
            tile = 64 if registry().neurons[neuron].scope == "pixel" else None
            model.run(pixels, neuron=neuron, head=head, threads=2, tile=tile, digest=True)
            model.run(pixels, neuron=neuron, head=head)
json.dump({"before": before, "after": after, "new": sorted(kept() - warm), "kept": len(warm)}, sys.stdout)
"""


@pytest.mark.timeout(600)
def test_after_it_no_run_compiles(tmp_path):
    """Every neuron, head, kind of network and depth of image, with a cache of its own."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        capture_output=True,
        text=True,
        env=os.environ | {"NSPIKE_CACHE_DIR": str(tmp_path / "cache")},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    first, _, second = done.stdout.partition("}\n")
    report, found = json.loads(first + "}"), json.loads(second)
    assert report["seconds"] > 0
    assert Path(report["folder"]).is_relative_to(tmp_path / "cache")
    assert "compiling kernels, once" in found["before"]
    assert found["after"] is None
    assert found["kept"] > 0
    assert found["new"] == [], "compiled by a run, after the warm-up"


def test_it_says_how_long_and_where(capsys, monkeypatch):
    from nspike.engine import warmup

    monkeypatch.setattr(warmup, "warm_up", lambda neurons, head, progress: 1.25)
    done = run(capsys, "warmup")
    assert done.code == 0
    assert done.out.startswith("kernels compiled in 1.2 s, kept in ")


def test_without_a_writable_folder(tmp_path):
    """It says so, on stderr, and ends well: kernels are then compiled in memory."""
    (tmp_path / "file").touch()
    code = "from nspike.kernels import compile_notice; print(compile_notice())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"NSPIKE_CACHE_DIR": str(tmp_path / "file" / "x")},
    )
    assert done.returncode == 0
    assert "cannot be kept" in done.stderr
    assert "NSPIKE_CACHE_DIR" in done.stderr
    assert "in memory, in every process" in done.stdout


def test_usage(capsys, tmp_path, monkeypatch):
    from nspike.engine import warmup

    monkeypatch.setattr(warmup, "warm_up", lambda neurons, head, progress: 1.25)
    assert run(capsys, "warmup", "--threads", 2).code == 2
    assert run(capsys, "warmup", "--json", tmp_path / "none" / "x.json").code == 5


def test_interrupted(capsys, monkeypatch):
    from nspike.engine import warmup

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "warm_up", interrupted)
    assert run(capsys, "warmup").code == 130
