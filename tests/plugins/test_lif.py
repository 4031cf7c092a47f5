"""The leaky neurons: as they were with a kernel of their own, and as SpikingJelly publishes them."""

import numpy as np
import pytest
from nspike_plugins import lif

from nspike.contracts.course import course
from nspike.errors import UsageError
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.integer.dynamics import dynamics
from nspike.model.model import OUTPUT, Info, Model, Spiking
from nspike.registry.plugins import registry
from tests.graphs import branched, chain, image, random_model, run
from tests.own_neurons import LEAKY


def factors(neuron, **values):
    own = dynamics(neuron, course(neuron, neuron.values(values), 4))
    return own.keep, own.input_factor


@pytest.mark.parametrize("neuron", [lif.NEURON, lif.HARD], ids=lambda neuron: neuron.name)
def test_factors(neuron):
    assert factors(neuron) == (61440, 65536)
    assert factors(neuron, tau=2.0) == (32768, 65536)
    assert factors(neuron, tau=2.0, decay_input=1.0) == (32768, 32768)
    assert factors(neuron, tau=1.0) == (0, 65536)
    assert factors(neuron, tau=3.0, decay_input=1.0) == (43691, 21845)
    assert factors(neuron, tau=65536.0, decay_input=1.0) == (65535, 1)
    with pytest.raises(UsageError, match="decay_input = 2 is out of range"):
        neuron.values({"decay_input": 2})


@pytest.mark.parametrize("tau", [1.0, 1.7, 2.0, 3.0, 16.0, 100.0, 65536.0])
@pytest.mark.parametrize("network", [chain(3, 2), chain(17, 64), branched(3, 9, 2, channels=3, gate=True)])
def test_the_same_bits_as_with_a_kernel_of_its_own(network, tau):
    own = {name: {a.name: {"tau": tau, "v_init": 0.2} for a in network.activations} for name in ("lif", "leaky")}
    model = random_model(network, 3, level=0.3, timesteps=7, neuron_parameters=own)
    pixels = image(1, 1, network.channels, 9, 11, dtype=np.int32)
    (output, ledger, spikes), (old, _, trains) = (run(model, pixels, n, "cpm") for n in (lif.NEURON, LEAKY.fast))
    np.testing.assert_array_equal(output, old)
    for name, train in trains.items():
        np.testing.assert_array_equal(spikes[name], train)
    assert ledger.spikes > 0


# ----- SpikingJelly's LIFNode, tau = 2, on dyadic values -----

SHAPE, T = (6, 7), 6


def published(currents, decay_input, hard, tau=2.0, threshold=1.0):
    """The update equations of SpikingJelly's LIFNode (spikingjelly/activation_based/neuron.py), in float64, step by step.

    neuronal_charge, with decay_input: v + (x - (v - v_reset))/tau, without: v - (v - v_reset)/tau + x; neuronal_fire:
    H(v - v_threshold); neuronal_reset, hard: (1 - s)·v + s·v_reset, soft: v - s·v_threshold. v_reset is 0, or None (soft).
    """
    v, spikes = np.zeros(currents.shape[1:]), []
    for x in currents:
        v = v + (x - v) / tau if decay_input else v * (1.0 - 1.0 / tau) + x
        s = (v - threshold >= 0.0).astype(float)
        v = (1.0 - s) * v if hard else v - s * threshold
        spikes.append(s)
    return np.stack(spikes)


def by_spikingjelly(currents, decay_input, hard, tau=2.0):
    jelly = pytest.importorskip("spikingjelly.activation_based.neuron", reason="SpikingJelly is not installed")
    import torch

    node = jelly.LIFNode(tau=tau, decay_input=decay_input, v_reset=0.0 if hard else None, step_mode="m")
    return node(torch.as_tensor(currents)).numpy()


def layers(seed):
    """Two 1×1 convolutions on dyadic weights: every membrane of T steps is a multiple of 2^-11, whatever is halved."""
    draw = np.random.default_rng(seed)
    first, second = draw.integers(-8, 28, (9, 1, 1, 1)) / 8.0, draw.integers(-8, 16, (5, 9, 1, 1)) / 8.0
    return first, draw.integers(-2, 6, 9) / 8.0, second, draw.integers(-2, 4, 5) / 8.0


def model_of(neuron, decay_input, seed):
    w1, b1, w2, b2 = layers(seed)
    described = (
        Conv("c1", IMAGE, 1, 9, 1),
        Activation("a1", "c1", 9),
        Conv("c2", "a1", 9, 5, 1),
        Activation("a2", "c2", 5),
        Conv("c3", "a2", 5, 1, 1),
    )
    network = Network("dyadic", 1, described, "c3", "image")
    arrays = {"c1.weight": w1, "c1.bias": b1, "c2.weight": w2, "c2.bias": b2}
    arrays |= {"c3.weight": np.ones((1, 5, 1, 1)), "c3.bias": np.zeros(1)}
    parameters = {name: array.astype(np.float32) for name, array in arrays.items()}
    one = {"a1": np.ones(9), "a2": np.ones(5), OUTPUT: np.ones(1)}
    own = {neuron: {name: {"tau": 2.0, "decay_input": float(decay_input)} for name in ("a1", "a2")}}
    spiking = Spiking(neuron, "membrane", T, one, one, own)
    return Model(Info("dyadic", "denoise", "gray"), network, parameters, spiking)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("neuron", ["lif", "lif_hard"])
@pytest.mark.parametrize("decay_input", [False, True])
@pytest.mark.parametrize("simulate", [published, by_spikingjelly])
def test_spike_for_spike_as_spikingjelly(simulate, decay_input, neuron, seed):
    """Inputs of 0 and 1 make every current a multiple of 1/8: nothing is rounded, here or there."""
    model = model_of(neuron, decay_input, seed)
    plane = np.random.default_rng(seed).integers(0, 2, (1, 1, *SHAPE), dtype=np.int32) * 65535
    _, _, spikes = run(model, plane, registry().neurons[neuron], "membrane")
    w1, b1, w2, b2 = layers(seed)
    still = w1[:, 0, 0] * (plane[0, 0].reshape(1, -1) / 65535.0) + b1[:, None]
    first = simulate(np.stack([still] * T), decay_input, neuron == "lif_hard")
    second = simulate(w2[:, :, 0, 0] @ first + b2[:, None], decay_input, neuron == "lif_hard")
    for name, expected in (("a1", first), ("a2", second)):
        np.testing.assert_array_equal(spikes[name][0].reshape(T, -1, SHAPE[0] * SHAPE[1]), expected == 1)
        assert 0 < expected.mean() < 1
