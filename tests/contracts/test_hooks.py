"""Every hook by a real plugin: those of the pages on how to write one, from a file and as an installed package."""

import importlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import nspike
from nspike.registry.loading import KINDS
from nspike.registry.plugins import LOAD, registry
from nspike.testing import check_loss
from tests.cli.console import run
from tests.desk import lay_out, write
from tests.documents import blocks, write_files
from tests.package_maker import make_package
from tests.tiny import image, tiny_model

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("write_a*.md"))
EXAMPLES = {b.name: b.text for page in PAGES for b in blocks(page.read_text(encoding="utf-8")) if b.kind == "file"}
PLUGINS = {
    "releasing": "neuron",
    "bursting": "neuron",
    "resting": "neuron",
    "maximum": "converter",
    "gain": "head",
    "log_cosh": "loss",
    "loihi": "energy",
    "twolayers": "network",
    "npz": "format",
    "eager": "method",
}
"""Name of an example, its file and what it registers -> its kind."""


@pytest.fixture
def fresh():
    """A registry of the test's own."""
    registry.cache_clear()
    yield
    registry.cache_clear()


def load(tmp_path, name):
    """The object that an example registers, loaded from its file."""
    (tmp_path / f"{name}.py").write_text(EXAMPLES[f"{name}.py"], encoding="utf-8")
    found, thing = registry().resolve(str(tmp_path / f"{name}.py"), [PLUGINS[name]])
    assert (found, thing.name) == (PLUGINS[name], name)
    return thing


def test_every_kind_has_an_example():
    assert set(PLUGINS.values()) == set(KINDS)


@pytest.mark.parametrize("name", PLUGINS)
def test_each_example_works_as_a_package(fresh, tmp_path, monkeypatch, name):
    module = f"nspike_{name}"
    make_package(tmp_path, f"nspike-{name}", EXAMPLES[f"{name}.py"], name, "1.2")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(LOAD, f"nspike-{name}")
    assert type(registry().get(PLUGINS[name], name)) is KINDS[PLUGINS[name]][1]
    (entry,) = [entry for entry in registry().entries() if entry.package == f"nspike-{name}"]
    assert (entry.name, entry.kind, entry.version, entry.state) == (name, PLUGINS[name], "1.2", "ok")
    sys.modules.pop(module, None)


def test_hook_register_neurons(fresh, tmp_path):
    """At 0.75 of θ the declared neuron is MPRN with β = 0."""
    neuron = load(tmp_path, "releasing")
    assert neuron.post_steps == 1
    pixels, model = image(20, 24), tiny_model()
    mine = model.run(pixels, neuron="releasing", digest=True)
    same = model.run(pixels, neuron="mprn", digest=True)
    assert [layer.digests for layer in mine.ledger.layers] == [layer.digests for layer in same.ledger.layers]
    assert mine.ledger.layers[0].events[0, -1] > 0, "it releases"


def test_hook_register_neurons_that_burst(fresh, tmp_path):
    neuron = load(tmp_path, "bursting")
    assert neuron.step is None
    model, pixels = tiny_model(timesteps=9), image(70, 30)
    for name in ("relu1", "relu2"):
        model.spiking.thresholds[name][:] = 0.2
    result = model.run(pixels, neuron="bursting", digest=True)
    assert (result.ledger.layers[0].events.sum(axis=1) > 0).all(), "every plane"
    again = model.run(pixels, neuron="bursting", digest=True, tile=64, threads=2)
    assert [layer.digests for layer in again.ledger.layers] == [layer.digests for layer in result.ledger.layers]


def test_hook_register_neurons_with_a_kernel(fresh, tmp_path):
    load(tmp_path, "resting")
    model, pixels = tiny_model(timesteps=9), image(70, 30)
    result = model.run(pixels, neuron="resting", digest=True)
    events = result.ledger.layers[0].events
    assert events.shape == (1, 9)
    assert events.sum() > 0
    again = model.run(pixels, neuron="resting", digest=True, tile=64, threads=2)
    assert [layer.digests for layer in again.ledger.layers] == [layer.digests for layer in result.ledger.layers]
    assert np.array_equal(again.image, result.image)


def test_hook_register_converters(fresh, tmp_path):
    load(tmp_path, "maximum")
    pixels = np.random.default_rng(0).random((1, 20, 20), np.float32)
    ann = tiny_model()
    snn, report = nspike.convert(ann, [pixels], converter="maximum", options={"margin": 1.5}, fast=True)
    plain = nspike.convert(ann, [pixels], converter="rueckauer", options={"percentile": 100}, fast=True)[0]
    for name in ("relu1", "relu2"):
        assert np.allclose(snn.spiking.scales[name], 1.5 * plain.spiking.scales[name])
    assert snn.info.provenance["converter_options"] == {"margin": 1.5}
    assert [layer.clipped for layer in report.layers] == [0, 0, 0]


def test_hook_register_heads(fresh, tmp_path):
    """With a gain of one it reads what `membrane` reads; a trained gain is used."""
    load(tmp_path, "gain")
    model = tiny_model()
    assert np.array_equal(model.run(image(), head="gain").image, model.run(image(), head="membrane").image)
    training = {"model": model, "head": "gain", "data": images(tmp_path), "timesteps": 2, "steps": 2}
    tuned = nspike.finetune(training | {"batch": 1, "patch": 24}).model
    assert tuned.spiking.head == "gain"
    assert tuned.spiking.head_parameters["gain"]["gain"] != 1.0


def test_hook_register_losses(fresh, tmp_path):
    loss = load(tmp_path, "log_cosh")
    assert check_loss(loss) < 1e-6
    draw = np.random.default_rng(0)
    restored, target = draw.random((2, 1, 5, 6)), draw.random((2, 1, 5, 6))
    seen = nspike.LossInput(nspike.Tensor(restored), nspike.Tensor(target), options=loss.values({"sharpness": 5}))
    assert loss.compute(seen).item() == pytest.approx(np.log(np.cosh(5 * (restored - target))).mean())
    training = {"model": tiny_model(), "pixel": "log_cosh", "data": images(tmp_path), "timesteps": 2, "steps": 1}
    assert nspike.finetune(training | {"batch": 1, "patch": 24}).last.pixel > 0


def test_hook_register_energy_models(fresh, tmp_path):
    model = load(tmp_path, "loihi")
    ledger = tiny_model().run(image()).ledger
    (column,) = model.estimate(ledger)
    assert column.snn == 23.6e-12 * ledger.synops
    assert column.ann == 4.6e-12 * ledger.ann_macs


def test_hook_register_networks(fresh, tmp_path):
    from safetensors.numpy import save_file

    load(tmp_path, "twolayers")
    draw = np.random.default_rng(0)
    tensors = {"first.weight": (6, 1, 3, 3), "first.bias": (6,), "last.weight": (1, 6, 3, 3), "last.bias": (1,)}
    tensors = {name: draw.normal(0, 0.1, shape).astype(np.float32) for name, shape in tensors.items()}
    save_file(tensors, tmp_path / "two.safetensors")
    model = nspike.import_checkpoint(tmp_path / "two.safetensors", "twolayers", degradation={"sigma": 25.0})
    nspike.save(tmp_path / "two.h5", nspike.convert(model, [draw.random((1, 16, 16), np.float32)])[0])
    result = nspike.load(tmp_path / "two.h5").run(image())
    assert result.ledger.spikes > 0
    del tensors["last.bias"]
    save_file(tensors, tmp_path / "less.safetensors")
    with pytest.raises(nspike.BadInputError, match=r"less.safetensors: twolayers: missing keys: last.bias"):
        nspike.import_checkpoint(tmp_path / "less.safetensors", "twolayers")
    registry.cache_clear()
    assert nspike.load(tmp_path / "two.h5").run(image()).ledger.spikes == result.ledger.spikes, "without the plugin"


def test_hook_register_formats(fresh, tmp_path):
    from tests.converting.test_importing import dncnn_tensors

    load(tmp_path, "npz")
    np.savez(tmp_path / "net.npz", **dncnn_tensors())
    model = nspike.import_checkpoint(tmp_path / "net.npz", "dncnn")
    assert model.info.provenance["format"] == "npz"
    assert np.array_equal(model.parameters["conv1.weight"], dncnn_tensors()["0.weight"])
    np.savez(tmp_path / "evil.npz", **{"0.weight": np.array([print], dtype=object)})
    with pytest.raises(nspike.BadInputError, match=r"evil.npz: cannot be read as .npz"):
        nspike.import_checkpoint(tmp_path / "evil.npz", "dncnn", format="npz")


def test_hook_register_methods(fresh, tmp_path):
    from nspike.testing import check_method

    method = load(tmp_path, "eager")
    assert [result.state for result in check_method(method).results] == [
        "passed",
        "passed",
        "skipped",
        "passed",
        "skipped",
    ]
    pixels = np.random.default_rng(0).random((1, 20, 20), np.float32)
    snn, _ = nspike.convert(tiny_model(), [pixels], **method.conversion())
    assert (snn.spiking.neuron, snn.spiking.head, snn.spiking.timesteps) == ("if", "membrane", 8)
    assert all(np.all(snn.spiking.thresholds[name] == 0.35) for name in ("relu1", "relu2"))


def images(folder):
    """A folder with an image to train on."""
    write(folder / "photos" / "p.png", 32, 32)
    return str(folder / "photos")


# ----- the neuron of CONTRIBUTING.md -----


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of CONTRIBUTING.md, installed, as pip would."""
    files = {b.name: b.text for b in blocks((ROOT / "CONTRIBUTING.md").read_text("utf-8")) if b.kind == "file"}
    project = tomllib.loads(files["pyproject.toml"])
    (entry, module), *_ = project["project"]["entry-points"]["nspike"].items()
    site = tmp_path / "site"
    site.mkdir()
    make_package(site, project["project"]["name"], files[f"{module}.py"], entry, project["project"]["version"])
    assert project["tool"]["setuptools"]["py-modules"] == [module]
    monkeypatch.syspath_prepend(site)
    monkeypatch.delenv(LOAD, raising=False)
    registry.cache_clear()
    yield module
    sys.modules.pop(module, None)
    importlib.invalidate_caches()
    registry.cache_clear()


def test_the_example_neuron_runs_as_a_package(package, tmp_path, monkeypatch, capsys):
    lay_out(tmp_path, monkeypatch)
    listed = run(capsys, "plugins", "--kind", "neuron")
    assert "nspike-rounding  0.1.0    ok" in listed.out
    done = run(capsys, "run", "photo.png", "--plugin", "rounding")
    assert done.code == 0
    assert "neuron rounding instead of mprn" in done.out


def test_the_example_passes_its_own_test(package, tmp_path, monkeypatch):
    write_files(ROOT / "CONTRIBUTING.md", tmp_path / "mine")
    names = {}
    exec((tmp_path / "mine" / "test_rounding.py").read_text(encoding="utf-8"), names)
    names["test_it_conforms"]()


def test_the_example_neuron_rounds(package):
    """With a constant current below θ and T steps, spikes are the nearest number instead of the one below."""
    neuron = registry().neurons["rounding"]
    fired = {"rounding": 0, "if": 0}
    for name in fired:
        v = 0.0
        for step in range(1, 11):
            v += 0.28
            threshold = registry().neurons[name].fire(neuron.values(), step, 10)
            fired[name] += v >= threshold
            v -= v >= threshold
    assert fired == {"rounding": 3, "if": 2}
    model, pixels = tiny_model(neuron="if"), image(24, 20)
    plain, rounded = (model.run(pixels, neuron=name).ledger.layers[0].events for name in ("if", "rounding"))
    assert (plain[:, :-1] == rounded[:, :-1]).all()
    assert rounded[0, -1] > plain[0, -1], "only the last step differs"
