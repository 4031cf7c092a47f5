import dataclasses

import numpy as np
import pytest

from nspike.contracts.neuron import NEVER, Neuron
from nspike.errors import ModelError, PluginError
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    Concat,
    Constant,
    Conv,
    Gate,
    PixelShuffle,
    PixelUnshuffle,
)
from nspike.graph.network import Network
from nspike.integer.grid import NEVER_FIRES
from nspike.integer.rounding import as_arrays, build, check_stored
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import branched, chain, random_model
from tests.own_neurons import BURST


def integers(model, neuron="if", head="membrane"):
    neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
    return build(model, neuron, registry().heads[head])


def test_thresholds_of_each_step():
    model = random_model(chain(5), neuron_parameters={"mprn": {"act0": {"beta": 0.0, "v_init": 0.25}}})
    layer, output = integers(model, "mprn", "cpm").stages
    theta, k = model.spiking.thresholds["act0"], layer.integer.exponent
    assert layer.threshold.shape == layer.reset.shape == (5, 5)
    for c in range(5):
        on_grid = naive.on_grid(theta[c], int(k[c]))
        assert layer.threshold[:4, c].tolist() == [on_grid] * 4
        assert layer.threshold[4, c] == naive.on_grid(theta[c] * 0.75, int(k[c]))
        assert layer.reset[:, c].tolist() == [on_grid] * 5
        assert layer.v0[c] == naive.on_grid(theta[c] * 0.25, int(k[c]))
    assert output.threshold[4].tolist() == [NEVER_FIRES]
    assert (output.threshold[:4] < NEVER_FIRES).all()
    assert output.v0.tolist() == [0]
    assert (integers(model, "mprn", "membrane").stages[1].threshold == NEVER_FIRES).all()


def test_an_amplitude_has_a_kernel_of_its_own_after_t():
    network = branched(2, 3, 9)
    plain = integers(random_model(network), "mprn_beta")
    assert [len(stage.integer.weights) for stage in plain.stages] == [1, 1, 1, 1]
    betas = {"mprn_beta": {"b": {"beta": 2.0}}}
    model = random_model(network, neuron_parameters=betas)
    folded = integers(model, "mprn_beta")
    assert [len(stage.integer.weights) for stage in folded.stages] == [1, 1, 2, 2]
    before, after = folded.stages[2].integer.weights.astype(int)  # reads (a, b)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert np.abs(after[:, 2:] - 2 * before[:, 2:]).max() <= 1
    stage = folded.stage("b")
    assert np.abs(stage.reset[-1] - 2 * stage.reset[0]).max() <= 1


def test_the_planes_of_each_source_follow_one_another():
    model = random_model(branched(2, 3, 1), theta=False)
    found = integers(model, BURST.fast)
    weights, _ = naive.normalised(model, model.network.layer("conv_c"))
    stage = found.stage("c")
    assert stage.integer.weights.shape[2] == 3 * (2 + 3)
    unit = 2.0 ** stage.integer.exponent[0]
    whole = np.rint(weights[0] * unit)
    expected = [g * whole[i] for channels in ((0, 1), (2, 3, 4)) for g in (1, 2, 4) for i in channels]
    np.testing.assert_array_equal(stage.integer.weights[0, 0], expected)
    assert np.abs(whole).max() <= 4095 // 4
    assert found.planes("c") == (1, 2, 4)
    assert found.planes(OUTPUT) == (1,)


def test_as_arrays():
    model = random_model(branched(2, 3, 1, channels=3, gate=True))
    arrays = as_arrays(integers(model, "mprn"))
    assert list(arrays) == ["a", "b", "c", "d", "output"]
    assert arrays["output"]["gate"].shape == (3,)
    assert arrays["a"]["gate"].shape == (0,)
    expected = naive.grids(model, naive.kinds_of(model.network, naive.MPRN))[1]["output"]
    assert arrays["output"]["exponent"].tolist() == expected.exponent
    np.testing.assert_array_equal(arrays["output"]["gate"], expected.gate)


def test_as_arrays_holds_writers_and_shifts():
    layers = (
        Conv("c", IMAGE, 1, 2, 3),
        Activation("a", "c", 2),
        AveragePool("down", "c", 2),
        Bilinear("up", "down"),
        Add("sum", ("c", "up", "c")),
        Activation("b", "sum", 2),
        Conv("d", "b", 2, 1, 3),
    )
    built = integers(random_model(Network("net", 1, layers, "d", "image")))
    arrays = as_arrays(built)
    assert list(arrays) == ["a", "b", "output", "c", "sum"]
    assert set(arrays["c"]) == {"exponent", "weights", "bias", "gate"}
    assert {name: each.tolist() for name, each in arrays["sum"].items()} == {
        "shift_0": [6, 6],
        "shift_2": [6, 6],
    }
    assert arrays["a"]["weights"].size == 0
    np.testing.assert_array_equal(arrays["b"]["exponent"], arrays["c"]["exponent"] + 6)
    stored = {layer: {k: a.copy() for k, a in each.items() if a.size} for layer, each in arrays.items()}
    check_stored(stored, built)
    for layer, name in (("c", "weights"), ("c", "bias"), ("sum", "shift_0"), ("b", "exponent")):
        changed = {key: dict(each) for key, each in stored.items()}
        changed[layer][name] = changed[layer][name] + 1
        with pytest.raises(ModelError, match=f"integers/{layer}/{name} is not what follows"):
            check_stored(changed, built)
    del stored["sum"]
    with pytest.raises(ModelError, match="integers/sum/shift_0"):
        check_stored(stored, built)


def test_what_is_like_the_image_is_no_spikes():
    layers = (
        Constant("sigma", IMAGE, (0.25,)),
        Concat("noisy", (IMAGE, "sigma")),
        PixelUnshuffle("half", "noisy", 2),
        Conv("c", "half", 8, 4, 3, stride=1, groups=2),
        PixelShuffle("up", "c", 2),
    )
    network = Network("net", 1, layers, "up", "image")
    (writer,) = integers(random_model(network)).writers
    assert writer.sources == ()
    assert writer.weights.shape == (1, 4, 4, 3, 3)
    assert 4095 < np.abs(writer.weights).max() <= 32767
    far = network.changed(Constant, lambda layer: dataclasses.replace(layer, values=(4.5,)))
    with pytest.raises(ModelError, match=r"constants of 'sigma' lie outside \[-4, 4\]"):
        integers(random_model(far))


def test_a_gate_reads_spikes_of_the_images_size():
    layers = (Conv("c", IMAGE, 1, 4, 3), Activation("a", "c", 4), Gate("g", "a", 4), PixelShuffle("up", "g", 2))
    with pytest.raises(ModelError, match="gate 'g' must read spikes of the image's size and 1 channels"):
        integers(random_model(Network("net", 1, (*layers, AveragePool("down", "up", 2)), "down", "image")))
    with pytest.raises(ModelError, match="gate 'g' must read spikes"):
        integers(random_model(Network("net", 1, (Gate("g", IMAGE, 1),), "g", "image")))


def declared(**what):
    return Neuron("odd", "", "", **what)


def test_what_cannot_be_built():
    model = random_model(chain(3))
    with pytest.raises(PluginError, match="amplitude may change only once"):
        integers(model, declared(amplitude=lambda p, t, timesteps: 1.0 + t))
    with pytest.raises(PluginError, match="fire at step 1 of T = 4 is 1e"):
        integers(model, declared(fire=lambda p, t, timesteps: 1e9))
    step = {"step": lambda *_: None, "step_parameters": lambda p, theta, k: np.zeros(3, np.int32)}
    with pytest.raises(PluginError, match=r"step_parameters gave \(3,\)"):
        integers(model, declared(**step))
    for part, message in (
        ({"scales": {"act0": np.ones(3)}}, "no scale for 'output'"),
        ({"scales": {"act0": np.ones(2), "output": np.ones(1)}}, "scale of 'act0'"),
        ({"thresholds": {"act0": np.ones(2), "output": np.ones(1)}}, "thresholds of 'act0'"),
        ({"thresholds": {"act0": np.zeros(3), "output": np.ones(1)}}, "not positive"),
        ({"head_parameters": {"cpm": {"bias": np.array([np.nan])}}}, "head's bias"),
        ({"weights": {"conv1": np.ones((1, 3, 5, 5), np.float32)}}, "conv1"),
        ({"biases": {"conv0": np.full(3, np.inf)}}, "NaN or infinity"),
    ):
        with pytest.raises(ModelError, match=message):
            integers(model.with_spiking(dataclasses.replace(model.spiking, **part)), head="cpm")


def test_a_neuron_may_stay_silent():
    silent = integers(random_model(chain(3)), declared(fire=lambda p, t, timesteps: NEVER if t == 2 else 1.0))
    assert (silent.stages[0].threshold == NEVER_FIRES).tolist() == [[False] * 3, [True] * 3, [False] * 3, [False] * 3]


@pytest.mark.parametrize("gate", [False, True])
def test_thresholds_that_round_to_zero_are_one(gate):
    """Of convolutions and gates, and where only the threshold of a release rounds to 0."""
    network = branched(2, 3, 2, channels=3, gate=gate)
    model = random_model(network, timesteps=3)
    for theta in model.spiking.thresholds.values():
        theta[0] = 1e-12
    for stage in build(model, registry().neurons["mprn"], registry().heads["cpm"]).stages:
        assert stage.integer.theta[0] == 1, stage.name
        assert (stage.threshold > 0).all(), stage.name
        theta = stage.integer.theta / 2.0**stage.integer.exponent
        model.spiking.thresholds[stage.name][0] = theta[0] * 0.6  # rounds to 1; 0.75 of it rounds to 0
    for stage in build(model, registry().neurons["mprn"], registry().heads["cpm"]).stages:
        assert stage.integer.theta[0] == 1, stage.name
        assert (stage.threshold[:, 0] >= 1).all(), stage.name
