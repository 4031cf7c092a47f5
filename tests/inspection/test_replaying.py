"""A replayed train gives what `tests.naive` gives with that train in place of the layer."""

import numpy as np
import pytest

import nspike
from nspike.engine import run as engine
from nspike.engine.given import Given
from nspike.engine.program import build as build_program
from nspike.errors import BadInputError, UsageError
from nspike.inspection.replaying import changed_steps
from nspike.integer.rounding import build
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import branched, chain, random_model
from tests.graphs import image as pixels_of
from tests.own_neurons import BURST, LEAKY
from tests.tiny import image, tiny_model

MODEL = tiny_model()
HOW = [{"threads": 1}, {"threads": 3, "tile": 64}]


def given(layer, spikes, neuron):
    def read(n, step, where):
        return spikes[n, step, :, where.y0 : where.y1, where.x0 : where.x1]

    return Given(layer, registry().neurons[neuron], spikes.shape, read)


def run(model, pixels, neuron, head, spikes, **options):
    output = np.full(pixels.shape, np.nan)

    def sink(part):
        output[part.n, :, *part.core.slices] = part.output

    neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
    program = build_program(model, neuron, registry().heads[head], spikes)
    ledger = engine.run(program, pixels, sink=sink, digest=True, **options)
    return output, ledger


@pytest.mark.parametrize(
    ("network", "layer", "recorded", "rest", "head"),
    [
        (chain(3, 9, 2), "act0", "if", "if", "membrane"),
        (chain(3, 9, 2), "act1", "mprn", "mprn", "cpm"),
        (chain(9, 3), "act0", "mprn", "if", "rate"),
        (chain(9, 3), "act0", "if", "mprn", "recycling"),
        (chain(3, 17), "act1", "mprn_beta", "mprn", "cpm"),
        (chain(3, 17), "act0", "lif", "if", "membrane"),
        (branched(3, 9, 2, channels=3, gate=True), "b", "mprn", "if", "cpm"),
        (branched(9, 2, 3), "a", "mprn", "mprn_beta", "membrane"),
        (branched(2, 2, 2, channels=3, gate=True), "d", "if", "mprn", "membrane"),
    ],
)
def test_any_train_gives_what_naive_gives(network, layer, recorded, rest, head):
    """The train is random: of no run at all."""
    own = {"mprn_beta": {a.name: {"beta": 1.3} for a in network.activations}}
    model = random_model(network, 5, neuron_parameters={} if "gate" in network.output else own)
    pixels = pixels_of(2, 2, network.channels, 66, 9)
    kind = naive.NEURONS[recorded]
    channels = next(a.channels for a in network.activations if a.name == layer)
    spikes = np.random.default_rng(1).random((2, 4 + kind.post_steps, channels, 66, 9)) < 0.3
    slow = naive.run(model, pixels, naive.NEURONS[rest], head, given=(layer, spikes, kind))
    for how in HOW:
        output, ledger = run(model, pixels, rest, head, given(layer, spikes, recorded), **how)
        np.testing.assert_array_equal(output, slow.output)
        for each in ledger.layers:
            assert each.digests == naive.digests(slow.spikes[each.name])
            computed = each.name != layer
            assert bool(each.neuron_updates.any()) == computed


@pytest.mark.parametrize("layer", ["relu1", "relu2"])
@pytest.mark.parametrize("parts", [{}, {"neuron": "if", "head": "cpm"}, {"neuron": "lif", "head": "rate"}])
def test_an_unmodified_trace_gives_the_run_again(tmp_path, layer, parts):
    model = nspike.swap(MODEL, **parts)[0]
    pixels = image(150, 70, 3)
    result = nspike.trace(model, pixels, tmp_path / "t.h5", layers=[layer])
    for how in HOW:
        again = nspike.replay(tmp_path / "t.h5", model, pixels, **how)
        np.testing.assert_array_equal(again.image, result.image)
        kept = result.ledger.layers[0 if layer == "relu1" else 1 :]
        assert [each.name for each in again.ledger.layers] == [each.name for each in kept]
        for mine, theirs in zip(again.ledger.layers, kept, strict=True):
            for key in ("events", "synops", "synops_paper"):
                np.testing.assert_array_equal(getattr(mine, key), getattr(theirs, key))
            assert mine.digests == theirs.digests
        assert again.ledger.head_synops == result.ledger.head_synops
        assert again.ledger.analog_macs == 0
        with nspike.read_trace(tmp_path / "t.h5") as trace:
            assert changed_steps(trace, layer, again) == []


def test_super_resolution(tmp_path):
    model = tiny_model("superres", "y", "add")
    pixels = image(30, 24, 3)
    result = nspike.trace(model, pixels, tmp_path / "t.h5", scale=3, layers=["relu1"])
    np.testing.assert_array_equal(nspike.replay(tmp_path / "t.h5", model, pixels).image, result.image)


def test_layers_that_nothing_reads_are_not_run(tmp_path):
    """In the branched graph, b is read by c and by the output; a is read by them too, so it still runs."""
    model = random_model(branched(3, 9, 2), 1)
    pixels = pixels_of(0, 20, 21)
    result = nspike.trace(model, pixels, tmp_path / "t.h5")
    again = nspike.replay(tmp_path / "t.h5", model, pixels, layer="b")
    assert [each.name for each in again.ledger.layers] == ["a", "b", "c"]
    np.testing.assert_array_equal(again.image, result.image)
    again = nspike.replay(tmp_path / "t.h5", model, pixels, layer="c")
    assert [each.name for each in again.ledger.layers] == ["a", "b", "c"]
    before, after = result.ledger.layers[0].synops.sum(), again.ledger.layers[0].synops.sum()
    assert after < before, "what only the replayed layer reads is not done"


def test_another_neuron_for_the_rest_of_the_network(tmp_path):
    pixels = image(66, 48)
    nspike.trace(MODEL, pixels, tmp_path / "t.h5", layers=["relu1"])
    rest = nspike.swap(MODEL, neuron="if")[0]
    digest = nspike.audit(MODEL, _written(tmp_path, pixels)).certificate["model"]["digest"]
    again = nspike.replay(tmp_path / "t.h5", rest, pixels, model_digest=digest)
    slow = naive.run(MODEL, pixels[None, None], naive.MPRN, "membrane")
    train = ("relu1", slow.spikes["relu1"], naive.MPRN)
    slow = naive.run(MODEL, pixels[None, None], naive.IF, "membrane", given=train)
    assert [each.digests for each in again.ledger.layers] == [naive.digests(slow.spikes[n]) for n in ("relu1", "relu2")]
    assert again.ledger.post_steps == 1


def _written(folder, pixels):
    from nspike.images import file as images

    images.write(folder / "p.png", images.ImageData(pixels))
    return folder / "p.png"


def test_a_modified_trace(tmp_path):
    import h5py

    pixels = image(66, 48)
    result = nspike.trace(MODEL, pixels, tmp_path / "t.h5", layers=["relu1"])
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        packed = file["spikes/relu1"]
        packed[0, 2, 3, 10] ^= 0xFF
        packed[0, 4, 5, 60:] = 0
    again = nspike.replay(tmp_path / "t.h5", MODEL, pixels)
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        assert changed_steps(trace, "relu1", again) == [3, 5]
        train = ("relu1", trace.spikes("relu1")[None], naive.MPRN)
    slow = naive.run(MODEL, pixels[None, None], naive.MPRN, "membrane", given=train)
    assert [each.digests for each in again.ledger.layers] == [naive.digests(slow.spikes[n]) for n in ("relu1", "relu2")]
    assert (again.image != result.image).any()


def test_a_trace_made_elsewhere(tmp_path):
    pixels = image(40, 48)
    result = nspike.trace(MODEL, pixels, tmp_path / "t.h5")
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        np.savez(tmp_path / "t.npz", relu2=trace.spikes("relu2").astype(np.float32))
    again = nspike.replay(tmp_path / "t.npz", MODEL, pixels)
    np.testing.assert_array_equal(again.image, result.image)


# ----- what goes wrong -----


def test_what_cannot_be_replayed(tmp_path):
    pixels = image(40, 48)
    nspike.trace(MODEL, pixels, tmp_path / "t.h5")
    replay = nspike.replay
    with pytest.raises(UsageError, match=r"holds several layers; say which \(layer=NAME\): relu1, relu2"):
        replay(tmp_path / "t.h5", MODEL, pixels)
    with pytest.raises(UsageError, match="Did you mean 'relu2'"):
        replay(tmp_path / "t.h5", MODEL, pixels, layer="relu3")
    with pytest.raises(BadInputError, match="is of another image"):
        replay(tmp_path / "t.h5", MODEL, image(40, 48, seed=2), layer="relu1")
    with pytest.raises(BadInputError, match="is of another image"):
        replay(tmp_path / "t.h5", MODEL, image(41, 48), layer="relu1")
    with pytest.raises(BadInputError, match="is of another model: 'tiny'"):
        replay(tmp_path / "t.h5", tiny_model(seed=9), pixels, layer="relu1")
    nspike.trace(MODEL, pixels, tmp_path / "part.h5", window=(0, 0, 48, 39), layers=["relu1"])
    with pytest.raises(BadInputError, match="holds a window of the image; a replay needs the whole layer"):
        replay(tmp_path / "part.h5", MODEL, pixels)
    fires = nspike.swap(MODEL, head="cpm")[0]
    nspike.trace(fires, pixels, tmp_path / "out.h5", layers=["output"])
    with pytest.raises(UsageError, match="the output layer cannot be replayed"):
        replay(tmp_path / "out.h5", fires, pixels)


def test_trains_that_do_not_fit(tmp_path):
    pixels = image(40, 48)
    for name, shape, says in (
        ("relu1", (5, 8, 40, 47), "this image and model need"),
        ("relu1", (6, 8, 40, 48), "up to 5"),
        ("relu1", (5, 9, 40, 48), "this image and model need"),
        ("relu1", (3, 5, 8, 40, 48), "this image and model need"),
        ("act", (5, 8, 40, 48), "has no layer 'act'"),
    ):
        np.savez(tmp_path / "t.npz", **{name: np.zeros(shape, bool)})
        with pytest.raises(BadInputError, match=says):
            nspike.replay(tmp_path / "t.npz", MODEL, pixels)


def test_a_kernel_of_its_own_cannot_go_on_after_t():
    mprn = registry().neurons["mprn"]
    with pytest.raises(UsageError, match="neuron leaky has a kernel of its own and 0 post steps"):
        build(MODEL, LEAKY.fast, registry().heads["membrane"], {"relu1": mprn})


@pytest.mark.parametrize(("network", "layer"), [(chain(3, 4), "act0"), (chain(9, 17), "act0"), (chain(9, 17), "act1")])
def test_a_release_is_worth_its_amplitude_to_a_neuron_with_a_kernel_of_its_own(network, layer):
    """The kernel of the steps after T holds from the first of them on."""
    model = random_model(network, 5, neuron_parameters={"mprn_beta": {layer: {"beta": 2.5}}})
    pixels = pixels_of(2, 1, 1, 20, 9)
    kind = naive.NEURONS["mprn_beta"]
    channels = next(a.channels for a in network.activations if a.name == layer)
    spikes = np.random.default_rng(1).random((1, 4 + kind.post_steps, channels, 20, 9)) < 0.4
    slow = naive.run(model, pixels, BURST.naive, "cpm", given=(layer, spikes, kind))
    output, _ = run(model, pixels, BURST.fast, "cpm", given(layer, spikes, "mprn_beta"))
    np.testing.assert_array_equal(output, slow.output)
