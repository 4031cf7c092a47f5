"""The page of the Python API has every public name, with its arguments."""

import re

import nspike
from tests.name_tables import PAGE, tables, with_tables

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_as_the_names_are():
    assert with_tables(TEXT) == TEXT, "write them anew: python -m tests.name_tables"


def test_every_name_is_there():
    assert set(re.findall(r"^\| `(\w+)", tables(), flags=re.M)) == set(nspike.__all__)


def test_planted_changes_are_caught():
    assert with_tables(TEXT.replace("| `load(", "| `lode(")) == TEXT
    assert with_tables(TEXT.replace("timesteps", "steps")) != TEXT.replace("timesteps", "steps")
