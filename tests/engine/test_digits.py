"""Which convolutions read digits and which neurons fire them, and that no bit depends on it."""

from dataclasses import replace

import numpy as np
import pytest
from nspike_plugins.burst import NEURON as BURST
from nspike_plugins.few_spikes import NEURON as FEW_SPIKES

from nspike.engine import digit_spikes, general
from nspike.engine import run as engine
from nspike.engine.digit_conv import DigitConv
from nspike.engine.digits import form_of, reads_digits
from nspike.engine.program import build, compiled
from nspike.engine.tiling import unit
from nspike.graph.layer import IMAGE, Activation, Add, Concat, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.integer import rounding
from nspike.integer.grid import NEVER_FIRES
from nspike.kernels import digits
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from nspike.runtime import buffers
from tests.engine.handmade import grouped, residual, unet
from tests.engine.test_graphs import given_of, large, model_of, same
from tests.graphs import agree, branched, chain, image, run
from tests.kernels.test_digits import greedy

SEVEN = replace(FEW_SPIKES, planes=tuple(2**k for k in range(7)), most_spikes=127)


def integers_of(network, neuron=FEW_SPIKES, timesteps=1):
    return rounding.build(model_of(network, timesteps=timesteps), neuron, registry().heads["membrane"])


def reading(network, *numbers):
    """The convolutions whose kernel is that of digits."""
    integers = integers_of(network, *numbers)
    fused = [stage for stage in integers.stages if stage.fused]
    return {part.layer.name for part in (*fused, *integers.writers) if reads_digits(integers, part)}


def strided(stride):
    """Smaller and as large again: the currents of shuffles, whose rectangles seldom end where a tile does."""
    layers = (
        Conv("first", IMAGE, 3, 16, 3),
        Activation("a", "first", 16, signed=True),
        Conv("small", "a", 16, 32, stride + 1, stride=stride),
        Activation("b", "small", 32),
        Conv("back", "b", 32, 16 * stride**2, 3),
        PixelShuffle("large", "back", stride),
        Activation("c", "large", 16, signed=True),
        Conv("last", "c", 16, 3, 5),
    )
    return Network("strided", 3, layers, "last", "image")


def test_what_reads_digits():
    """Neither what reads the image, nor dilated or grouped convolutions, nor other numbers of channels, nor wide strides."""
    assert reading(unet(16, 32)) == {"down", "deep", "up", "mix", "last"}
    assert reading(unet(8, 16)) == {"deep", "up"}
    assert reading(residual(16)) == {"in0", "out0", "in1", "out1", "up", "last"}
    assert reading(branched(16, 32, 24)) == {"conv_b", "conv_c"}
    assert not reading(grouped(16)) - {"other", "last"}
    assert not reading(unet(16, 32), FEW_SPIKES, 2)
    assert reading(strided(4)) == {"small", "back", "last"}
    assert reading(strided(5)) == {"back", "last"}


@pytest.mark.parametrize(
    ("neuron", "signed", "read"),
    [
        (FEW_SPIKES, True, True),
        (SEVEN, False, True),
        (SEVEN, True, False),  # 127 + 64 is no byte with a sign
        (replace(FEW_SPIKES, planes=FEW_SPIKES.planes[:5], most_spikes=31), False, False),  # weights of up to 255
        (registry().neurons["signed"], True, False),
        (registry().neurons["if"], False, False),
    ],
)
def test_which_spikes_are_digits(neuron, signed, read):
    network = residual(16) if signed else chain(16, 16)
    names = {"in0", "in1", "up", "last"} if signed else {"conv1", "conv2"}
    assert (reading(network, neuron) & names == names) is read


@pytest.mark.parametrize(("neuron", "read"), [(BURST, False), (SEVEN, True)])
def test_bursts_at_a_single_step(neuron, read):
    """Three planes are no digits, as they have weights of up to 1023; what reads seven has weights of up to 63."""
    kept = model_of(chain(16, 16), timesteps=1, level=2.0)
    integers = rounding.build(kept, neuron, registry().heads["membrane"])
    stage = integers.stage("act1")
    assert np.abs(stage.integer.weights).max() > 127 * 4
    assert reads_digits(integers, stage) is read
    _, _, spikes = run(kept, image(0, 1, 1, 3, 4), neuron)
    assert spikes["act1"].any()


def test_sources_of_different_planes_are_no_digits():
    """Spikes that are given may be another neuron's."""
    head = registry().heads["membrane"]
    model = model_of(branched(16, 16, 16), timesteps=1)
    integers = rounding.build(model, FEW_SPIKES, head, {"b": SEVEN})
    assert {s.name for s in integers.stages if reads_digits(integers, s)} == {"b"}


def firing(network, *numbers):
    integers = integers_of(network, *numbers)
    return {stage.name for stage in integers.stages if form_of(stage, integers.steps) is not None}


def test_what_fires_digits():
    widths = (16, 24, 32, 40, 48, 64, 80, 96, 128)
    assert firing(chain(*widths)) == {f"act{i}" for i, width in enumerate(widths) if width not in (24, 40)}
    assert firing(residual(16)) == {"s0", "r0", "s1", "r1", "t", "u"}
    network = chain(16, 32)
    for neuron in (BURST, SEVEN):
        assert firing(network, neuron) == {"act0", "act1"}
    others = [replace(FEW_SPIKES, keep=lambda p: 0.5), replace(FEW_SPIKES, reset="zero"), registry().neurons["if"]]
    others.append(replace(FEW_SPIKES, input_factor=lambda p: 0.5))
    for neuron in others:
        assert not firing(network, neuron)
    assert not firing(network, FEW_SPIKES, 2)


@pytest.mark.parametrize("signed", [False, True])
def test_the_form_of_neurons(signed):
    """Fires as the definition says, whatever the thresholds and what a spike takes."""
    network = residual(16) if signed else chain(16, 16)
    neuron = FEW_SPIKES if signed else replace(SEVEN, most_spikes=100)
    stage = integers_of(network, neuron).stage("t" if signed else "act1")
    most = stage.dynamics.most
    assert most < 2 ** len(stage.neuron.planes[: stage.dynamics.up]) - 1
    draw, channels = np.random.default_rng(0), stage.channels
    never = np.arange(channels) % 7 == 6
    for _ in range(20):
        threshold, reset = draw.integers(1, 2 ** draw.integers(1, 25, (2, 1, channels)), endpoint=True)
        reset[:, 1], reset[:, 2], threshold[:, 3] = 2**31 - 1, 1, 1
        threshold[:, never], reset[:, never] = NEVER_FIRES, 0
        v0 = draw.integers(-999, 999, channels).astype(np.int32)
        own = replace(stage, threshold=threshold.astype(np.int32), reset=reset.astype(np.int32), v0=v0)
        limits = np.where(never, 2**30, threshold + reset * np.arange(most + 1)[:, None])
        u = np.minimum((limits[:, None] + np.array([-1, 0, 1])[:, None]).reshape(-1, channels), 2**31 - 2000)
        u = np.concatenate([u, -u])
        expected = np.where(u < 0, -signed, 1) * greedy(abs(u) if signed else u, threshold[0], reset[0], most)
        assert not expected[:, never].any()
        fired, where = np.zeros(u.size, np.uint8), np.zeros((2, 2), np.int64)
        given, block = (u - v0).astype(np.int32).ravel(), np.array([0, 1, len(u)])
        digits.fire(given, where, channels, form_of(own, 1), fired, block)
        np.testing.assert_array_equal(fired.reshape(u.shape), expected + 64 * signed)
    assert form_of(replace(own, reset=np.zeros_like(reset)), 1) is None


def concatenated(a=48, b=32, c=64, d=16):
    """Sources with a sign and without side by side, at stride 2 too."""
    layers = (
        Conv("first", IMAGE, 3, a, 3),
        Activation("a", "first", a, signed=True),
        Conv("second", "a", a, b, 3),
        Activation("b", "second", b),
        Concat("both", ("b", "a")),
        Conv("third", "both", a + b, c, 2, stride=2),
        Activation("c", "third", c, signed=True),
        Conv("fourth", "c", c, d, 3, stride=2),
        Activation("d", "fourth", d),
        Conv("last", "d", d, 48, 1),
        PixelShuffle("large", "last", 4),
    )
    return Network("concatenated", 3, layers, "large", "image")


def woven(factor=2):
    """Sums of several convolutions and of a shuffled current, currents that two layers of neurons and a sum read."""
    layers = (
        Conv("first", IMAGE, 3, 16, 3),
        Activation("a", "first", 16, signed=True),
        Conv("down", "a", 16, 32, factor, stride=factor),
        Activation("b", "down", 32),
        Conv("deep", "b", 32, 32, 2),
        Activation("c", "deep", 32, signed=True),
        Concat("bc", ("c", "b")),
        Conv("up", "bc", 64, 16 * factor**2, 3),
        PixelShuffle("large", "up", factor),
        Activation("d", "large", 16, signed=True),
        Conv("more", "d", 16, 16, 3),
        Add("one", ("large", "more")),
        Add("two", ("one", "first")),
        Activation("e", "two", 16),
        Conv("again", "e", 16, 16, 3),
        Add("three", ("two", "again")),
        Activation("f", "three", 16),
        Activation("g", "three", 16, signed=True),
        Concat("fgd", ("f", "g", "d")),
        Conv("fine", "fgd", 48, 16, 3),
        Add("four", ("three", "fine")),
        Activation("h", "four", 16, signed=True),
        Concat("bh", ("h", "d")),
        Conv("last", "bh", 32, 3, 3),
    )
    return Network("woven", 3, layers, "last", "image")


NETWORKS = {
    "chain": chain(16, 48, 64, 32, channels=3, kernels=(3, 1, 5)),
    "unet": unet(16, 32),
    "residual": residual(16),
    "branched": branched(16, 32, 64, gate=True),
    "concatenated": concatenated(),
    "strided": strided(4),
    "woven": woven(),
    "woven by three": woven(3),
}


def without_digits(patch):
    for module in ("digits", "digit_passes", "plan", "program", "wiring"):
        patch.setattr(f"nspike.engine.{module}.reads_digits", lambda *_: False)
    for module in ("digits", "digit_passes"):
        patch.setattr(f"nspike.engine.{module}.form_of", lambda *_: None)


class Spoilt(buffers.Pool):
    """Memory that holds something else as soon as it is taken or given back."""

    def take(self, shape, dtype):
        array = super().take(shape, dtype)
        array.reshape(-1).view(np.uint8)[:] = 0x5A
        return array

    def give(self, array):
        array.reshape(-1).view(np.uint8)[:] = 0xA5
        super().give(array)


def spoil(patch):
    """Let even small arrays be used again, and notice whoever reads what is no longer there."""
    patch.setattr(buffers, "LEAST", 1)
    for module in (digit_spikes, general):
        patch.setattr(module, "MEMORY", Spoilt())


def model(network, **options):
    return model_of(network, 1, timesteps=1, level=4.0, **options)


def ran(program, pixels, **options):
    """As `tests.graphs.run`, of a program."""
    shapes, spikes = program.integers.network.shapes(*pixels.shape[-2:]), {}
    output = np.full((len(pixels), *shapes[program.integers.network.output]), np.nan)

    def sink(part):
        output[part.n, :, *part.core.scaled(part.scale).slices] = part.output

    def observer(seen):
        dense, size = seen.dense(), shapes[program.integers.network.output if seen.layer == OUTPUT else seen.layer][1:]
        whole = spikes.setdefault(seen.layer, np.zeros((len(pixels), *dense.shape[:2], *size), bool))
        whole[seen.n, :, :, *seen.core.slices] = dense

    ledger = engine.run(program, pixels, sink=sink, digest=True, observer=observer, **options)
    return output, ledger, spikes


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_as_from_a_sum_over_spikes(name, monkeypatch):
    """Spikes, counts, digests and output; in tiles and by threads, with each part by itself, and in memory used again."""
    network = NETWORKS[name]
    kept, pixels = model(network), large(network, 3, 70, 110)
    integers, tile = rounding.build(kept, FEW_SPIKES, registry().heads["membrane"]), unit(network)
    program, alone = compiled(integers), compiled(integers, fuse=False)
    laid = [each for each in program.wired.values() if type(each) is DigitConv]
    assert len(laid) + len(program.passes) > 1
    assert sum(each.form is not None for each in program.prepared.values()) > 1
    assert len(program.plan.numbers) > 1
    assert program.plan.numbers == alone.plan.numbers
    assert not alone.passes
    found = [ran(program, pixels, threads=1), ran(program, pixels, threads=2, tile=tile)]
    found += [ran(alone, pixels, threads=2), ran(alone, pixels, threads=1, tile=tile)]
    events = np.sum([layer.events[:5].sum(axis=1) for layer in found[0][1].layers[:-1]], axis=0)
    assert (events > 0).all()
    with monkeypatch.context() as patch:
        spoil(patch)
        found += [ran(program, pixels, threads=1), ran(program, pixels, threads=2, tile=tile)]
        found.append(ran(alone, pixels, threads=2, tile=tile))
    with monkeypatch.context() as patch:
        without_digits(patch)
        program = compiled(integers)
        assert not program.plan.numbers
        assert not any(type(each) is DigitConv for each in program.wired.values())
        expected = ran(program, pixels, threads=2)
    for each in found:
        same(each, expected)


@pytest.mark.parametrize(
    ("network", "head"),
    [
        (residual(16, 1), "rate"),
        (concatenated(16, 16, 32, 16), "membrane"),
        pytest.param(woven(), "rate", marks=pytest.mark.slow),
    ],
)
def test_against_the_slow_version(network, head):
    multiple = network.size_multiple
    agree(model(network), image(1, 1, 3, multiple, 2 * multiple), "few_spikes", head, threads=2)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("residual", "s0"),
        ("residual", "r0"),
        ("residual", "u"),
        ("woven", "b"),
        ("woven", "d"),
        ("woven", "g"),
    ],
)
def test_given_spikes(name, layer):
    """They are bits, put together where digits are read; all others are numbers still."""
    network = NETWORKS[name]
    kept, pixels = model(network), large(network, 4, 66, 70)
    parts, tile = (FEW_SPIKES, registry().heads["membrane"]), unit(network)
    output, _, spikes = ran(build(kept, *parts), pixels)
    whole = build(kept, *parts)
    given = given_of(kept, spikes, layer, whole.integers.stage(layer).neuron)
    program = build(kept, *parts, given)
    left = {op.name for op in program.plan.ops}
    assert program.plan.numbers == (whole.plan.numbers & left) - {layer}
    for options in ({"threads": 1}, {"threads": 2, "tile": tile}):
        found = ran(program, pixels, **options)
        np.testing.assert_array_equal(found[0], output)
        for other, each in found[2].items():
            np.testing.assert_array_equal(each, spikes[other], err_msg=other)


@pytest.mark.parametrize("head", ["membrane", "rate"])
def test_an_output_that_begins_with_something(head, monkeypatch):
    """Its membranes are the sum of its input, and what they begin with."""
    network = residual(16, 1)
    integers = rounding.build(model(network), FEW_SPIKES, registry().heads[head])
    last = replace(integers.stages[-1], v0=np.array([5000, -7, 12345], np.int32))
    integers, pixels = replace(integers, stages=(*integers.stages[:-1], last)), large(network, 5, 66, 70)
    program = compiled(integers)
    assert (program.charge is not None) is (head == "membrane")
    found = [ran(program, pixels), ran(compiled(integers, fuse=False), pixels, tile=unit(network))]
    without_digits(monkeypatch)
    expected = ran(compiled(integers, fuse=False), pixels)
    for each in found:
        same(each, expected)


@pytest.mark.parametrize("name", ["residual", "woven", "branched"])
@pytest.mark.parametrize("fuse", [False, True])
def test_the_output_after_the_only_step(name, fuse):
    network = NETWORKS[name]
    kept, pixels = model(network), large(network, 5, 66, 70)
    program = compiled(rounding.build(kept, FEW_SPIKES, registry().heads["membrane"]), fuse=fuse)
    expected, last = np.zeros((2, *run(kept, pixels, FEW_SPIKES)[0].shape))
    expected[:] = run(kept, pixels, FEW_SPIKES)[0]
    steps = []

    def sink(step, part):
        steps.append(step)
        last[part.n, :, *part.core.scaled(part.scale).slices] = part.output

    engine.run(program, pixels, sink=lambda part: None, step_sink=sink, tile=unit(network))
    assert set(steps) == {0}
    np.testing.assert_array_equal(last, expected)
