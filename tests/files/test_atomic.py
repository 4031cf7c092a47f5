"""Where files can be written. Temporary ones: what a killed process left is swept, what another one is writing is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nspike.errors import OutputError
from nspike.files import atomic
from nspike.files.atomic import check_writable

PROGRAM = """
import os, signal, sys
from nspike.files import atomic

os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_bytes(sys.argv[1], b"half")
"""


def left_behind(folder):
    return [path for path in folder.iterdir() if path.suffix == ".tmp"]


def test_what_a_kill_at_the_rename_left_is_swept(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "x"], check=False)
    (path,) = left_behind(tmp_path)
    monkeypatch.setattr(atomic, "_swept", set())
    atomic.write_bytes(tmp_path / "y", b"whole")
    assert left_behind(tmp_path) == [path]  # too young to tell
    os.utime(path, (0, 0))
    monkeypatch.setattr(atomic, "_swept", set())
    atomic.write_bytes(tmp_path / "y", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_what_is_being_written_stays(tmp_path):
    with atomic.replacing(tmp_path / "x") as temporary:
        temporary.write_bytes(b"long work")
        os.utime(temporary, (0, 0))
        program = "import sys, pathlib; from nspike.files.atomic import sweep; sweep(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    assert (tmp_path / "x").read_bytes() == b"long work"


def test_other_files_stay(tmp_path):
    for name in (".nspike-notes.tmp", "nspike-0123456789abcdef.tmp", ".nspike-0123456789abcdef.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    atomic.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_where_files_could_be_written(tmp_path, monkeypatch):
    """Nothing is left by looking; a folder is tried once, and one that is to be made counts as there."""
    made, opened = [], atomic._opened
    monkeypatch.setattr(atomic, "_opened", lambda path: made.append(path.parent) or opened(path))
    (tmp_path / "there").touch()
    for name in ("a", "b", "there"):
        check_writable(tmp_path / name)
    assert made == [tmp_path]
    deep = tmp_path / "one" / "two"
    for folder in (tmp_path / "one", deep):
        check_writable(folder / "x", [deep])
        with pytest.raises(OutputError, match=f"the folder {folder} does not exist"):
            check_writable(folder / "x", [tmp_path / "other"])
    with pytest.raises(OutputError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="there is a file, not a folder"):
        check_writable(tmp_path / "there" / "x", [tmp_path])
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="no file can be made in /proc")
def test_a_folder_that_refused_is_tried_again():
    for _ in range(2):
        with pytest.raises(OutputError, match="no file can be made in /proc"):
            check_writable("/proc/x")
