"""The quantised clip against one number at a time, its noise, and threads that change nothing."""

import math

import numpy as np
import pytest

from nspike.autograd.activation import qcfs
from nspike.autograd.tensor import Tensor
from nspike.runtime import parallel

draw = np.random.default_rng(0)
LEVELS, SEED = 10, 77
SHAPE = (2, 3, 7, 5)
SCALE = np.array([0.5, 1.0, 1.7], np.float32).reshape(3, 1, 1)


def mixed(x):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> shift)) * factor % 2**32
    return x ^ (x >> 16)


def uniform(place):
    return np.float32((mixed((mixed(place) + SEED) % 2**32) >> 8) / 2**24)


def slowly(x, scale, overshoot):
    """The definition, in float32 of the same order, place by place as (N, H, W, C)."""
    f, found = np.float32, np.empty_like(x)
    for place, (n, i, j, c) in enumerate(np.ndindex(*(x.shape[axis] for axis in (0, 2, 3, 1)))):
        limit = scale[c, 0, 0]
        y = x[n, c, i, j] * f(LEVELS / limit)
        if overshoot:
            u, drift = uniform(place), max(y, f(0))
            y += f(3) * f(overshoot) * u * u / (f(1) + drift + drift)
        y += f(0.5)
        found[n, c, i, j] = f(min(max(math.floor(y), 0), LEVELS)) / f(LEVELS) * limit
    return found


@pytest.mark.parametrize("overshoot", [0.0, 0.4])
def test_every_number(overshoot):
    x = draw.normal(0.4, 0.8, SHAPE).astype(np.float32)
    found = qcfs(x, SCALE, levels=LEVELS, overshoot=overshoot, seed=SEED).data
    np.testing.assert_array_equal(found, slowly(x, SCALE, overshoot))
    assert len(np.unique(found)) > 15


@pytest.mark.parametrize(("x", "divisor"), [(0.0, 1), (-3e-3, 1), (1e-3, 3)])
def test_the_overshoot_has_the_mean_that_was_asked_for(x, divisor):
    """In units of a thousandth of λ; from half a level below, so that rounding is fair."""
    one, levels = np.full((4, 1, 1), 1.0, np.float32), 1000
    values, mean = np.full((1, 4, 100, 100), x, np.float32), 30.0
    found = qcfs(values, one, levels=levels, overshoot=mean, seed=1).data * levels
    more = 3 * mean / divisor * np.linspace(0, 1, 100_001) ** 2 + x * levels
    assert found.mean() == pytest.approx(np.maximum(np.floor(more + 0.5), 0).mean(), rel=0.02)
    assert found.max() == pytest.approx(more.max(), abs=1)
    assert np.abs(np.corrcoef(found.reshape(4, -1))[np.triu_indices(4, 1)]).max() < 0.05
    again = qcfs(values, one, levels=levels, overshoot=mean, seed=2).data * levels
    assert abs(np.corrcoef(found.ravel(), again.ravel())[0, 1]) < 0.03


def gradients(threads):
    parallel.set_threads(threads)
    try:
        rng = np.random.default_rng(1)
        x = Tensor(rng.normal(0.4, 0.8, SHAPE).astype(np.float32), requires_grad=True)
        scale = Tensor(SCALE, requires_grad=True)
        y = qcfs(x, scale, levels=LEVELS, overshoot=0.4, seed=SEED)
        g = rng.normal(size=SHAPE).astype(np.float32)
        (y * g).sum().backward()
        return x.data, y.data, g, x.grad, scale.grad
    finally:
        parallel.set_threads(None)


def test_gradients_place_by_place():
    x, h, g, of_x, of_scale = gradients(1)
    inside = (x > 0) & (x < SCALE)
    np.testing.assert_array_equal(of_x, np.where(inside, g, 0))
    slope = np.where(inside, (h - x) / SCALE, x >= SCALE)
    np.testing.assert_allclose(of_scale, (g * slope).sum((0, 2, 3)).reshape(3, 1, 1), rtol=1e-5)


def test_threads_change_nothing():
    for one, three in zip(gradients(1), gradients(3), strict=True):
        np.testing.assert_array_equal(one, three)
