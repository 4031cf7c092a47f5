"""A tile is a pure function of program and window; results merge in any order."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import pytest

from nspike.engine import run as engine
from nspike.engine.accounts import Accounts
from nspike.engine.program import build
from nspike.engine.tile import run_tile, window
from nspike.engine.tiling import tiles
from nspike.registry.plugins import registry
from tests.graphs import branched, chain, random_model


def equal(one, other):
    """Two ledgers, digests included."""
    for field in fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "layers":
            assert len(left) == len(right) > 0
            for a, b in zip(left, right, strict=True):
                for part in fields(a):
                    np.testing.assert_array_equal(getattr(a, part.name), getattr(b, part.name), part.name)
        elif field.name != "plane_digest":
            assert left == right, field.name


@pytest.mark.parametrize(
    ("network", "neuron", "head"),
    [(chain(3, 9), "mprn", "cpm"), (branched(4, 5, 3, channels=3, gate=True), "if", "membrane")],
)
def test_results_merge_in_any_order_from_anywhere(network, neuron, head):
    program = build(random_model(network), registry().neurons[neuron], registry().heads[head])
    pixels = np.random.default_rng(0).integers(0, 256, (2, network.channels, 150, 140), np.uint8)
    whole = np.full(pixels.shape, np.nan)

    def sink(part):
        whole[part.n, :, *part.core.slices] = part.output

    expected = engine.run(program, pixels, sink=sink, digest=True, threads=2)
    places = [(n, core) for n in range(2) for core in tiles(150, 140, 64)]
    assert len(places) == 18
    with ThreadPoolExecutor(1) as pool:
        results = [
            run_tile(program, window(program, pixels, n, core), pool=pool, threads=1, digest=True) for n, core in places
        ]
        again = run_tile(program, window(program, pixels, *places[4]), pool=pool, threads=1, digest=True)
    np.testing.assert_array_equal(again.part.output, results[4].part.output)
    assert again.leaves == results[4].leaves
    accounts = Accounts(program, 2, 150, 140, digest=True)
    output = np.full(pixels.shape, np.nan)
    for i in np.random.default_rng(1).permutation(len(results)):
        result = pickle.loads(pickle.dumps(results[i]))  # as from another process
        accounts.add(result.counts, result.leaves)
        output[result.part.n, :, *result.part.core.slices] = result.part.output
    np.testing.assert_array_equal(output, whole)
    equal(accounts.ledger(), expected)


def test_a_lost_tile_is_seen():
    program = build(random_model(chain(3)), registry().neurons["if"], registry().heads["membrane"])
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 70, 70), np.uint8)
    expected = engine.run(program, pixels, sink=lambda part: None, digest=True)
    accounts = Accounts(program, 1, 70, 70, digest=True)
    with ThreadPoolExecutor(1) as pool:
        for core in list(tiles(70, 70, 64))[1:]:
            result = run_tile(program, window(program, pixels, 0, core), pool=pool, threads=1, digest=True)
            accounts.add(result.counts, result.leaves)
    with pytest.raises(AssertionError):
        equal(accounts.ledger(), expected)
