import numpy as np
from nspike_plugins import if_, signed

from tests.graphs import chain, image, random_model, run
from tests.plugins.traces import trace


def test_a_negative_drive_is_passed_on():
    run_ = trace(signed.NEURON, -0.375)
    assert run_.spikes["relu1"][:, :, 0, 0].astype(int).tolist() == [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]
    assert run_.residual["relu1"] == -0.875
    assert run_.output == -1 / 5
    assert trace(signed.NEURON, 0.375).output == trace(if_.NEURON, 0.375).output == 1 / 5


def test_the_first_plane_is_that_of_if_where_nothing_is_negative():
    model = random_model(chain(9), 1, level=0.3)
    for name, weight in model.parameters.items():
        if name == "conv0.weight":
            weight[...] = np.abs(weight)
    model.parameters["conv0.bias"][...] = 0.1
    pixels = image(0, 1, 1, 7, 8)
    (_, _, both), (_, _, plain) = (run(model, pixels, neuron) for neuron in (signed.NEURON, if_.NEURON))
    np.testing.assert_array_equal(both["act0"][:, :, :9], plain["act0"])
    assert not both["act0"][:, :, 9:].any()
    assert plain["act0"].any()
