"""`--inexact`: a neuron that computes with floats is refused without it, and has no certificate with it."""

import json

import pytest

import nspike
from nspike.errors import PluginError
from nspike.inspection.auditing import INEXACT, audit
from nspike.registry.plugins import registry
from tests.cli.console import run
from tests.desk import lay_out

NEURON = '''"""A leak by a float."""
import numpy as np

from nspike import Neuron, hookimpl


def step(v, current, state, params, phase, out):
    for p in range(v.shape[0]):
        for c in range(v.shape[1]):
            v[p, c] = int(v[p, c] * np.exp(-0.1)) + current[p, c]
            if v[p, c] >= params[0, c]:
                out[p, c, 0] = 1
                v[p, c] -= params[0, c]


def step_parameters(parameters, theta, exponent):
    return np.maximum(np.rint(np.ldexp(theta, exponent)), 1).astype(np.int32)[None]


@hookimpl
def register_neurons(register):
    register(Neuron("leaks-in-floats", "x", "x", step=step, step_parameters=step_parameters))
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    here = lay_out(tmp_path, monkeypatch)
    (here / "floats.py").write_text(NEURON)
    yield here
    registry.cache_clear()


def test_run(here, capsys):
    words = ("run", "photo.png", "--sigma", 25, "--plugin", "floats.py", "-o", "out.png")
    done = run(capsys, *words)
    assert done.code == PluginError.exit_code
    assert "leaks-in-floats computes with floating-point numbers (step, line 10)" in done.err
    assert not (here / "out.png").exists()
    assert run(capsys, *words, "--inexact").code == 0
    assert (here / "out.png").exists()


def test_audit(here, capsys):
    words = ("audit", "photo.png", "--sigma", 25, "--plugin", "floats.py")
    done = run(capsys, *words, "--json", "c.json")
    assert (done.code, "computes with floating-point numbers" in done.err) == (PluginError.exit_code, True)
    done = run(capsys, *words, "--inexact", "--json", "c.json")
    assert (done.code, "--inexact makes no certificate" in done.err) == (2, True)
    done = run(capsys, *words, "--inexact")
    assert (done.code, "leaks-in-floats" in done.out) == (0, True)
    assert not (here / "c.json").exists()


def test_what_an_inexact_audit_gives_is_no_certificate(here, capsys):
    registry().resolve("floats.py", ("neuron",))
    model = nspike.swap(nspike.load("dncnn-s25"), neuron="leaks-in-floats")[0]
    with pytest.raises(PluginError, match="floating-point"):
        audit(model, "photo.png")
    values = audit(model, "photo.png", inexact=True).certificate
    assert values["format"] == INEXACT
    (here / "c.json").write_text(json.dumps(values))
    done = run(capsys, "audit", "photo.png", "--verify", "c.json", "--plugin", "floats.py")
    assert (done.code, "is no certificate" in done.err) == (3, True)


def test_it_is_for_making_a_certificate(here, capsys):
    assert run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "c.json").code == 0
    done = run(capsys, "audit", "photo.png", "--verify", "c.json", "--inexact")
    assert (done.code, "--inexact is for making a certificate" in done.err) == (2, True)
