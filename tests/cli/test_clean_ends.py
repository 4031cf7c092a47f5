"""Folder runs and names that the system finds hard: one image's failure is its own, and no work is lost at the end."""

import json
import os
import shutil

import pytest

from tests.cli.console import launch, run
from tests.desk import lay_out


@pytest.fixture
def here(tmp_path, monkeypatch):
    return lay_out(tmp_path, monkeypatch)


SMALL = ("--model", "dncnn-s25", "-T", "2")


def many(here):
    folder = here / "many"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(here / "photo.png", folder / f"{name}.png")
    return folder


def test_a_folder_in_a_results_place_fails_alone(here, capsys):
    many(here)
    (here / "out" / "a.png").mkdir(parents=True)
    done = run(capsys, "run", "many", "-o", "out", "--overwrite", *SMALL)
    assert done.code == 1, done
    assert "it is a folder" in done.err
    assert (here / "out" / "b.png").is_file()


def test_a_name_that_is_too_long_fails_alone(here, capsys):
    folder = many(here)
    shutil.copy(here / "photo.png", folder / f"{'c' * 251}.png")  # its record's name has 264 letters
    done = run(capsys, "run", "many", "-o", "out", *SMALL)
    assert done.code == 1, done
    assert "File name too long" in done.err
    assert (here / "out" / "b.png").is_file()


def test_names_that_are_not_utf8(here):
    name = os.fsdecode(b"ph\xffto.png")
    shutil.copy(here / "photo.png", name)
    done = launch("run", name, "-o", "out.png", "--json", "out.json", *SMALL)
    assert done.code == 0, done
    assert json.loads((here / "out.json").read_text(encoding="utf-8"))["restored"] == 1
    done = launch("run", name, "photo.png", "-o", "out", *SMALL)
    assert done.code == 0, done


def test_no_threads_for_numba(here):
    assert launch("run", "photo.png", "-o", "out.png", *SMALL, NUMBA_NUM_THREADS="0").code == 0


def test_a_deleted_working_folder(here, monkeypatch):
    gone = here / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    done = launch("run", "photo.png")
    assert done.code in (2, 3), done
    done = launch("run", here / "photo.png", "-o", here / "out.png", *SMALL)
    assert done.code == 0, done
