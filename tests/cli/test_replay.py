"""`nspike replay`, through real files."""

import json

import h5py
import pytest

import nspike
from nspike.images import file as images
from nspike.model.file import save
from tests.cli.console import run
from tests.cli.traces import contents, other_trace
from tests.tiny import image, tiny_model


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
    images.write(here / "clear.png", images.ImageData(image(20, 24, 3), alpha=image(20, 24)))
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
        (["photo_trace.h5", "noisy.png", "--layer", "relu1"], 3, "is of another image"),
        (["photo_trace.h5", "--layer", "relu1", "--model", "other.h5"], 3, "is of another model: 'dncnn-s25'"),
        (["photo_trace.h5", "--layer", "relu1", "-T", 4], 2, "the trace says it"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "photo.png"], 2, "would replace an input"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "noisy.png"], 5, "noisy.png: it exists already"),
        (["photo_trace.h5", "--layer", "relu1", "-o", "x.xyz"], 5, "unknown suffix"),
        (["part.h5"], 3, "holds a window of the image"),
        (["theirs.npz"], 2, "name the image"),
        (["theirs.npz", "photo.png"], 2, "name one with --model"),
        (["theirs.npz", "small.png", "--model", "aodnet"], 3, "this image and model need"),
        (["photo.png"], 3, "photo.png: not a trace"),
        (["short.h5"], 3, "damaged, or cut short"),
        (["lost.h5", "--layer", "relu1"], 2, "name the image that this is of"),
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
    nspike.trace(nspike.load("dncnn-s25"), image(9, 9), here / "lost.h5")
    before = contents(here)
    done = run(capsys, "replay", *arguments)
    assert done.code == code, done
    assert says in done.err, done.err
    assert contents(here) == before
