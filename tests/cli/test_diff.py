"""`nspike diff`, through real files."""

import json
import os
import re

import numpy as np
import pytest

from nspike.model.file import save
from tests.cli.console import run
from tests.cli.traces import contents, names, other_trace
from tests.desk import write
from tests.tiny import tiny_model


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
    assert re.search(r"first difference: layer relu1, step \d, image plane \d, channel", done.out)


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
        (["photo_trace.h5", "noisy.png"], 3, "are of different images"),
        (["photo_trace.h5", "photo_trace.h5", "--layer", "relu3"], 2, "Did you mean 'relu2'"),
        (["photo.png", "--against", "dncnn-s26"], 2, "'dncnn-s25'"),
        (["photo.png", "--against", "neuron:iff"], 4, "'if'"),
        (["gone.png", "--against", "if"], 3, "gone.png: No such file"),
        (["photo_trace.h5", "clean.h5"], 3, "clean.h5: No such file"),
        (["photo_trace.h5", "photos"], 3, "photos: is a folder"),
        (["photo_trace.h5", "small_trace.h5"], 3, "are of different images: 48x40"),
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
    before = contents(here)
    done = run(capsys, "diff", *arguments)
    assert done.code == code, done
    assert says in done.err, done.err
    assert done.out == ""
    assert contents(here) == before


def test_a_trace_of_set_parameters_is_run_again_as_it_was(here, capsys):
    assert run(capsys, "trace", "photo.png", "--sigma", 25, "--set", "v_init=0.25", "-o", "t.h5").code == 0
    assert run(capsys, "diff", "photo.png", "t.h5").code == 0
    assert run(capsys, "diff", "photo.png", "t.h5", "--set", "v_init=0").code == 1
    assert run(capsys, "diff", "t.h5", "t.h5", "--set", "v_init=0").code == 2
