"""The threshold that adapts to a whole layer: its quantile, and what its scope asks for."""

import numpy as np
import pytest
from nspike_plugins import burst, if_, lan

from nspike.errors import PluginError, UsageError
from nspike.registry.plugins import registry
from tests.cli.console import run as command
from tests.desk import write
from tests.graphs import chain, image, random_model, run
from tests.tiny import tiny_model


def stepped(values, theta=160, **parameters):
    """One step of neurons that hold nothing and get `values`: what is left, and the units that each sends."""
    numbers = lan.NEURON.values(parameters)
    params = lan.step_parameters(numbers, np.array([theta / 16.0]), np.array([4]))
    v = np.zeros((len(values), 1), np.int32)
    out = np.zeros((len(values), 1, 7), np.int8)
    lan.step(v, np.array(values, np.int32)[:, None], np.zeros((0, len(values), 1), np.int32), params, np.zeros(2), out)
    return v[:, 0].tolist(), (out[:, 0] @ (1 << np.arange(7))).tolist()


def test_by_hand():
    """ε = 10. Of ten positive membranes the ninth is 90: level 9, θ_t = 90: the ninth fires once, the tenth too."""
    values = [10, 20, 30, 40, 50, 60, 70, 80, 90, 170, -500, 0]
    left, sent = stepped(values)
    assert sent == [0] * 8 + [9, 9, 0, 0]
    assert left == [*values[:8], 0, 80, -500, 0]
    # half of them: the fifth, 50
    assert stepped(values, share=0.5)[1] == [0, 0, 0, 0, 5, 5, 5, 5, 5, 15, 0, 0]
    # no more than two spikes
    assert stepped(values, share=0.5, most=2)[1][9] == 10
    # never below 0.7·θ, rounded up to sixteenths: 12
    assert stepped(values, share=0.9, least=0.7)[1] == [0] * 9 + [12, 0, 0]


def test_the_bounds():
    """Nothing positive: silence. All far above θ: its own threshold, and at most N spikes."""
    assert stepped([-5, 0]) == ([-5, 0], [0, 0])
    assert stepped([1600, 1600]) == ([960, 960], [64, 64])
    assert stepped([2**24] * 3, most=7)[1] == [112] * 3


def test_a_share_of_the_positive_neurons_fires():
    draw = np.random.default_rng(0)
    values = np.rint(draw.normal(20, 60, 5000)).astype(int)
    for share in (0.05, 0.25, 0.6):
        left, sent = stepped(values.tolist(), share=share, least=0.0)
        fired = np.count_nonzero(sent) / np.count_nonzero(values > 0)
        assert share <= fired < share + 0.15
        assert (values == np.array(left) + 10 * np.array(sent)).all(), "charge is kept"


def test_bounded_from_below_by_its_threshold_it_is_the_burst_neuron():
    network = chain(9, 5)
    own = {"lan": {a.name: {"least": 1.0, "most": 4.0} for a in network.activations}}
    own["burst"] = {a.name: {"gamma": 4.0} for a in network.activations}
    model = random_model(network, 1, level=0.6, neuron_parameters=own)
    for name in ("act0", "act1"):
        model.spiking.thresholds[name][:] = 1.0
    pixels = image(0, 1, 1, 7, 8)
    (_, _, spikes), (_, _, others) = (run(model, pixels, n, digest=False) for n in (lan.NEURON, burst.NEURON))
    units, bursts = (
        sum((1 << p) * train[:, :, p * 9 : (p + 1) * 9] for p in range(planes))
        for train, planes in ((spikes["act0"], 7), (others["act0"], 3))
    )
    np.testing.assert_allclose(units / 16, bursts, atol=0)
    assert bursts.max() > 1


def test_it_answers_sooner_than_plain_neurons():
    """A weak drive, T = 2: integrate-and-fire is silent, this fires."""
    model = random_model(chain(9), 1, level=0.1, timesteps=2)
    pixels = image(0, 1, 1, 16, 16)
    (_, plain, _), (_, adaptive, _) = (run(model, pixels, n) for n in (if_.NEURON, lan.NEURON))
    assert adaptive.spikes > plain.spikes


def test_a_tile_that_would_cut_the_layer_is_refused(tmp_path, capsys):
    model, pixels = tiny_model(neuron="lan"), np.zeros((70, 40), np.uint8)
    with pytest.raises(UsageError, match=r"neuron lan looks at a whole layer.*70 × 40.*tiles of 64.*takes 799 KiB"):
        model.run(pixels, tile=64)
    whole = model.run(pixels, digest=True)
    assert [layer.digests for layer in model.run(pixels, tile=128, digest=True).ledger.layers] == [
        layer.digests for layer in whole.ledger.layers
    ]
    photo = write(tmp_path / "photo.png", 70, 40)
    done = command(
        capsys, "run", photo, "--model", "dncnn-s25", "--plugin", "lan", "--tile", "64", "-o", tmp_path / "o.png"
    )
    assert done.code == 2
    assert "leave the tile out" in done.err
    assert not (tmp_path / "o.png").exists()


def test_an_image_that_does_not_fit_says_what_it_needs():
    with pytest.raises(
        UsageError, match=r"neuron lan .* 200 × 300 pixels take \d+ MiB .* allowed are 1 MiB.*memory=.*cut the image"
    ):
        tiny_model(neuron="lan").run(np.zeros((200, 300), np.uint8), memory=1 << 20)


def test_scope_is_of_kernels():
    import dataclasses

    with pytest.raises(PluginError, match="scope 'layer' is for a neuron with a kernel of its own"):
        dataclasses.replace(registry().neurons["if"], scope="layer")
    with pytest.raises(PluginError, match="scope is 'image'"):
        dataclasses.replace(lan.NEURON, scope="image")
