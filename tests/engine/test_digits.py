"""Which convolutions read digits and which neurons fire them, and that no bit depends on it."""

from dataclasses import replace

import numpy as np
import pytest
from nspike_plugins.burst import NEURON as BURST
from nspike_plugins.few_spikes import NEURON as FEW_SPIKES

from nspike.engine.digits import form_of, reads_digits
from nspike.engine.program import build
from nspike.engine.wiring import DigitConv
from nspike.graph.layer import IMAGE, Activation, Concat, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.integer import rounding
from nspike.registry.plugins import registry
from tests.engine.handmade import grouped, residual, unet
from tests.engine.test_graphs import large, model_of, same
from tests.graphs import agree, branched, chain, image, run

SEVEN = replace(FEW_SPIKES, planes=tuple(2**k for k in range(7)), most_spikes=127)


def integers_of(network, neuron=FEW_SPIKES, timesteps=1):
    return rounding.build(model_of(network, timesteps=timesteps), neuron, registry().heads["membrane"])


def reading(network, *numbers):
    """The convolutions whose kernel is that of digits."""
    integers = integers_of(network, *numbers)
    fused = [stage for stage in integers.stages if stage.fused]
    return {part.layer.name for part in (*fused, *integers.writers) if reads_digits(integers, part)}


def test_what_reads_digits():
    """Neither what reads the image, nor dilated or grouped convolutions, nor other numbers of channels."""
    assert reading(unet(16, 32)) == {"down", "deep", "up", "mix", "last"}
    assert reading(unet(8, 16)) == {"deep", "up"}
    assert reading(residual(16)) == {"in0", "out0", "in1", "out1", "up", "last"}
    assert reading(branched(16, 32, 24)) == {"conv_b", "conv_c"}
    assert not reading(grouped(16)) - {"other", "last"}
    assert not reading(unet(16, 32), FEW_SPIKES, 2)


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
    widths = (16, 24, 32, 48, 64, 96, 128)
    assert firing(chain(*widths)) == {f"act{i}" for i, width in enumerate(widths) if width in (16, 32, 64, 128)}
    assert firing(residual(16)) == {"s0", "r0", "s1", "r1", "t", "u"}
    network = chain(16, 32)
    for neuron in (BURST, SEVEN):
        assert firing(network, neuron) == {"act0", "act1"}
    others = [replace(FEW_SPIKES, keep=lambda p: 0.5), replace(FEW_SPIKES, reset="zero"), registry().neurons["if"]]
    others.append(replace(FEW_SPIKES, input_factor=lambda p: 0.5))
    for neuron in others:
        assert not firing(network, neuron)
    assert not firing(network, FEW_SPIKES, 2)


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


NETWORKS = {
    "chain": chain(16, 48, 64, 32, channels=3, kernels=(3, 1, 5)),
    "unet": unet(16, 32),
    "residual": residual(16),
    "branched": branched(16, 32, 64, gate=True),
    "concatenated": concatenated(),
}


def without_digits(patch):
    for module in ("digits", "digit_passes", "plan", "program", "wiring"):
        patch.setattr(f"nspike.engine.{module}.reads_digits", lambda *_: False)
    for module in ("digits", "digit_passes"):
        patch.setattr(f"nspike.engine.{module}.form_of", lambda *_: None)


def model(network, **options):
    return model_of(network, 1, timesteps=1, level=4.0, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_as_from_a_sum_over_spikes(name, monkeypatch):
    """Spikes, counts, digests and output; in tiles and by threads."""
    network = NETWORKS[name]
    kept, pixels = model(network), large(network, 3, 70, 110)
    program = build(kept, FEW_SPIKES, registry().heads["membrane"])
    assert sum(isinstance(each, DigitConv) for each in program.wired.values()) > 1
    assert sum(each.form is not None for each in program.prepared.values()) > 1
    found = [run(kept, pixels, FEW_SPIKES, threads=1), run(kept, pixels, FEW_SPIKES, threads=2, tile=64)]
    events = np.sum([layer.events[:5].sum(axis=1) for layer in found[0][1].layers[:-1]], axis=0)
    assert (events > 0).all()
    with monkeypatch.context() as patch:
        without_digits(patch)
        program = build(kept, FEW_SPIKES, registry().heads["membrane"])
        assert not any(isinstance(each, DigitConv) for each in program.wired.values())
        expected = run(kept, pixels, FEW_SPIKES, threads=2)
    for each in found:
        same(each, expected)


@pytest.mark.parametrize(("network", "head"), [(residual(16, 1), "rate"), (concatenated(16, 16, 32, 16), "membrane")])
def test_against_the_slow_version(network, head):
    multiple = network.size_multiple
    agree(model(network), image(1, 1, 3, multiple, 2 * multiple), "few_spikes", head, threads=2)
