"""`nspike trace` and `nspike diff`, through real files."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import nspike
from nspike.weights import save
from tests.cli.console import run, start
from tests.desk import lay_out, write
from tests.tiny import picture, tiny_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    return lay_out(tmp_path, monkeypatch)


@pytest.fixture
def traced(here, capsys):
    assert run(capsys, "trace", "photo.png", "--model", "dncnn-s25").code == 0
    return here / "photo_trace.h5"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ----- trace -----


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
        (["photo.png", "--window", 40, 0, 9, 9], 2, "lies outside the picture, which is 48x40"),
        (["photo.png", "--window", 1, 1, 0, 9], 2, "at least 1x1"),
        (["gone.png"], 3, "No such file"),
        (["photo.png", "--model", "dncnn-s26"], 3, "Did you mean 'dncnn-s25'"),
        (["photo.png", "--plugin", "memory45"], 2, "a energy cannot be used here, only a neuron, head"),
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
    write(here / "large.png", 500, 500)
    before = names(here)
    command = [sys.executable, "-m", "nspike", "trace", "large.png", "-T", "60", "--tile", "64"]
    command += ["--model", str(tmp_path / "shelf" / "dncnn-s25.h5")]
    child = start(command, env=os.environ | {"NSPIKE_PROGRESS": "1"}, cwd=here)
    while not re.search("percent: [1-9][0-9]?/", child.stderr.readline()):  # it is at work
        assert child.poll() is None
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert names(here) == before


# ----- diff -----


def other_trace(here, change):
    with nspike.read_trace(here / "photo_trace.h5") as trace:
        arrays = {layer: trace.spikes(layer) for layer in trace.layers}
    change(arrays)
    np.savez(here / "theirs.npz", **arrays)
    return arrays


def test_two_traces(here, capsys, traced):
    arrays = other_trace(here, lambda arrays: None)
    done = run(capsys, "diff", "photo_trace.h5", "theirs.npz")
    spikes = sum(int(array.sum()) for array in arrays.values())
    assert (done.code, done.out.splitlines()[-1]) == (0, f"the same: 2 layers, {spikes:,} spikes")
    changed = other_trace(
        here, lambda arrays: arrays["relu2"].__setitem__((2, 5, 30, 40), ~arrays["relu2"][2, 5, 30, 40])
    )
    done = run(capsys, "diff", "photo_trace.h5", "theirs.npz")
    assert done.code == 1
    who = "B" if changed["relu2"][2, 5, 30, 40] else "A"
    assert f"first difference: layer relu2, step 3, channel 5, y 30, x 40: only {who} fires" in done.out
    done = run(capsys, "diff", "theirs.npz", "photo_trace.h5", "--json", "-")
    report = json.loads(done.out)
    assert (done.code, report["same"]) == (1, False)
    first = {"layer": "relu2", "step": 3, "plane": 0, "channel": 5, "y": 30, "x": 40, "in_a": who == "B"}
    assert report["first"] == first
    assert [layer["differ"] for layer in report["layers"]] == [[0] * 5, [0, 0, 1, 0, 0]]
    assert run(capsys, "diff", "theirs.npz", "photo_trace.h5", "--layer", "relu1").code == 0


def test_a_trace_against_nspike_as_it_is_now(here, capsys, traced):
    before = names(here)
    for pair in (("photo.png", "photo_trace.h5"), ("photo_trace.h5", "photo.png")):
        assert run(capsys, "diff", *pair, "--tile", 64).code == 0
    done = run(capsys, "diff", "photo_trace.h5", "photo.png", "--plugin", "if")
    assert done.code == 1
    assert "the neurons differ: mprn and if" in done.out
    assert "step 5" in done.out
    assert names(here) == before, "the trace of the run is gone"
    run(capsys, "trace", "photo.png", "--model", "dncnn-s25", "--window", 5, 6, 20, 30, "-o", "part.h5")
    assert run(capsys, "diff", "photo.png", "part.h5").code == 0
    other_trace(here, lambda arrays: arrays.pop("relu1"))
    assert run(capsys, "diff", "photo.png", "theirs.npz", "--model", "dncnn-s25").code == 0


def test_two_models_and_two_neurons(here, capsys):
    save(here / "mine.h5", tiny_model(seed=7))
    for against in (["dncnn-s25"], ["mine.h5", "if"], ["neuron:if"], ["if", "cpm"]):
        named = [word for name in against for word in ("--against", name)]
        done = run(capsys, "diff", "photo.png", "--model", "dncnn-s50", *named, "--json", "-")
        report = json.loads(done.out)
        assert (done.code, report["same"]) == (1, False)
    assert run(capsys, "diff", "photo.png", "--model", "mine.h5", "--against", "mine.h5").code == 0
    done = run(capsys, "diff", "photo.png", "--plugin", "mprn", "--against", "if", "--window", 0, 0, 8, 8)
    assert done.code in (0, 1)
    assert "the neurons differ: mprn and if" in done.out
    done = run(capsys, "diff", "photo.png", "--sigma", 25, "--against", "lif", "--plugin", "if")
    assert done.code == 1
    assert "layer relu1, step " in done.out


def test_colour_names_the_plane(here, capsys):
    write(here / "colour.png", 20, 24, 3)
    done = run(capsys, "diff", "colour.png", "--plugin", "if", "--against", "lif")
    assert done.code == 1
    assert re.search(r"first difference: layer relu1, step \d, picture plane \d, channel", done.out)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["photo_trace.h5"], 2, "is a trace; name another"),
        (["photo.png"], 2, "name what to compare with"),
        (["photo.png", "noisy.png"], 2, "are no traces"),
        (["photo_trace.h5", "photo_trace.h5", "--plugin", "if"], 2, "--plugin: is for runs of nspike; both are traces"),
        (["photo_trace.h5", "photo_trace.h5", "--against", "if"], 2, "--against: is for runs"),
        (["photo_trace.h5", "photo.png", "--against", "if"], 2, "one of these is a trace"),
        (["photo_trace.h5", "photo.png", "--sigma", 3], 2, "says what was run"),
        (["photo_trace.h5", "photo.png", "-T", 7], 3, "so that their steps do not mean the same"),
        (["photo_trace.h5", "noisy.png"], 3, "are of different pictures"),
        (["photo_trace.h5", "photo_trace.h5", "--layer", "relu3"], 2, "Did you mean 'relu2'"),
        (["photo.png", "--against", "dncnn-s26"], 2, "'dncnn-s25'"),
        (["photo.png", "--against", "neuron:iff"], 4, "'if'"),
        (["gone.png", "--against", "if"], 3, "gone.png: No such file"),
        (["photo_trace.h5", "clean.h5"], 3, "clean.h5: No such file"),
        (["photo_trace.h5", "photos"], 3, "photos: is a folder"),
        (["photo_trace.h5", "small_trace.h5"], 3, "are of different pictures: 48x40"),
        (["photo_trace.h5", "shapes.npz"], 3, "they cannot be compared"),
        (["photo_trace.h5", "other.npz"], 3, "no layer in common"),
        (["photo_trace.h5", "short.h5"], 3, "short.h5: damaged, or cut short"),
        (["photo_trace.h5", "garbage.h5"], 3, "garbage.h5: damaged, or cut short"),
        (["photo_trace.h5", "ann.h5"], 3, "ann.h5: "),
    ],
)
def test_bad_input_of_diff(here, capsys, traced, arguments, code, says):
    run(capsys, "trace", "small.png", "--sigma", 25)
    np.savez(here / "shapes.npz", relu1=np.zeros((5, 8, 40, 47), bool))
    np.savez(here / "other.npz", act=np.zeros((5, 8, 40, 48), bool))
    (here / "short.h5").write_bytes(traced.read_bytes()[:4000])
    (here / "garbage.h5").write_bytes(b"\x89HDF\r\n\x1a\n\x03" + os.urandom(3000))
    save(here / "ann.h5", tiny_model())
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    done = run(capsys, "diff", *arguments)
    assert done.code == code, done
    assert says in done.err, done.err
    assert done.out == ""
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


# ----- replay -----


def test_replay(here, capsys, traced):
    assert run(capsys, "run", "photo.png", "--model", "dncnn-s25", "-o", "run.png").code == 0
    for layer in ("relu1", "relu2"):
        done = run(capsys, "replay", "photo_trace.h5", "--layer", layer, "--overwrite", "--tile", 64)
        assert done.code == 0, done
        assert f"from layer {layer} of photo_trace.h5 on: model dncnn-s25, mprn, membrane, T = 4 + 1" in done.out
        assert (here / "photo_replay.png").read_bytes() == (here / "run.png").read_bytes()
    done = run(capsys, "replay", "photo_trace.h5", "photo.png", "--layer", "relu1", "-o", "r.png", "--json", "-")
    report = json.loads(done.out)
    certificate = nspike.audit(nspike.load("dncnn-s25"), "photo.png").certificate
    assert report["spikes"] == certificate["totals"]["spikes"]
    assert report["synops"] == certificate["totals"]["synops"]
    assert report["changed_steps"] == []
    assert done.code == 0


def test_a_modified_replay_with_another_neuron(here, capsys, traced):
    with h5py.File(traced, "r+") as file:
        file["spikes/relu1"][0, 1] = 0
    done = run(capsys, "replay", "photo_trace.h5", "--layer", "relu1", "--plugin", "if")
    assert done.code == 0, done
    assert "the replayed spikes are of neuron mprn" in done.out
    assert "have been changed since they were recorded, at step 2\n" in done.out
    done = run(capsys, "replay", "photo_trace.h5", "--layer", "relu1", "--plugin", "cpm", "--overwrite", "--json", "-")
    report = json.loads(done.out)
    assert (report["head"], report["neuron"], report["changed_steps"]) == ("cpm", "mprn", [2])


def test_replaying_an_enlargement_with_transparency(here, capsys):
    from nspike import images

    images.write(here / "clear.png", images.Picture(picture(20, 24, 3), alpha=picture(20, 24)))
    for command in (["trace"], ["run", "-o", "run.png"]):
        done = run(capsys, command[0], "clear.png", "--task", "superres", "--scale", 2, *command[1:])
        assert done.code == 0, done
    assert run(capsys, "replay", "clear_trace.h5", "--layer", "relu2").code == 0
    assert (here / "clear_replay.png").read_bytes() == (here / "run.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["photo_trace.h5"], 2, "holds several layers; say which"),
        (["photo_trace.h5", "--layer", "rel2"], 2, "Did you mean 'relu2'"),
        (["photo_trace.h5", "noisy.png", "--layer", "relu1"], 3, "is of another picture"),
        (["photo_trace.h5", "--layer", "relu1", "--model", "other.h5"], 3, "is of another model: 'dncnn-s25'"),
        (["photo_trace.h5", "--layer", "relu1", "-T", 4], 2, "the trace says it"),
        (["photo_trace.h5", "--layer", "relu1", "--plugin", "lif"], 2, "has a kernel of its own and 0 post steps"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "photo.png"], 2, "would replace an input"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "noisy.png"], 5, "noisy.png: it exists already"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "x.xyz"], 5, "unknown suffix"),
        (["part.h5"], 3, "holds a window of the picture"),
        (["theirs.npz"], 2, "name the picture"),
        (["theirs.npz", "photo.png"], 2, "name one with --model"),
        (["theirs.npz", "small.png", "--model", "aodnet"], 3, "this picture and model need"),
        (["photo.png"], 3, "photo.png: not a trace"),
        (["short.h5"], 3, "damaged, or cut short"),
        (["lost.h5", "--layer", "relu1"], 2, "name the picture that this is of"),
    ],
)
def test_bad_input_of_replay(here, capsys, traced, arguments, code, says):
    save(here / "other.h5", tiny_model(seed=9))
    (here / "elsewhere").mkdir()
    run(
        capsys,
        "trace",
        "photo.png",
        "--model",
        "dncnn-s25",
        "--window",
        0,
        0,
        8,
        8,
        "--layer",
        "relu1",
        "-o",
        "part.h5",
    )
    other_trace(here, lambda arrays: arrays.pop("relu2"))
    (here / "short.h5").write_bytes(traced.read_bytes()[:4000])
    nspike.trace(nspike.load("dncnn-s25"), picture(9, 9), here / "lost.h5")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    done = run(capsys, "replay", *arguments)
    assert done.code == code, done
    assert says in done.err, done.err
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


# ----- curve -----


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


def test_pictures_of_all_steps(here, capsys):
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
        assert "pictures written to" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--within", 1], 2, "--within needs --reference"),
        (["--reference", "clean.png", "--match", 1], 2, "--match is for pictures without --reference"),
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
