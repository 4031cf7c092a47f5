"""Sums of rows against their definitions, and that neither chunks of rows nor what is around them change a bit."""

import numpy as np
import pytest

from nspike.kernels import whole_image as kernels

draw = np.random.default_rng(0)


def rows_of(channels, width=19):
    """A view with more around it, as a field's values are."""
    return draw.normal(size=(7, width + 4, channels)).astype(np.float32)[1:6, 2:-2]


@pytest.mark.parametrize(("channels", "heads"), [(1, 1), (6, 2), (48, 1), (40, 2), (33, 3)])
def test_products_of_channels(channels, heads):
    q, k = rows_of(channels), rows_of(channels)
    each = channels // heads
    products = np.empty((5, heads, *kernels.padded(each)), np.float32)
    squares = np.empty((5, 2, channels))
    kernels.multiply_channels(q, k, heads, 0, 5, products, squares)
    for y in range(5):
        for head in range(heads):
            part = slice(head * each, (head + 1) * each)
            expected = q[y, :, part].astype(float).T @ k[y, :, part]
            np.testing.assert_allclose(products[y, head, :each, :each], expected, atol=1e-5)
        np.testing.assert_allclose(squares[y], [(q[y].astype(float) ** 2).sum(0), (k[y].astype(float) ** 2).sum(0)])
    again, others = np.zeros_like(products), np.zeros_like(squares)
    for first, last in ((3, 5), (0, 1), (1, 3)):
        kernels.multiply_channels(q.copy(), k.copy(), heads, first, last, again, others)
    np.testing.assert_array_equal(again, products)
    np.testing.assert_array_equal(others, squares)


def test_sums_of_rows():
    x = rows_of(5)
    sums = np.full((5, 5), np.nan)
    kernels.sum_rows(x, 1, 4, sums)
    np.testing.assert_allclose(sums[1:4], x.astype(float).sum(1)[1:4])
    assert np.isnan(sums[[0, 4]]).all()


def test_pooled_channels():
    x = rows_of(5)
    out = np.empty((5, 19, 2), np.float32)
    kernels.pool_channels(x, 0, 5, out)
    np.testing.assert_array_equal(out[..., 0], x.max(2))
    np.testing.assert_allclose(out[..., 1], x.astype(float).mean(2), rtol=1e-6)
