"""The image after each step is what `tests.naive` reads out there; the last one is the run's."""

import math

import numpy as np
import pytest

import nspike
from nspike.engine import run as engine
from nspike.engine.program import build as build_program
from nspike.errors import BadInputError, UsageError
from nspike.images.metrics import psnr
from nspike.registry.plugins import registry
from tests import naive
from tests.graphs import branched, chain, random_model
from tests.graphs import image as pixels_of
from tests.own_neurons import TERNARY
from tests.tiny import image, tiny_model

MODEL = tiny_model()
HOW = [{"threads": 1}, {"threads": 3, "tile": 64}]


def read_outs(model, pixels, neuron, head, **options):
    """The engine's outputs: at the end (N, C, H, W), and after each step (steps, N, C, H, W); and the ledger."""
    output, steps = np.full(pixels.shape, np.nan), {}

    def sink(part):
        output[part.n, :, *part.core.slices] = part.output

    def step_sink(step, part):
        steps.setdefault(step, np.full(pixels.shape, np.nan))[part.n, :, *part.core.slices] = part.output

    program = build_program(model, neuron, registry().heads[head])
    ledger = engine.run(program, pixels, sink=sink, step_sink=step_sink, **options)
    assert list(steps) == list(range(len(steps)))
    return output, np.stack(list(steps.values())), ledger


@pytest.mark.parametrize("head", ["membrane", "rate", "cpm", "mapper", "recycling"])
@pytest.mark.parametrize(
    ("network", "neuron"),
    [
        (chain(3), "if"),
        (chain(9, 17), "mprn"),
        (chain(3, 9, channels=3, kernels=(5, 3)), "mprn_beta"),
        (chain(12, bias=False), "lif"),
        (branched(3, 9, 2, channels=3, gate=True), "mprn"),
        (branched(9, 2, 65), "mprn"),
        (chain(), "mprn"),
    ],
)
def test_every_step_is_naives(network, neuron, head):
    draw = np.random.default_rng(0)
    c = network.channels
    heads = {"cpm": {"weight": draw.normal(size=(c, c, 3, 3)), "bias": draw.normal(size=c)}}
    own = {"mprn_beta": {a.name: {"beta": 1.4} for a in network.activations}}
    model = random_model(network, 4, neuron_parameters=own, head_parameters=heads)
    pixels = pixels_of(3, 1, c, 67, 9)
    slow = naive.run(model, pixels, naive.NEURONS[neuron], head)
    for how in HOW:
        output, steps, ledger = read_outs(model, pixels, registry().neurons[neuron], head, **how)
        np.testing.assert_array_equal(steps, slow.each_step)
        np.testing.assert_array_equal(output, slow.output)
        np.testing.assert_array_equal(steps[-1], output)
        assert sum(ledger.head_synops_steps) == ledger.head_synops


def test_a_neuron_with_a_kernel_of_its_own():
    model, pixels = random_model(chain(3, 9), 2), pixels_of(0, 1, 1, 9, 66)
    slow = naive.run(model, pixels, TERNARY.naive, "cpm")
    np.testing.assert_array_equal(read_outs(model, pixels, TERNARY.fast, "cpm")[1], slow.each_step)


@pytest.mark.parametrize("parts", [{}, {"neuron": "if", "head": "cpm"}, {"head": "rate", "timesteps": 7}])
@pytest.mark.parametrize("shape", [(70, 66), (40, 48, 3)])
def test_the_last_image_is_the_runs(parts, shape):
    model = nspike.swap(MODEL, **parts)[0]
    pixels, kept = image(*shape), []
    expected = model.run(pixels)

    def keep(step, shape, dtype):
        assert step == len(kept) + 1
        kept.append(np.empty(shape, dtype))
        return kept[-1]

    for how in HOW:
        kept.clear()
        found = nspike.curve(model, pixels, keep=keep, **how)
        np.testing.assert_array_equal(found.result.image, expected.image)
        np.testing.assert_array_equal(kept[-1], expected.image)
        last = found.steps[-1]
        assert (last.spikes, last.synops, last.synops_paper) == (
            expected.ledger.spikes,
            expected.ledger.synops,
            expected.ledger.synops_paper,
        )
        assert last.psnr_last == math.inf
        assert len(kept) == len(found.steps) == expected.ledger.timesteps + expected.ledger.post_steps


def test_costs_and_quality(tmp_path):
    """Synaptic operations summed over naive's spikes; PSNR of the images that are kept."""
    model = nspike.swap(MODEL, head="cpm")[0]
    pixels, clean, kept = image(70, 66), image(70, 66, seed=5), []

    def keep(step, shape, dtype):
        kept.append(np.empty(shape, dtype))
        return kept[-1]

    found = nspike.curve(model, pixels, reference=clean, keep=keep)
    tiled = nspike.curve(model, pixels, reference=clean, tile=64, threads=2)
    assert found.steps == tiled.steps, "no tile changes a figure"
    slow = naive.run(model, pixels[None, None], naive.MPRN, "cpm")
    fan = naive.targets(3, 70, 66)
    for t, step in enumerate(found.steps):
        counted = {name: spikes[0, : t + 1] for name, spikes in slow.spikes.items()}
        channels = {"relu1": 8, "relu2": 1, "output": 1}
        assert step.synops == sum(int((fan * counted[name]).sum()) * channels[name] for name in counted)
        assert step.spikes == sum(int(spikes.sum()) for spikes in counted.values())
        assert step.psnr == pytest.approx(psnr(kept[t], clean, 255), abs=1e-9)
        if t < len(kept) - 1:
            assert step.psnr_last == pytest.approx(psnr(kept[t], kept[-1], 255), abs=1e-9)
        assert step.post == (t == 4)


def test_depths_and_floats():
    pixels, clean = image(40, 48), image(40, 48, seed=5)
    expected = [step.psnr for step in nspike.curve(MODEL, pixels, reference=clean).steps]
    wide = nspike.curve(MODEL, pixels, reference=clean.astype(np.uint16) * 257)
    assert [step.psnr for step in wide.steps] == expected
    one = nspike.curve(MODEL, pixels / 255, reference=clean / 255)
    two = nspike.curve(MODEL, pixels / 255, reference=clean / 255, tile=64)
    assert one.steps == two.steps
    assert [step.psnr for step in one.steps] == pytest.approx(expected, abs=0.3)


def test_where_to_stop():
    pixels = image(70, 66)
    found = nspike.curve(MODEL, pixels, reference=image(70, 66, seed=5))
    quality = [step.psnr for step in found.steps]
    for within in (0.0, 0.1, 1.0, 100.0):
        good = [i + 1 for i, value in enumerate(quality) if value >= max(quality) - within]
        assert found.stop(within=within) == good[0]
    found = nspike.curve(MODEL, pixels)
    assert found.steps[0].psnr is None
    for match in (1.0, 30.0, 40.0, 1000.0):
        good = [step.step for step in found.steps if step.psnr_last >= match]
        assert found.stop(match=match) == good[0]
    assert found.stop(match=1000.0) == 5
    perfect = nspike.curve(MODEL, pixels, reference=found.result.image)
    assert perfect.stop() == 5, "an infinite PSNR is the best"


def test_bad_references():
    pixels = image(40, 48)
    for reference, says in (
        (image(40, 47), r"the reference is \(40, 47\), and the result will be \(40, 48\)"),
        (image(40, 48, 3), "the reference is"),
        (pixels / 255, "the reference is float64, and the image uint8"),
    ):
        with pytest.raises(BadInputError, match=says):
            nspike.curve(MODEL, pixels, reference=reference)
    with pytest.raises(UsageError, match="threads = 0"):
        nspike.curve(MODEL, pixels, threads=0)
