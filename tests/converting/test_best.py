"""What a conversion takes where nothing is said, and the fit that follows it."""

import numpy as np
import pytest
from nspike_plugins import if_, lif, membrane, mprn, qcfs, rueckauer

import nspike
from nspike.converting import regression
from nspike.converting.best import best_options, fit_windows, of_layer, taken, with_release
from nspike.converting.conversion import convert
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import Info, Model
from nspike.registry.plugins import registry
from tests.converting.test_by_name import ann_model, images
from tests.own_neurons import LEAKY


def test_options_where_nothing_is_said():
    assert best_options(rueckauer.CONVERTER, None) == {"per": "channel", "v_init": 0.5}
    assert best_options(rueckauer.CONVERTER, {"per": "layer", "v_init": 0.1}) == {"per": "layer", "v_init": 0.1}
    assert best_options(qcfs.CONVERTER, {"percentile": 99}) == {"percentile": 99, "v_init": 0.5}


def test_release_goes_with_half_full_membranes():
    assert with_release(mprn.NEURON, {"v_init": 0.5}) == {"v_init": 0.5, "beta": 3.0}
    assert with_release(mprn.NEURON, {"v_init": 0.5, "beta": 1.0}) == {"v_init": 0.5, "beta": 1.0}
    assert with_release(mprn.NEURON, {"v_init": 0.0}) == {"v_init": 0.0}
    assert with_release(if_.NEURON, {"v_init": 0.5}) == {"v_init": 0.5}


@pytest.mark.parametrize(
    ("converter", "neuron"), [("rueckauer", "mprn"), ("spikenorm", "mprn_beta"), ("rueckauer", "if")]
)
def test_what_is_taken_is_what_conversion_takes(converter, neuron):
    model, _ = nspike.convert(ann_model(), images(), converter=converter, neuron=neuron, timesteps=4, report=False)
    plugins = registry().converters[converter], registry().neurons[neuron]
    defaults = [{each.name: each.default for each in known} for known in (plugins[0].options, plugins[1].parameters)]
    told, own = (default | taken(plugin) for default, plugin in zip(defaults, plugins, strict=True))
    assert model.info.provenance["converter_options"] == told
    assert model.spiking.neuron_parameters[neuron]["relu2"] == own
    assert (taken(registry().converters["direct"]), taken(registry().neurons["if"])) == ({}, {"v_init": 0.5})


def test_windows_have_one_size_and_cover_images_of_several():
    def plane(height, width, value):
        return np.full((1, height, width), value, np.float32)

    degraded, clean = fit_windows([plane(130, 70, 0), plane(64, 64, 1), plane(20, 90, 2)], None)
    assert clean is None
    assert degraded.shape == (3, 1, 64, 64)
    assert degraded.mean(axis=(1, 2, 3)).tolist() == [0, 0, 1], "the small one is left out"
    many = [plane(9, 8, i) for i in range(100)]
    degraded, clean = fit_windows(many, [each + 1 for each in many])
    assert degraded.shape == (64, 1, 9, 8)
    assert degraded[0].max() == 0
    assert degraded[-1].max() >= 97, "spread over all images"
    np.testing.assert_array_equal(clean, degraded + 1)


@pytest.mark.parametrize("neuron", ["if", "mprn"])
def test_the_best_is_nearer_to_the_ann_than_the_fast(neuron):
    model, planes = ann_model(), images(6)
    best, report = nspike.convert(model, planes, neuron=neuron, timesteps=6)
    _, fast = nspike.convert(model, planes, neuron=neuron, timesteps=6, fast=True)
    assert report.psnr_to_ann > fast.psnr_to_ann + 2
    assert best.info.provenance["fitted"] == {"windows": 6, "to": "ann"}
    assert best.info.provenance["converter_options"]["per"] == "channel"
    assert best.spiking.neuron_parameters[neuron]["relu2"]["v_init"] == 0.5


def test_the_best_is_the_conversion_and_then_the_regression():
    model, planes = ann_model(), images(4)
    targets = [plane * 0.9 for plane in planes]
    best, _ = nspike.convert(model, planes, neuron="mprn", head="membrane", targets=targets)
    told = {"options": {"per": "channel", "v_init": 0.5}, "neuron_parameters": {"beta": 3.0}}
    half, _ = nspike.convert(model, planes, neuron="mprn", head="membrane", targets=targets, fast=True, **told)
    assert not half.spiking.weights
    expected = regression.fit(half, np.stack(planes), np.stack(targets))
    assert set(best.spiking.weights) == set(expected.spiking.weights)
    for name, kernel in expected.spiking.weights.items():
        np.testing.assert_array_equal(best.spiking.weights[name], kernel)
    assert best.info.provenance["fitted"]["to"] == "targets"
    again, _ = nspike.convert(best, planes, neuron="mprn", fast=True)
    assert "fitted" not in again.info.provenance
    assert not again.spiking.weights


def test_progress_counts_layers():
    seen = []
    parts = {"converter": rueckauer.CONVERTER, "neuron": if_.NEURON, "head": membrane.HEAD}
    convert(ann_model(), images(2), **parts, fit=True, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == [1, 2, 4, 6, 8, 10, 12], "2 images, 3 layers and 2 crops of the weight of 2"
    assert {total for _, total in seen} == {12}


@pytest.mark.parametrize("neuron", [lif.NEURON, lif.HARD, LEAKY.fast], ids=lambda neuron: neuron.name)
def test_a_neuron_that_leaks_is_fitted_too(neuron):
    """Declared, and with a kernel of its own."""
    registry().neurons.fill({**{name: registry().neurons[name] for name in registry().neurons}, neuron.name: neuron})
    try:
        model, report = nspike.convert(ann_model(), images(3), neuron=neuron.name)
        _, fast = nspike.convert(ann_model(), images(3), neuron=neuron.name, fast=True)
    finally:
        registry.cache_clear()
    assert model.spiking.weights
    assert report.psnr_to_ann > fast.psnr_to_ann


def test_signed_neurons_start_empty_and_release_at_half():
    plain, signed = (Activation("a", "conv", 3, signed=is_signed) for is_signed in (False, True))
    half = {"v_init": 0.5}
    assert of_layer(if_.NEURON, plain, half, {}) == {"v_init": 0.5}
    assert of_layer(if_.NEURON, signed, half, {}) == {"v_init": 0.0}
    assert of_layer(if_.NEURON, signed, half, half) == {"v_init": 0.5}
    assert of_layer(mprn.NEURON, signed, half | {"beta": 3.0}, {}) == {"v_init": 0.0, "beta": -30.0}
    assert of_layer(mprn.NEURON, signed, {"beta": 1.0}, {"beta": 1.0}) == {"v_init": 0.0, "beta": 1.0}


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("neuron", ["if", "mprn"])
def test_the_rate_of_a_signed_feature_of_mean_0_is_0(neuron, fast):
    layers = (Conv("feature", IMAGE, 1, 8, 1), Conv("end", "feature", 8, 1, 1))
    network = Network("net", 1, layers, "end", "image")
    gains = np.linspace(-1, 1, 8, dtype=np.float32)[:, None, None, None]
    parameters = {
        "feature.weight": gains,
        "feature.bias": -0.5 * gains.ravel(),
        "end.weight": gains.transpose(1, 0, 2, 3),
        "end.bias": np.zeros(1, np.float32),
    }
    draw = np.random.default_rng(0)
    planes = [draw.random((1, 32, 32), np.float32) for _ in range(3)]
    model = Model(Info("test", "denoise", "gray"), network, parameters)
    _, report = nspike.convert(model, planes, neuron=neuron, timesteps=8, fast=fast, options={"v_init": 0.5})
    (feature, _) = report.layers
    assert feature.name == "end.in"
    assert abs(feature.snn - feature.ann) < 0.004
    assert feature.error < (0.2 if neuron == "if" else 0.1)


def test_windows_of_a_network_with_a_size_multiple_that_enlarges():
    draw = np.random.default_rng(0)
    images = [draw.random((1, *sides), np.float32) for sides in ((39, 50), (41, 43))]
    clean = [np.kron(image, np.ones((1, 2, 2), np.float32)) for image in images]
    degraded, wanted = fit_windows(images, clean, 4)
    assert (degraded.shape[2:], wanted.shape[2:]) == ((36, 40), (72, 80))
    np.testing.assert_array_equal(wanted[:, :, ::2, ::2], degraded)
