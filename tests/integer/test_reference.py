import numpy as np
import pytest
from nspike_plugins import aodnet, cpm, dncnn, if_, membrane, mprn, mprn_beta

from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.errors import PluginError
from nspike.graph.layer import IMAGE
from nspike.integer import reference as floatsim
from nspike.integer.reference_layers import convolve
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT, Info, Model, Spiking
from tests.own_neurons import BURST
from tests.plugins.chains import aod, chain
from tests.plugins.traces import spikes, trace


def converted(plugin, tensors, neuron, head, values=None, seed=0, timesteps=6):
    """A model with plausible scales that no calibration has seen."""
    rng = np.random.default_rng(seed)
    network, parameters = plugin.read(tensors)
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    scales = {name: rng.uniform(0.3, 0.6, count) for name, count in channels.items()}
    thresholds = {name: rng.uniform(0.7, 1.2, count) for name, count in channels.items()}
    own = {neuron.name: {a.name: values or {} for a in network.activations}}
    spiking = Spiking(neuron.name, head.name, timesteps, scales, thresholds, own)
    return Model(Info("test", "denoise", "gray"), network, parameters, spiking)


CASES = [
    (dncnn, chain(4, 20), if_.NEURON, membrane.HEAD, {"v_init": 0.5}),
    (dncnn, chain(4, 6, 3), mprn_beta.NEURON, cpm.CPM, {"beta": 0.7, "alpha": 0.8}),
    (aodnet, aod(), mprn.NEURON, cpm.CPM, {"beta": -1.0}),
]


@pytest.mark.parametrize("case", CASES)
def test_the_rounded_network_spikes_as_the_engine_does(case):
    plugin, tensors, neuron, head, values = case
    model = converted(plugin, tensors, neuron, head, values)
    rng = np.random.default_rng(3)
    plane = rng.integers(-3000, 70000, (model.network.channels, 19, 23)).astype(np.int32)
    spikes, outputs = {}, []
    engine.run(
        build_program(model, neuron, head),
        plane[None],
        sink=lambda part: outputs.append(part.output.copy()),
        observer=lambda seen: spikes.__setitem__(seen.layer, seen.dense()),
        threads=1,
    )
    run = floatsim.simulate(floatsim.from_integers(build(model, neuron, head)), plane / 65535)
    assert set(run.spikes) == {a.name for a in model.network.activations} | {OUTPUT}
    for name, fired in spikes.items():
        np.testing.assert_array_equal(fired, run.spikes[name])
    assert all(fired.any() for name, fired in run.spikes.items() if name != OUTPUT)
    np.testing.assert_array_equal(outputs[0], run.output)


@pytest.mark.parametrize("case", CASES)
def test_the_unrounded_network_is_near_the_rounded_one(case):
    plugin, tensors, neuron, head, values = case
    model = converted(plugin, tensors, neuron, head, values)
    image = np.random.default_rng(4).random((model.network.channels, 15, 15))
    exact = floatsim.simulate(floatsim.from_model(model, neuron, head), image)
    rounded = floatsim.simulate(floatsim.from_integers(build(model, neuron, head)), image)
    for name, fired in exact.spikes.items():
        assert np.mean(fired != rounded.spikes[name]) < 0.02
    assert np.abs(exact.output - rounded.output).mean() < 0.02


def test_charge_is_conserved_in_every_layer():
    model = converted(dncnn, chain(4, 5), if_.NEURON, membrane.HEAD)
    network = floatsim.from_model(model, if_.NEURON, membrane.HEAD)
    image = np.random.default_rng(5).random((1, 11, 12))
    run = floatsim.simulate(network, image)
    for stage in network.stages:
        conv, current = model.network.layer(stage.current), network.currents[stage.current]
        arriving = network.timesteps * image if conv.source == IMAGE else run.spikes[conv.source].sum(axis=0)
        places = np.arange(conv.in_channels)[None]
        charge = convolve(arriving[None].astype(float), current.weights[0], conv, places)[0]
        charge += network.timesteps * current.bias[:, None, None]
        released = run.spikes[stage.name].sum(axis=0) * stage.theta[:, None, None]
        np.testing.assert_allclose(charge, released + run.residual[stage.name], atol=1e-11)


def test_a_neuron_with_its_own_kernel_is_refused():
    model = converted(dncnn, chain(3, 4), BURST.fast, membrane.HEAD)
    with pytest.raises(PluginError, match="has a kernel of its own"):
        floatsim.from_model(model, BURST.fast, membrane.HEAD)


def test_a_residual_is_what_arrived_and_was_not_fired():
    """v - v(0), not v: 5·0.375 has arrived, and one or two spikes have left."""
    for start, fired in ((0.0, 1), (0.5, 2), (-0.5, 1)):
        run = trace(if_.NEURON, 0.375, parameters={"v_init": start})
        assert sum(spikes(run)) == fired
        assert run.residual["relu1"] == 5 * 0.375 - fired
