"""Structural similarity (`nspike.images.metrics`): the sums over its windows, and what follows from them."""

import numpy as np

from nspike.kernels._jit import inline, kernel


@inline
def _weigh(values, weights, out):
    """out[x] = Σ weights[k]·values[x + k], added in this order from 0."""
    out[:] = 0.0
    for k in range(weights.size):
        weight = weights[k]
        for x in range(out.size):
            out[x] += weight * values[x + k]


@inline
def _add_products(weight, p, q, out):
    for x in range(out.size):
        out[x] += weight * (p[x] * q[x])


@inline
def _add(weight, p, out):
    for x in range(out.size):
        out[x] += weight * p[x]


@kernel
def add_similarities(a, b, weights, correction, c1, c2, total, first, last):
    """Add the similarities of the windows that begin in columns first .. last-1 to total float64 (columns,), row by row.

    a, b float64 (H, W); weights float64 (n,), of a window along an axis; correction : of the covariances.
    """
    reach = weights.size - 1
    end = last + reach
    down = np.empty((5, end - first))
    means = np.empty((5, last - first))
    for y in range(a.shape[0] - reach):
        down[:] = 0.0
        for k in range(weights.size):
            p, q = a[y + k, first:end], b[y + k, first:end]
            _add(weights[k], p, down[0])
            _add(weights[k], q, down[1])
            _add_products(weights[k], p, p, down[2])
            _add_products(weights[k], q, q, down[3])
            _add_products(weights[k], p, q, down[4])
        for i in range(5):
            _weigh(down[i], weights, means[i])
        for x in range(last - first):
            mean_a, mean_b = means[0, x], means[1, x]
            variance_a = correction * (means[2, x] - mean_a * mean_a)
            variance_b = correction * (means[3, x] - mean_b * mean_b)
            covariance = correction * (means[4, x] - mean_a * mean_b)
            above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            below = (mean_a * mean_a + mean_b * mean_b + c1) * (variance_a + variance_b + c2)
            total[first + x] += above / below
