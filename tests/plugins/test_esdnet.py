"""ESDNet and SpikerIR of its parts: published sizes, keys, and the same numbers as their PyTorch code."""

import math

import numpy as np
import pytest
from nspike_plugins import esdnet, spikerir_wide
from safetensors.numpy import save_file

import nspike
from nspike.ann.run import run
from nspike.graph.geometry import needs_everything, parameter_shapes
from nspike.images.file import ImageData, write
from tests.cli.console import run as command
from tests.plugins.esdnet_float import Checkpoint, Simulation

ARCHITECTURES = {"esdnet": esdnet.ARCHITECTURE, "spikerir_wide": spikerir_wide.ARCHITECTURE}
SMALL = {
    "esdnet": {"width": 8, "encoder": "1-1-1", "decoder": "1-1-1"},
    "spikerir_wide": {"width": 4, "blocks": 1, "refinement": 1},
}


def checkpoint(kind, **sizes):
    return Checkpoint(kind, **({"width": SMALL[kind]["width"]} | sizes))


@pytest.mark.parametrize(
    ("kind", "count", "thop"), [("esdnet", 12_811_463, 165_911), ("spikerir_wide", 15_979_379, 68_099)]
)
def test_the_published_sizes(kind, count, thop):
    network = ARCHITECTURES[kind].network({})
    shapes = [
        shape
        for layer in network.layers
        for name, shape in parameter_shapes(layer).items()
        if not name.endswith(("_mean", "_var"))
    ]
    assert sum(map(math.prod, shapes)) == network.parameter_count == count
    assert ARCHITECTURES[kind].thop_count(network) == thop
    assert network.size_multiple == (4 if kind == "esdnet" else 8)
    assert needs_everything(network.layers)


@pytest.mark.parametrize(("blocks", "thop"), [(0, 65_743), (1, 66_921), (2, 68_099)])
def test_what_thop_counts_with_other_refinements(blocks, thop):
    network = ARCHITECTURES["spikerir_wide"].network({"refinement": blocks})
    assert ARCHITECTURES["spikerir_wide"].thop_count(network) == thop


@pytest.mark.parametrize(
    ("kind", "sizes", "seed"),
    [("esdnet", {}, 29), ("spikerir_wide", {}, 15), ("spikerir_wide", {"steps": 2, "channels": 1, "width": 8}, 7)],
)
def test_it_computes_what_its_code_does(tmp_path, kind, sizes, seed):
    found = checkpoint(kind, seed=seed, **sizes)
    save_file(found.tensors, tmp_path / "net.safetensors")
    model = nspike.import_checkpoint(tmp_path / "net.safetensors", kind)
    assert model.network == ARCHITECTURES[kind].network(SMALL[kind] | sizes)
    assert {name: array.shape for name, array in model.parameters.items()} == {
        name: shape for layer in model.network.layers for name, shape in parameter_shapes(layer).items()
    }
    image = np.random.default_rng(5).random((found.channels, 16, 24)).astype(np.float32)
    expected = Simulation(found, image.astype(np.float64))
    assert expected.margin > 1e-5, "a membrane so near its threshold that floats decide: take another seed"
    assert 0.05 < min(expected.rates) < max(expected.rates) < 0.95
    outputs = [run(model.network, model.parameters, image[None], threads=n)[0] for n in (1, 2)]
    np.testing.assert_allclose(outputs[0], expected.output, atol=1e-5)
    np.testing.assert_array_equal(*outputs)


def test_the_layout_of_keys_is_the_whole_one():
    whole = {name for name in Checkpoint("esdnet", width=48).tensors if not name.endswith("num_batches_tracked")}
    assert {"encoder_level1.0.residual.5.running_var", "up2_1.up.2.weight", "refinement.sa.3.bias"} <= whole
    tensors = checkpoint("esdnet").tensors
    with pytest.raises(nspike.BadInputError, match=r"missing keys: up3_2\.up\.1\.weight"):
        esdnet.read({key: array for key, array in tensors.items() if key != "up3_2.up.1.weight"})
    with pytest.raises(nspike.BadInputError, match=r"unknown keys: other"):
        esdnet.read(tensors | {"other": np.zeros(3, np.float32)})


@pytest.mark.parametrize("kind", SMALL)
def test_a_file_is_recognised(kind):
    from nspike.contracts.architecture import recognise
    from nspike.registry.plugins import registry

    assert recognise(checkpoint(kind).tensors, registry().networks.values()).name == kind


def test_commands(tmp_path, capsys):
    """It is imported and described, runs in floats and is not converted, and why; it is trained at a small width."""
    save_file(checkpoint("spikerir_wide").tensors, tmp_path / "net.safetensors")
    model, photos = tmp_path / "model.h5", tmp_path / "photos"
    assert (
        command(
            capsys, "import", tmp_path / "net.safetensors", "--network", "spikerir_wide", "--sigma", 25, "-o", model
        ).code
        == 0
    )
    shown = command(capsys, "info", model).out
    assert "the whole image" in shown
    assert "no, and `nspike convert` says why not" in shown
    loaded = nspike.load(model)
    counted = ARCHITECTURES["spikerir_wide"].thop_count(loaded.network)
    assert f"{loaded.network.parameter_count:,} parameters\nthop:" in shown
    assert f"{counted:,} parameters: papers' counter `thop` sees layers of torch.nn alone" in shown
    photos.mkdir()
    write(photos / "a.png", ImageData(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)))
    outcome = command(capsys, "run", photos / "a.png", "--model", model, "--ann", "-o", tmp_path / "out.png")
    assert (outcome.code, (tmp_path / "out.png").is_file()) == (0, True)
    refused = command(capsys, "convert", model, "--calibrate", photos, "-o", tmp_path / "snn.h5")
    assert refused.code == 2
    assert "StepAttention 'enc1_block1_attention', " in refused.err
    assert "sigmoids of means and largest values over the whole image" in refused.err
    assert not (tmp_path / "snn.h5").exists()
    values = {
        "network_options": "{width = 4, blocks = 1, refinement = 1}",
        "degradation": '{kind = "noise", sigma = 25}',
    }
    told = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    told += ["--steps", 2, "--batch", 1, "--patch", 16, "--quiet", "-o", tmp_path / "trained.h5"]
    trained = command(capsys, "train", "spikerir_wide", *told, "--data", photos)
    assert (trained.code, trained.err) == (0, "")
    assert nspike.load(tmp_path / "trained.h5").network.widths["latent_block1"] == 4 * 32


def test_bad_options():
    for text in ("4-4", "4-x-8", "0-1-1", "4--8"):
        with pytest.raises(nspike.UsageError, match="the blocks of 3 levels"):
            esdnet.ARCHITECTURE.network({"encoder": text})
