"""Temporary files: what a killed process left is swept, what another one is writing is not."""

import os
import subprocess
import sys

from nspike.files import atomic

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
