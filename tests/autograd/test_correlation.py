"""Winograd's convolution and its gradients, float32, against matrix products in float64: close enough that a shift shows."""

import numpy as np
import pytest

from nspike.autograd import correlation

SHAPES = [(2, 9, 11), (1, 4, 4), (3, 5, 13), (1, 1, 2)]
CHANNELS = [(32, 32), (64, 32), (32, 96)]


def close(ours, exact):
    np.testing.assert_allclose(ours, exact, rtol=0, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("read", "kept"), CHANNELS)
def test_winograd(shape, read, kept):
    draw = np.random.default_rng(read + kept)
    n, height, width = shape
    x, g = draw.normal(size=(n, height, width, read)), draw.normal(size=(n, height, width, kept))
    w, bias = draw.normal(size=(kept, read, 3, 3)), 10 * draw.normal(size=kept)
    few = [array.astype(np.float32) for array in (x, w, bias, g)]
    assert correlation.winograd_serves(w.shape, np.dtype(np.float32), 1, 1)
    close(correlation.convolve(*few[:3], pad=1), correlation.convolve(x, w, bias, pad=1))
    close(
        correlation.input_gradient(few[3], few[1], height, width, pad=1),
        correlation.input_gradient(g, w, height, width, pad=1),
    )
    close(correlation.kernel_gradient(few[0], few[3], 3, pad=1), correlation.kernel_gradient(x, g, 3, pad=1))


@pytest.mark.parametrize("pad", [1, 3])
@pytest.mark.parametrize("first", [0, 2])
def test_kernel_gradient_of_packed_spikes(pad, first):
    """Images of a step after those of the step before; the border and the steps before `first` are not read."""
    draw = np.random.default_rng(pad)
    n, height, width, channels, kept, steps = 2, 7, 9, 96, 32, 4
    spikes = draw.random((n, height, width, steps, channels)) < 0.2
    words = np.full((n, height + 2 * pad, width + 2 * pad, steps, 2), 0, np.uint64)
    for c in range(channels):
        words[:, pad:-pad, pad:-pad, :, c // 64] |= spikes[..., c].astype(np.uint64) << np.uint64(c % 64)
    g = draw.normal(size=(steps - first, n, height, width, kept)).astype(np.float32)
    none = np.zeros(0, np.float32)
    ours = correlation.tile_products(none, words, pad, first, channels, g.reshape(-1, height, width, kept))
    exact = sum(
        correlation.kernel_gradient(spikes[:, :, :, first + t].astype(float), g[t].astype(float), 3, pad=1)
        for t in range(steps - first)
    )
    close(ours, exact)


@pytest.mark.parametrize("dense", [0, 10**6])
def test_kernels_of_one_pixel_in_groups(monkeypatch, dense):
    """Against each group by itself; as one product, and one for each."""
    monkeypatch.setattr(correlation, "_DENSE", dense)
    draw = np.random.default_rng(5)
    x, w, g = draw.normal(size=(2, 4, 5, 6)), draw.normal(size=(9, 2, 1, 1)), draw.normal(size=(2, 4, 5, 9))
    parts = list(zip(np.split(x, 3, 3), np.split(w, 3), np.split(g, 3, 3), strict=True))
    close(
        correlation.convolve(x, w, groups=3),
        np.concatenate([correlation.convolve(one, kernel) for one, kernel, _ in parts], 3),
    )
    close(
        correlation.input_gradient(g, w, 4, 5, groups=3),
        np.concatenate([correlation.input_gradient(of, kernel, 4, 5) for _, kernel, of in parts], 3),
    )
    close(
        correlation.kernel_gradient(x, g, 1, groups=3),
        np.concatenate([correlation.kernel_gradient(one, of, 1) for one, _, of in parts]),
    )
