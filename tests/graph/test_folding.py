"""Batch norm folded into convolutions of every kind: the same function."""

from dataclasses import replace

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.graph.folding import fold_batch_norm
from nspike.graph.layer import IMAGE, AveragePool, Conv, PixelShuffle
from nspike.graph.network import Network
from tests.ann import slow
from tests.ann.networks import random_parameters


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2, "stride": 2},
        {"groups": 8, "stride": 2},
        {"stride": 2, "dilation": 2},
        {"stride": 2, "bias": False},
    ],
)
def test_batch_norm_after_a_convolution(options):
    options = {"bias": True, "batch_norm_eps": 1e-3} | options
    layers = (Conv("head", IMAGE, 1, 8, 3), Conv("norm", "head", 8, 8, 3, **options), Conv("end", "norm", 8, 4, 1))
    network = Network("net", 1, (*layers, PixelShuffle("up", "end", 2)), "up", "image")
    parameters = random_parameters(network)
    folded, kept = fold_batch_norm(network, parameters)
    assert sorted(name for name in kept if name.startswith("norm.")) == ["norm.bias", "norm.weight"]
    assert folded.layer("norm").batch_norm_eps is None
    image = np.random.default_rng(0).random((1, 16, 12), dtype=np.float32)
    expected = slow.run(network, parameters, image)["output"]
    np.testing.assert_allclose(slow.run(folded, kept, image)["output"], expected, atol=1e-6)
    np.testing.assert_allclose(ann.run(network, parameters, image[None])[0], expected, atol=1e-5)


def test_batch_norm_behind_a_pixel_shuffle():
    layers = (
        Conv("c", IMAGE, 1, 8, 3, bias=False, batch_norm_eps=1e-3, normed_together=4),
        PixelShuffle("up", "c", 2),
        Conv("end", "up", 2, 1, 1),
    )
    network = Network("net", 1, (*layers, AveragePool("out", "end", 2)), "out", "image")
    parameters = random_parameters(network)
    assert parameters["c.bn_var"].shape == (2,)
    plain = network.changed(Conv, lambda conv: replace(conv, batch_norm_eps=None, normed_together=1))
    image = np.random.default_rng(0).random((1, 8, 6), dtype=np.float32)
    up = slow.run(plain, parameters, image)["up"]
    gamma, beta, mean, variance = (
        parameters[f"c.bn_{p}"][:, None, None].astype(float) for p in ("weight", "bias", "mean", "var")
    )
    expected = (up - mean) * gamma / np.sqrt(variance + 1e-3) + beta
    folded, kept = fold_batch_norm(network, parameters)
    assert kept["c.bias"].shape == (8,)
    np.testing.assert_allclose(slow.run(folded, kept, image)["up"], expected, atol=1e-6)


def test_shared_weights_beside_batch_norm():
    conv = Conv("a", "head", 4, 4, 3)
    layers = (
        Conv("head", IMAGE, 1, 4, 3, batch_norm_eps=1e-3),
        conv,
        Conv("b", "a", 4, 4, 3, tied="a"),
        Conv("end", "b", 4, 1, 3),
    )
    network = Network("net", 1, layers, "end", "image")
    parameters = random_parameters(network)
    folded, kept = fold_batch_norm(network, parameters)
    assert folded.layer("b").tied == "a"
    assert "b.weight" not in kept
    image = np.random.default_rng(0).random((1, 9, 12), dtype=np.float32)
    expected = slow.run(network, parameters, image)["output"]
    np.testing.assert_allclose(ann.run(folded, kept, image[None])[0], expected, atol=1e-5)
