"""Spiking networks in floats: gradients through time against a loop over single numbers, and of attention numerically."""

import math

import numpy as np
import pytest

from nspike.autograd.checking import check_gradients
from nspike.autograd.steps import attention, largest, leaky
from nspike.autograd.tensor import Tensor


def through_time(currents, gradients, threshold, keep):
    """One neuron: its spikes, and the gradient of each step's current, as in the module's equations."""
    v, membranes, spikes = 0.0, [], []
    for x in currents:
        membranes.append(keep * v + x)
        spikes.append(float(membranes[-1] >= threshold))
        v = membranes[-1] * (1 - spikes[-1])
    of_v, found = 0.0, []
    for u, s, g in zip(membranes[::-1], spikes[::-1], gradients[::-1], strict=True):
        sigma = 1 / (1 + math.exp(-4 * (u - threshold)))
        of_u = of_v * (1 - s) + (g - u * of_v) * 4 * sigma * (1 - sigma)
        found.append(of_u)
        of_v = keep * of_u
    return spikes, found[::-1]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_leaky_neurons_through_time(steps):
    draw = np.random.default_rng(steps)
    values, weights = draw.normal(0.2, 0.4, (2, steps * 3, 4, 5)), draw.normal(size=(2, steps * 3, 4, 5))
    x = Tensor(values, requires_grad=True)
    out = leaky(x, steps=steps, threshold=0.3, keep=0.75)
    out.backward(weights)
    for n, c, i, j in np.ndindex(2, 3, 4, 5):
        mine = (n, slice(c, None, 3), i, j)
        spikes, gradients = through_time(values[mine], weights[mine], 0.3, 0.75)
        assert out.data[mine].tolist() == spikes
        np.testing.assert_allclose(x.grad[mine], gradients, atol=1e-12)
    assert 0.2 < out.data.mean() < 0.8


def test_the_largest():
    x = Tensor(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]]), requires_grad=True)
    out = largest(x, axis=(1,))
    assert out.data.tolist() == [3.0, 2.0]
    out.backward([1.0, 5.0])
    assert x.grad.tolist() == [[0.0, 0.5, 0.5], [5.0, 0.0, 0.0]]


def test_gradients_of_attention():
    draw = np.random.default_rng(0)
    shapes = {"time1": (1, 3), "time2": (3, 1), "channel1": (2, 4), "channel2": (4, 2), "space": (1, 2, 3, 3)}
    names = list(shapes)
    arrays = [draw.normal(0.3, 0.5, shape) for shape in shapes.values()]

    def gated(x, *parameters):
        return attention(x, dict(zip(names, parameters, strict=True)), 3)

    check_gradients(gated, draw.normal(size=(2, 12, 5, 4)), *arrays)
