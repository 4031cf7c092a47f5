"""Which currents share a scale and a grid, on networks small enough to say it by hand."""

import numpy as np
import pytest

from nspike.errors import ModelError
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    Bilinear,
    ChannelShuffle,
    Concat,
    Conv,
    Nearest,
    PixelShuffle,
    PixelUnshuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.integer.components import components
from nspike.integer.normalise import current_scales, spikes_scale, threshold_factors
from nspike.integer.rounding import build
from nspike.model.model import OUTPUT, Spiking
from nspike.registry.plugins import registry
from tests import naive_network
from tests.graphs import chain, random_model
from tests.random_graphs import random_graph


def network(*layers, channels=1):
    return Network("hand", channels, layers, layers[-1].name, "image")


def spiking(net, **scales):
    found = {a.name: np.ones(a.channels) for a in net.activations} | {OUTPUT: np.ones(net.channels)}
    found |= {name: np.asarray(values, float) for name, values in scales.items()}
    return Spiking("if", "membrane", 4, found, {name: np.ones(len(v)) for name, v in found.items()})


def integers(model, neuron="if"):
    return build(model, registry().neurons[neuron], registry().heads["membrane"])


RESIDUAL = (
    Conv("c1", IMAGE, 1, 2, 3),
    Activation("a1", "c1", 2),
    Conv("c2", "a1", 2, 2, 3),
    Add("sum", ("c1", "c2")),
    Activation("a2", "sum", 2),
    Conv("c3", "a2", 2, 1, 3),
)


def test_a_residual_shares_one_scale_that_of_the_first_neurons():
    net = network(*RESIDUAL)
    parts = components(net)
    assert parts.integrators == (("a1", "c1"), ("a2", "sum"), (OUTPUT, "c3"))
    assert parts.roots["c1"].tolist() == parts.roots["c2"].tolist() == parts.roots["sum"].tolist()
    assert len({*parts.roots["c1"].tolist(), *parts.roots["c3"].tolist()}) == 3
    form = spiking(net, a1=[2, 3], a2=[8, 6], output=[5])
    scales = current_scales(net, form)
    assert {name: each.tolist() for name, each in scales.items()} == {
        "c1": [2, 3],
        "c2": [2, 3],
        "sum": [2, 3],
        "c3": [5],
    }
    factors = threshold_factors(net, form)
    assert {name: each.tolist() for name, each in factors.items()} == {"a1": [1, 1], "a2": [4, 2], OUTPUT: [1]}


def test_a_residual_in_integers():
    found = integers(random_model(network(*RESIDUAL), theta=False))
    assert [(s.name, s.layer.name, s.fused) for s in found.stages] == [
        ("a1", "c1", False),
        ("a2", "sum", False),
        (OUTPUT, "c3", True),
    ]
    assert [w.name for w in found.writers] == ["c1", "c2"]
    assert found.writer("c2").sources == ("a1",)
    assert found.stage("a2").sources == found.writer("c1").sources == ()
    assert found.stage("a2").integer.weights.shape == (1, 2, 0, 1, 1)
    assert not found.stage("a2").integer.bias.any()
    for name in ("a1", "a2"):
        assert found.stage(name).integer.exponent.tolist() == found.writer("c1").exponent.tolist()
    assert not found.shifts


def test_the_output_comes_first_as_heads_read_in_its_units():
    net = network(
        Conv("c1", IMAGE, 1, 1, 3), Activation("a", "c1", 1), Conv("c2", "a", 1, 1, 3), Add("sum", ("c1", "c2"))
    )
    form = spiking(net, a=[2], output=[5])
    assert current_scales(net, form)["c1"].tolist() == [5]
    assert threshold_factors(net, form)["a"].tolist() == [2 / 5]


def test_channels_that_a_shuffle_brings_together():
    net = network(Conv("c", IMAGE, 1, 4, 3), PixelShuffle("up", "c", 2), AveragePool("down", "up", 2))
    assert len(set(components(net).roots["c"].tolist())) == 1
    assert current_scales(net, spiking(net, output=[3]))["c"].tolist() == [3] * 4
    net = network(Conv("c", IMAGE, 3, 3, 3), ChannelShuffle("s", "c", 3), channels=3)
    assert current_scales(net, spiking(net, output=[1, 2, 3]))["c"].tolist() == [1, 2, 3]
    layers = (Conv("c", IMAGE, 1, 6, 3), ChannelShuffle("s", "c", 3), Activation("a", "s", 6), Conv("d", "a", 6, 1, 3))
    net = network(*layers)
    # channel i·2 + j of the current goes to j·3 + i of the shuffled one
    assert current_scales(net, spiking(net, a=[10, 11, 12, 13, 14, 15]))["c"].tolist() == [10, 13, 11, 14, 12, 15]


def test_channels_that_nothing_integrates_have_the_scale_one():
    net = network(Conv("c", IMAGE, 1, 3, 3), Slice("s", "c", 1, 1))
    assert current_scales(net, spiking(net, output=[7]))["c"].tolist() == [1, 7, 1]


def test_sums_of_finer_grids_shift_the_coarser():
    net = network(
        Conv("c", IMAGE, 1, 1, 3),
        AveragePool("down", "c", 4),
        Bilinear("half", "down"),
        Bilinear("up", "half"),
        Conv("d", IMAGE, 1, 1, 1),
        Add("sum", ("c", "up", "d")),
    )
    parts = components(net)
    assert {name: each.tolist() for name, each in parts.offsets.items()} == {
        "c": [0],
        "down": [4],
        "half": [8],
        "up": [12],
        "d": [0],
        "sum": [12],
    }
    assert {key: each.tolist() for key, each in parts.shifts.items()} == {("sum", "c"): [12], ("sum", "d"): [12]}
    found = integers(random_model(net))
    assert found.stages[-1].integer.exponent[0] == found.writer("c").exponent[0] + 12


def test_a_shuffle_of_channels_on_two_grids_shifts_the_coarser():
    net = network(
        Conv("c", IMAGE, 1, 2, 3),
        AveragePool("down", "c", 2),
        Nearest("same", "down"),
        Concat("both", ("same", "c")),
        PixelShuffle("up", "both", 2),
        AveragePool("end", "up", 2),
    )
    parts = components(net)
    assert parts.offsets["both"].tolist() == [2, 2, 0, 0]
    assert parts.offsets["up"].tolist() == [2]
    assert {key: each.tolist() for key, each in parts.shifts.items()} == {("up", "both"): [0, 0, 2, 2]}


@pytest.mark.parametrize("seed", range(40))
def test_components_of_random_networks(seed):
    net = random_graph(seed)
    parts, groups, finer = components(net), naive_network.components(net), naive_network.offsets(net)
    names = {(name, c) for name in naive_network.currents(net) for c in range(net.widths[name])}
    assert {(name, c) for name, roots in parts.roots.items() for c in range(len(roots))} == names
    by_root = {}
    for name, c in names:
        by_root.setdefault(parts.roots[name][c], set()).add((name, c))
        assert parts.offsets[name][c] == finer[name, c]
    assert all(groups[one] == by_root[parts.roots[one[0]][one[1]]] for one in names)


def test_what_cannot_be():
    net = network(Conv("c", IMAGE, 1, 1, 3), Conv("d", IMAGE, 1, 1, 3))
    with pytest.raises(ModelError, match="current of 'c' reaches no neurons"):
        components(net)
    net = network(Conv("c", IMAGE, 1, 1, 3), Activation("output", "c", 1), Conv("d", "output", 1, 1, 3))
    with pytest.raises(ModelError, match="no activation may be called 'output'"):
        components(net)
    net = network(Conv("c", IMAGE, 3, 1, 3), Concat("x", ("c", "c", "c")), channels=3)
    with pytest.raises(ModelError, match="several channels of the output"):
        current_scales(net, spiking(net, output=[1, 1, 2]))
    assert current_scales(net, spiking(net, output=[2, 2, 2]))["c"].tolist() == [2]


def test_spikes_that_are_brought_together_need_one_scale():
    net = network(
        Conv("c", IMAGE, 1, 4, 3),
        Activation("a", "c", 4),
        PixelShuffle("up", "a", 2),
        PixelUnshuffle("down", "up", 2),
        Conv("d", "down", 4, 1, 3),
    )
    with pytest.raises(ModelError, match="'up' makes one channel of spikes of several"):
        spikes_scale(net, spiking(net, a=[1, 2, 1, 1]), "down")
    assert spikes_scale(net, spiking(net, a=[2] * 4), "down").tolist() == [2] * 4
    with pytest.raises(ModelError, match="no scale for 'act0'"):
        current_scales(chain(1), Spiking("if", "membrane", 4, {OUTPUT: np.ones(1)}, {}))
