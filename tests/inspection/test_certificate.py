import copy
import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from nspike.errors import BadInputError
from nspike.inspection.auditing import audit
from nspike.inspection.certificate import FORMAT, LARGEST, VERSION, differences, dumps, hash_array, loads, read
from tests.desk import write
from tests.tiny import tiny_model


def changed(stored, *path, to):
    """A copy with one value changed."""
    copied = copy.deepcopy(stored)
    place = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return copied


def test_the_shape_of_a_layer_is_compared(stored):
    shape = stored["layers"][1]["shape"]
    other = changed(stored, "layers", 1, "shape", to=[shape[0], shape[2], shape[1]])
    assert list(differences(other, stored)) == [
        f"layer relu2, shape: the certificate says {[shape[0], shape[2], shape[1]]}, this run {shape}"
    ]
    assert list(differences(changed(stored, "layers", 0, "name", to="relu7"), stored)) == [
        "layer relu1, name: the certificate says 'relu7', this run 'relu1'"
    ]


def test_text_and_back(stored):
    text = dumps(stored)
    assert loads(text, "x") == stored
    assert loads(text.encode(), "x") == stored
    assert text == dumps(loads(text, "x"))
    assert list(differences(stored, loads(text, "x"))) == []


def test_it_holds_what_is_documented_and_nothing_of_the_machine(stored, tmp_path):
    assert list(stored) == ["format", "version", "input", "model", "parameters", "layers", "work", "totals", "output"]
    assert (stored["format"], stored["version"]) == (FORMAT, VERSION)
    text = dumps(stored)
    for word in ("thread", "tile", "second", "kernel", "cpu", "/", os.uname().nodename):
        assert word not in text, word
    step = stored["layers"][0]["steps"][0]
    assert all(type(step[key]) is int for key in ("synops", "synops_paper", "neuron_updates", "bias_additions"))


@pytest.mark.parametrize(
    ("path", "to", "expected"),
    [
        (("input", "plane_sha256"), "0", "input, plane_sha256: "),
        (("input", "height"), 21, "input, height: the certificate says 21, this run 20"),
        (("model", "name"), "other", "model, name: the certificate says 'other', this run 'tiny'"),
        (("parameters", "timesteps"), 5, "parameters, timesteps: "),
        (("layers", 1, "steps", 2, "events"), [0], "layer relu2, step 3, events: "),
        (("layers", 0, "steps", 4, "sha256"), "0", "layer relu1, step 5, sha256: "),
        (("layers", 0, "steps", 0, "synops"), True, "layer relu1, step 1, synops: the certificate says True"),
        (("layers", 0, "steps", 0, "synops"), 1.5, "layer relu1, step 1, synops: "),
        (("layers", 0, "steps", 0, "events"), [1.0], "layer relu1, step 1, events: the certificate says [1.0]"),
        (("parameters", "neuron_planes"), [True], "parameters, neuron_planes: the certificate says [True]"),
        (("parameters", "neuron_steps"), None, "parameters, neuron_steps: the certificate says None"),
        (("layers", 0, "steps", 0, "more"), 1, "layer relu1, step 1: more is not part of a certificate"),
        (("layers", 0, "more"), 1, "layer relu1: more is not part of a certificate"),
        (("layers", 0, "name"), "x", "layer relu1, name: "),
        (("layers", 0, "steps"), [], "layer relu1: the certificate has other steps"),
        (("layers", 0), 7, "layer relu1: the certificate has other steps"),
        (("layers",), [], "layers: the certificate lists 0 layers, not 2"),
        (("layers",), None, "layers: the certificate lists no layers, not 2"),
        (("work", "ann_macs"), -1, "work, ann_macs: the certificate says -1"),
        (("work",), None, "work: the certificate says None"),
        (("totals", "spikes"), "1", "totals, spikes: the certificate says '1'"),
        (("output", "sha256"), "0", "output, sha256: "),
        (("output", "shape"), [1], "output, shape: the certificate says [1], this run [20, 24]"),
        (("remark",), "x", "remark: not part of a certificate"),
    ],
)
def test_every_change_is_named(stored, path, to, expected):
    found = list(differences(changed(stored, *path, to=to), stored))
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_differences_come_in_the_order_of_the_work(stored):
    one = changed(stored, "output", "sha256", to="0")
    two = changed(one, "layers", 1, "steps", 0, "sha256", to="0")
    three = changed(two, "layers", 0, "steps", 3, "sha256", to="0")
    assert [d.split(",")[:2] for d in differences(three, stored)] == [
        ["layer relu1", " step 4"],
        ["layer relu2", " step 1"],
        ["output", " sha256: the certificate says '0'"],
    ]


def test_a_missing_key_is_named(stored):
    less = copy.deepcopy(stored)
    del less["layers"][0]["steps"][1]["sha256"]
    (found,) = differences(less, stored)
    assert found.startswith("layer relu1, step 2, sha256: the certificate says None")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"format": ' + "1" * 5000 + "}", "not JSON"),
        ("[" * 9 + "]" * 9, "nested deeper"),
        ('{"format": "x", "format": "x"}', "a key stands twice"),
        ('{"format": "x", "a": {"b": 1, "b": 2}}', "a key stands twice"),
        ('{"a": -0}', "-0 is no number"),
        ('{"a": -0.0}', "-0.0 is no number"),
        ('{"a": -0e5}', "-0e5 is no number"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e400}', "1e400 is no number"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ("[1]", "expected JSON written by"),
        ('{"format": "other"}', "expected JSON written by"),
        (json.dumps({"format": FORMAT}), "version None; this nspike reads version 2"),
        (json.dumps({"format": FORMAT, "version": 3}), "version 3; this nspike reads version 2"),
        (json.dumps({"format": FORMAT, "version": "1"}), "version '1'"),
        (json.dumps({"format": FORMAT, "version": 2.0}), "version 2.0"),
        (b" " * (LARGEST + 1), "larger than"),
    ],
)
def test_what_is_no_certificate(text, message):
    with pytest.raises(BadInputError, match=message) as caught:
        loads(text, "here.json")
    assert str(caught.value).startswith("here.json")


def test_files_that_cannot_be_read(tmp_path):
    for path, message in (
        (tmp_path, "not a regular file"),
        (tmp_path / "gone.json", "No such file"),
        ("/dev/zero", "not a regular file"),
        ("a\0b", "null"),
    ):
        with pytest.raises(BadInputError, match=f"cannot be read: .*{message}"):
            read(path)


def test_hash_of_an_array_does_not_depend_on_its_layout():
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    expected = hashlib.sha256(array.astype("<u2").tobytes()).hexdigest()
    assert hash_array(array) == expected
    assert hash_array(array.astype(">u2")) == expected
    assert hash_array(np.asfortranarray(array)) == expected
    assert hash_array(np.zeros((0, 3))) == hashlib.sha256(b"").hexdigest()


def test_a_parameter_of_minus_zero(tmp_path):
    """It is written as what it means, so that its text can be read back."""
    own = {"mprn": {name: {"beta": 0.0, "v_init": -0.0} for name in ("relu1", "relu2")}}
    model = tiny_model()
    model = model.with_spiking(replace(model.spiking, neuron_parameters=own))
    assert "-0" not in dumps(audit(model, write(tmp_path / "a.png", 9, 8)).certificate)
