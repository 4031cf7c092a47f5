"""The neurons that are trained directly: their surrogates, what training may change, and what it does to the engine's spikes."""

import numpy as np
import pytest
from nspike_plugins import atif, dietsnn, ternary

from nspike.contracts.course import course
from nspike.integer.dynamics import dynamics
from nspike.registry.plugins import registry
from nspike.trainable import surrogate
from nspike.trainable.spiking import DifferentiableNetwork
from tests.graphs import chain, image, random_model, run
from tests.plugins.traces import spikes, trace


def test_ternary_by_its_equations():
    """u = v/4 + 0.3: 0.3, 0.375, 0.39375, ... never reaches θ/2; 0.45 does at the second step, and is then zero."""
    assert spikes(trace(ternary.NEURON, 0.3)) == [0] * 5
    fired = trace(ternary.NEURON, 0.45).spikes["relu1"][:, :, 0, 0].astype(int)
    assert fired.tolist() == [[0, 0], [1, 0], [0, 0], [1, 0], [0, 0]]
    fired = trace(ternary.NEURON, -0.45).spikes["relu1"][:, :, 0, 0].astype(int)
    assert fired.tolist() == [[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]]


def test_the_amplitude_of_ternary_is_what_the_next_layer_reads():
    for amplitude in (1.0, 0.5, 2.0):
        run_ = trace(ternary.NEURON, 0.45, parameters={"amplitude": amplitude})
        assert spikes(run_) == [0, 1, 0, 1, 0]
        assert run_.output == pytest.approx(2 * amplitude / 5)


def test_the_surrogate_of_ternary_is_a_clip():
    """Both crossings together: 1/θ for |u| < θ, else 0."""
    theta, u = 0.8, np.linspace(-2, 2, 401, dtype=np.float32) + np.float32(1e-4)
    slopes = surrogate.find(ternary.NEURON.surrogate)
    both = (slopes(u / theta - 0.5) + slopes(-u / theta - 0.5)) / theta
    np.testing.assert_allclose(both, np.where(np.abs(u) < theta, 1 / theta, 0), rtol=1e-6)


def test_atif_is_a_quantiser_of_trained_step():
    """floor(T·x/θ)·θ/T, for x below θ."""
    for theta in (0.5, 0.9, 1.25):
        for drive in (0.1, 0.33, 0.47):
            output = trace(atif.NEURON, drive, parameters={"theta": theta}, timesteps=8).output
            assert output == pytest.approx(np.floor(8 * drive / theta) * theta / 8)


def test_the_surrogates_are_the_published_ones():
    x = np.linspace(-3, 3, 61, dtype=np.float32)
    sigma = 1 / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(atif.slope(x), sigma * (1 - sigma), rtol=1e-6)
    np.testing.assert_allclose(dietsnn.slope(x), [0.3 * max(0, 1 - abs(z)) for z in x.tolist()], atol=1e-7)
    assert atif.slope(np.array([-1e4, 1e4], np.float32)).tolist() == [0, 0]


def test_dietsnn_needs_more_than_its_threshold():
    assert spikes(trace(dietsnn.NEURON, 0.5)) == [0, 0, 1, 0, 1]
    assert spikes(trace(registry().neurons["if"], 0.5)) == [0, 1, 0, 1, 0]
    neuron = dietsnn.NEURON
    assert dynamics(neuron, course(neuron, neuron.values({"keep": 0.5}), 4)).keep == 32768


TRAINED = {"ternary": "amplitude", "atif": "theta", "dietsnn": "keep"}


@pytest.mark.parametrize("name", TRAINED)
def test_each_layer_trains_its_own_number(name):
    """Its gradient is no zero, a step changes it, it stays in its range, and what is trained is what runs."""
    neuron, head = registry().neurons[name], registry().heads["membrane"]
    net = DifferentiableNetwork(random_model(chain(8, 8), 2, level=0.4), neuron, head)
    keys = [f"act{i}.{TRAINED[name]}" for i in range(2)]
    pixels = image(1, 2, 1, 12, 12).astype(np.int32) * 257
    net.run(pixels).restored.square().mean().backward()
    parameters = net.parameters()
    for key in keys:
        assert abs(float(parameters[key].grad)) > 1e-6
        parameters[key].data = parameters[key].data + 5.0
    net.constrain()
    most = next(p.high for p in neuron.parameters if p.name == TRAINED[name])
    assert [float(net.parameters()[key].data) for key in keys] == [most, most]
    for key, number in zip(keys, (0.7, 0.9), strict=True):
        parameters[key].data = np.float64(number)
    outcome, (output, _, trains) = net.run(pixels), run(net.to_model(), pixels, neuron, "membrane")
    np.testing.assert_array_equal(outcome.output.data, output)
    np.testing.assert_array_equal(outcome.trains["act1"].dense(), trains["act1"])
