"""The examples of docstrings run as they are written, on small models and images."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import nspike
from tests.tiny import image, tiny_model

PARSER = doctest.DocTestParser()


def examples():
    """Module name and object name -> the examples of its docstring."""
    found = {}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for each in pkgutil.walk_packages(nspike.__path__, "nspike."):
        path = importlib.util.find_spec(each.name).origin
        with open(path, encoding="utf-8") as file:
            if ">>> " not in file.read():
                continue
        for test in finder.find(importlib.import_module(each.name)):
            if test.examples:
                found[test.name] = test.examples
    return found


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, noisy = tiny_model(), image(12, 16)
    monkeypatch.setattr(nspike, "load", lambda name: model)
    for name in ("photo_trace.h5", "mine.h5"):
        nspike.trace(model, noisy, name)
    with nspike.read_trace("mine.h5") as trace:
        np.savez("theirs.npz", **{layer: trace.spikes(layer) for layer in trace.layers})
    found = examples()
    assert {"nspike.inspection.anytime.curve", "nspike.inspection.difference.diff"} <= set(found)
    for name, lines in found.items():
        names = {"nspike": nspike, "model": model, "pixels": noisy, "noisy": noisy, "clean": noisy}
        for line in lines:
            try:
                exec(compile(line.source, name, "single"), names)
            except Exception as error:
                pytest.fail(f"{name}: {line.source.strip()}: {error!r}")
