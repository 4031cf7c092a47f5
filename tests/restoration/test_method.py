"""A model that a user gets has `run`, whichever public function it came from."""

import subprocess
import sys

import pytest

GIVE_MODELS = ("Model", "load", "import_checkpoint", "convert", "train", "finetune")


@pytest.mark.parametrize("name", GIVE_MODELS)
def test_it_is_there_after_the_first_public_name(name):
    code = f"import nspike; nspike.{name}; from nspike.model.model import Model; Model.run"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_them_it_is_not():
    code = "from nspike.model.model import Model; Model.run"
    assert b"AttributeError" in subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stderr
