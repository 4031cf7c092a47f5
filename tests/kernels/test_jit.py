"""How the kernels of plugins are compiled and kept."""

import importlib.util
import os
import resource
import subprocess
import sys
from functools import partial

import numba
import numpy as np
import pytest

from nspike.kernels._jit import compile_step, plain_step

pytestmark = pytest.mark.slow

SOURCE = """
OFFSET = 3

def step(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        v[p, 0] += current[p, 0] + OFFSET
"""


def load(path, name, monkeypatch):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module.step


def call(step):
    v, current = np.zeros((2, 1), np.int32), np.ones((2, 1), np.int32)
    state, params = np.zeros((0, 2, 1), np.int32), np.zeros((0, 1), np.int32)
    step(v, current, state, params, np.zeros(2, np.int32), np.zeros((2, 1, 1), np.int8))
    return v[:, 0].tolist()


def test_a_file_under_two_names(tmp_path, monkeypatch):
    """Installed, and loaded for a trial: what is kept of the one must not be asked of the other."""
    path = tmp_path / "plugin.py"
    path.write_text(SOURCE)
    for name in ("plugin_installed", "plugin_on_trial", "plugin_installed"):
        with monkeypatch.context() as patch:
            assert call(compile_step(load(path, name, patch))) == [4, 4]


def test_an_edited_file_is_compiled_anew(tmp_path, monkeypatch):
    path = tmp_path / "edited.py"
    path.write_text(SOURCE)
    assert call(compile_step(load(path, "edited", monkeypatch))) == [4, 4]
    path.write_text(SOURCE.replace("OFFSET = 3", "OFFSET = 40"))
    assert call(compile_step(load(path, "edited", monkeypatch))) == [41, 41]


def test_a_step_that_its_author_has_compiled(tmp_path, monkeypatch):
    path = tmp_path / "ready.py"
    path.write_text(SOURCE)
    step = load(path, "ready", monkeypatch)
    assert plain_step(numba.njit(step)) is step
    assert call(compile_step(numba.njit(step))) == [4, 4]


def test_a_step_without_a_file():
    names = {}
    exec(SOURCE, names)
    assert call(compile_step(names["step"])) == [4, 4]


# ----- the folder -----

PROGRAM = """
import sys, warnings
from nspike.kernels._jit import FOLDER, kernel

@kernel
def twice(x):
    return 2 * x

with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(twice(4), twice(2.5), dict(twice.stats.cache_hits), [str(each.message) for each in said])
"""


@pytest.fixture
def twice(tmp_path):
    """Runs a kernel of two signatures in a process of its own; gives what it printed."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def call(**options):
        environment = os.environ | {"NSPIKE_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, str(tmp_path / "program.py")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    call.files = lambda suffix: sorted((tmp_path / "cache").rglob(f"*twice*{suffix}"))
    return call


def test_what_was_compiled_is_kept(twice):
    assert twice() == "8 5.0 {} []"
    assert [len(twice.files(suffix)) for suffix in (".nbi", ".nbc")] == [1, 2]
    assert twice().count(": 1") == 2


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: data[:-40] + bytes(40)]
)
def test_a_damaged_file_is_compiled_again(twice, suffix, damage):
    twice()
    path = twice.files(suffix)[0]
    path.write_bytes(damage(path.read_bytes()))
    assert twice().startswith("8 5.0")
    assert twice().endswith(" []")
    assert twice().count(": 1") == 2  # whole again


def test_a_changed_byte_of_machine_code_is_noticed(twice):
    twice()
    for path in twice.files(".nbc"):
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 4, len(data) - 40, 97):
            data[at] ^= 0xFF
        path.write_bytes(data)
    assert twice() == "8 5.0 {} []"


def test_a_full_file_system_costs_a_warning(twice):
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, 0))
    said = twice(preexec_fn=limit)
    assert said.startswith("8 5.0 {} ['nspike: compiled kernels cannot be kept in ")
    assert said.count("cannot be kept") == 1
    assert "kernels" in said
    assert "File too large" in said


def test_a_file_that_cannot_be_read_costs_a_warning(twice):
    twice()
    path = twice.files(".nbi")[0]
    path.unlink()
    path.mkdir()  # as good as forbidden, for root too
    said = twice()
    assert said.startswith("8 5.0")
    assert said.count("cannot be kept") == 1
