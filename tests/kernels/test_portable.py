"""The same bits from kernels that are not compiled, and from kernels compiled for the plainest processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels import portable


@pytest.mark.parametrize(
    ("setting", "count", "cpu", "interpreted"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, 8, None, True),
        ({"NUMBA_CPU_NAME": "generic"}, 5, "generic", False),  # kept in the usual cache, under a key of its own
    ],
)
def test_another_process(setting, count, cpu, interpreted):
    command = [sys.executable, "-m", "tests.kernels.portable", str(count)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=os.environ | setting, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    expected = {"cpu": cpu, "interpreted": interpreted, "results": portable.results(count)}
    assert json.loads(done.stdout) == expected


def test_every_layer_fires():
    for layers, _ in portable.results(8):
        assert all(sum(map(sum, events)) > 0 for name, _, events, _ in layers if name != "output")
