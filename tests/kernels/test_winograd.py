"""Winograd's vector operations compiled and not, its matrices, and the kernels of training without the compiler."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nspike.kernels import winograd as w
from nspike.kernels._jit import INTERPRETED, kernel

draw = np.random.default_rng(0)


@kernel
def transform(source, at, stride, target, to, step, channels):
    w.transform_input(source, at, stride, target, to, step, channels)


@kernel
def multiply(a, at, row, step, b, first, pitch, length, c, to, width):
    w.multiply(a, at, row, step, b, first, pitch, length, c, to, width)


@kernel
def multiply_add(a, at, row, step, b, first, pitch, length, c, to, width):
    w.multiply_add(a, at, row, step, b, first, pitch, length, c, to, width)


def test_the_matrices():
    """Winograd's identity, in one dimension: Aᵀ[(G w) ⊙ (Bᵀ d)] correlates d with w."""
    d, kernel_ = draw.normal(size=6), draw.normal(size=3)
    found = w.OUTPUT @ ((w.KERNEL @ kernel_) * (w.INPUT @ d))
    np.testing.assert_allclose(found, np.correlate(d, kernel_, "valid"), rtol=1e-12)


@pytest.mark.skipif(INTERPRETED, reason="there is nothing to compare")
def test_compiled_vector_operations():
    source = draw.normal(size=2000).astype(np.float32)
    mine, theirs = np.zeros(2000, np.float32), np.zeros(2000, np.float32)
    arguments = (source, 3, 5 * w.LANES, mine, 7, 3 * w.LANES, 2 * w.LANES)
    transform(*arguments)
    w._python_transform(w.INPUT)(*arguments[:3], theirs, *arguments[4:])
    np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    for compiled, adds in ((multiply, False), (multiply_add, True)):
        mine[:] = theirs[:] = 1
        arguments = (source, 3, 40, 2, source, 5, 50, 20)
        compiled(*arguments, mine, 11, 60)
        w._python_multiply(adds)(*arguments, theirs, 11, 60)
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


SCRIPT = """
import json
import numpy as np
from nspike.trainable.spiking import DifferentiableNetwork
from nspike.registry.plugins import registry
from tests.graphs import chain, image, random_model

net = DifferentiableNetwork(
    random_model(chain(32, 32), 1, timesteps=2, level=0.4), registry().neurons["mprn"], registry().heads["cpm"]
)
net.run(image(0, 1, 1, 5, 6, dtype=np.int32) // 4).restored.square().mean().backward()
print(json.dumps({name: [float(np.sum(t.grad)), float(np.abs(t.grad).sum())] for name, t in net.parameters().items()}))
"""


def test_without_the_compiler():
    """The same gradients, but for the order of sums, where kernels are run as plain Python."""
    found = []
    for setting in ({}, {"NUMBA_DISABLE_JIT": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | setting,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0].keys() == found[1].keys()
    for name, (total, size) in found[0].items():
        assert found[1][name] == pytest.approx([total, size], abs=1e-4 * size), name
