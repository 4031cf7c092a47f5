"""Layers with larger scales compute the same with fewer spikes."""

from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.converting.stretching import stretched
from nspike.errors import ModelError, UsageError
from nspike.integer.normalise import current_scales, normalised_conv, weights_scale
from tests.graphs import random_model, trained
from tests.random_graphs import random_graph, ties
from tests.small_models import small_ann

IMAGE = np.random.default_rng(3).integers(0, 256, (24, 20, 3), np.uint8)


def test_larger_scales_are_fewer_spikes():
    model, _ = nspike.swap(nspike.load("aodnet"), timesteps=120)
    model = stretched(model, {"relu1": 2.0})  # not near one spike a step
    less = stretched(model, {"relu1": 1.5})
    ours, theirs = nspike.restore(less, IMAGE), nspike.restore(model, IMAGE)
    ratios = [_spikes(theirs, name) / _spikes(ours, name) for name in ("relu1", "relu2", "relu4", "relu5")]
    assert ratios == pytest.approx([1.5, 1, 1, 1], rel=0.05)
    assert np.abs(ours.image.astype(float) - theirs.image).mean() < 3


def _spikes(run, name):
    return next(int(layer.events.sum()) for layer in run.ledger.layers if layer.name == name)


def test_the_function_is_the_same():
    model = nspike.load("aodnet")
    ours, theirs = stretched(model, {"relu2": 2.0}).spiking, model.spiking
    np.testing.assert_array_equal(ours.scales["relu2"], 2 * np.asarray(theirs.scales["relu2"]))
    np.testing.assert_allclose(ours.weights["conv2"], np.asarray(theirs.weights["conv2"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(ours.biases["conv2"], np.asarray(theirs.biases["conv2"]) / 2, rtol=1e-6)
    # conv3 reads relu1 and relu2, and drives relu3
    np.testing.assert_array_equal(ours.weights["conv3"][:, :3], theirs.weights["conv3"][:, :3])
    np.testing.assert_allclose(ours.weights["conv3"][:, 3:], 2 * np.asarray(theirs.weights["conv3"][:, 3:]), rtol=1e-6)


def test_kernels_that_follow_from_the_ann_do_so_with_the_new_scales():
    model = nspike.load("aodnet")
    bare = model.with_spiking(replace(model.spiking, weights={}, biases={}))
    changed = stretched(bare, {"relu1": 4.0})
    assert not changed.spiking.weights
    for name, factor in (("conv1", 1 / 4), ("conv2", 4)):
        before, after = (normalised_conv(m.network, m.parameters, m.spiking, name)[0] for m in (bare, changed))
        np.testing.assert_allclose(after, factor * before, rtol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_currents_that_several_layers_share(seed):
    """Each kernel, trained or not, times λ of its current over λ of what it reads stays as it is."""
    network = random_graph(seed)
    model = trained(random_model(network), np.random.default_rng(seed))
    joined = {name for group in ties(network) for name, _ in group}
    factors = {a.name: 2.0 ** (1 - i % 3) for i, a in enumerate(network.activations) if a.name not in joined}
    changed = stretched(model, factors)
    for conv in network.convs:
        plain = []
        for m in (model, changed):
            kernel, bias = normalised_conv(network, m.parameters, m.spiking, conv.name)
            scale = current_scales(network, m.spiking)[conv.name]
            plain.append(kernel * scale[:, None, None, None] / weights_scale(network, m.spiking, conv))
            plain.append(bias * scale)
        np.testing.assert_allclose(plain[2], plain[0], rtol=1e-12)
        np.testing.assert_allclose(plain[3], plain[1], rtol=1e-12)


def test_errors():
    model = nspike.load("aodnet")
    with pytest.raises(UsageError, match=r"no layer 'relu' to stretch.*Known: relu1"):
        stretched(model, {"relu": 2.0})
    for wrong in (0, -1.0, float("nan"), float("inf"), "4"):
        with pytest.raises(UsageError, match="expected a number above 0"):
            stretched(model, {"relu1": wrong})
    with pytest.raises(ModelError):
        stretched(small_ann(), {"act1": 2.0})
