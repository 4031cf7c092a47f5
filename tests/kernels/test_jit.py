"""How the kernels of plugins are compiled and kept."""

import importlib.util
import sys

import numba
import numpy as np

from nspike.kernels._jit import compile_step, plain_step

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
