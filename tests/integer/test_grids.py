"""The grids of components: what a current can be at most, counted in the integers themselves."""

from math import fsum

import numpy as np
import pytest

from nspike.graph.layer import Add, AveragePool, Bilinear, Conv, Gate
from nspike.integer.components import components
from nspike.integer.driver import FLOATS, Spikes
from nspike.integer.grid import RANGE
from nspike.integer.rounding import build, neurons_of, stage_thetas
from nspike.registry.plugins import registry
from tests import naive, naive_network
from tests.graphs import random_case

SEEDS = range(40)


def case(seed):
    model, _, name, head = random_case(seed)
    neuron = registry().neurons[name]
    return model, neuron, build(model, neuron, registry().heads[head])


def gain_of(layer):
    """How many times larger the integers of a sum are than those of a sum without weights."""
    return layer.size**2 if isinstance(layer, AveragePool) else 16 if isinstance(layer, Bilinear) else 1


@pytest.mark.parametrize("seed", SEEDS)
def test_no_current_can_pass_the_range_for_any_spikes_and_image(seed):
    model, _, integers = case(seed)
    network, most, slack = model.network, {}, {}
    drivers = {w.name: w for w in integers.writers} | {s.layer.name: s.integer for s in integers.stages if s.fused}
    gates = {s.layer.name: s.gate for s in integers.stages} | {w.name: w.gate for w in integers.writers}
    for name in naive_network.currents(network):
        layer = network.layer(name)
        for c in range(network.widths[name]):
            if name in drivers:
                weights, bias = drivers[name].weights[:, c].astype(np.int64), abs(int(drivers[name].bias[c]))
                analog = naive_network.value(network, layer.source) == "image"
                most[name, c] = (4 if analog else 1) * int(np.abs(weights).sum(axis=(1, 2, 3)).max()) + bias
                assert np.abs(weights).max(initial=0) <= (32767 if analog else 4095)
                slack[name, c] = 1 + weights[0].size * 4  # of rounding each number to the grid
                if isinstance(layer, Gate):
                    most[name, c] += int(np.ceil(gates[name][c] * 5 * 2.0 ** int(drivers[name].exponent[c])))
                continue
            both = naive_network.feeds(network, name, c)
            up = [2 ** int(integers.shifts.get((name, s), np.zeros(d + 1, int))[d]) for s, d in both]
            join = sum if isinstance(layer, Add) else max
            for held in (most, slack):
                held[name, c] = gain_of(layer) * join(held[other] * u for other, u in zip(both, up, strict=True))
    for one, value in most.items():
        assert value <= RANGE + slack[one], one
    for stage in integers.stages:
        assert (stage.integer.theta <= RANGE).all()
        assert (np.abs(stage.v0) <= RANGE).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_grid_twice_as_fine_would_not_do(seed):
    """Of each component some bound is above a half of what it may be; without any bound the exponent is 0."""
    model, neuron, integers = case(seed)
    network, spiking = model.network, model.spiking
    parts = components(network)
    neurons = neurons_of(network, neuron)
    released = {0: 1.0, 1: 1.3}[int(not network.of_kind(Gate))]
    amplitudes = {"mprn_beta": (1.0, released), "atif": (0.9, 0.9)}.get(neuron.name, (1.0, 1.0))
    spikes = Spikes(neurons, lambda name: amplitudes)
    exponent = {w.name: w.exponent for w in integers.writers} | {
        s.layer.name: s.integer.exponent for s in integers.stages
    }
    share, total, first = {}, {}, {}
    for name in naive_network.currents(network):
        layer = network.layer(name)
        driver = FLOATS[type(layer)](model, spiking, layer, spikes) if isinstance(layer, Conv | Gate) else None
        for c, (root, offset) in enumerate(zip(parts.roots[name], parts.offsets[name], strict=True)):
            fed = [] if driver is not None else [total[other] for other in naive_network.feeds(network, name, c)]
            join = fsum if isinstance(layer, Add) else max
            total[name, c] = driver.bounds.total[c] if driver is not None else join(fed)
            shares = [total[name, c] / RANGE * 2.0**offset]
            shares += [driver.bounds.largest[c] / driver.bounds.limit] if driver is not None else []
            share[root] = max(share.get(root, 0.0), *shares)
            if name in exponent:
                first[root] = exponent[name][c] - offset
    for stage, theta in stage_thetas(network, spiking).items():
        current = dict(parts.integrators)[stage]
        for c, root in enumerate(parts.roots[current]):
            share[root] = max(share[root], theta[c] / RANGE * 2.0 ** parts.offsets[current][c])
    for root, k in first.items():
        filled = share[root] * 2.0**k
        assert 0.5 < filled <= 1 if share[root] else k == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_exponents_are_the_definitions(seed):
    model, neuron, integers = case(seed)
    kinds = naive.kinds_of(model.network, naive.NEURONS[neuron.name])
    k, *_ = naive.grids(model, kinds)
    for stage in integers.stages:
        assert stage.integer.exponent.tolist() == k[stage.layer.name]
    for (name, source), shift in integers.shifts.items():
        for c in range(model.network.widths[name]):
            for other, d in naive_network.feeds(model.network, name, c):
                if other == source:
                    bits = naive_network.own_bits(model.network.layer(name))
                    assert k[name][c] == k[source][d] + bits + shift[d]
