"""Which parts of a network one pass does, which spikes are held as numbers, and that no bit depends on it."""

import pytest

from nspike.engine import run as engine
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.program import build, compiled
from nspike.engine.spikes import WideSpikes
from nspike.engine.tiling import unit
from nspike.graph.layer import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    ChannelShuffle,
    Concat,
    Conv,
    Gate,
    Nearest,
    PixelShuffle,
    Slice,
)
from nspike.graph.network import Network
from nspike.integer import rounding
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from tests.engine.handmade import grouped, residual, unet
from tests.engine.test_digits import FEW_SPIKES, integers_of, model, ran, spoil, without_digits, woven
from tests.engine.test_graphs import given_of, large, same
from tests.graphs import agree, branched, image, run


def conv(name, source="a", read=16, channels=16, kernel=3, **options):
    return Conv(name, source, read, channels, kernel, **options)


def small(*layers, out, channels=16, smaller=False):
    """Between a first convolution of the image and the last one of spikes; smaller: what is between makes it twice as large."""
    ends = [Activation("end", out, channels), conv("last", "end", channels, 1)]
    if smaller:
        ends[1:] = [
            conv("back", "end", channels, kernel=2, stride=2),
            Activation("e", "back", 16),
            conv("last", "e", 16, 1),
        ]
    first = (Conv("first", IMAGE, 1, 16, 3), Activation("a", "first", 16))
    return Network("small", 1, (*first, *layers, *ends), "last", "image")


def made(network, **options):
    """The passes by name, as (its convolution, bases, other ops, neurons, whether it is kept, whose memory becomes its own)."""
    found = compiled(integers_of(network), **options).passes
    return {n: (p.op.name, p.bases, p.ops, p.neurons, p.kept, p.reused) for n, p in found.items()}


OTHER, MORE = Conv("other", IMAGE, 1, 16, 3), Conv("more", IMAGE, 1, 16, 3)
LARGE = (conv("x", channels=64), PixelShuffle("large", "x", 2))
B, C = Activation("b", "one", 16), Activation("c", "one", 16, signed=True)
BOTH = (Concat("both", ("b", "c")), conv("z", "both", 32))

JOINED = {
    "a sum": (
        small(conv("x"), Add("one", ("first", "x")), out="one"),
        {"one": ("x", ("first",), ("x",), "end", False, None)},
    ),
    "a sum the other way round": (
        small(conv("x"), Add("one", ("x", "first")), out="one"),
        {"one": ("x", ("first",), ("x",), "end", False, None)},
    ),
    "two sums": (
        small(OTHER, conv("x"), Add("one", ("first", "x")), Add("two", ("other", "one")), out="two"),
        {"two": ("x", ("first", "other"), ("x", "one"), "end", False, None)},
    ),
    "the same twice": (
        small(conv("x"), Add("one", ("first", "x")), Add("two", ("one", "first")), out="two"),
        {"two": ("x", ("first", "first"), ("x", "one"), "end", False, None)},
    ),
    "no third sum": (
        small(OTHER, MORE, conv("x"), Add("one", ("first", "x")), Add("two", ("other", "one")),
              Add("three", ("two", "more")), out="three"),
        {"two": ("x", ("first", "other"), ("x", "one"), None, True, "first")},
    ),
    "two convolutions": (
        small(conv("x"), conv("y"), Add("one", ("x", "y")), out="one"),
        {"one": ("x", ("y",), ("x",), "end", False, None)},
    ),
    "sums of two convolutions": (
        small(conv("x"), conv("y"), Add("one", ("first", "x")), Add("two", ("one", "y")), out="two"),
        {"two": ("x", ("first", "y"), ("x", "one"), "end", False, None)},
    ),
    "no sum of three": (small(OTHER, conv("x"), Add("one", ("first", "x", "other")), out="one"), {}),
    "no sum with itself": (small(conv("x"), Add("one", ("x", "x")), out="one"), {}),
    "no other number of channels": (
        small(conv("x", channels=8), conv("y", channels=8), Add("one", ("x", "y")), out="one", channels=8),
        {},
    ),
    "neurons alone": (small(conv("x"), out="x"), {}),
    "two layers of neurons": (
        small(conv("one"), B, C, *BOTH, out="z"),
        {"one": ("one", (), (), "b", True, None)},
    ),
    "two layers of neurons of a sum": (
        small(conv("x"), Add("one", ("first", "x")), B, C, *BOTH, out="z"),
        {"one": ("x", ("first",), ("x",), "b", True, "first")},
    ),
    "neurons and a sum": (
        small(conv("x"), Add("one", ("first", "x")), B, conv("y", "b"), Add("two", ("one", "y")), out="two"),
        {
            "one": ("x", ("first",), ("x",), "b", True, "first"),
            "two": ("y", ("one",), ("y",), "end", False, None),
        },
    ),
    "what is read once more": (
        small(conv("x"), Add("one", ("first", "x")), B, C, *BOTH, Add("two", ("first", "z")), out="two"),
        {
            "one": ("x", ("first",), ("x",), "b", True, None),  # the memory of `first` is not free yet
            "two": ("z", ("first",), ("z",), "end", False, None),
        },
    ),
    "neurons that are no numbers": (
        small(conv("x"), Add("one", ("first", "x")), B, conv("y", "b", groups=2), out="y"),
        {"one": ("x", ("first",), ("x",), None, True, "first")},
    ),
    "a shuffle": (small(*LARGE, out="large", smaller=True), {"large": ("x", (), ("x",), "end", False, None)}),
    "no shuffle to other channels": (
        small(conv("x", channels=32), PixelShuffle("large", "x", 2), out="large", channels=8, smaller=True),
        {},
    ),
    "no sum after a shuffle": (
        small(*LARGE, conv("y", channels=64), PixelShuffle("one", "y", 2), Add("two", ("large", "one")), out="two",
              smaller=True),
        {"large": ("x", (), ("x",), None, True, None), "one": ("y", (), ("y",), None, True, None)},
    ),
    "a shuffle that is added": (
        small(*LARGE, Activation("b", "large", 16), conv("y", "b"), Add("one", ("large", "y")),
              Activation("c", "one", 16), conv("z", "c"), Add("two", ("one", "z")), out="two", smaller=True),
        {
            "large": ("x", (), ("x",), "b", True, None),
            "one": ("y", ("large",), ("y",), "c", True, "large"),
            "two": ("z", ("one",), ("z",), "end", False, None),
        },
    ),
    "no shift": (
        small(AveragePool("mean", "first", 2), conv("x", stride=2), Add("one", ("x", "mean")), Nearest("two", "one", 2),
              out="two"),
        {},
    ),
    "a mean of a sum": (
        small(conv("x"), Add("one", ("x", "first")), AveragePool("two", "one", 2), Nearest("three", "two", 2), out="three"),
        {"one": ("x", ("first",), ("x",), None, True, "first")},
    ),
    "the network's output": (
        Network("out", 16, (Conv("first", IMAGE, 16, 16, 3), Activation("a", "first", 16), conv("x"),
                            Add("out", ("x", "first"))), "out", "image"),
        {"out": ("x", ("first",), ("x",), None, True, "first")},
    ),
    "the network's output, shuffled": (
        Network("out", 16, (Conv("first", IMAGE, 16, 16, 3), Activation("a", "first", 16),
                            *LARGE), "large", "image"),
        {"large": ("x", (), ("x",), None, True, None)},
    ),
    "blocks": (
        residual(16),
        {
            "sum0": ("out0", ("first",), ("out0",), "s1", True, "first"),
            "sum1": ("out1", ("sum0",), ("out1",), "t", False, None),
            "large": ("up", (), ("up",), "u", False, None),
        },
    ),
    "woven": (
        woven(),
        {
            "large": ("up", (), ("up",), "d", True, None),
            "two": ("more", ("large", "first"), ("more", "one"), "e", True, "large"),
            "three": ("again", ("two",), ("again",), "f", True, "two"),
            "four": ("fine", ("three",), ("fine",), "h", False, None),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINED)
def test_what_one_pass_does(name):
    network, expected = JOINED[name]
    assert made(network) == expected
    assert not made(network, fuse=False)


def test_what_is_stored():
    """What a pass makes in between is never stored, nor is what only its neurons read; what it adds lives until then."""
    plan = compiled(integers_of(JOINED["neurons and a sum"][0])).plan
    assert plan.unstored == {"x", "y", "two"}
    assert dict(plan.reuses) == {"one": "first"}
    done = dict(zip((op.name for op in plan.ops), plan.finished, strict=True))
    assert done["one"] == ("first", "a", "x")
    assert set(done["two"]) == {"one", "b", "y"}


def test_no_pass_without_digits():
    for network, neuron, timesteps in (
        (residual(16), "if", 1),
        (residual(16), FEW_SPIKES, 2),
        (grouped(16), FEW_SPIKES, 1),
    ):
        neuron = registry().neurons[neuron] if isinstance(neuron, str) else neuron
        program = compiled(integers_of(network, neuron, timesteps))
        assert not program.passes
        assert not program.plan.numbers or network.name == "grouped"


def numbers(network, **options):
    return set(compiled(integers_of(network), **options).plan.numbers)


def test_what_is_held_as_numbers():
    """Where all that read it convolve digits."""
    assert numbers(residual(16)) == {"s0", "r0", "s1", "r1", "t", "u"}
    assert numbers(residual(16), fuse=False) == numbers(residual(16))
    assert numbers(unet(16, 32)) == {"a", "b", "d", "e", "f"}  # c is read by a dilated convolution
    assert numbers(branched(16, 32, 64, gate=True)) == {"a", "b", "c"}
    assert numbers(branched(16, 32, 24)) == set()  # (b, a, c) are read together, c having no multiple of 16 channels
    assert numbers(woven()) == set("abcdefgh")
    assert not numbers(residual(8))
    assert not compiled(integers_of(residual(16), FEW_SPIKES, 2)).plan.numbers


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("network", [woven(), unet(16, 32)], ids=["woven", "unet"])
def test_what_a_tile_holds(network, fuse):
    """Numbers where the plan says so, else bits."""
    program, held = compiled(integers_of(network), fuse=fuse), {}
    engine.run(
        program,
        large(network, 1, 66, 80),
        sink=lambda part: None,
        observer=lambda seen: held.setdefault(seen.layer, type(seen.packed)),
        tile=unit(network),
    )
    assert {name for name, kind in held.items() if kind is DigitSpikes} == program.plan.numbers
    assert all(kind in (DigitSpikes, WideSpikes) for kind in held.values())


OTHERS = {
    "groups": conv("x", groups=2),
    "depthwise": conv("x", groups=16),
    "dilation": conv("x", dilation=2),
    "stride": conv("x", kernel=5, stride=5),
    "channels shuffled": ChannelShuffle("x", "a", 4),
    "some channels": Slice("x", "a", 0, 16),
    "enlarged": Nearest("x", "a", 2),
    "pixels shuffled": PixelShuffle("x", "a", 2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_one_reader_of_another_kind(name):
    """Then they are bits, for what convolves digits too."""
    reader = OTHERS[name]
    branch = [reader, Activation("c", "x", 16)]
    if type(reader) is not Conv:
        branch[1:] = [conv("w", "x", 4 if type(reader) is PixelShuffle else 16), Activation("c", "w", 16)]
    network = small(*branch, conv("y"), Activation("b", "y", 16), conv("z", "b"), out="z")
    assert numbers(network) == {"b", "c", "end"}
    integers = integers_of(network)
    program = compiled(integers)
    pixels = large(network, 1, 40, 70)
    found = ran(program, pixels, threads=2)
    assert all(found[2][layer].any() for layer in "abc")
    with pytest.MonkeyPatch.context() as patch:
        without_digits(patch)
        same(found, ran(compiled(integers), pixels))


def test_one_reader_that_is_a_gate():
    layers = (Conv("first", IMAGE, 16, 16, 3), Activation("a", "first", 16), conv("x"), Activation("b", "x", 16),
              conv("y", "b"), Activation("c", "y", 16), Gate("gate", "c", 16))  # fmt: skip
    network = Network("gated", 16, layers, "gate", "image")
    assert numbers(network) == {"a", "b"}


def test_given_spikes_are_no_numbers():
    network = residual(16)
    kept, pixels = model(network), large(network, 1, 20, 30)
    spikes, head = run(kept, pixels, FEW_SPIKES)[2], registry().heads["membrane"]
    neuron = build(kept, FEW_SPIKES, head).integers.stage("s1").neuron
    program = build(kept, FEW_SPIKES, head, given_of(kept, spikes, "s1", neuron))
    assert program.plan.numbers == {"s0", "r0", "r1", "t", "u"}
    assert not program.passes


# ----- No bit depends on it -----


def check(network, monkeypatch, head="membrane"):
    """Spikes, counts, digests and output: in one pass, each part by itself, and from a sum over spikes; in memory used again."""
    kept, pixels, tile = model(network), large(network, 2, 66, 100), unit(network)
    integers = rounding.build(kept, FEW_SPIKES, registry().heads[head])
    program, alone = compiled(integers), compiled(integers, fuse=False)
    found = [ran(each, pixels, threads=1) for each in (program, alone)]
    assert pixels.shape[2] > tile
    with monkeypatch.context() as patch:
        spoil(patch)
        for each in (program, alone):
            found += [ran(each, pixels, threads=1), ran(each, pixels, threads=2, tile=tile)]
    with monkeypatch.context() as patch:
        without_digits(patch)
        expected = ran(compiled(integers), pixels, threads=2)
    assert all(spikes.any() for name, spikes in expected[2].items() if name != OUTPUT)
    for each in found:
        same(each, expected)


def of_output(name):
    return name.startswith("the network's output")


@pytest.mark.parametrize("name", [name for name in JOINED if not of_output(name)])
def test_no_bit_depends_on_it(name, monkeypatch):
    check(JOINED[name][0], monkeypatch)


@pytest.mark.parametrize("name", [n for n in JOINED if of_output(n)])
def test_the_output_is_counted_where_it_lies(name, monkeypatch):
    """Spikes of an output whose current is in another's memory, or part of a larger one."""
    check(JOINED[name][0], monkeypatch, "rate")


LONG = small(
    OTHER, conv("x"), conv("y"), Add("one", ("first", "x")), Add("two", ("one", "y")), Add("three", ("two", "other")),
    out="three",
)  # fmt: skip


def test_two_convolutions_in_one_long_sum(monkeypatch):
    check(LONG, monkeypatch)


def test_against_the_slow_version():
    network = JOINED["neurons and a sum"][0]
    agree(model(network), image(1, 1, 1, 3, 5), "few_spikes", threads=2)
    network = JOINED["a shuffle that is added"][0]
    agree(model(network), image(1, 1, 1, 2, 4), "few_spikes", threads=2)
