"""Convolutions of float32 with many channels, which take Winograd's way, against sums of products in float64."""

import numpy as np
import pytest

from nspike import autograd as ag
from nspike.autograd import Tensor
from nspike.autograd.correlation import tile_products

EPSILON = 6e-6
"""Of the largest value: a hundred times the rounding of float32, as Winograd's matrices for tiles of 4×4 amplify it."""


def slow(x, w, g):
    """The convolution padded by 1, and the gradients of Σ g·convolution with respect to x and w."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y, of_x, of_w = np.zeros(g.shape), np.zeros(padded.shape), np.zeros(w.shape)
    for dy, dx in np.ndindex(3, 3):
        window = np.s_[:, :, dy : dy + height, dx : dx + width]
        y += np.einsum("oi,nihw->nohw", w[:, :, dy, dx], padded[window])
        of_x[window] += np.einsum("oi,nohw->nihw", w[:, :, dy, dx], g)
        of_w[:, :, dy, dx] = np.einsum("nohw,nihw->oi", g, padded[window])
    return y, of_x[:, :, 1:-1, 1:-1], of_w


@pytest.mark.parametrize(
    ("images", "channels"),
    [((3, 32, 10, 13), 64), ((1, 16, 8, 8), 16), ((2, 64, 3, 5), 32), ((2, 48, 17, 4), 48), ((5, 32, 1, 1), 32)],
)
def test_winograd(images, channels):
    """Sizes that are multiples of a tile and that are not; several images."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=images).astype(np.float32) + np.float32(0.3)
    w = draw.normal(size=(channels, images[1], 3, 3)).astype(np.float32) / 17
    g = draw.normal(size=(images[0], channels, *images[2:])).astype(np.float32) + np.float32(0.2)
    tensors = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
    y = ag.conv2d(*tensors, padding=1)
    assert y.data.dtype == np.float32
    y.backward(g)
    found = y.data, tensors[0].grad, tensors[1].grad
    for name, mine, expected in zip(("y", "x", "w"), found, slow(*(a.astype(float) for a in (x, w, g))), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=EPSILON * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize(("channels", "step", "pad"), [(32, 0, 1), (96, 1, 1), (64, 2, 3), (160, 0, 2)])
def test_the_kernels_gradient_from_packed_spikes(channels, step, pad):
    """Images one after the other within a step; steps from `step` on."""
    draw = np.random.default_rng(0)
    count, steps, height, width, kept = 3, 4, 7, 9, 64
    spikes = draw.random((count, steps, channels, height, width)) < 0.3
    words = np.zeros((count, height + 2 * pad, width + 2 * pad, steps, -(-channels // 64)), np.uint64)
    for n, t, c, y, x in zip(*np.nonzero(spikes), strict=True):
        words[n, y + pad, x + pad, t, c // 64] |= np.uint64(1) << np.uint64(c % 64)
    g = draw.normal(size=((steps - step) * count, height, width, kept)).astype(np.float32) + np.float32(0.2)
    found = tile_products(np.zeros(0, np.float32), words, pad, step, channels, g)
    x = spikes[:, step:].swapaxes(0, 1).reshape(-1, channels, height, width).astype(float)
    expected = slow(x, np.zeros((kept, channels, 3, 3)), g.transpose(0, 3, 1, 2).astype(float))[2]
    np.testing.assert_allclose(found, expected, rtol=0, atol=EPSILON * np.abs(expected).max())
