"""Conversion of networks with residuals, several sizes, groups and moved spikes, end to end."""

import numpy as np
import pytest

import nspike
from nspike.ann import run as ann
from nspike.contracts.converter import Converter, Scales
from nspike.converting import regression
from nspike.converting.conversion import convert as convert_with
from nspike.converting.rates import Rates, moved
from nspike.converting.tying import tied
from nspike.engine import run as engine
from nspike.engine.program import program_of
from nspike.errors import BadInputError, UsageError
from nspike.graph.layer import IMAGE, Activation, Conv, Gate, PixelShuffle
from nspike.graph.network import Network
from nspike.graph.plain_layer import Pointwise
from nspike.integer.normalise import normalised_conv, spikes_scale
from nspike.model.file import load, save
from nspike.registry.plugins import registry
from tests import graphs as chains
from tests.ann import slow
from tests.converting.graphs import images, many, model_of, residual, unet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("make", "neuron"), [(residual, "if"), (unet, "if"), (many, "if"), (residual, "mprn")])
def test_fitting_is_nearer_to_the_ann_and_the_model_runs_from_its_file(make, neuron, tmp_path):
    model = model_of(make())
    fast, before = nspike.convert(model, images(), neuron=neuron, timesteps=16, fast=True)
    best, after = nspike.convert(model, images(), neuron=neuron, timesteps=16)
    assert best.network.is_spiking
    assert after.psnr_to_ann > before.psnr_to_ann + 3
    assert after.psnr_to_ann > 25
    assert after.first_bad is None
    assert [layer.name for layer in after.layers] == [*best.spiking.scales]
    assert fast.network == best.network
    path = tmp_path / "snn.h5"
    save(path, best)
    pixels = (images(1, 21, 27)[0] * 255).astype(np.uint8)[0]
    restored = nspike.restore(load(path), pixels).image
    assert restored.shape == (model.network.scale * 21, model.network.scale * 27)


def test_scales_of_spikes_that_become_one_channel_are_tied():
    snn, _ = nspike.convert(model_of(many()), images(2), fast=True, options={"per": "channel"})
    scales = snn.spiking.scales["relu4"].reshape(2, 4)
    assert np.ptp(scales, axis=1).max() == 0
    assert np.ptp(snn.spiking.scales["relu3"]) > 0
    assert spikes_scale(snn.network, snn.spiking, "shuffle").tolist() == scales[:, 0].tolist()


def test_tied_scales_are_the_largest_of_their_group():
    layers = (
        Conv("a", IMAGE, 1, 4, 3),
        Activation("act", "a", 4),
        PixelShuffle("up", "act", 2),
        Conv("end", "up", 1, 1, 3, stride=2),
    )
    network = Network("net", 1, layers, "end", "image")
    given = {"act": np.array([1.0, 3.0, 2.0, 0.5]), "output": np.array([7.0])}
    joined = tied(network, given)
    assert joined["act"].tolist() == [3.0] * 4
    assert joined["output"].tolist() == [7.0]
    plain = chains.chain(3, 4)
    given = {name: np.arange(1.0, 1 + n) for name, n in (("act0", 3), ("act1", 4), ("output", 1))}
    assert {name: array.tolist() for name, array in tied(plain, given).items()} == {
        name: array.tolist() for name, array in given.items()
    }


def test_signed_layers_are_scaled_by_their_absolute_values():
    model = model_of(residual())
    snn, _ = nspike.convert(model, images(2), fast=True, options={"percentile": 100.0})
    captured = {"first0.in": None}
    ann.run(snn.network, snn.parameters, np.stack(images(2)), capture=captured)
    assert snn.network.layer("first0.in").signed
    np.testing.assert_allclose(snn.spiking.scales["first0.in"], np.abs(captured["first0.in"]).max(), rtol=1e-6)


def test_qcfs_calibrates_what_conversion_adds():
    layers = (
        Conv("a", IMAGE, 1, 4, 3),
        Activation("act", "a", 4, ceiling=(0.8,)),
        Conv("b", "act", 4, 4, 3),
        Conv("end", "b", 4, 1, 3),
    )
    snn, _ = nspike.convert(model_of(Network("net", 1, layers, "end", "image")), images(2), converter="qcfs")
    assert snn.spiking.scales["act"].tolist() == [pytest.approx(0.8)] * 4
    assert snn.spiking.scales["end.in"].min() > 0


@pytest.mark.parametrize("make", [residual, unet, many])
def test_rates_are_those_of_the_engine(make):
    snn, _ = nspike.convert(model_of(make()), images(2, 16, 16), neuron="mprn", fast=True, timesteps=5)
    network, spiking = snn.network, snn.spiking
    plane = np.rint(np.stack(images(2, 16, 16)) * 65535).astype(np.int32)
    shapes = network.shapes(16, 16)
    known = {a.name: np.zeros((2, *shapes[a.name]), np.float32) for a in network.activations}

    def observer(seen):
        if seen.layer in known:
            spikes = seen.dense().astype(float)
            signs = spikes.reshape(len(spikes), -1, *shapes[seen.layer][:1], *spikes.shape[2:])
            values = signs[:, 0] - (signs[:, 1] if signs.shape[1] > 1 else 0)
            known[seen.layer][seen.n, :, *seen.core.slices] = values.sum(axis=0) / spiking.timesteps

    program = program_of(snn, registry().neurons["mprn"], registry().heads["cpm"])
    engine.run(program, plane, sink=lambda part: None, observer=observer)
    rates, checked = Rates(plane), 0
    for conv in network.convs:
        if network.activations_into(conv.name):
            read = rates.read(snn, conv)
            assert np.abs(read).max() > 0
            np.testing.assert_allclose(read, moved(network, conv.source, known), atol=1e-6)
            checked += 1
    assert checked == len(regression.fitted_convs(network)) > 3


def neighbourhoods(conv, planes, group):
    """What each output of a group reads, (N·h·w, C_in/groups·k·k), from a convolution with unit kernels."""
    inner = conv.in_channels // conv.groups
    columns = []
    one = Conv("one", IMAGE, 1, 1, conv.kernel, False, None, conv.stride, conv.dilation, 1, conv.pads)
    for channel in range(group * inner, (group + 1) * inner):
        for tap in range(conv.kernel**2):
            unit = np.zeros((1, 1, conv.kernel, conv.kernel))
            unit.flat[tap] = 1
            columns.append([slow.convolve(one, x[channel : channel + 1], unit, np.zeros(1)).ravel() for x in planes])
    return np.stack([np.concatenate(column) for column in columns], axis=1)


@pytest.mark.parametrize(
    "options", [{"stride": 2}, {"groups": 2}, {"groups": 4, "stride": 2, "bias": False}, {"dilation": 2, "bias": False}]
)
def test_a_layer_between_sums_is_the_ridge_regression_of_the_definition(options):
    options = {"bias": True} | options
    stride = options.get("stride", 1)
    layers = (
        Conv("a", IMAGE, 1, 4, 3),
        Activation("act", "a", 4),
        Conv("middle", "act", 4, 4, 3, **options),
        PixelShuffle("up", "middle", 2),
        Conv("end", "up", 1, 1, 3, stride=2 // stride),
    )
    network = Network("net", 1, layers, "end", "image")
    snn, _ = nspike.convert(model_of(network), images(2), fast=True, timesteps=6)
    plane = np.rint(np.stack(images(2, 12, 16)).astype(np.float64) * 65535)
    seen = (plane / 65535).astype(np.float32)
    fitted = regression.fit(snn, seen, ridge=0.05)

    conv = snn.network.layer("middle")
    rates = Rates(plane.astype(np.int32)).read(snn, conv)
    captured = {"middle": None}
    ann.run(snn.network, snn.parameters, seen, capture=captured)
    kernel, _ = normalised_conv(snn.network, snn.parameters, snn.spiking, "middle")
    scale = snn.spiking.scales["end.in"][0]
    each = 4 // conv.groups
    for group in range(conv.groups):
        rows = neighbourhoods(conv, rates, group)
        part = slice(group * each, (group + 1) * each)
        wanted = captured["middle"][:, part].transpose(0, 2, 3, 1).reshape(-1, each) / scale
        start = kernel[part].reshape(each, -1).T
        mean_in, mean_out = (rows.mean(0), wanted.mean(0)) if conv.bias else (0.0, 0.0)
        penalty = 0.05 * np.mean((rows - mean_in) ** 2) + 1e-12
        a = np.concatenate([(rows - mean_in) / np.sqrt(len(rows)), np.sqrt(penalty) * np.eye(rows.shape[1])])
        b = np.concatenate([(wanted - mean_out) / np.sqrt(len(rows)), np.sqrt(penalty) * start])
        expected = np.linalg.lstsq(a, b, rcond=None)[0]
        np.testing.assert_allclose(fitted.spiking.weights["middle"][part].reshape(each, -1).T, expected, atol=5e-4)
        if conv.bias:
            offset = mean_out - mean_in @ expected
            np.testing.assert_allclose(fitted.spiking.biases["middle"][part], offset, atol=5e-4)


def test_the_output_behind_a_pixel_shuffle_is_fitted_to_the_targets():
    model, planes = model_of(residual(1, 4)), images(3)
    targets = [np.kron(plane, np.ones((1, 2, 2), np.float32)) for plane in planes]
    errors = []
    for given in (None, targets):
        snn, _ = nspike.convert(model, planes, targets=given, timesteps=16)
        restored = [nspike.restore(snn, (plane[0] * 255).astype(np.uint8)).image / 255 for plane in planes]
        errors.append(np.mean([(r - t) ** 2 for r, t in zip(restored, targets, strict=True)]))
    assert errors[1] < errors[0] / 2


def test_gates_are_not_fitted_and_the_report_says_so():
    layers = (
        Conv("a", IMAGE, 3, 4, 3),
        Activation("act", "a", 4),
        Conv("k", "act", 4, 3, 3),
        Activation("act2", "k", 3),
        Gate("gate", "act2", 3),
    )
    model = model_of(Network("net", 3, layers, "gate", "image", rectify=True))
    planes = [np.concatenate([plane] * 3) for plane in images(2)]
    _, report = nspike.convert(model, planes)
    assert "layers that are not fitted: gate" in report.note


def test_images_that_do_not_fit():
    model = model_of(many())
    nspike.convert(model, images(2, 42, 47), fast=True)
    with pytest.raises(BadInputError, match="calibration image 1 is 3×44; the network runs on multiples of 4"):
        nspike.convert(model, [*images(1), *images(1, 3, 44)])
    with pytest.raises(BadInputError, match="are not of 2 times the shapes"):
        nspike.convert(model_of(residual()), images(1), targets=images(1))


def test_a_plain_layer_is_refused():
    layers = (Conv("a", IMAGE, 1, 4, 3), Pointwise("soft", "a", 4, "gelu"), Conv("end", "soft", 4, 1, 3))
    with pytest.raises(UsageError, match=r"gelu 'soft': .* replace it by ReLU and fine-tune"):
        nspike.convert(model_of(Network("net", 1, layers, "end", "image")), images(1))


def test_a_converter_sees_the_lowered_network():
    seen = []

    def scales(calibration, options):
        seen.append(calibration.network)
        parts = {a.name: a.channels for a in calibration.network.activations} | {"output": 1}
        values = next(iter(calibration.activations()))
        assert {name: values[name].shape[0] for name in parts} == parts
        ones = {name: np.ones(count) for name, count in parts.items()}
        return Scales(ones, ones, {})

    converter = Converter(name="ones", summary="", source="", options=(), scales=scales)
    parts = {"neuron": registry().neurons["if"], "head": registry().heads["membrane"]}
    snn, _ = convert_with(model_of(residual()), images(1), converter=converter, **parts)
    assert seen == [snn.network]
