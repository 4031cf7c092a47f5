"""What most tests of commands begin with."""

import sys
import types

import click
import pytest

from nspike.cli.group import COMMANDS
from tests.cli.console import run
from tests.desk import lay_out


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with images, a checkpoint and small models under the shipped ones' names; the tests run there."""
    return lay_out(tmp_path, monkeypatch)


@pytest.fixture
def traced(here, capsys):
    """A trace of photo.png."""
    assert run(capsys, "trace", "photo.png", "--model", "dncnn-s25").code == 0
    return here / "photo_trace.h5"


@pytest.fixture
def planted(monkeypatch):
    """Puts a command called `planted` into the group that calls the function given."""

    def plant(function):
        module = types.ModuleType("nspike.cli.commands.planted")
        module.command = click.command()(function)
        monkeypatch.setitem(sys.modules, "nspike.cli.commands.planted", module)
        monkeypatch.setitem(COMMANDS, "planted", ("planted", "Planted."))

    return plant
