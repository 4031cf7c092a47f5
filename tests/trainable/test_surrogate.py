"""Surrogates: an area of one, their values, their names; against their closed forms."""

import numpy as np
import pytest

from nspike.errors import PluginError
from nspike.trainable import surrogate

X = np.linspace(-60, 60, 240_001)


@pytest.mark.parametrize("name", surrogate.SURROGATES)
def test_area_symmetry_and_dtype(name):
    function = surrogate.find(name)
    before = X.copy()
    y = function(X)
    area = np.sum((y[1:] + y[:-1]) / 2) * (X[1] - X[0])
    assert area == pytest.approx(1, abs=0.01), "the derivative of a step of height one"
    np.testing.assert_array_equal(y, function(-X))
    np.testing.assert_array_equal(X, before)
    assert (y >= 0).all()
    assert y.argmax() in range(118_900, 121_100)
    assert function(X.astype(np.float32)).dtype == np.float32


def test_values():
    x = np.array([0.0, 0.25, -1.0, 3.0])
    s = 1 / (1 + np.exp(-4 * x))
    np.testing.assert_allclose(surrogate.sigmoid(x), 4 * s * (1 - s), rtol=1e-10)
    np.testing.assert_allclose(surrogate.triangle(x), [1, 0.75, 0, 0])
    np.testing.assert_allclose(surrogate.rectangle(x), [1, 1, 0, 0])
    np.testing.assert_allclose(surrogate.arctan(x), 1 / (1 + (np.pi * x) ** 2))
    assert np.isfinite(surrogate.sigmoid(np.array([-1e30, 1e30], np.float32))).all()


@pytest.mark.parametrize(("function", "widths"), [(surrogate.triangle, (0.5, 3.0)), (surrogate.rectangle, (0.2, 2.0))])
def test_the_area_is_one_at_any_width(function, widths):
    for width in widths:
        assert np.sum(function(X, width)) * (X[1] - X[0]) == pytest.approx(1, abs=0.005)


def test_by_name_or_as_a_function():
    assert surrogate.find("arctan") is surrogate.arctan
    assert surrogate.find(np.ones_like) is np.ones_like
    with pytest.raises(PluginError, match=r"no surrogate 'sigmoids'. Did you mean 'sigmoid'"):
        surrogate.find("sigmoids")


def test_the_compiled_sigmoid():
    x = X.astype(np.float32)
    inside = np.abs(x) < 9
    np.testing.assert_allclose(
        surrogate.values(surrogate.sigmoid, x)[inside], surrogate.sigmoid(x.astype(float))[inside], rtol=1e-5
    )
    assert surrogate.values(surrogate.sigmoid, np.array([1e30, -1e30], np.float32)).max() < 1e-15
    np.testing.assert_array_equal(surrogate.values(surrogate.triangle, x), surrogate.triangle(x))
