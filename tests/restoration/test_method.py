"""A model that a user gets has `run`, whichever public function it came from."""

import subprocess
import sys

import numpy as np
import pytest

import nspike

GIVE_MODELS = ("Model", "load", "import_checkpoint", "convert", "train", "finetune")


@pytest.mark.parametrize("name", GIVE_MODELS)
def test_it_is_there_after_the_first_public_name(name):
    code = f"import nspike; nspike.{name}; from nspike.model.model import Model; Model.run"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_them_it_is_not():
    code = "from nspike.model.model import Model; Model.run"
    assert b"AttributeError" in subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr


@pytest.mark.parametrize(
    "call",
    [
        lambda model: nspike.restore(model, np.zeros((8, 8), np.uint8)),
        lambda model: nspike.audit(model, np.zeros((8, 8), np.uint8)),
        lambda model: nspike.verify({}, model, np.zeros((8, 8), np.uint8)),
        lambda model: nspike.trace(model, np.zeros((8, 8), np.uint8), "trace.h5"),
        lambda model: nspike.replay("trace.h5", model, np.zeros((8, 8), np.uint8)),
        lambda model: nspike.curve(model, np.zeros((8, 8), np.uint8)),
        lambda model: nspike.evaluate(model, "photos"),
        lambda model: nspike.convert(model, []),
        lambda model: nspike.save("model.h5", model),
    ],
)
def test_a_name_is_no_model(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given, said in (
        ("dncnn-s25", r"model = 'dncnn-s25'; expected a Model: nspike.load\('dncnn-s25'\) gives one"),
        (None, r"model = NoneType; expected a Model: nspike.load\(NAME\)"),
    ):
        with pytest.raises(nspike.UsageError, match=said):
            call(given)
    assert list(tmp_path.iterdir()) == []
