"""Errors advise what their caller has: each command its options, Python its arguments."""

import re
from dataclasses import replace

import pytest

import nspike
from nspike.benchmarking import evaluation
from nspike.cli.group import COMMANDS
from nspike.errors import BadInputError, ModelError, UsageError
from nspike.fitting.trainer import train
from nspike.images.file import ImageData, read, write
from nspike.model.file import save
from nspike.runtime.caller import command_line, either, offer, way, without
from tests.cli.conftest import here as here
from tests.cli.conftest import planted as planted
from tests.cli.console import run
from tests.tiny import image, tiny_model


def test_options_of_the_command_alone():
    assert (way("--tile 64", "tile=64"), either("-o", "output")) == ("tile=64", "output")
    with command_line():
        offer(["--tile", "--json"])
        assert (way("--tile 64", "tile=64"), way("--ann", "ann=True"), way("--ann", "", "run")) == (
            "--tile 64",
            "",
            "run",
        )
        assert either("-o", "output") == "-o"
    assert way("--tile 64", "tile=64") == "tile=64"


@pytest.fixture
def plain(here):
    save(here / "plain.h5", replace(tiny_model(), spiking=None))
    return here


SINGLE = ("run", "audit", "trace", "curve")


@pytest.mark.parametrize("command", [*SINGLE, "diff"])
def test_a_plain_model(capsys, plain, command):
    against = ("--against", "if") if command == "diff" else ()
    outcome = run(capsys, command, "photo.png", "--model", "plain.h5", *against)
    assert (outcome.code, "run the ANN itself with `nspike run --ann`" in outcome.err) == (3, True)
    assert "ann=True" not in outcome.err


def test_a_plain_model_from_python():
    with pytest.raises(ModelError, match=r"with nspike\.restore and ann=True$"):
        nspike.curve(replace(tiny_model(), spiking=None), image(32, 32))


@pytest.mark.parametrize("command", SINGLE)
def test_images_that_are_too_large(capsys, here, command):
    outcome = run(capsys, command, "photo.png", "--model", "dncnn-s25", "--max-pixels", 100)
    assert (outcome.code, "or raise --max-pixels" in outcome.err) == (3, True)


def test_images_that_are_too_large_where_nothing_raises_the_limit(capsys, here, monkeypatch):
    monkeypatch.setattr("nspike.images.pillow.MAX_PIXELS", 100)
    outcome = run(capsys, "evaluate", "dncnn-s25", "--data", "photos", "--sigma", 25)
    assert (outcome.code, outcome.err.strip().endswith("the limit is 100; cut it into parts")) == (3, True)
    with pytest.raises(BadInputError, match=r"cut it into parts$"):
        nspike.restore(tiny_model(), "photo.png")
    with pytest.raises(BadInputError, match=r"or raise max_pixels$"):
        nspike.audit(tiny_model(), "photo.png", max_pixels=50)
    with pytest.raises(BadInputError, match=r"or raise max_pixels$"):
        read("photo.png", max_pixels=50)


def test_a_network_that_does_not_say_what_it_undoes(capsys, here):
    save(here / "vague.h5", replace(tiny_model(degradation={}), spiking=None))
    trained = run(capsys, "train", "dncnn", "--data", "photos", "-o", "x.h5")
    assert (trained.code, "give what it is to learn: --sigma 25, say" in trained.err) == (2, True)
    trained = run(capsys, "train", "vdsr", "--data", "photos", "-o", "x.h5")
    assert (trained.code, "give what it is to learn: --scale 2, say" in trained.err) == (2, True)
    converted = run(capsys, "convert", "vague.h5", "--calibrate", "photos", "-o", "x.h5")
    assert (converted.code, "import it with --sigma 25, say" in converted.err) == (2, True)
    with pytest.raises(UsageError, match=r"learn: degradation=\{'kind': 'noise', 'sigma': 25\}, say"):
        train(network="dncnn", data="photos")
    with pytest.raises(UsageError, match=r"import it with degradation=\{'sigma': 25\}, say"):
        nspike.convert(nspike.load("vague.h5"), "photos")


def test_memory_errors_name_options_of_the_command(capsys, planted):
    def fail():
        raise MemoryError

    planted(fail)
    outcome = run(capsys, "planted")
    assert outcome.err.strip().endswith("not enough memory; take a smaller image")


def test_every_option_that_is_advised_exists():
    """In the sources, `way` names options as some command has them."""
    from pathlib import Path

    from tests.option_tables import commands

    known = {
        name for command in COMMANDS for _, each in commands(command) for param in each.params for name in param.opts
    }
    sources = "".join(path.read_text() for path in Path(nspike.__file__).parent.rglob("*.py"))
    named = re.findall(r"""\bway\(\s*f?["'](--?[a-z-]+)""", sources)
    assert len(named) > 8
    assert set(named) <= known


def test_an_argument_that_the_function_lacks_is_not_advised():
    with without("memory"):
        assert way("--memory 64M", 'memory="64M"') == ""
        assert way("--memory 64M", 'memory="64M"', "less") == "less"
        assert way("--tile 64", "tile=64") == "tile=64"
        with command_line():
            offer(["--memory"])
            assert way("--memory 64M", 'memory="64M"') == "--memory 64M"
    assert way("--memory 64M", 'memory="64M"') == 'memory="64M"'


def test_training_has_no_argument_for_memory(tmp_path, monkeypatch):
    """Validation may need more memory than a run works with: `evaluate` has an argument for that, `train` has none."""
    write(tmp_path / "a.png", ImageData(image(40, 48)))
    monkeypatch.setattr(evaluation.evaluate, "__kwdefaults__", {**evaluation.evaluate.__kwdefaults__, "memory": 1024})
    values = {
        "model": tiny_model(timesteps=2),
        "data": tmp_path,
        "validation": tmp_path,
        "steps": 1,
        "batch": 1,
        "patch": 16,
    }
    with pytest.raises(UsageError, match=r"too little: the smallest tile takes \d+ KiB$"):
        nspike.finetune(values)
