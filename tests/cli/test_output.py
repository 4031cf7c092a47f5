import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nspike.cli.output import emit, to_json
from nspike.cli.progress import Progress, duration
from nspike.cli.text import error_text, one_line, printable, size, table
from nspike.errors import OutputError
from nspike.runtime.version import VERSION


@dataclass(frozen=True)
class Thing:
    name: str
    values: tuple


def test_json_is_plain():
    report = {
        1: np.int64(2**62),
        "array": np.arange(3.0),
        "thing": Thing("é", (np.float32(0.5), None)),
        "path": Path("a/b"),
        "nan": float("nan"),
        "inf": np.float64("inf"),
    }
    assert json.loads(to_json(report)) == {
        "1": 2**62,
        "array": [0, 1, 2],
        "thing": {"name": "é", "values": [0.5, None]},
        "path": "a/b",
        "nan": None,
        "inf": None,
    }


def test_emit(tmp_path, capsys):
    emit("text", {"a": 1}, None)
    assert capsys.readouterr().out == "text\n"
    emit("text", {"a": 1}, "-")
    assert json.loads(capsys.readouterr().out) == {"nspike": VERSION, "a": 1}
    path = tmp_path / "report.json"
    emit("text \033[1m", {"a": 1}, str(path))
    assert capsys.readouterr().out == "text \\x1b[1m\n"
    assert list(json.loads(path.read_text()).items()) == [("nspike", VERSION), ("a", 1)]
    with pytest.raises(OutputError, match="does not exist"):
        emit("text", {}, str(tmp_path / "none" / "report.json"))


def test_text():
    assert printable("a\tb\r\x9b é\n") == "a\\tb\\r\\x9b é\n"
    assert one_line("a\n\033b") == "a\\n\\x1bb"
    assert error_text("a\nb.png: cannot\n  one\n  two") == "a\\nb.png: cannot\n  one\n  two"
    assert [size(n) for n in (0, 1023, 1536, 5 * 2**20, 2**31)] == ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "2.0 GiB"]
    assert table(("name", "n"), [("a", 10), ("long\nname", 7)]) == "name        n\na          10\nlong name   7"
    assert table(("a", "b"), []) == "a  b"


def test_progress_only_where_wanted(capsys, monkeypatch):
    with Progress(2, "images") as progress:
        progress.advance()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NSPIKE_PROGRESS", "1")
    with Progress(2, "images") as progress:
        for _ in range(2):
            progress._last = -1.0
            progress.advance()
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.splitlines()[:3] == ["images: 0/2", "images: 1/2", "images: 2/2"]
    assert [duration(s) for s in (0.4, 59, 60, 3599, 7261)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "59 min 59 s",
        "2 h 01 min",
    ]


@pytest.mark.parametrize("done", [0, 40])
def test_the_time_left_is_not_told_by_the_first_step(done, capsys, monkeypatch):
    """The first step takes 60 s (it compiles), each other 2 s: the time left is theirs from the first line on that has one."""
    clock = [1000.0]
    monkeypatch.setattr("nspike.cli.progress.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setenv("NSPIKE_PROGRESS", "1")
    with Progress(done + 5, "step", done=done) as progress:
        for seconds, count in ((60.0, 1), (0.5, 0), (1.5, 1), (2.0, 1)):
            clock[0] += seconds
            progress.advance(count)
    lines = [line.removeprefix("step: ") for line in capsys.readouterr().err.splitlines() if line]
    assert [line for line in lines if "left" not in line] == [f"{done + n}/{done + 5}" for n in (0, 1, 1)]
    assert [line for line in lines if "left" in line] == [
        f"{done + n}/{done + 5}, {left} s left" for n, left in ((2, 6), (3, 4))
    ]
