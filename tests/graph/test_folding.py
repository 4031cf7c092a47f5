"""Batch norm folded into convolutions of every kind: the same function."""

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.graph.folding import fold_batch_norm
from nspike.graph.layer import IMAGE, Conv, PixelShuffle
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
