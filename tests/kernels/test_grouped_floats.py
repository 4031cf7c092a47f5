"""Pointwise convolutions in small groups, and the gradient in their matrices, against the definition; compiled or not.

Integers in floats, so that sums are exact.
"""

import numpy as np
import pytest

from nspike.autograd import correlation
from nspike.kernels import grouped_floats
from nspike.runtime import parallel

CASES = [(4, 12, 12, 7), (3, 2, 4, 300), (5, 7, 16, 1)]  # groups, inputs, outputs, pixels


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def grouped(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(grouped_floats, "product_some", grouped_floats._python_product(grouped_floats.AT_ONCE))
        monkeypatch.setattr(grouped_floats, "product_one", grouped_floats._python_product(1))
        monkeypatch.setattr(grouped_floats, "outer_products", grouped_floats._python_outer_products)
        for name in ("multiply", "matrix_gradient"):
            monkeypatch.setattr(grouped_floats, name, getattr(grouped_floats, name).py_func)


@pytest.mark.usefixtures("grouped")
@pytest.mark.parametrize(("groups", "inputs", "outputs", "pixels"), CASES)
def test_against_the_definition(groups, inputs, outputs, pixels):
    draw = np.random.default_rng(pixels)
    x = draw.integers(-9, 10, (pixels, groups, inputs)).astype(np.float32)
    w = draw.integers(-9, 10, (groups, inputs, outputs)).astype(np.float32)
    g = draw.integers(-9, 10, (pixels, groups, outputs)).astype(np.float32)
    y, sums = np.full((pixels, groups * outputs), np.nan, np.float32), np.ones(w.shape)
    grouped_floats.multiply(x.reshape(pixels, -1), w, y, (0,) * inputs, (0,) * outputs)
    np.testing.assert_array_equal(y.reshape(g.shape), np.einsum("pgi,gio->pgo", x, w))
    numbers = (x.reshape(pixels, -1), g.reshape(pixels, -1), sums, (0,) * inputs, (0,) * outputs)
    grouped_floats.matrix_gradient(*numbers)
    np.testing.assert_array_equal(sums, 1 + np.einsum("pgi,pgo->gio", x, g))


def test_the_same_bits_on_any_number_of_threads():
    draw = np.random.default_rng(1)
    x, g = (draw.normal(size=(3, 9, 11, 24)).astype(np.float32) for _ in range(2))
    w = draw.normal(size=(24, 12, 1, 1)).astype(np.float32)
    found = []
    for threads in (1, 4):
        parallel.set_threads(threads)
        back = correlation.input_gradient(g, w, 9, 11, groups=2)
        found.append((back.copy(), correlation.kernel_gradient(x, g, 1, groups=2)))
    parallel.set_threads(None)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
