"""Restormer, PromptIR and AdaIR: the published counts from shapes alone, and what they compute against PyTorch."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from nspike_plugins import adair, promptir, restormer
from nspike_plugins._keyed import Keys
from nspike_plugins._restormer import Build, count, parameters_of, sizes_of, usual
from PIL import Image
from safetensors.numpy import save_file

import nspike
from nspike.ann import run as ann
from nspike.graph.geometry import parameter_shapes
from nspike.graph.mode import restored
from tests.cli.console import run


def prompted(width=48):
    more = {f"noise_level{i}": ("none", f * width + promptir.PROMPTS[i][0]) for i, f in ((1, 2), (2, 4), (3, 8))}
    return promptir.graph(
        sizes_of("promptir", Keys({}), more), {i: (5, *sides) for i, sides in promptir.PROMPTS.items()}
    )


PUBLISHED = {
    "restormer": (lambda: restormer.graph(usual(48, 3)), 26_126_644, 494),
    "restormer, denoising": (lambda: restormer.graph(usual(48, 3, bias=False)), 26_111_668, 406),
    "restormer, grey": (lambda: restormer.graph(usual(48, 1, bias=False)), 26_109_076, 406),
    "restormer of 8 channels": (lambda: restormer.graph(usual(8, 3, (1, 1, 1, 1), 1)), 208_225, None),
    "restormer of 16 channels": (lambda: restormer.graph(usual(16, 3, (1, 1, 1, 1), 1)), 800_547, None),
    "promptir": (prompted, 35_592_263, 548),
    "adair": (
        lambda: adair.graph(usual(48, 3), {i: (384 >> i + 2, 192 >> i + 2, 4) for i in (1, 2, 3)}),
        28_784_824,
        587,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_numbers_of_parameters_and_keys(name):
    make, parameters, keys = PUBLISHED[name]
    network, build = make()
    assert count(build.published.values()) + count(build.unused.values()) == parameters
    assert keys is None or len(build.published) + len(build.unused) == keys
    own = {name: shape for layer in network.layers for name, shape in parameter_shapes(layer).items()}
    assert {name: place.shape for name, place in build.places.items()} == own


def test_the_published_number_of_products():
    network, _ = restormer.graph(usual(48, 3))
    assert network.macs_paper(256, 256) / 1e9 == pytest.approx(154.88, abs=0.005)
    assert network.size_multiple == 8


CASES = {
    "restormer": ("Restormer", {}, (40, 24)),
    "restormer without biases": ("Restormer", {"channels": 1, "bias": False, "blocks": (2, 1, 1, 2)}, (24, 32)),
    "restormer of 16 channels": ("Restormer", {"width": 16, "refinement": 2}, (32, 32)),
    "promptir": ("PromptIR", {}, (40, 56)),
    "adair": ("AdaIR", {}, (40, 24)),
}


def module_of(name, seed=0):
    torch = pytest.importorskip("torch")
    from tests.plugins import restorers

    kind, sizes, shape = CASES[name]
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    module = getattr(restorers, kind)(**sizes).eval()
    image = np.random.default_rng(seed).random((1, sizes.get("channels", 3), *shape), np.float32)
    return torch, module, image


def tensors_of(module, prefix=""):
    return {prefix + name: array.numpy() for name, array in module.state_dict().items()}


@pytest.mark.parametrize("name", CASES)
def test_computes_what_pytorch_does(tmp_path, name):
    torch, module, image = module_of(name)
    save_file(tensors_of(module), tmp_path / "net.safetensors")
    model = nspike.import_checkpoint(tmp_path / "net.safetensors", CASES[name][0].lower())
    with torch.no_grad():
        expected = module(torch.from_numpy(image)).numpy()
    taps = {f"decoder_level{i}": None for i in (1, 2, 3)}
    output = restored("add", image, ann.run(model.network, model.parameters, image, capture=taps, memory=1, threads=1))
    assert np.abs(output - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    kept = {}
    for level in taps:
        getattr(module, level).register_forward_hook(lambda *got, level=level: kept.update({level: got[2].numpy()}))
    with torch.no_grad():
        module(torch.from_numpy(image))
    for level, values in taps.items():
        np.testing.assert_allclose(values, kept[level], atol=1e-5 * np.abs(kept[level]).max())


def test_low_frequencies():
    """A module of AdaIR by itself, on features of more than 256 pixels: the box holds some frequencies."""
    torch = pytest.importorskip("torch")
    from tests.plugins.restorers import Frequencies, conv

    torch.set_num_threads(1)
    torch.manual_seed(0)
    head, module, tail = conv(12, 16), Frequencies(16, 3, 4), conv(16, 12)
    image = np.random.default_rng(0).random((1, 3, 512, 520), np.float32)
    with torch.no_grad():
        given = torch.from_numpy(image)
        small = torch.nn.functional.interpolate(given, (256, 260), mode="bilinear")
        mean = module.conv1(small).mean((2, 3), keepdim=True)
        first, second = module.rate_conv[0].weight, module.rate_conv[2].weight
        first[:] = torch.sign(mean.transpose(0, 1)).reshape(1, 16, 1, 1)
        second[:] = torch.tensor([3.0, 1.0])[:, None, None, None] / (2 * first[0].abs().sum() * mean.abs().mean())
        high, low = module.split(module.conv1(small))
        expected = torch.nn.functional.pixel_shuffle(
            tail(module(given, head(torch.nn.functional.pixel_unshuffle(given, 2)))), 2
        ).numpy()
    build = Build(usual(8, 3))
    build.add(nspike.PixelUnshuffle("unshuffled", "image", 2))
    build.conv("head", "unshuffled", 12, 16, 1)
    adair._frequencies(build, "fre", "head", 16, 2, (2, 1, 4))
    build.add(nspike.PixelShuffle("out", build.conv("tail", "fre", 16, 12, 1), 2))
    network = nspike.Network("adair", 3, tuple(build.layers), "out", "image")
    tensors = tensors_of(module, "fre.") | tensors_of(head, "head.") | tensors_of(tail, "tail.")
    parameters = parameters_of("adair", tensors, {key: key for key in tensors}, build)
    taps = dict.fromkeys(["fre_share", "fre_low", "fre_high"])
    output = ann.run(network, parameters, image, capture=taps, memory=2**23)
    assert [int(2 * share) for share in taps["fre_share"].ravel()] == [1, 1]
    assert low.mean() > 0.01
    np.testing.assert_allclose(taps["fre_low"], low.numpy(), atol=1e-6)
    np.testing.assert_allclose(taps["fre_high"], high.numpy(), atol=1e-6)
    assert np.abs(output - expected).max() < 1e-5 * max(1, np.abs(expected).max())


def test_files_of_training_programs(tmp_path):
    """`params` of BasicSR, Lightning's `state_dict` with `net.`, and DataParallel's `module.`."""
    torch, module, _ = module_of("promptir")
    expected = promptir.read(tensors_of(module))[1]
    plain, lightning = module.state_dict(), {f"net.{name}": array for name, array in module.state_dict().items()}
    files = {
        "basicsr.pth": {"params": plain},
        "lightning.ckpt": {"epoch": 3, "pytorch-lightning_version": "2.0", "state_dict": lightning, "loops": {}},
        "parallel.pth": {f"module.{name}": array for name, array in plain.items()},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        parameters = nspike.import_checkpoint(tmp_path / name, "promptir").parameters
        assert parameters.keys() == expected.keys()
        for key, array in parameters.items():
            np.testing.assert_array_equal(array, expected[key])


def test_files_are_recognised_and_those_of_others_refused():
    from nspike.contracts.architecture import recognise
    from nspike.registry.plugins import registry

    modules = {name: module_of(name)[1] for name in ("restormer", "promptir", "adair")}
    for name, module in modules.items():
        assert recognise(tensors_of(module), registry().networks.values()).name == name
    for name, other in itertools.permutations(modules, 2):
        with pytest.raises(nspike.BadInputError, match=r"unknown keys|missing keys"):
            registry().networks[name].read(tensors_of(modules[other]))


def arrays_of(sizes, channels=3):
    """Random arrays of a Restormer's file, without PyTorch."""
    _, build = restormer.graph(dataclasses.replace(sizes, channels=channels))
    draw = np.random.default_rng(0)
    arrays = {}
    for key, shape in build.published.items():
        spread = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) == 4 else 0.2
        arrays[key] = (draw.normal(0, spread, shape) + (1 if "norm" in key else 0)).astype(np.float32)
    return arrays


SMALL = usual(8, 3, (1, 1, 1, 1), 1)


def test_what_is_refused():
    arrays = arrays_of(SMALL)
    dual = arrays | {"skip_conv.weight": np.zeros((16, 8, 1, 1), np.float32)}
    with pytest.raises(nspike.BadInputError, match="dual-pixel"):
        restormer.read(dual)
    with pytest.raises(nspike.BadInputError, match="images of 6 channels"):
        restormer.read(arrays_of(SMALL, 6))
    with pytest.raises(nspike.BadInputError, match=r"missing keys: refinement\.0\.attn\.temperature"):
        restormer.read({key: array for key, array in arrays.items() if key != "refinement.0.attn.temperature"})
    with pytest.raises(nspike.BadInputError, match="10000 blocks a level"):
        restormer.read(arrays | {"latent.9999.norm1.body.weight": arrays["latent.0.norm1.body.weight"]})
    odd = arrays | {"latent.0.attn.temperature": np.ones((7, 1, 1), np.float32)}
    with pytest.raises(nspike.BadInputError, match="heads 7"):
        restormer.read(odd)
    with pytest.raises(nspike.UsageError, match="even number"):
        restormer.make({"width": 9, "channels": 3, "blocks": "1,1,1,1", "refinement": 1, "norm": "bias"})
    with pytest.raises(nspike.UsageError, match="four numbers"):
        restormer.make({"width": 8, "channels": 3, "blocks": "1,1", "refinement": 1, "norm": "bias"})


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    """Imported, run, measured, refused with what it needs, and not converted."""
    monkeypatch.chdir(tmp_path)
    save_file(arrays_of(SMALL), "net.safetensors")
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)).save("photos/photo.png")
    here = ("photos/photo.png", "--model", "net.h5", "--ann")
    done = run(capsys, "import", "net.safetensors", "--network", "restormer", "--sigma", "25", "-o", "net.h5")
    assert (done.code, done.err) == (0, "")
    assert "208,225 parameters" in done.out
    done = run(capsys, "run", *here, "-o", "out.png", "--memory", "64M")
    assert done.code == 0, done.err
    assert Image.open("out.png").size == (83, 61)
    done = run(capsys, "evaluate", "net.h5", "--data", "photos", "--sigma", "25", "--ann")
    assert done.code == 0, done.err
    done = run(capsys, "run", *here, "-o", "other.png", "--memory", "1M")
    assert done.code == 2
    assert re.search(r"looks at the whole image: on 88×64 pixels it takes at least \d+ MiB", done.err)
    assert not (tmp_path / "other.png").exists()
    done = run(capsys, "convert", "net.h5", "--calibrate", "photos", "-o", "snn.h5")
    assert done.code == 2
    assert "Attention 'encoder_level1_attention'" in done.err
    assert "distil a network" in done.err
