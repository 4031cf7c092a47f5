"""docs/how-to/write_a_neuron.md, done word for word in an environment of its own; and its tables are whole.

The blocks marked `run` are run by tests/test_docs.py; here those that a new environment is needed for.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nspike.contracts.neuron import Neuron
from nspike.testing import CHECKS
from tests.documents import blocks
from tests.environments import environment
from tests.tiny import image

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "write_a_neuron.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def commands(text):
    """The first block, which makes the package, and those that test_docs cannot run."""
    first, *rest = [block for block in blocks(text) if block.language == "bash"]
    chosen = [first, *(block for block in rest if block.kind == "not run")]
    return [line for block in chosen for line in block.text.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An environment, and a folder with an image."""
    folder = tmp_path_factory.mktemp("stranger")
    Image.fromarray(image(40, 48)).save(folder / "photo.png")
    return environment(folder / "environment"), folder


def test_every_command_runs(place):
    made, folder = place
    here, printed = folder, {}
    for line in commands(TEXT):
        if line.startswith("cd "):
            here = (here / line.removeprefix("cd ")).resolve()
            continue
        printed[line] = made.run(line, here)
    assert "1 passed" in printed["python -m pytest"]
    assert re.search(
        r"^my-neuron +neuron +nspike-my-neuron +0\.1\.0 +ok", printed["nspike plugins --kind neuron"], re.M
    )
    assert printed["nspike plugin check my-neuron"].startswith("neuron my-neuron\n")
    assert (folder / "photo_denoise.png").exists()
    assert np.asarray(Image.open(folder / "photo_denoise.png")).shape == (40, 48)


def test_planted_command_that_fails_is_caught(place):
    made, folder = place
    with pytest.raises(AssertionError, match="ended with 4"):
        made.run("nspike plugin check no-such-neuron", folder)


def missing_checks(text):
    return [name for name in ("parameters", *CHECKS) if not re.search(rf"^\| {name} \|", text, re.M)]


def test_every_check_is_explained():
    assert missing_checks(TEXT) == []


def test_planted_missing_check_is_caught():
    assert missing_checks(TEXT.replace("| silence |", "| quiet |")) == ["silence"]


def test_the_arguments_are_those_of_the_class():
    named = set(re.findall(r"^\| `(\w+)[(`]", TEXT, re.M))
    assert {"parameters", "fire", "amplitude", "initial", "post_steps"} <= named
    assert {"parameters", "fire", "amplitude", "initial", "post_steps"} <= set(Neuron.__dataclass_fields__)
    assert {"v", "current", "state", "params", "phase", "out"} <= named
