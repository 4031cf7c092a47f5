"""A plain network for training computes what `nspike.ann.run` runs, with every kind of activation, and its gradient is right."""

import dataclasses

import numpy as np
import pytest
from nspike_plugins.aodnet import ARCHITECTURE as AODNET

from nspike.ann import run as ann
from nspike.autograd.tensor import multiply, total
from nspike.graph import plain_layer
from nspike.graph.initialise import initial_parameters
from nspike.graph.layer import KINDS
from nspike.graph.mode import restored
from nspike.model.model import Info, Model
from nspike.trainable.operations import FUNCTIONS, OPERATIONS
from nspike.trainable.plain import DifferentiableAnn, initial_ceilings
from tests.tiny import tiny_model
from tests.trainable.networks import edsr, everything, gated, model_of, teacher, unet


def aodnet():
    network = AODNET.network()
    parameters = initial_parameters(network, 3)
    parameters = {name: array + (0.2 if name.endswith("bias") else 0) for name, array in parameters.items()}
    return Model(Info("aod", "dehaze", "rgb"), network, {k: v.astype(np.float32) for k, v in parameters.items()})


MODELS = {
    "subtract": tiny_model(),
    "add": tiny_model(task="superres", colour="y", mode="add"),
    "aodnet": aodnet(),
}

GENERAL = {network.name: model_of(network) for network in (everything(), teacher(), gated(), unet(), edsr())}


def plane_for(model, count=2):
    sides = (14, 17) if model.network.size_multiple == 1 else (16, 24)
    return np.random.default_rng(0).random((count, model.network.channels, *sides)).astype(np.float32)


def network_of(model, kind, per="layer"):
    ceilings = None
    if kind != "relu":
        ceilings = initial_ceilings(model, plane_for(model), percentile=87.3, per=per)
    return DifferentiableAnn(model, kind=kind, levels=4, ceilings=ceilings)


@pytest.mark.parametrize("kind", ["relu", "clipped", "qcfs"])
@pytest.mark.parametrize("name", GENERAL)
def test_general_networks_compute_what_runs(name, kind):
    model, plane = GENERAL[name], plane_for(GENERAL[name])
    ceilings = None if kind == "relu" else ceilings_of(model.network)
    network = DifferentiableAnn(model, kind=kind, levels=4, ceilings=ceilings)
    saved = network.to_model()
    ran = restored(saved.network.mode, plane, ann.run(saved.network, saved.parameters, plane))
    trained = network.run(plane).data
    assert trained.shape == ran.shape
    different = np.abs(trained - ran) > 1e-4 * np.abs(ran).max()
    assert different.mean() < (0.05 if kind == "qcfs" else 1e-9), "sums in another order may cross a level"


@pytest.mark.parametrize("kind", ["relu", "clipped", "qcfs"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_it_computes_what_runs(name, kind, per):
    model, plane = MODELS[name], plane_for(MODELS[name])
    network = network_of(model, kind, per)
    saved = network.to_model()
    assert saved.spiking is None
    trained = network.run(plane).data
    output = ann.run(saved.network, saved.parameters, plane)
    ran = restored(saved.network.mode, plane, output)
    if saved.network.rectify:
        trained = np.maximum(trained, 0)
    different = np.abs(trained - ran) > 1e-4
    assert different.mean() < (0.02 if kind == "qcfs" else 1e-9), "sums in another order may cross a level"
    if kind != "relu":
        plain = restored(saved.network.mode, plane, ann.run(saved.network.rectified(), saved.parameters, plane))
        assert np.abs(plain - ran).max() > 1e-3


def ceilings_of(network):
    return {layer.name: np.array([0.7]) for layer in network.activations}


def test_a_table_of_all_kinds():
    assert set(OPERATIONS) == set(KINDS.values())
    assert set(FUNCTIONS) == set(plain_layer.FUNCTIONS)
    kinds = {type(layer) for model in (*MODELS.values(), *GENERAL.values()) for layer in model.network.layers}
    assert kinds == set(KINDS.values()), "every kind is tried below"


@pytest.mark.parametrize("kind", ["relu", "clipped"])
@pytest.mark.parametrize("name", [*MODELS, *GENERAL])
def test_gradients(name, kind):
    model = {**MODELS, **GENERAL}[name]
    ceilings = ceilings_of(model.network) if kind == "clipped" else None
    network, plane = DifferentiableAnn(model, kind=kind, ceilings=ceilings), plane_for(model)
    parameters = network.parameters()
    for tensor in parameters.values():
        tensor.data = tensor.data.astype(np.float64)
    plane = plane.astype(np.float64)
    weights = np.random.default_rng(1).normal(size=network.run(plane).shape)

    def value():
        values = network._values(plane, None)
        return total(multiply(values[network.network.output], weights))

    value().backward()
    draw = np.random.default_rng(2)
    for key, tensor in parameters.items():
        assert tensor.grad is not None, key
        at = tuple(int(draw.integers(side)) for side in tensor.shape)
        ends, kept = [], tensor.data
        for sign in (1, -1):
            tensor.data = kept.copy()
            tensor.data[at] += sign * 1e-6
            ends.append(value().item())
        tensor.data = kept
        assert tensor.grad[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3, abs=1e-4), key


def test_signed_features_pass_and_are_clipped_on_both_sides():
    network = edsr()
    model, plane = model_of(network), plane_for(model_of(network))
    plain = DifferentiableAnn(model).activations(plane)["feature"]
    assert plain.min() < -0.2
    limited = DifferentiableAnn(model, kind="clipped", ceilings=ceilings_of(network)).activations(plane)["feature"]
    assert -limited.min() == limited.max() == np.float32(0.7)
    rounded = DifferentiableAnn(model, kind="qcfs", levels=4, ceilings=ceilings_of(network), overshoot=0.5)
    levels = rounded.activations(plane, seed=1)["feature"] / np.float32(0.7) * 4
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-5)
    assert levels.min() < -1


def test_tied_convolutions_share_a_tensor():
    network = DifferentiableAnn(model_of(unet()))
    names = set(network.parameters())
    assert "again.weight" not in names
    assert "same.weight" in names
    network.run(plane_for(model_of(unet()))).sum().backward()
    assert set(network.to_model().parameters) == names


def test_what_no_neurons_come_before_has_no_overshoot():
    model = model_of(unet())
    plane, ceilings = plane_for(model), {layer.name: np.array([4.0]) for layer in model.network.activations}
    seen = [
        DifferentiableAnn(model, kind="qcfs", ceilings=ceilings, overshoot=overshoot).activations(plane, seed=3)
        for overshoot in (0.0, 0.45)
    ]
    different = [name for name in seen[0] if not np.array_equal(seen[0][name], seen[1][name])]
    assert different == [layer.name for layer in model.network.activations][1:]


def test_a_network_that_enlarges_gives_larger_images():
    model = model_of(edsr())
    plane = plane_for(model)
    assert DifferentiableAnn(model).run(plane).shape == (2, 3, 28, 34)


def test_ceilings():
    model = tiny_model()
    found = initial_ceilings(model, plane_for(model), percentile=99.9, per="layer")
    captured = dict.fromkeys(("relu1", "relu2"))
    ann.run(model.network, model.parameters, plane_for(model), capture=captured)
    values = captured["relu1"]
    assert found["relu1"] == pytest.approx([np.percentile(values[values > 0], 99.9)])
    each = initial_ceilings(model, plane_for(model), percentile=100.0, per="channel")
    np.testing.assert_allclose(each["relu2"], np.maximum(captured["relu2"].max(axis=(0, 2, 3)), 0), atol=0.02)
    limited = network_of(model, "qcfs").to_model()
    again = initial_ceilings(limited, plane_for(model), percentile=50.0, per="channel")
    np.testing.assert_allclose(again["relu1"], np.full(8, limited.network.activations[0].ceiling[0]))


def test_ceilings_stay_positive():
    network = network_of(tiny_model(), "clipped")
    for tensor in network.parameters().values():
        tensor.data = tensor.data - 100
    network.constrain()
    assert all(min(layer.ceiling) > 0 for layer in network.to_model().network.activations)


def test_batch_norm_is_folded():
    model = tiny_model()
    layers = tuple(
        dataclasses.replace(layer, batch_norm_eps=1e-5) if layer.name == "conv2" else layer
        for layer in model.network.layers
    )
    ones = np.ones(8, np.float32)
    norm = {"bn_weight": 2 * ones, "bn_bias": ones, "bn_mean": 0 * ones, "bn_var": ones}
    parameters = {**model.parameters, **{f"conv2.{name}": array for name, array in norm.items()}}
    network = dataclasses.replace(model.network, layers=layers)
    normed = dataclasses.replace(model, network=network, parameters=parameters, spiking=None)
    plane = plane_for(model)
    ran = restored(network.mode, plane, ann.run(network, parameters, plane))
    np.testing.assert_allclose(DifferentiableAnn(normed).run(plane).data, ran, atol=1e-5)
