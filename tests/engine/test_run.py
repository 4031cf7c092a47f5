"""The engine equals `tests.naive` to the bit: spikes, output, ledger and digests."""

import dataclasses

import numpy as np
import pytest

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.errors import BadInputError, ModelError, PluginError, UsageError
from nspike.integer import rounding
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import agree, branched, chain, image, random_model, run
from tests.own_neurons import BURST, DECLARED, TERNARY

U8, U16, I32 = np.uint8, np.uint16, np.int32


@pytest.mark.parametrize(
    ("network", "shape", "dtype", "neuron", "head"),
    [
        # narrow all through
        (chain(1), (1, 1, 1, 1), U8, "if", "membrane"),
        (chain(2, 3, kernels=(3, 1)), (1, 1, 1, 13), U8, "mprn", "cpm"),
        (chain(8, 8, kernels=(5, 3)), (1, 1, 13, 1), U16, "lif", "rate"),
        (chain(3, channels=3, kernels=(7,)), (2, 3, 4, 63), I32, "mprn_beta", "recycling"),
        (chain(3, 2, kernels=(3, 5)), (1, 1, 66, 64), U8, "mprn", "membrane"),
        (chain(5, 8, bias=False), (3, 1, 3, 65), U16, "if", "cpm"),
        (chain(4, kernels=(1,)), (1, 1, 5, 130), I32, "lif", "cpm"),
        (branched(3, 3, 2, channels=3, gate=True), (1, 3, 9, 70), U8, "mprn", "cpm"),
        (branched(2, 8, 1, channels=3, kernels=(1, 3, 7, 5), gate=True), (1, 3, 7, 6), I32, "if", "membrane"),
        # wide all through
        (chain(9, 16, 17), (1, 1, 1, 1), U8, "mprn_beta", "cpm"),
        (chain(17, 48, kernels=(3, 1)), (2, 1, 5, 7), U16, "lif", "cpm"),
        (chain(64, 64), (1, 1, 6, 5), U8, "mprn", "cpm"),
        (chain(65, 9, kernels=(5, 3, 1)), (1, 1, 5, 9), I32, "if", "rate"),
        (chain(70, 65, channels=3, mode="add"), (1, 3, 3, 4), U8, "mprn_beta", "membrane"),
        (chain(16, 70, kernels=(7, 3)), (1, 1, 4, 3), U8, "lif", "membrane"),
        (chain(130, 16), (1, 1, 2, 3), U8, "mprn", "recycling"),
        (chain(12, kernels=(3, 7)), (1, 1, 65, 66), U8, "if", "cpm"),
        # wide and narrow mixed, concatenations of either
        (chain(64, 3, 8), (1, 1, 5, 6), U8, "mprn", "cpm"),
        (chain(3, 64, 2), (1, 1, 3, 66), U8, "lif", "rate"),
        (chain(8, 9, 8, 9), (1, 1, 5, 6), U16, "mprn_beta", "cpm"),
        (branched(3, 9, 2), (1, 1, 4, 9), U8, "mprn", "cpm"),
        (branched(65, 17, 9), (1, 1, 4, 5), U8, "if", "membrane"),
        (branched(8, 64, 70, channels=3, kernels=(3, 1, 5, 3)), (1, 3, 3, 4), U8, "mprn_beta", "cpm"),
        (branched(64, 3, 3, channels=3, kernels=(5, 7, 1, 3), gate=True), (1, 3, 5, 6), I32, "mprn", "cpm"),
        (branched(2, 16, 64, channels=3, gate=True), (2, 3, 3, 67), U8, "lif", "rate"),
        # hard resets and negative spikes
        (chain(3, 8, kernels=(3, 5)), (1, 1, 6, 65), U8, "lif_hard", "cpm"),
        (chain(17, 64), (1, 1, 5, 7), U16, "lif_hard", "rate"),
        (branched(3, 17, 2, channels=3, gate=True), (1, 3, 5, 66), U8, "lif_hard", "membrane"),
        (chain(1, 4), (1, 1, 6, 66), I32, "signed", "cpm"),
        (chain(5, 20, 64), (1, 1, 5, 7), I32, "signed", "rate"),
        (branched(70, 16, 3), (1, 1, 4, 6), I32, "signed", "recycling"),
        # those of the compared methods, before gates too
        (chain(3, 8), (1, 1, 6, 66), I32, "burst", "membrane"),
        (chain(17, 64), (1, 1, 5, 7), U8, "burst", "membrane"),
        (branched(3, 2, 3, channels=3, gate=True), (1, 3, 5, 66), U8, "burst", "membrane"),
        (chain(17, 20), (1, 1, 5, 66), U8, "few_spikes", "membrane"),
        (branched(3, 2, 3, channels=3, gate=True), (1, 3, 5, 6), U8, "few_spikes", "cpm"),
        (branched(3, 17, 2, channels=3, gate=True), (1, 3, 5, 6), I32, "ternary", "cpm"),
        (chain(64, 17), (1, 1, 5, 7), I32, "ternary", "membrane"),
        (branched(2, 3, 3, channels=3, gate=True), (1, 3, 5, 6), U8, "atif", "cpm"),
        (chain(17, 9), (1, 1, 5, 7), I32, "atif", "rate"),
        (chain(3, 64), (1, 1, 5, 7), I32, "dietsnn", "membrane"),
        (branched(3, 2, 3, channels=3, gate=True), (1, 3, 5, 6), U8, "dietsnn", "cpm"),
        (chain(3, 4), (1, 1, 6, 66), I32, "lan", "membrane"),
        (chain(17, 64), (2, 1, 40, 70), U8, "lan", "membrane"),
        (branched(3, 17, 2, channels=3, gate=True), (1, 3, 5, 6), U8, "lan", "cpm"),
    ],
)
def test_spikes_output_and_ledger(network, shape, dtype, neuron, head):
    draw = np.random.default_rng(len(network.layers) + shape[-1])
    given = {
        "mprn_beta": {"beta": 1.3, "alpha": 0.8, "v_init": 0.1},
        "mprn": {"beta": -0.7, "v_init": -0.2},
        "lif": {"tau": 3.0, "v_init": 0.3},
        "lif_hard": {"tau": 2.0, "decay_input": 1.0, "v_init": 0.3},
        "signed": {"v_init": -0.2},
        "if": {"v_init": 0.5},
        "burst": {"gamma": 3.0, "v_init": 0.2},
        "few_spikes": {"slots": 3.0, "round": 0.4},
        "ternary": {"amplitude": 0.7, "v_init": -0.1},
        "atif": {"theta": 0.8},
        "dietsnn": {"keep": 0.9, "v_init": 0.3},
        "lan": {"share": 0.3, "least": 0.2, "most": 3.0, "v_init": 0.1},
    }[neuron]
    own = {neuron: {a.name: given for a in network.activations[:: 2 if "gate" not in network.output else 99]}}
    if neuron == "mprn_beta" and "gate" in network.output:
        own = {}
    c = network.channels
    heads = {
        "cpm": {"weight": draw.normal(size=(c, c, 3, 3)), "bias": draw.normal(size=c)},
        "recycling": {"weight": draw.normal(size=(c, c, 1, 1))},
    }
    model = random_model(network, shape[-1], neuron_parameters=own, head_parameters=heads, level=0.4)
    slow = agree(model, image(shape[-2], *shape, dtype=dtype), neuron, head, threads=2)
    assert slow.spikes[network.activations[0].name].any()


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed):
    draw = np.random.default_rng(seed)
    widths = [1, 2, 3, 8, 9, 16, 17, 48, 64, 65, 70]
    kernels = tuple(int(k) for k in draw.choice([1, 3, 5, 7], 4, p=[0.3, 0.4, 0.2, 0.1]))
    channels = int(draw.choice([1, 3]))
    a, b, c = (int(n) for n in draw.choice(widths, 3))
    neuron, head = draw.choice(list(naive.NEURONS)), draw.choice(list(naive.HEADS))
    gate = bool(seed % 2)
    network = branched(a, b, c, channels, kernels, gate=gate) if seed % 3 else chain(a, b, channels=channels)
    level, timesteps = float(draw.choice([-0.3, 0.2, 0.6, 2.0])), int(draw.integers(1, 7))
    model = random_model(network, seed, level=level, timesteps=timesteps)
    shape = (1, channels, int(draw.integers(1, 8)), int(draw.integers(1, 8)))
    pixels = image(seed, *shape, dtype=[U8, U16, I32][seed % 3])
    agree(model, pixels, str(neuron), str(head), threads=int(draw.integers(1, 4)))


@pytest.mark.parametrize("network", [chain(3, 4), chain(17, 9)])
@pytest.mark.parametrize("neuron", ["mprn", "lif", "lif_hard"])
@pytest.mark.parametrize("level", [-5.0, 5.0])
def test_silent_and_saturated(network, neuron, level):
    model = random_model(network, level=level)
    slow = agree(model, image(0, 1, 1, 5, 66), neuron, "cpm")
    rate = slow.spikes["act0"][:, :4].mean()
    assert rate == (0.0 if level < 0 else pytest.approx(1.0, abs=0.02))


@pytest.mark.parametrize("neuron", [TERNARY, BURST], ids=["ternary", "burst"])
@pytest.mark.parametrize(
    "network",
    [
        chain(2, 1),
        chain(3, 4),
        chain(24, 33),
        chain(64, 2),
        branched(2, 9, 3),
        branched(40, 3, 2, kernels=(3, 1, 5, 3)),
    ],
)
def test_neurons_of_many_planes_with_state(network, neuron):
    model = random_model(network, 3, timesteps=6, level=0.4)
    slow = agree(model, image(4, 1, 1, 6, 9, dtype=I32), neuron, "cpm", threads=2)
    first = slow.spikes[network.activations[0].name].reshape(
        1, 6 + neuron.naive.post_steps, len(neuron.naive.planes), -1
    )
    assert first.any(axis=(0, 1, 3)).all()
    big = image(5, 1, 1, 70, 66)
    one, other = (run(model, big, neuron.fast, "cpm", tile=tile, threads=t) for tile, t in ((None, 1), (64, 3)))
    np.testing.assert_array_equal(one[0], other[0])
    assert [layer.digests for layer in one[1].layers] == [layer.digests for layer in other[1].layers]


@pytest.mark.parametrize("neuron", DECLARED, ids=lambda neuron: neuron.fast.name)
@pytest.mark.parametrize("network", [chain(2, 1), chain(3, 33), chain(64, 20), branched(2, 9, 3)])
def test_declared_neurons_that_no_plugin_has(network, neuron):
    """Fused, in both packings, for threads and tiles."""
    model = random_model(network, 3, level=0.4)
    slow = agree(model, image(4, 1, 1, 5, 6, dtype=I32), neuron, "cpm", threads=2)
    assert slow.spikes[network.activations[0].name].any()
    big = image(5, 1, 1, 66, 65, dtype=I32)
    one, other = (run(model, big, neuron.fast, "cpm", tile=tile, threads=t) for tile, t in ((None, 1), (64, 3)))
    np.testing.assert_array_equal(one[0], other[0])
    assert [layer.digests for layer in one[1].layers] == [layer.digests for layer in other[1].layers]


def test_a_gate_takes_spikes_of_one_worth_only():
    model = random_model(branched(2, 2, 2, channels=3, gate=True))
    pixels = image(0, 1, 3, 4, 4)
    betas = {"mprn_beta": {"d": {"beta": 0.5}}}
    with pytest.raises(ModelError, match="cannot feed a gate"):
        run(random_model(model.network, neuron_parameters=betas), pixels, "mprn_beta")


OPTIONS = [(64, 1), (64, 3), (128, 2), (None, 1), (None, 3)]


@pytest.mark.parametrize(
    ("network", "shape", "neuron", "head"),
    [
        (chain(3, 2, channels=3, kernels=(3, 5)), (2, 3, 70, 150), "mprn", "cpm"),
        (chain(4, kernels=(7,)), (1, 1, 150, 65), "lif", "cpm"),
        (chain(17, 9), (1, 1, 66, 130), "mprn_beta", "cpm"),
        (chain(9), (1, 1, 129, 64), "lif", "recycling"),
        (chain(9, 3), (1, 1, 66, 67), "signed", "rate"),
        (chain(3, 9), (1, 1, 66, 67), "lif_hard", "rate"),
        (branched(3, 9, 2, channels=3, gate=True), (1, 3, 130, 67), "mprn", "membrane"),
    ],
)
def test_tiles_and_threads_change_no_bit(network, shape, neuron, head):
    model = random_model(network, 7, timesteps=2)
    if head == "cpm":
        weight = np.random.default_rng(0).normal(size=(network.channels,) * 2 + (3, 3))
        model = random_model(network, 7, timesteps=2, head_parameters={"cpm": {"weight": weight}})
    pixels = image(8, *shape)
    slow = agree(model, pixels, neuron, head)
    for tile, threads in OPTIONS:
        agree(model, pixels, neuron, head, slow, tile=tile, threads=threads)
    seen = []
    agree(model, pixels, neuron, head, slow, memory=2 << 20, progress=lambda done, total: seen.append((done, total)))
    stages = len(network.convs) + ("gate" in network.output)
    assert seen[-1][1] % (stages * shape[0]) == 0
    assert [done for done, _ in seen] == list(range(1, seen[-1][1] + 1))


def test_a_tile_far_smaller_than_the_halo():
    network = chain(2, 2, 2, 2, kernels=(31, 15, 31, 17))
    model = random_model(network, 1, timesteps=1)
    pixels = image(0, 1, 1, 20, 140)
    assert network.radius > 32
    whole, tiled = run(model, pixels), run(model, pixels, tile=64)
    np.testing.assert_array_equal(whole[0], tiled[0])
    agree(model, pixels[..., :30])


def test_images_of_any_layout():
    model = random_model(chain(3, channels=3))
    pixels = image(0, 1, 3, 5, 7)
    expected = run(model, pixels)[0]
    for same in (
        np.asfortranarray(pixels),
        np.moveaxis(np.moveaxis(pixels, 1, -1).copy(), -1, 1),
        pixels[..., ::-1].copy()[..., ::-1],
    ):
        np.testing.assert_array_equal(run(model, same)[0], expected)
    pixels.flags.writeable = False
    np.testing.assert_array_equal(run(model, pixels)[0], expected)
    np.testing.assert_array_equal(run(model, pixels.astype(U16) * 257)[0], expected)
    np.testing.assert_array_equal(run(model, pixels.astype(I32) * 257)[0], expected)


@pytest.mark.parametrize("width", [3, 20])
def test_dead_filters(width):
    model = random_model(chain(width, width))
    for name in ("conv0", "conv1"):
        model.parameters[f"{name}.weight"][::2] = 1e-41
        model.parameters[f"{name}.bias"][::2] = 0
        model.parameters[f"{name}.weight"][1] = 0
    slow = agree(model, image(0, 1, 1, 6, 7), "mprn", "membrane")
    assert not slow.spikes["act0"][:, :, ::2].any()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("width", [2, 9])
def test_the_largest_membranes_fit(sign, width):
    """The largest bias that the grid allows, 126 steps, and an output that never fires: close to 126·2^24."""
    model = random_model(chain(width, kernels=(1,)), timesteps=126)
    for name in ("conv0.weight", "conv1.weight"):
        model.parameters[name] = np.abs(model.parameters[name]) * np.float32(sign * 0.01)
    biases = {"conv0": np.full(width, sign * 1023.0), "conv1": np.full(1, sign * 1023.0)}
    model = model.with_spiking(dataclasses.replace(model.spiking, biases=biases))
    slow = agree(model, np.full((1, 1, 2, 3), 4 * 65535, I32), "if", "membrane")
    for residuals in slow.residuals.values():
        assert np.abs(residuals).max() > 125 * 2**24


def test_steps():
    pixels = image(0, 1, 1, 3, 5)
    for width in (3, 9):
        agree(random_model(chain(width), timesteps=1), pixels, "mprn", "cpm")
        agree(random_model(chain(width), timesteps=125), pixels, "mprn", "cpm")
        agree(random_model(chain(width), timesteps=126), pixels, "if", "membrane")
        for neuron, timesteps in (("mprn", 126), ("if", 127), ("if", 0)):
            with pytest.raises(UsageError, match="out of range"):
                run(random_model(chain(width), timesteps=timesteps), pixels, neuron)


def test_trained_weights_and_biases_replace_the_anns():
    for width in (3, 20):
        model = random_model(chain(width, width))
        draw = np.random.default_rng(0)
        trained = {
            "weights": {"conv1": draw.normal(0, 0.2, (width, width, 3, 3)).astype(np.float32)},
            "biases": {"conv0": draw.normal(0.2, 0.1, width).astype(np.float32)},
        }
        model = model.with_spiking(dataclasses.replace(model.spiking, **trained))
        agree(model, image(0, 1, 1, 6, 7), "mprn", "cpm")


def capture(model, pixels, neuron, fires=True):
    """What a head is given, of a run in one tile."""
    seen = []
    head = Head("capture", "", "", fires=fires, read=lambda layer, _: seen.append(layer) or layer.spikes * 1.0)
    run(model, pixels, neuron, head)
    return seen[0]


@pytest.mark.parametrize("network", [chain(4, 3), chain(17, 20), branched(2, 3, 9, channels=3, gate=True)])
@pytest.mark.parametrize("neuron", ["if", "mprn", "mprn_beta", "lif"])
def test_the_output_loses_no_charge(network, neuron):
    model = random_model(network, 2, timesteps=7)
    pixels = image(3, 1, network.channels, 6, 8, dtype=I32)
    layer = capture(model, pixels, neuron)
    slow = naive.run(model, pixels, naive.NEURONS[neuron], "cpm")
    np.testing.assert_array_equal(layer.charge, slow.inputs["output"][0])
    np.testing.assert_array_equal(layer.charge, layer.spikes * layer.theta[:, None, None] + layer.residual)
    assert (layer.residual < 0).any()
    assert (layer.spikes > 0).any()
    assert layer.timesteps == 7


def broken(step, planes=(1,)):
    return Neuron(
        "broken", "", "", planes=planes, step=step, step_parameters=lambda p, t, k: np.zeros((1, len(t)), I32)
    )


def two(v, current, state, params, phase, out):
    out[0, 0, 0] = 2


def raises(v, current, state, params, phase, out):
    if phase[0] == 1:
        raise ValueError("no")


def untyped(v, current, state, params, phase, out):
    out.no_such_method()


@pytest.mark.parametrize("width", [2, 9])
def test_a_broken_neuron_is_named(width):
    model, pixels = random_model(chain(width)), image(0, 1, 1, 3, 3)
    with pytest.raises(PluginError, match=r"neuron broken wrote 0 \.\. 2 as spikes"):
        run(model, pixels, broken(two))
    with pytest.raises(PluginError, match="neuron broken failed at step 2 of layer act0"):
        run(model, pixels, broken(raises))
    with pytest.raises(PluginError, match="neuron broken failed at step 1"):
        run(model, pixels, broken(untyped))


def test_what_does_not_fit():
    model = random_model(chain(2))
    for shape in ((1, 3, 4, 4), (1, 4, 4), (0, 1, 4, 4), (1, 1, 0, 4)):
        with pytest.raises(BadInputError, match="shape"):
            run(model, np.zeros(shape, U8))
    for dtype in (np.float32, np.int64, bool):
        with pytest.raises(BadInputError, match="expected uint8, uint16, or int32"):
            run(model, np.zeros((1, 1, 4, 4), dtype))
    pixels = image(0, 1, 1, 4, 4)
    for tile in (0, 63, 65, -64):
        with pytest.raises(UsageError, match="multiple of 64"):
            run(model, pixels, tile=tile)
    with pytest.raises(UsageError, match="threads"):
        run(model, pixels, threads=0)
    with pytest.raises(UsageError, match="working memory"):
        run(model, pixels, memory=0)
    with pytest.raises(ModelError, match="no spiking form"):
        run(dataclasses.replace(model, spiking=None), pixels)


def test_nothing_is_digested_unless_asked():
    model, pixels = random_model(chain(2)), image(0, 1, 1, 4, 4)
    _, ledger, _ = run(model, pixels, digest=False)
    assert ledger.layers[0].digests == ()
    assert registry().neurons["if"].planes == (1,)


def test_a_plane_out_of_range_is_refused():
    model = random_model(chain(2))
    for value in (4 * 65535 + 1, -4 * 65535 - 1):
        with pytest.raises(BadInputError, match="expected -4 to 4"):
            run(model, np.full((1, 1, 8, 8), value, np.int32))


@pytest.mark.parametrize("head", ["membrane", "rate"])
def test_charge_is_what_arrived_wherever_the_membrane_started(head, monkeypatch):
    """The output layer starts at 0; were it another number, a head would still be handed the sum of the currents."""
    seen = []
    for start in (0.0, 0.5):
        neuron = dataclasses.replace(rounding.INTEGRATE_AND_FIRE, initial=lambda _, start=start: start)
        monkeypatch.setattr(rounding, "INTEGRATE_AND_FIRE", neuron)
        seen.append(capture(random_model(chain(4), 5, level=0.4), image(6, 1, 1, 5, 9), "if", fires=head == "rate"))
    first, other = seen
    np.testing.assert_array_equal(first.charge, other.charge)
