"""A history on the disk: complete lines, begun with what is known, and errors in words."""

import json
import math

import pytest

from nspike.errors import OutputError
from nspike.fitting.history import HistoryFile
from nspike.fitting.state import Validation


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_beyond_the_known_lines_goes(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text('{"what": "record", "step": 9}\n{"half a li')
    with HistoryFile(path, [Validation(0, 20.0, 19.0)]) as history:
        assert lines(path) == [
            {"what": "validation", "step": 0, "psnr": 20.0, "input": 19.0, "firing_rate": None, "energy_ratio": None}
        ]
        history.add(Validation(3, math.inf, 19.0, 0.25, 0.5))
        assert [entry["step"] for entry in lines(path)] == [0, 3], "on the disk at once"
    assert lines(path)[1]["psnr"] is None
    assert lines(path)[1]["firing_rate"] == 0.25


def test_a_full_disk(tmp_path):
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left"):
        HistoryFile("/dev/full", [Validation(0, 20.0, 19.0)])
    history = HistoryFile(tmp_path / "history.jsonl", [])
    history.path = "/dev/full"
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left"), history:
        history.add(Validation(0, 20.0, 19.0))
    with pytest.raises(OutputError, match="does not exist"):
        HistoryFile(tmp_path / "none" / "history.jsonl", [])
