"""Neurons with several planes of spikes, through everything that tells of spikes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import nspike
from nspike.contracts.neuron import Neuron
from nspike.converting.conversion import measure
from nspike.engine.window import Rect
from nspike.errors import BadInputError
from nspike.registry.plugins import registry
from nspike.report.maps import RateMaps
from tests import naive
from tests.graphs import chain, random_model, run
from tests.graphs import image as pixels_of
from tests.own_neurons import BURST, TERNARY

PIXELS = pixels_of(1, 9, 10)


@pytest.fixture(params=[TERNARY, BURST], ids=["ternary", "burst"])
def kind(request):
    """The neuron, registered for the time of a test."""
    things = {name: registry().neurons[name] for name in registry().neurons}
    registry()._registered.append(("neuron", request.param.fast, "tests", ""))
    registry().neurons.fill({**things, request.param.fast.name: request.param.fast})
    yield request.param
    registry.cache_clear()


def model_of(neuron, **options):
    model = random_model(chain(3, 4), 3, **options)
    return model.with_spiking(replace(model.spiking, neuron=neuron))


def values_of(kind, model):
    """Layer -> what each neuron fires, (steps, C, H, W), and all events, from the plain definition."""
    slow = naive.run(model, PIXELS[None, None], kind.naive, "membrane")
    found = {}
    for name in ("act0", "act1"):
        spikes = slow.spikes[name]
        by_plane = spikes[0].reshape(spikes.shape[1], len(kind.naive.planes), -1, *spikes.shape[3:])
        gains = np.array(kind.naive.planes)[:, None, None, None]
        found[name] = SimpleNamespace(values=(by_plane * gains).sum(axis=1), events=int(spikes.sum()), planes=by_plane)
    return found


def test_the_ledger_counts_an_event_once_and_its_gain_in_accumulations(kind):
    """And energy models price accumulations."""
    model = model_of(kind.fast.name, level=5.0 if kind is BURST else 0.0)
    _, ledger, _ = run(model, PIXELS[None, None], kind.fast)
    prices = registry().energy_models["horowitz45"].price(ledger)
    for layer, each in zip(ledger.layers, values_of(kind, model).values(), strict=True):
        by_plane = each.planes.sum(axis=(2, 3, 4)).T  # (planes, steps)
        assert layer.events.tolist() == by_plane.tolist()
        fan = 9 * (4 if layer.name == "act0" else 1)
        gains = np.abs(kind.naive.planes)
        assert layer.synops_paper.tolist() == (fan * (gains[:, None] * by_plane)).sum(axis=0).tolist()
        assert by_plane.sum(axis=1).all(), "every plane fires"
    as_one = replace(
        ledger,
        layers=tuple(replace(layer, synops_paper=layer.events.sum(axis=0) * 9) for layer in ledger.layers),
    )
    assert ledger.spikes == as_one.spikes
    heavier = ledger.synops_paper - as_one.synops_paper
    cheaper = registry().energy_models["horowitz45"].price(as_one)
    assert prices[0].snn - cheaper[0].snn == pytest.approx(0.9e-12 * heavier)


def test_a_trace_gives_what_neurons_fire(kind, tmp_path):
    model = model_of(kind.fast.name)
    nspike.trace(model, PIXELS, tmp_path / "t.h5")
    with nspike.read_trace(tmp_path / "t.h5") as trace:
        for name, each in values_of(kind, model).items():
            assert trace.gains(name) == kind.naive.planes
            np.testing.assert_array_equal(trace.spikes(name), each.values)
            assert (trace.spikes(name).min() < 0) == (kind is TERNARY)


def test_a_difference_to_a_plain_neuron_is_by_value(kind, tmp_path):
    """The same layer, T and image; where the neurons fire differently is what differs."""
    own, plain = model_of(kind.fast.name), model_of("if")
    nspike.trace(own, PIXELS, tmp_path / "own.h5")
    nspike.trace(plain, PIXELS, tmp_path / "plain.h5")
    with nspike.read_trace(tmp_path / "own.h5") as one, nspike.read_trace(tmp_path / "plain.h5") as two:
        a, b = one.spikes("act0"), two.spikes("act0").astype(int)
        b = np.concatenate([b, np.zeros((len(a) - len(b), *b.shape[1:]), int)])
    for pair, sign in (("own.h5", "plain.h5"), 1), (("plain.h5", "own.h5"), -1):
        found = nspike.diff(tmp_path / pair[0], tmp_path / pair[1])
        layer = found.layers[0]
        assert layer.differ.tolist() == (a != b).sum(axis=(1, 2, 3)).tolist()
        step, channel, y, x = np.argwhere(a != b)[0]
        place = layer.first
        assert (place.step, place.channel, place.y, place.x) == (step + 1, channel, y, x)
        assert place.in_a == (sign * a[step, channel, y, x] > sign * b[step, channel, y, x])
        assert any("other planes of spikes" in note for note in found.notes)
    assert nspike.diff(tmp_path / "own.h5", tmp_path / "own.h5").same


def test_neurons_of_another_number_are_not_compared(kind, tmp_path):
    nspike.trace(model_of(kind.fast.name), PIXELS, tmp_path / "own.h5")
    other = random_model(chain(2, 4), 3)
    nspike.trace(other, PIXELS, tmp_path / "other.h5", layers=["act0"])
    with pytest.raises(BadInputError, match="they cannot be compared"):
        nspike.diff(tmp_path / "own.h5", tmp_path / "other.h5")


def test_a_map_is_of_neurons():
    """Two neurons with two planes each; one fires in both, in one of two steps."""
    maps = RateMaps(1, 1, 2, 2, {"act0": 2})
    spikes = np.zeros((2, 4, 1, 2), bool)
    spikes[0, [0, 2], 0, 1] = True
    for layer, seen in (("act0", spikes), ("output", spikes[:, :1])):
        maps(SimpleNamespace(layer=layer, n=0, core=Rect(0, 1, 0, 2), dense=lambda seen=seen: seen))
    assert maps.rates()["act0"].tolist() == [[0.0, 0.5]]  # two spikes of two neurons in two steps
    assert maps.rates()["output"].tolist() == [[0.0, 0.5]]


def test_the_report_of_a_conversion_has_its_layers(kind):
    model = model_of(kind.fast.name)
    image = (PIXELS / 255)[None].astype(np.float32)
    report = measure(model, [(image, None)], neuron=kind.fast, head=registry().heads["membrane"])
    assert [layer.name for layer in report.layers] == ["act0", "act1", "output"]
    neurons = {"act0": 3 * 90, "act1": 4 * 90}
    for layer, (name, each) in zip(report.layers, values_of_crop(kind, model, image).items(), strict=False):
        assert layer.rate == pytest.approx(each.events / (neurons[name] * 4))
        theta = model.spiking.thresholds[name][:, None, None]
        assert layer.snn == pytest.approx((each.values.sum(axis=0) * np.ones_like(theta) / 4).mean())
    assert "nan" not in report.to_text()
    assert report.to_dict()["layers"][0]["residual_half"] is None
    assert f"neuron {kind.fast.name} has a kernel of its own" in report.note


def values_of_crop(kind, model, image):
    slow = naive.run(model, np.rint(image.astype(float) * 65535).astype(np.int32)[None], kind.naive, "membrane")
    found = {}
    for name in ("act0", "act1"):
        spikes = slow.spikes[name]
        by_plane = spikes[0].reshape(spikes.shape[1], len(kind.naive.planes), -1, *spikes.shape[3:])
        values = (by_plane * np.array(kind.naive.planes)[:, None, None, None]).sum(axis=1)
        found[name] = SimpleNamespace(values=values, events=int(spikes.sum()))
    return found


def test_the_report_of_lif_is_near_that_of_if():
    """A leak of almost nothing is the plain neuron, simulated in floats."""
    image = (PIXELS / 255)[None].astype(np.float32)
    slow_leak = {"lif": {name: {"tau": 65536.0} for name in ("act0", "act1")}}
    reports = []
    for name in ("if", "lif"):
        model = model_of(name, neuron_parameters=slow_leak)
        neuron: Neuron = registry().neurons[name]
        reports.append(measure(model, [(image, None)], neuron=neuron, head=registry().heads["membrane"]))
    for plain, leaky in zip(reports[0].layers, reports[1].layers, strict=True):
        assert leaky.snn == pytest.approx(plain.snn, abs=0.02)
        assert leaky.correlation == pytest.approx(plain.correlation, abs=0.05)
