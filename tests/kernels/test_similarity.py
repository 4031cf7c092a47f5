"""Structural similarity, bit for bit."""

import numpy as np
import pytest

from nspike.images.metrics import ssim
from nspike.kernels.similarity import add_similarities
from nspike.runtime import parallel
from tests import naive


@pytest.mark.parametrize(("count", "correction"), [(7, 49 / 48), (11, 1.0), (1, 1.0)])
def test_every_window(count, correction):
    draw = np.random.default_rng(count)
    weights = draw.random(count)
    a, b = draw.random((2, 17, 21 + count))
    total = draw.random(22)
    expected = total.copy()
    for row in naive.similarities(a, b, weights, correction, 1e-4, 9e-4):
        expected += row
    for first, last in ((0, 5), (5, 6), (6, 22)):
        add_similarities(a, b, weights, correction, 1e-4, 9e-4, total, first, last)
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("window", ["gauss11", "uniform7"])
def test_threads_change_no_bit(window):
    draw = np.random.default_rng(0)
    a, b = (draw.integers(0, 256, (90, 70, 3), np.uint8) for _ in range(2))
    values = set()
    try:
        for threads in (1, 2, 3, 80):
            parallel.set_threads(threads)
            values.add(ssim(a, b, window=window))
    finally:
        parallel.set_threads(None)
    assert len(values) == 1
