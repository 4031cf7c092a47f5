"""Parameters from scratch: He's spread, seeded, and networks that begin near the identity."""

import dataclasses

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.errors import UsageError
from nspike.graph.initialise import initial_parameters, without_batch_norm
from nspike.graph.mode import restored
from nspike.registry.plugins import registry


@pytest.mark.parametrize("name", ["dncnn", "vdsr", "aodnet"])
def test_it_begins_near_the_identity(name):
    network = registry().networks[name].network()
    parameters = initial_parameters(network, 0)
    plane = np.random.default_rng(0).random((1, network.channels, 24, 24)).astype(np.float32)
    begun = restored(network.mode, plane, ann.run(network, parameters, plane))
    assert np.abs(begun - plane).mean() < 0.15
    assert network.radius == {"dncnn": 17, "vdsr": 20, "aodnet": 7}[name]


def test_spread_and_seed():
    network = registry().networks["dncnn"].network({"depth": 4, "width": 32, "channels": 3})
    first, again, other = (initial_parameters(network, seed) for seed in (1, 1, 2))
    assert first["conv2.weight"].shape == (32, 32, 3, 3)
    assert first["conv2.weight"].std() == pytest.approx((2 / 288) ** 0.5, rel=0.03)
    assert first["conv4.weight"].std() == pytest.approx(0.1 * (2 / 288) ** 0.5, rel=0.1)
    np.testing.assert_array_equal(first["conv1.weight"], again["conv1.weight"])
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])


def test_without_batch_norm():
    network = registry().networks["dncnn"].network({"depth": 3, "width": 4})
    layers = tuple(
        dataclasses.replace(layer, bias=False, batch_norm_eps=1e-4) if layer.name == "conv2" else layer
        for layer in network.layers
    )
    assert without_batch_norm(dataclasses.replace(network, layers=layers)) == network


def test_options_that_there_are_not():
    networks = registry().networks
    with pytest.raises(UsageError, match="unknown option 'dept'"):
        networks["dncnn"].network({"dept": 3})
    with pytest.raises(UsageError, match="depth = 1; expected a number in"):
        networks["dncnn"].network({"depth": 1})
    with pytest.raises(UsageError, match="cannot be trained from scratch"):
        dataclasses.replace(networks["dncnn"], make=None).network()
