"""The bytes of a certificate do not depend on threads, tile, memory, kernel, compiler or processor."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from math import nextafter
from pathlib import Path
from unittest.mock import Mock

import pytest

import nspike
from nspike.engine import program
from nspike.engine.prepared import prepare
from nspike.inspection.auditing import audit
from nspike.inspection.certificate import dumps
from tests import certificate_maker
from tests.desk import write
from tests.graphs import branched, random_model
from tests.tiny import tiny_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOW = [
    {"threads": 1},
    {"threads": 2},
    {"threads": 3},
    {"threads": 1, "tile": 64},
    {"threads": 3, "tile": 64},
    {"threads": 2, "tile": 128},
    {"threads": 2, "memory": 1 << 30},
]
GATED = random_model(branched(4, 5, 3, channels=3, gate=True))


@pytest.mark.parametrize(
    ("model", "parts", "shape", "scale"),
    [
        (tiny_model(), {}, (130, 140), None),
        (tiny_model(width=70, head="cpm"), {"neuron": "if"}, (66, 129), None),
        (tiny_model(), {"neuron": "lif", "head": "rate"}, (70, 66, 3), None),
        (tiny_model("superres", "y", "add"), {"neuron": "mprn_beta"}, (35, 40, 3), 2),
        (GATED, {}, (66, 70, 3), None),
    ],
    ids=["narrow", "wide", "leak, three planes", "enlarged", "concat and gate"],
)
def test_threads_tiles_and_memory(tmp_path, model, parts, shape, scale):
    photo = write(tmp_path / "photo.png", *shape)
    swapped = nspike.swap(model, **parts)[0]
    assert len({dumps(audit(swapped, photo, scale=scale, **how).certificate) for how in HOW}) == 1


def packings_of(stages):
    """Every choice of kernels: which stages are wide; a gate is narrow, and what reads a wide stage is free."""
    gates = {"gate"} & set(stages)
    free = [name for name in stages if name not in gates]
    for wide in range(2 ** len(free)):
        yield {name: "wide" if wide >> i & 1 else "narrow" for i, name in enumerate(free)} | dict.fromkeys(
            gates, "narrow"
        )


def test_every_choice_of_kernels(tmp_path, monkeypatch):
    photo, model = write(tmp_path / "photo.png", 40, 70), tiny_model(head="cpm")
    for parts in ({}, {"neuron": "lif"}):
        swapped = nspike.swap(model, **parts)[0]
        texts = {dumps(audit(swapped, photo).certificate)}
        used = Mock(side_effect=prepare)
        for packing in packings_of(["relu1", "relu2", "output"]):
            with monkeypatch.context() as patch:
                patch.setattr(program, "prepare", partial(used, packing=packing))
                texts.add(dumps(audit(replace(swapped), photo, threads=2).certificate))
        assert (len(texts), used.call_count) == (1, 8)


def test_wide_and_narrow_around_a_gate(tmp_path, monkeypatch):
    photo = write(tmp_path / "photo.png", 40, 70, 3)
    usual = dumps(audit(GATED, photo).certificate)
    names = [a.name for a in GATED.network.activations]
    for wide in ("wide", "narrow"):
        packing = dict.fromkeys(names, wide) | {"output": "narrow"}
        monkeypatch.setattr(program, "prepare", partial(prepare, packing=packing))
        assert dumps(audit(replace(GATED), photo).certificate) == usual


def test_the_last_bit_of_another_systems_exp(tmp_path, monkeypatch):
    """What a neuron answers is rounded to 12 decimals, in the certificate and before the thresholds are made of it."""
    from nspike_plugins import mprn

    model = tiny_model()
    beta = {"mprn": {name: {"beta": 1.7} for name in ("relu1", "relu2")}}
    model = model.with_spiking(replace(model.spiking, neuron_parameters=beta))
    photo, alpha = write(tmp_path / "photo.png", 40, 48), mprn.alpha
    texts = {dumps(audit(model, photo).certificate)}
    for towards in (0.0, 1.0):
        monkeypatch.setattr(mprn, "alpha", lambda beta, towards=towards: nextafter(alpha(beta), towards))
        texts.add(dumps(audit(replace(model), photo).certificate))
    assert mprn.alpha(1.7) != alpha(1.7)
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("setting", "cpu", "interpreted"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, None, True),
        ({"NUMBA_CPU_NAME": "generic"}, "generic", False),  # its kernels are kept under a key of their own
    ],
)
def test_interpreted_and_on_the_plainest_processor(tmp_path, setting, cpu, interpreted):
    command = [sys.executable, "-m", "tests.certificate_maker"]
    done = subprocess.run(command, env=os.environ | setting, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cpu"], found["interpreted"]) == (cpu, interpreted)
    assert found["certificates"] == certificate_maker.certificates(tmp_path)
    assert all(json.loads(text)["totals"]["spikes"] for text in found["certificates"])
