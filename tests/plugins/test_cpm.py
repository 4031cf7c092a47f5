import numpy as np
import pytest
from nspike_plugins import cpm

from nspike import OutputLayer
from nspike.integer.grid import RANGE
from tests.engine.test_run import capture
from tests.graphs import branched, chain, image, random_model, run


def identity_model(network, timesteps, level):
    """θ of the output is 1: there CPM with an identity kernel is the mean current."""
    model = random_model(network, 5, timesteps=timesteps, level=level)
    model.spiking.thresholds["output"][:] = 1.0
    return model


@pytest.mark.parametrize("level", [-1.5, 0.3, 4.0])
@pytest.mark.parametrize("neuron", ["if", "mprn", "mprn_beta", "lif"])
@pytest.mark.parametrize("network", [chain(4), chain(17, channels=3), branched(2, 3, 9, channels=3, gate=True)])
def test_an_identity_kernel_is_the_mean_current(network, neuron, level):
    pixels = image(6, 1, network.channels, 5, 9)
    for timesteps in (8, 10):
        model = identity_model(network, timesteps, level)
        mean = run(model, pixels, neuron, "membrane")[0]
        for head in ("cpm", "recycling"):
            output = run(model, pixels, neuron, head)[0]
            if timesteps == 8:  # a power of two: no division rounds
                np.testing.assert_array_equal(output, mean)
            else:
                np.testing.assert_allclose(output, mean, rtol=1e-14, atol=1e-14)


def test_the_identity_holds_for_negative_and_saturating_currents():
    seen = []
    for bias in (-3.0, 0.0, 3.0):
        model = identity_model(chain(4), 8, 0.3)
        model.parameters["conv1.bias"][:] = bias
        pixels = image(6, 1, 1, 5, 9)
        layer = capture(model, pixels, "mprn")
        theta = layer.theta[:, None, None]
        assert theta.item() & (theta.item() - 1) == 0
        np.testing.assert_array_equal(layer.charge, layer.spikes * theta + layer.residual)
        np.testing.assert_array_equal(run(model, pixels, "mprn", "cpm")[0], run(model, pixels, "mprn", "membrane")[0])
        seen.append((layer.charge.min() < 0, layer.spikes.max() == 8, layer.residual.max() > theta.item()))
    assert seen[0][0]
    assert seen[2][1]
    assert seen[2][2]


def test_by_hand():
    """T = 2; counts 1 and 2; kernel: half the pixel and a quarter of its left neighbour, bias 1; residual over T·θ."""
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 1, 1], weight[0, 0, 1, 0] = 0.5, 0.25
    counts, residual = np.array([[[1, 2]]], np.int32), np.array([[[-3, 8]]], np.int32)
    layer = OutputLayer(np.zeros((1, 1, 2), int), counts, residual, np.array([16]), np.array([4]), 2)
    output = cpm.CPM.read(layer, {"weight": weight, "bias": np.array([1.0])})
    expected = [[[0.5 / 2 + 1 - 3 / 32, (2 * 0.5 + 0.25) / 2 + 1 + 8 / 32]]]
    np.testing.assert_array_equal(output, expected)
    output = cpm.RECYCLING.read(layer, {"weight": np.full((1, 1, 1, 1), 0.5)})
    np.testing.assert_array_equal(output, [[[0.5 / 2 - 3 / 32, 1 / 2 + 8 / 32]]])


def test_the_initial_parameters_change_nothing():
    for head, size in ((cpm.CPM, 3), (cpm.RECYCLING, 1)):
        for channels in (1, 3):
            weight = head.initial(channels)["weight"]
            assert weight.shape == (channels, channels, size, size)
            assert weight.sum() == channels
            assert (weight[range(channels), range(channels), size // 2, size // 2] == 1).all()
        assert head.fires
        assert head.kernel == size
    assert "bias" in cpm.CPM.initial(1)
    assert "bias" not in cpm.RECYCLING.initial(1)
    assert RANGE == 2**24
