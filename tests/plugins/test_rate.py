import numpy as np
from nspike_plugins import rate

from nspike import OutputLayer
from tests.graphs import chain, image, random_model, run


def test_by_hand():
    counts = np.array([[[0, 1, 4]]], np.int32)
    layer = OutputLayer(np.full((1, 1, 3), -9), counts, counts, np.ones(1, np.int64), np.zeros(1, int), 4)
    np.testing.assert_array_equal(rate.HEAD.read(layer, {}), [[[0.0, 0.25, 1.0]]])


def test_what_is_negative_or_above_the_scale_is_lost():
    for bias, expected in ((-4.0, 0.0), (9.0, 1.0)):
        model = random_model(chain(3), timesteps=6, theta=False)
        model.parameters["conv1.bias"][:] = bias
        output, ledger, spikes = run(model, image(0, 1, 1, 4, 5), "mprn", "rate")
        np.testing.assert_array_equal(output, np.full((1, 1, 4, 5), expected * model.spiking.scales["output"][0]))
        assert not spikes["output"][:, 6:].any()  # the output never fires after T
        assert ledger.layers[-1].name == "output"
        assert ledger.head_synops == 0
