"""Which passes a network takes, what they hold, and how much memory that is."""

import tracemalloc

import numpy as np
import pytest

from nspike.ann import run as ann
from nspike.ann.layers import Plan
from nspike.ann.packed import Packed
from nspike.ann.passes import passes
from nspike.graph.layer import IMAGE, Add, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.graph.plain_layer import Attention, GlobalPool, LayerNorm, Multiply
from tests.ann import slow
from tests.ann.networks import random_network, random_parameters


def attention(name, source, channels):
    """source + project(attention(norm(source))), each of q, k and v a convolution."""
    return [
        LayerNorm(f"{name}_norm", source, channels),
        *(Conv(f"{name}_{part}", f"{name}_norm", channels, channels, 3) for part in "qkv"),
        Attention(f"{name}_mixed", (f"{name}_q", f"{name}_k", f"{name}_v"), channels, 2),
        Conv(f"{name}_out", f"{name}_mixed", channels, channels, 1),
        Add(name, (source, f"{name}_out")),
    ]


def transformer(blocks=3, channels=8):
    layers = [Conv("head", IMAGE, 1, channels, 3)]
    for i in range(blocks):
        layers += attention(f"block{i}", layers[-1].name, channels)
    layers += [Conv("up", layers[-1].name, channels, 4, 3), PixelShuffle("tail", "up", 2)]
    return Network("net", 1, tuple(layers), "tail", "image")


def test_a_network_that_looks_at_no_whole_image_has_one_pass():
    network = random_network(3)
    (part,) = passes(Plan(network, Packed({}, {}), frozenset()))
    assert part.held == part.new == part.summed == ()


def test_only_the_stream_is_held_and_every_convolution_is_run_once():
    network = transformer()
    parts = passes(Plan(network, Packed({}, {}), frozenset()))
    assert [part.new for part in parts] == [("head",), ("block0",), ("block1",), ()]
    assert [part.held for part in parts] == [(), ("head",), ("block0",), ("block1",)]
    assert [[layer.name for layer in part.summed] for part in parts] == [[f"block{i}_mixed"] for i in range(3)] + [[]]
    run = [layer.name for part in parts for layer in part.layers if layer.name.endswith(tuple("qkv"))]
    assert sorted(run) == sorted(set(run)) == sorted(f"block{i}_{part}" for i in range(3) for part in "qkv")
    assert [layer.name for layer in parts[1].layers][:3] == ["block0_norm", "block0_v", "block0_mixed"]


def test_what_a_late_layer_reads_is_computed_late():
    """The pool of the image's own features is taken right before it is used, and they are not held until then."""
    layers = [
        *transformer(2).layers[:-2],
        Conv("side", IMAGE, 1, 8, 3),
        GlobalPool("pool", "side"),
        Multiply("gated", ("block1", "pool")),
        Conv("tail", "gated", 8, 1, 3),
    ]
    network = Network("net", 1, tuple(layers), "tail", "image")
    parts = passes(Plan(network, Packed({}, {}), frozenset()))
    assert ["side" in [layer.name for layer in part.layers] for part in parts] == [False, True, False]
    assert all("side" not in (*part.held, *part.new) for part in parts)


def test_values_that_are_wanted_are_captured_in_the_pass_that_makes_them():
    network = transformer()
    parameters = random_parameters(network)
    plane = np.random.default_rng(0).random((2, 1, 40, 24), dtype=np.float32)
    captured = dict.fromkeys(["head", "block0", "block1_k", "block2_mixed", "tail"])
    steps = []
    ann.run(network, parameters, plane, capture=captured, memory=1, progress=lambda *step: steps.append(step))
    for name, values in captured.items():
        for n in range(2):
            np.testing.assert_allclose(values[n], slow.run(network, parameters, plane[n])[name], atol=2e-5)
    assert steps == [(i, 320) for i in range(1, 321)]


@pytest.mark.parametrize("height", [32, 256])
def test_memory_stays_near_what_is_announced(height):
    network = transformer(2, 16)
    parameters = random_parameters(network)
    plane = np.random.default_rng(0).random((1, 1, height, 128), dtype=np.float32)
    ann.run(network, parameters, plane[:, :, :16], threads=1)
    least = ann.least_memory(network, height, 128)
    tracemalloc.start()
    output = ann.run(network, parameters, plane, threads=1, memory=least)
    peak = tracemalloc.get_traced_memory()[1] - output.nbytes
    tracemalloc.stop()
    held = 2 * 16 * 4 * height * 128
    assert held < least < held + 2**21
    assert peak < least + 2**20


def test_more_memory_makes_higher_bands():
    network = transformer()
    parameters = random_parameters(network)
    plane = np.random.default_rng(0).random((1, 1, 96, 64), dtype=np.float32)
    counts, outputs = [], []
    for memory in (1, 2**19, 2**28):
        steps = []
        outputs.append(
            ann.run(network, parameters, plane, memory=memory, progress=lambda *step, steps=steps: steps.append(step))
        )
        counts.append(len(steps))
    assert counts[0] == 4 * 96
    assert counts[0] > counts[1] > counts[2] == 4
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])
