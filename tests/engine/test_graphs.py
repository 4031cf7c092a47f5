"""Networks that are no chains: the engine against `tests.naive`, and against itself for tiles, threads and given spikes."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from nspike.engine import run as engine
from nspike.engine.accounts import Accounts
from nspike.engine.given import Given
from nspike.engine.plan import plan
from nspike.engine.program import build
from nspike.engine.tile import run_tile, window
from nspike.engine.tiling import block, choose, tiles, unit
from nspike.errors import BadInputError, UsageError
from nspike.integer import rounding
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from tests import naive
from tests.engine.handmade import NETWORKS, grouped, residual, unet
from tests.engine.test_tile import equal
from tests.graphs import agree, image, random_case, random_model, run
from tests.random_graphs import tie


def model_of(network, seed=0, **options):
    model = random_model(network, seed, **options)
    tie(network, model.spiking.scales)
    return model


def parts(neuron, head):
    return registry().neurons[neuron], registry().heads[head]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize(("neuron", "head"), [("mprn", "cpm"), ("lif", "membrane")])
def test_networks_by_hand(network, neuron, head):
    multiple = network.size_multiple
    pixels = image(1, 1, network.channels, 3 * multiple, 5 * multiple)
    slow = agree(model_of(network), pixels, neuron, head, threads=1)
    assert all(spikes.any() for spikes in slow.spikes.values() if head != "membrane")
    agree(model_of(network), pixels, neuron, head, slow=slow, threads=2)


@pytest.mark.parametrize("seed", [*range(30), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30, 60))])
def test_random_graphs(seed):
    model, pixels, neuron, head = random_case(seed)
    slow = agree(model, pixels, neuron, head, threads=1 + seed % 3)
    assert len(slow.spikes) > 1


def large(network, seed, low=80, high=140):
    draw, multiple = np.random.default_rng(seed), network.size_multiple
    sides = [-(-int(draw.integers(low, high)) // multiple) * multiple for _ in range(2)]
    return image(seed, 1, network.channels, *sides)


def same(one, other):
    """Two runs of `tests.graphs.run`."""
    np.testing.assert_array_equal(one[0], other[0])
    equal(one[1], other[1])
    assert one[2].keys() == other[2].keys()
    for name, spikes in one[2].items():
        np.testing.assert_array_equal(spikes, other[2][name], err_msg=name)


@pytest.mark.parametrize("seed", range(200, 216))
def test_tiles_and_threads_of_random_graphs(seed):
    model, _, neuron, head = random_case(seed)
    pixels = large(model.network, seed)
    whole = run(model, pixels, neuron, head, threads=1)
    size = unit(model.network)
    assert min(pixels.shape[2:]) > size or size > 64
    same(run(model, pixels, neuron, head, tile=size, threads=2), whole)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_tiles_of_networks_by_hand(network):
    model, pixels = model_of(network), large(network, 3, 140, 200)
    whole = run(model, pixels, "mprn", "cpm", threads=2)
    same(run(model, pixels, "mprn", "cpm", tile=64, threads=1), whole)
    same(run(model, pixels, "mprn", "cpm", tile=128, threads=3), whole)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_output_after_each_step(network):
    model, multiple = model_of(network), network.size_multiple
    pixels = image(2, 1, network.channels, 4 * multiple, 2 * multiple)
    slow = naive.run(model, pixels, naive.NEURONS["mprn"], "cpm")
    steps = np.full(slow.each_step.shape, np.nan)

    def sink(step, part):
        steps[step, part.n, :, *part.core.scaled(part.scale).slices] = part.output

    engine.run(build(model, *parts("mprn", "cpm")), pixels, sink=lambda part: None, step_sink=sink)
    np.testing.assert_array_equal(steps, slow.each_step)


def given_of(model, spikes, name, neuron):
    whole = spikes[name]

    def read(n, step, where):
        return whole[n, step][:, where.y0 : where.y1, where.x0 : where.x1]

    return Given(name, neuron, whole.shape, read)


@pytest.mark.parametrize("case", ["unet", "residual", "grouped", 3, 12, 24, 40, 41])
@pytest.mark.parametrize("tile", [None, 64])
def test_given_spikes_give_the_same_rest(case, tile):
    if isinstance(case, str):
        model, neuron, head = model_of(NETWORKS[case]), "mprn", "cpm"
    else:
        model, _, neuron, head = random_case(case)
    tile = tile and unit(model.network)
    pixels = large(model.network, 5, 66, 90)
    output, ledger, spikes = run(model, pixels, neuron, head)
    layers = {layer.name: layer for layer in ledger.layers}
    for activation in model.network.activations[1:3]:
        fired = rounding.build(model, *parts(neuron, head)).stage(activation.name).neuron
        program = build(model, *parts(neuron, head), given_of(model, spikes, activation.name, fired))
        again = np.full(output.shape, np.nan)

        def sink(part, again=again):
            again[part.n, :, *part.core.scaled(part.scale).slices] = part.output

        rest = engine.run(program, pixels, sink=sink, tile=tile, digest=True)
        np.testing.assert_array_equal(again, output)
        names = [layer.name for layer in rest.layers]
        assert len(names) <= len(layers)
        for layer in rest.layers:
            assert layer.digests == layers[layer.name].digests, layer.name
            if layer.name == activation.name:
                assert not layer.neuron_updates.any()
                assert not layer.bias_additions.any()


def test_given_spikes_of_another_size_are_refused():
    model = model_of(unet())
    _, _, spikes = run(model, image(0, 1, 1, 16, 16))
    program = build(model, *parts("if", "membrane"), given_of(model, spikes, "b", registry().neurons["if"]))
    with pytest.raises(BadInputError, match=r"\(1, up to 4, 16, 12, 8\)"):
        engine.run(program, image(0, 1, 1, 24, 16), sink=lambda part: None)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_tiles_are_pure_and_merge_in_any_order(network):
    program = build(model_of(network), *parts("if", "membrane"))
    pixels = large(network, 7, 140, 190)
    whole = np.full((network.channels, *(network.scale * side for side in pixels.shape[2:])), np.nan)

    def sink(part):
        whole[:, *part.core.scaled(part.scale).slices] = part.output

    expected = engine.run(program, pixels, sink=sink, digest=True, tile=192)
    places = list(tiles(*pixels.shape[2:], 64))
    with ThreadPoolExecutor(1) as pool:
        windows = [pickle.loads(pickle.dumps(window(program, pixels, 0, core))) for core in places]
        results = [run_tile(program, each, pool=pool, threads=1, digest=True) for each in windows]
    accounts = Accounts(program, 1, *pixels.shape[2:], digest=True)
    for i in np.random.default_rng(1).permutation(len(results)):
        result = pickle.loads(pickle.dumps(results[i]))
        accounts.add(result.counts, result.leaves)
        core = result.part.core.scaled(result.part.scale)
        np.testing.assert_array_equal(result.part.output, whole[:, *core.slices])
    equal(accounts.ledger(), expected)


def test_sizes_that_do_not_fit_are_refused():
    program = build(model_of(unet()), *parts("if", "membrane"))
    with pytest.raises(BadInputError, match="runs on multiples of 4"):
        engine.run(program, image(0, 1, 1, 16, 18), sink=lambda part: None)


def test_units_and_blocks():
    network = unet()
    assert unit(network) == 64
    assert [block(network, network.scales[name]) for name in ("a", "b", "c")] == [64, 32, 16]
    assert block(residual(), residual().scales["u"]) == 64
    integers = rounding.build(model_of(network), *parts("if", "membrane"))
    with pytest.raises(UsageError, match="positive multiple of 64"):
        choose(integers, plan(integers), 100, 100, 96, 10**9)


def test_memory_chooses_the_tile():
    integers = rounding.build(model_of(grouped(32), timesteps=8), *parts("if", "membrane"))
    sizes = [choose(integers, plan(integers), 512, 512, None, memory << 20) for memory in (2000, 60, 20)]
    assert sizes[0] == 512 > sizes[1] > sizes[2] >= 64
    with pytest.raises(UsageError, match="too little"):
        choose(integers, plan(integers), 512, 512, None, 1 << 20)


def test_sums_are_counted_by_step_and_priced():
    _, ledger, _ = run(model_of(residual()), image(0, 1, 3, 8, 6), "mprn")
    adds = 8 * 6 * 6 * 2
    biases = 8 * 6 * 6 * 3 + 8 * 6 * 24
    assert ledger.current_additions == (adds + biases,) * 4 + (adds,)
    assert ledger.additions == sum(ledger.current_additions) + ledger.output_additions + sum(
        int(layer.bias_additions.sum()) for layer in ledger.layers
    )
    assert ledger.to_dict()["current_additions"] == list(ledger.current_additions)
    assert "current_additions" not in replace(ledger, current_additions=()).to_dict()
    assert OUTPUT not in {layer.name for layer in ledger.layers}
