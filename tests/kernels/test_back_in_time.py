"""Plain neurons back through time against the equations, a channel at a time; bit for bit, compiled or not."""

import numpy as np
import pytest

from nspike.kernels import back_in_time
from nspike.trainable.surrogate import sigmoid

one = np.float32


def naive(trace, slopes, gradients, added, fires, resets, g_v, first):
    """(∂L/∂I of the pixels, ∂L/∂v(0), sums, crossings, worths), each product and sum rounded to float32."""
    pixels, steps, channels = trace.shape
    out, start = gradients.copy(), g_v.copy()
    sums, crossings, worths = np.zeros((3, steps, channels), np.float32)
    for p in range(pixels):
        for c in range(channels):
            v = g_v[p, c]
            for t in reversed(range(steps)):
                if fires[t] >= 0:
                    crossed = one(
                        one(one(gradients[t, first + p, c] + added[t]) - one(resets[t, c] * v)) * slopes[p, t, c]
                    )
                    crossings[t, c] += crossed
                    worths[t, c] += v if trace[p, t, c] >= 0 else one(0)
                    v = one(v + crossed)
                sums[t, c] += v
                out[t, first + p, c] = v
            start[p, c] = v
    return out, start, sums, crossings, worths


def case(channels, steps=5, pixels=7, first=3):
    draw = np.random.default_rng(channels)
    trace = draw.normal(size=(pixels, steps, channels)).astype(np.float32)
    gradients = draw.normal(size=(steps, first + pixels + 1, channels)).astype(np.float32)
    added, resets = (
        draw.normal(size=steps).astype(np.float32),
        draw.uniform(0.5, 2, (steps, channels)).astype(np.float32),
    )
    fires = np.array([1, 0.5, -1, 1, 1], np.float32)
    return trace, gradients, added, fires, resets, draw.normal(size=(pixels, channels)).astype(np.float32), first


def run(backward, channels, slopes):
    trace, gradients, added, fires, resets, g_v, first = case(channels)
    sums, scratch = np.zeros((3, *resets.shape)), np.empty((3, *resets.shape), np.float32)
    given = None if slopes is None else slopes.reshape(-1)
    backward(trace, given, one(4), gradients, added, fires, resets, g_v, *sums, scratch, first)
    return gradients, g_v, *sums


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def backward(request, monkeypatch):
    if request.param:
        return back_in_time.backward
    monkeypatch.setattr(back_in_time, "back_lanes", back_in_time._python_back_lanes)
    return back_in_time.backward.py_func


@pytest.mark.parametrize("channels", [1, 16, 37])
def test_given_slopes(backward, channels):
    trace, gradients, added, fires, resets, g_v, first = case(channels)
    slopes = np.random.default_rng(0).uniform(0, 1, trace.shape).astype(np.float32)
    expected = naive(trace, slopes, gradients, added, fires, resets, g_v, first)
    for found, wanted in zip(run(backward, channels, slopes), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_slopes_of_a_sigmoid(backward):
    trace = case(19)[0]
    slopes = np.empty_like(trace)
    back_in_time.sigmoid_slopes(trace.reshape(-1), one(4), slopes.reshape(-1))
    np.testing.assert_allclose(slopes, sigmoid(trace.astype(np.float64)), rtol=3e-6)
    for found, wanted in zip(run(backward, 19, None), run(backward, 19, slopes), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_far_from_the_threshold():
    x, slopes = np.array([-1e30, -30, 30, 1e30], np.float32), np.empty(4, np.float32)
    back_in_time.sigmoid_slopes(x, one(4), slopes)
    assert (slopes >= 0).all()
    assert (slopes < 1e-15).all()
