"""SpikerIR's small network: its keys, its size, and that the engine fires what PyTorch would."""

import numpy as np
import pytest
from nspike_plugins import spikerir_lite
from safetensors.numpy import save_file

import nspike
from nspike.engine.program import program_of
from nspike.graph.geometry import parameter_shapes
from nspike.model.model import OUTPUT
from nspike.registry.plugins import registry
from tests.cli.console import run as command
from tests.graphs import run
from tests.plugins import spikerir_float as floats

SMALL = {"width": 8, "group": 4, "blocks": 1, "levels": 3}


def stem(layer):
    """The stem of a convolution's keys."""
    if layer in ("embed", "out"):
        return layer
    if layer.startswith(("down", "up")):
        return f"{layer}.conv"
    stage, block, kind = layer.split("_")
    return f"{stage}.{int(block.removeprefix('block')) - 1}.{kind}"


def spiking(tmp_path, neuron="lif_hard", **sizes):
    """A random checkpoint, and the model that is made of it."""
    tensors = floats.tensors(**sizes)
    save_file(tensors, tmp_path / "net.safetensors")
    ann = nspike.import_checkpoint(tmp_path / "net.safetensors", "spikerir_lite")
    model, _ = nspike.convert(ann, converter="direct", neuron=neuron, neuron_parameters={"tau": 2.0}, timesteps=4)
    return tensors, model


def test_the_published_size():
    network = spikerir_lite.ARCHITECTURE.network({})
    shapes = {name: shape for layer in network.layers for name, shape in parameter_shapes(layer).items()}
    assert sum(np.prod(shape) for name, shape in shapes.items() if not name.endswith(("_mean", "_var"))) == 65475
    assert network.macs_per_pixel == 10404
    assert network.size_multiple == 8
    assert network.is_spiking
    tensors = floats.tensors()
    assert sum(t.size for key, t in tensors.items() if key.endswith((".weight", ".bias"))) == 65475
    read, parameters = spikerir_lite.read(tensors)
    assert read == network
    assert {name: array.shape for name, array in parameters.items()} == shapes


@pytest.mark.parametrize(("group", "count"), [(8, 57027), (6, 52803)])
def test_smaller_groups(group, count):
    network, parameters = spikerir_lite.read(floats.tensors(group=group))
    assert network == spikerir_lite.ARCHITECTURE.network({"group": group})
    assert sum(a.size for name, a in parameters.items() if not name.endswith(("_mean", "_var"))) == count


@pytest.mark.parametrize("sizes", [SMALL, {"width": 12, "group": 12, "blocks": 2, "levels": 2, "channels": 1}])
def test_the_plain_network(tmp_path, sizes):
    """ReLUs where the neurons are, with one step."""
    tensors, _ = spiking(tmp_path, **sizes)
    network, parameters = spikerir_lite.read(tensors)
    assert network == spikerir_lite.ARCHITECTURE.network(sizes)
    image = np.random.default_rng(1).random((network.channels, 16, 24))
    expected, _ = floats.simulate(
        floats.folded(tensors), image, lambda name, current: np.maximum(current, 0), sizes["levels"]
    )
    from nspike.ann.run import run as plain

    np.testing.assert_allclose(plain(network, parameters, image[None].astype(np.float32))[0], expected, atol=2e-5)


@pytest.mark.parametrize("sizes", [SMALL, {}], ids=["small", "whole"])
def test_the_engine_fires_what_pytorch_would(tmp_path, sizes):
    """On the rounded kernels every spike is the same; on the unrounded ones nearly all."""
    tensors, model = spiking(tmp_path, **sizes)
    integers = program_of(model, *(registry().neurons["lif_hard"], registry().heads["membrane"])).integers
    kernels = {
        stem(s.layer.name): (s.integer.weights[0], s.integer.bias, s.integer.exponent)
        for s in integers.stages
        if s.fused
    }
    kernels |= {stem(w.name): (w.weights[0], w.bias, w.exponent) for w in integers.writers}
    rounded = {
        name: (np.ldexp(w.astype(float), -k[:, None, None, None]), np.ldexp(b.astype(float), -k))
        for name, (w, b, k) in kernels.items()
    }
    pixels = np.random.default_rng(3).integers(0, 256, (1, 3, 32, 40), np.uint8)
    output, _, spikes = run(model, pixels, "lif_hard", "membrane")
    # the image's current is rounded to its grid before anything else
    first = kernels["embed"][2]
    current = floats.convolve(pixels / 255.0, rounded["embed"][0], 1)[0]
    current = np.ldexp(np.rint(np.ldexp(current, first[:, None, None])), -first[:, None, None])
    rounded["embed"] = (np.eye(len(first))[:, :, None, None], np.zeros(len(first)))
    levels = sizes.get("levels", 4)
    fire = floats.leaky_on_grids(
        {s.name: s.integer.theta for s in integers.stages}, {s.name: s.integer.exponent for s in integers.stages}
    )
    exact, trains = floats.simulate(rounded, current, fire, levels)
    assert [name for name, _ in trains] == [name for name in spikes if name != OUTPUT]
    for name, train in trains:
        np.testing.assert_array_equal(spikes[name][0], train, err_msg=name)
        assert 0.01 < train.mean() < 0.9, name
    np.testing.assert_allclose(output[0], exact, atol=1e-12)

    _, unrounded = floats.simulate(floats.folded(tensors), pixels[0] / 255.0, floats.leaky(), levels)
    neurons = sum(train.size for _, train in unrounded)
    differ = sum((spikes[name][0] != train).sum() for name, train in unrounded)
    assert differ < 0.01 * neurons, (differ, neurons)


@pytest.mark.parametrize("channels", [1, 3])
def test_told_the_noise_level(tmp_path, channels):
    """The level is one more plane: as a network of a wider image that holds it."""
    tensors, model = spiking(tmp_path, **SMALL, channels=channels, noise_level=1)
    network, parameters = spikerir_lite.read(tensors)
    assert network == spikerir_lite.ARCHITECTURE.network(SMALL | {"channels": channels, "noise_level": 1})
    assert network.takes_noise_level
    assert network.channels == channels
    image = np.random.default_rng(1).random((channels, 16, 24))
    plane = np.concatenate([image, np.full((1, 16, 24), 25 / 255)])
    from nspike.ann.run import run as plain

    expected, _ = floats.simulate(floats.folded(tensors), plane, lambda name, current: np.maximum(current, 0), 3)
    np.testing.assert_allclose(
        plain(network, parameters, image[None].astype(np.float32))[0], expected[:channels], atol=2e-5
    )
    pixels = np.random.default_rng(2).integers(0, 256, (24, 32, 3), np.uint8)
    if channels == 1:
        pixels = pixels[..., 0]
    low, high = (nspike.restore(model.at_noise(sigma), pixels).ledger.synops for sigma in (5, 50))
    assert low != high


def test_by_the_command_line(tmp_path, capsys):
    tensors = floats.tensors(**SMALL)
    save_file(tensors, tmp_path / "net.safetensors")
    plain, model = tmp_path / "plain.h5", tmp_path / "model.h5"
    assert command(capsys, "import", tmp_path / "net.safetensors", "--network", "spikerir_lite", "-o", plain).code == 0
    told = ("--option", "theta=0.2", "--plugin", "lif_hard", "--set", "tau=2", "-T", 4, "--head", "membrane")
    outcome = command(capsys, "convert", plain, "--converter", "direct", *told, "-o", model)
    assert (outcome.code, outcome.err) == (0, "")
    assert "nothing is calibrated" in outcome.out
    loaded = nspike.load(model)
    assert all(np.all(scale == 1) for scale in loaded.spiking.scales.values())
    assert np.all(loaded.spiking.thresholds["out_lif"] == 0.2)
    assert loaded.spiking.neuron_parameters["lif_hard"]["out_lif"]["tau"] == 2


def test_a_file_of_another_kind():
    with pytest.raises(nspike.BadInputError, match=r"missing keys: enc1\.0\.dw\.weight"):
        spikerir_lite.read({k: v for k, v in floats.tensors(**SMALL).items() if k != "enc1.0.dw.weight"})
    with pytest.raises(nspike.BadInputError, match="groups of 3"):
        spikerir_lite.read(floats.tensors(**SMALL) | {"latent.0.gp.weight": np.zeros((32, 3, 1, 1), np.float32)})
