"""Scales that were trained: an integrate-and-fire layer then gives the trained activation, exactly where T is L."""

import dataclasses

import numpy as np
import pytest
from nspike_plugins import if_, membrane, mprn, mprn_beta
from nspike_plugins.qcfs import CONVERTER

from nspike.converting.conversion import convert
from nspike.engine.program import build
from nspike.engine.run import run
from nspike.errors import UsageError
from nspike.graph.layer import IMAGE, Activation, Conv
from nspike.graph.network import Network
from nspike.model.model import Info, Model
from nspike.trainable.plain import DifferentiableAnn
from tests.tiny import image, tiny_model


def limited(levels=4):
    ceilings = {"relu1": np.linspace(0.3, 0.9, 8), "relu2": np.array([0.7])}
    network = DifferentiableAnn(tiny_model(), kind="qcfs", levels=levels, ceilings=ceilings)
    return network.to_model()


def planes(count=3):
    return [(image(20, 20, seed=i) / 255.0).astype(np.float32)[None] for i in range(count)]


def converted(model, timesteps=4, neuron=if_.NEURON, **options):
    return convert(
        model,
        planes(),
        converter=CONVERTER,
        neuron=neuron,
        head=membrane.HEAD,
        timesteps=timesteps,
        options=options,
    )


def test_scales_are_the_trained_ones():
    model, report = converted(limited())
    spiking = model.spiking
    np.testing.assert_allclose(spiking.scales["relu1"], np.linspace(0.3, 0.9, 8), rtol=1e-6)
    np.testing.assert_allclose(spiking.scales["relu2"], np.full(8, 0.7), rtol=1e-6)
    assert all(np.all(theta == 1) for theta in spiking.thresholds.values())
    assert spiking.neuron_parameters["if"]["relu1"] == {"v_init": 0.5}
    assert spiking.scales["output"].shape == (1,)
    assert report.psnr_to_ann > 20


@pytest.mark.parametrize("neuron", [if_.NEURON, mprn.NEURON, mprn_beta.NEURON], ids=lambda neuron: neuron.name)
def test_a_layer_gives_its_trained_activation(neuron):
    """One layer that reads the image, and an output that adds nothing: T = L, constant input.

    A neuron that releases what is left after T does not round a second time; above λ it fires once more than T times.
    """
    layers = (
        Conv("conv1", IMAGE, 1, 1, 1, False),
        Activation("relu1", "conv1", 1, (0.8,), 5),
        Conv("conv2", "relu1", 1, 1, 1, False),
    )
    one = np.ones((1, 1, 1, 1), np.float32)
    network = Network("chain", 1, layers, "conv2", "image")
    ann_model = Model(Info("h", "denoise", "gray"), network, {"conv1.weight": one, "conv2.weight": one})
    model, _ = converted(ann_model, timesteps=5, neuron=neuron)
    values = np.linspace(0, 1, 101)
    plane = np.rint(values * 65535).astype(np.int32)[None, None, None]
    output = np.empty((1, 1, 101))

    def sink(part):
        output[:, *part.core.slices] = part.output

    run(build(model, neuron, membrane.HEAD), plane, sink=sink)
    wanted = 0.8 * np.clip(np.floor(values * 5 / 0.8 + 0.5), 0, 5) / 5
    away = np.abs(values * 5 / 0.8 + 0.5 - np.rint(values * 5 / 0.8 + 0.5)) > 0.025
    away &= (values < 0.85) | (neuron.post_steps == 0)
    np.testing.assert_allclose(output[0, 0][away], wanted[away], atol=1e-4)


def test_a_plain_network_has_no_scales():
    with pytest.raises(UsageError, match=r"'relu1' of this network has no ceiling.*nspike train"):
        converted(dataclasses.replace(tiny_model(), spiking=None))


@pytest.mark.parametrize(
    ("neuron", "release"), [(mprn.NEURON, {"beta": 3.0}), (mprn_beta.NEURON, {"alpha": 1.0})], ids=["mprn", "mprn_beta"]
)
def test_a_neuron_that_starts_half_full_releases_late(neuron, release):
    """α = 0.976 where it is trained, and 1 where it is not: half a threshold has rounded the count already."""
    model, _ = converted(limited(), neuron=neuron)
    given = model.spiking.neuron_parameters[neuron.name]["relu1"]
    assert given == neuron.values({"v_init": 0.5, **release})
    assert neuron.fire(neuron.values(release), 5, 4) == pytest.approx(0.976 if neuron is mprn.NEURON else 1.0, abs=5e-4)


@pytest.mark.parametrize("mode", ["image", "subtract"])
def test_an_output_that_is_an_image_has_scale_one(mode):
    ann_model = limited()
    ann_model = dataclasses.replace(ann_model, network=dataclasses.replace(ann_model.network, mode=mode))
    scale = converted(ann_model)[0].spiking.scales["output"]
    assert (scale.tolist() == [1.0]) == (mode == "image")
