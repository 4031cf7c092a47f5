"""Flows: which parts of a network they are, that they change no bit, and what memory they need."""

import numpy as np
import pytest

from nspike.engine import run as engine
from nspike.engine.flows import flows
from nspike.engine.plan import plan
from nspike.engine.program import compiled
from nspike.engine.tiling import bytes_of_tile
from nspike.graph.layer import IMAGE, Activation, Add, ChannelShuffle, Conv
from nspike.graph.network import Network
from nspike.integer import rounding
from nspike.registry.plugins import registry
from tests.engine.handmade import streams
from tests.engine.test_graphs import large, model_of
from tests.graphs import agree, image


def integers_of(network, neuron="lif_hard", **options):
    return rounding.build(model_of(network, **options), registry().neurons[neuron], registry().heads["membrane"])


def found(network, neuron="lif_hard"):
    integers = integers_of(network, neuron)
    return flows(integers, plan(integers))[1]


def whole(integers, pixels, fuse, **options):
    parts = []
    ledger = engine.run(compiled(integers, fuse=fuse), pixels, sink=parts.append, digest=True, **options)
    output = np.full((len(pixels), *integers.network.shapes(*pixels.shape[2:])[integers.network.output]), np.nan)
    for part in parts:
        output[part.n, :, *part.core.slices] = part.output
    return output, ledger


def test_the_parts_of_a_network():
    made = found(streams())
    assert list(made) == ["one", "two", "down", "deep", "skip", "three"]
    shapes = {name: (flow.reads, flow.neurons, flow.ops) for name, flow in made.items()}
    assert shapes["two"] == (("one_b", "two_b", "first"), "down_a", ("two_gp", "two_shuffle"))
    assert shapes["down"] == (("unshuffle",), "deep_a", ())
    assert shapes["skip"] == (("one_b", "two_b", "up_a", "first"), "three_a", ("up", "large"))
    assert [made[name].factor for name in ("two", "skip")] == [1, 2]
    assert made["three"].reads == ("three_b", "skip")
    assert [name for name, flow in made.items() if flow.kept] == ["down", "skip"]
    assert not any(flow.reused for flow in made.values())


def test_what_is_stored(monkeypatch):
    """Where looking up would take too long, a current is stored, and the next one takes its memory."""
    monkeypatch.setattr("nspike.engine.flows.MOST_LOOKED_UP", 0)
    made = found(streams())
    assert made["skip"].reads == ("up_a", "two")
    assert [name for name, flow in made.items() if not flow.kept] == ["deep", "three"]
    assert [name for name, flow in made.items() if flow.reused] == ["two", "skip"]


@pytest.mark.parametrize("neuron", ["mprn", "signed"])
def test_no_part_of_another_neuron(neuron):
    made = found(streams(), neuron)
    assert not made or all(flow.neurons is None for flow in made.values())


def small(*layers, out):
    ends = (Activation("end", out, 16), Conv("last", "end", 16, 1, 3))
    first = (Conv("first", IMAGE, 1, 16, 3), Activation("a", "first", 16))
    return Network("small", 1, (*first, *layers, *ends), "last", "image")


def test_what_is_no_flow():
    point = Conv("point", "a", 16, 16, 1)
    assert list(found(small(point, Conv("more", "a", 16, 16, 3), Add("sum", ("point", "more")), out="sum"))) == ["sum"]
    assert not found(
        small(Conv("conv", "a", 16, 16, 3), Conv("more", "a", 16, 16, 3), Add("sum", ("conv", "more")), out="sum")
    )
    three = small(Conv("six", "a", 16, 18, 1, groups=2), ChannelShuffle("mixed", "six", 3), Activation("b", "mixed", 18),
                  Conv("back", "b", 18, 16, 1), out="back")  # fmt: skip
    assert not found(three)


NEURONS = ["lif_hard", "lif", "if"]


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("timesteps", [3, 4, 5, 8])
def test_against_the_general_path(neuron, timesteps):
    network = streams(*((16, 4) if timesteps != 5 else (96, 12)))
    integers = integers_of(network, neuron, timesteps=timesteps)
    pixels = large(network, timesteps, 66, 100)
    output, ledger = whole(integers, pixels, False, threads=1)
    assert min(layer.events.sum() for layer in ledger.layers) > 0
    for options in ({"threads": 1}, {"threads": 3}, {"threads": 2, "tile": 64}):
        again, other = whole(integers, pixels, True, **options)
        np.testing.assert_array_equal(again, output)
        assert other.to_dict() == ledger.to_dict()


@pytest.mark.parametrize("neuron", NEURONS)
def test_against_the_slow_version(neuron):
    agree(model_of(streams(), 3, timesteps=4), image(1, 1, 3, 4, 6), neuron, threads=2)


def test_a_sum_of_more_and_a_current_read_twice():
    layers = (
        Conv("two", "a", 16, 16, 1, groups=4),
        ChannelShuffle("mixed", "two", 4),
        Activation("b", "mixed", 16),
        Activation("c", "mixed", 16),
        Conv("three", "b", 16, 16, 1, groups=2),
        Add("sum", ("three", "mixed")),
        Conv("four", "c", 16, 16, 1),
        Add("all", ("sum", "four", "first")),
    )
    network = small(*layers, out="all")
    agree(model_of(network, 1, timesteps=4), image(2, 1, 1, 5, 7), "lif", threads=2)


def test_less_memory():
    integers = integers_of(streams())
    simple = plan(integers)
    better, _ = flows(integers, simple)
    assert bytes_of_tile(integers, better, 128, 1024, 1024) < 0.7 * bytes_of_tile(integers, simple, 128, 1024, 1024)
