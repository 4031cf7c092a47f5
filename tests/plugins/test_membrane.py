import numpy as np
from nspike_plugins import membrane

from nspike import OutputLayer
from tests.graphs import chain, image, random_model, run


def test_by_hand():
    charge = np.array([[[-5, 12]], [[3, 0]]])
    none = np.zeros((2, 1, 2), np.int32)
    layer = OutputLayer(charge, none, none, np.ones(2, np.int64), np.array([1, 2]), 4)
    np.testing.assert_array_equal(membrane.HEAD.read(layer, {}), [[[-0.625, 1.5]], [[0.1875, 0.0]]])


def test_it_has_no_output_neuron():
    assert not membrane.HEAD.fires
    assert membrane.HEAD.initial(3) == {}
    _, ledger, spikes = run(random_model(chain(3), level=3.0), image(0, 1, 1, 4, 4), "mprn", "membrane")
    assert not spikes["output"].any()
    assert [layer.name for layer in ledger.layers] == ["act0"]


def test_a_saturated_network_of_one_convolution_gives_its_value():
    """No spikes between: the mean current is the convolution itself, to the grid's rounding."""
    model = random_model(chain(), timesteps=5)
    pixels = image(0, 1, 1, 6, 7)
    output = run(model, pixels, "if", "membrane")[0][0, 0]
    padded = np.pad(pixels[0, 0] / 255.0, 1)
    weight, bias = model.parameters["conv0.weight"][0, 0], model.parameters["conv0.bias"][0]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    np.testing.assert_allclose(output, (windows * weight).sum(axis=(2, 3)) + bias, atol=1e-3)
