import numpy as np
import pytest
from nspike_plugins import aodnet, dncnn

from nspike.ann import run as ann
from nspike.errors import ModelError
from nspike.graph.layer import IMAGE, Activation, ChannelShuffle, Conv
from nspike.graph.network import Network
from nspike.integer.normalise import gate_scale, input_scale, normalised_conv
from nspike.integer.reference_layers import convolve
from nspike.model.model import OUTPUT, Spiking
from tests.plugins.chains import aod, chain


def spiking_of(network, seed=0):
    rng = np.random.default_rng(seed)
    channels = {a.name: a.channels for a in network.activations} | {OUTPUT: network.channels}
    scales = {name: rng.uniform(0.2, 3, count) for name, count in channels.items()}
    return Spiking("if", "membrane", 5, scales, {name: np.ones(count) for name, count in channels.items()})


def test_normalised_layers_of_aodnet_compute_the_ann_in_units_of_the_scales():
    network, parameters = aodnet.read(aod())
    spiking = spiking_of(network)
    image = np.random.default_rng(1).random((1, 3, 12, 14), dtype=np.float32)
    values = {a.name: None for a in network.activations}
    output = ann.run(network, parameters, image, capture=values)[0]
    units = {name: v[0] / spiking.scales[name][:, None, None] for name, v in values.items()}
    drives = {a.source: a.name for a in network.activations} | {network.output: OUTPUT}
    for conv in network.convs:
        sources = [units[a.name] for a in network.activations_into(conv.name)] or [image[0].astype(np.float64)]
        weights, bias = normalised_conv(network, parameters, spiking, conv.name)
        assert weights.dtype == bias.dtype == np.float64
        found = np.maximum(
            convolve(np.concatenate(sources)[None], weights, conv, np.arange(conv.in_channels)[None])[0]
            + bias[:, None, None],
            0,
        )
        np.testing.assert_allclose(found, units[drives[conv.name]], atol=1e-5)
    gate = gate_scale(network, spiking, "gate")[:, None, None]
    scale = spiking.scales[OUTPUT][:, None, None]
    found = units["relu5"] * gate * (image[0].astype(np.float64) - 1) + 1 / scale
    np.testing.assert_allclose(np.maximum(found, 0), output / scale, atol=1e-5)


def test_trained_weights_and_biases_are_taken_as_they_are():
    network, parameters = dncnn.read(chain(3, 4))
    spiking = spiking_of(network)
    weights = np.full((4, 4, 3, 3), 0.25, np.float32)
    trained = Spiking("if", "membrane", 5, spiking.scales, spiking.thresholds, weights={"conv2": weights})
    found, bias = normalised_conv(network, parameters, trained, "conv2")
    np.testing.assert_array_equal(found, weights)
    np.testing.assert_array_equal(bias, parameters["conv2.bias"] / spiking.scales["relu2"])


def test_groups_tied_weights_and_moved_spikes():
    layers = (
        Conv("c", IMAGE, 1, 4, 3),
        Activation("a", "c", 4),
        ChannelShuffle("s", "a", 2),
        Conv("d", "a", 4, 6, 3, groups=2),
        Activation("b", "d", 6),
        Conv("e", "s", 4, 6, 3, groups=2, tied="d"),
        Activation("f", "e", 6),
        Conv("g", "f", 6, 1, 1),
    )
    network = Network("n", 1, layers, "g", "image")
    spiking, draw = spiking_of(network), np.random.default_rng(1)
    parameters = {
        f"{c.name}.{part}": draw.normal(size=shape).astype(np.float32)
        for c in network.convs
        if c.tied is None
        for part, shape in (("weight", c.kernel_shape), ("bias", (c.out_channels,)))
    }
    a, b, f = (spiking.scales[name] for name in "abf")
    for name, read, out in (("d", a, b), ("e", a[[0, 2, 1, 3]], f)):
        np.testing.assert_array_equal(input_scale(network, spiking, name), read)
        weights, bias = normalised_conv(network, parameters, spiking, name)
        for o, i in np.ndindex(6, 2):
            expected = parameters["d.weight"][o, i].astype(np.float64) * read[o // 3 * 2 + i] / out[o]
            np.testing.assert_array_equal(weights[o, i], expected)
        np.testing.assert_array_equal(bias, parameters["d.bias"] / out)
    trained = Spiking("if", "m", 5, spiking.scales, {}, weights={"e": np.ones((6, 2, 3, 3), np.float32)})
    assert normalised_conv(network, parameters, trained, "e")[0].min() == 1
    assert normalised_conv(network, parameters, trained, "d")[0].min() < 0


def test_what_is_missing_or_wrong():
    network, parameters = dncnn.read(chain(4, 4, norm="torch"))
    spiking = spiking_of(network)
    with pytest.raises(ModelError, match="fold the batch norm"):
        normalised_conv(network, parameters, spiking, "conv2")
    with pytest.raises(ModelError, match="no convolution"):
        normalised_conv(network, parameters, spiking, "relu1")
    with pytest.raises(ModelError, match="no gate"):
        gate_scale(network, spiking, "conv1")
    scales = {name: scale for name, scale in spiking.scales.items() if name != "relu1"}
    with pytest.raises(ModelError, match="no scale for 'relu1'"):
        normalised_conv(network, parameters, Spiking("if", "m", 5, scales, {}), "conv1")
