"""tests/outside_plugin, a real package that pip installs: its neurons get all that the built-in ones get."""

import importlib
import importlib.metadata
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nspike
from nspike.registry.plugins import LOAD, registry
from nspike.testing import HandWorked, check_neuron
from nspike.trainable.spiking import DifferentiableNetwork
from tests import naive
from tests.cli.console import launch, run
from tests.desk import lay_out
from tests.environments import install_into
from tests.graphs import agree, branched, chain, image, random_model
from tests.graphs import run as engine
from tests.tiny import tiny_model

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parent / "outside_plugin"
NAMES = ("adaptive", "falling")


@pytest.fixture(scope="session")
def site_packages(tmp_path_factory):
    """Where the package is installed: by the gate before, or here."""
    try:
        return Path(str(importlib.metadata.distribution("nspike-outside").locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        return install_into(tmp_path_factory.mktemp("outside"), PACKAGE)


@pytest.fixture
def installed(site_packages, monkeypatch):
    """With the package, and nothing else from outside."""
    monkeypatch.syspath_prepend(site_packages)
    monkeypatch.setenv(LOAD, "nspike-outside")
    registry.cache_clear()
    yield site_packages
    registry.cache_clear()
    for name in [name for name in sys.modules if name.startswith("nspike_outside")]:
        del sys.modules[name]
    importlib.invalidate_caches()


# ----- the neurons -----


class Falling(naive.IF):
    name, defaults = "falling", {"last": 0.5, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.steps, self.at = 4, 0
        falls = [1.0 + (p["last"] - 1.0) * t / (self.steps - 1) for t in range(self.steps)]
        self.thresholds = [
            naive.column(naive.on_grid(f * t, k) for t, k in zip(theta, grid.exponent, strict=True)) for f in falls
        ]

    def step(self, current, post):
        self.v = self.v + current
        self.at += 1
        return self.spend(self.thresholds[self.at - 1], self.theta)


class Adaptive(naive.IF):
    name, defaults = "adaptive", {"jump": 0.125, "keep": 0.75, "v_init": 0.0}

    def prepare(self, p, theta, grid):
        self.jump = naive.column(naive.on_grid(p["jump"] * t, k) for t, k in zip(theta, grid.exponent, strict=True))
        self.keep = naive.on_grid(p["keep"] * 65536, 0)
        self.raised = 0 * self.v

    def step(self, current, post):
        self.raised = (self.raised * self.keep + 32768) >> 16
        self.v = self.v + current
        spikes = self.spend(self.theta + self.raised, self.theta)
        self.raised = self.raised + spikes[0] * self.jump
        return spikes


@pytest.mark.parametrize("network", [chain(3, 2), chain(17, 9), branched(3, 9, 2), chain(64, 3, 8)])
@pytest.mark.parametrize("slow", [Falling, Adaptive])
def test_the_engine_runs_them_as_they_are_defined(installed, network, slow):
    model = random_model(network, 5, level=0.5)
    both = SimpleNamespace(fast=registry().neurons[slow.name], naive=slow)
    pixels = image(3, 1, network.channels, 6, 9)
    run_of = agree(model, pixels, both, "cpm", threads=2)
    assert run_of.spikes[network.activations[0].name].any()
    agree(model, pixels, both, "cpm", run_of, threads=1)


TRACES = {
    # T = 5: thresholds 16, 14, 12, 10, 8
    "falling": [
        HandWorked([6, 6, 6, 6, 6], [0, 0, 1, 0, 1], [6, 12, 2, 8, -2]),
        HandWorked([15, 0, 0, 0, 0], [0, 1, 0, 0, 0], [15, -1, -1, -1, -1]),
    ],
    # j = 2; raised by 0 -> fires, 2; by 1.5 -> 2; by 2 -> fires, 4; by 3 -> fires, 5; by 3.75 -> 4, and 19 < 20
    "adaptive": [
        HandWorked([17, 16, 16, 18, 0], [1, 0, 1, 1, 0], [1, 17, 17, 19, 19]),
        HandWorked([16, 17, 17], [1, 0, 1], [0, 17, 18], parameters={"jump": 0.25, "keep": 0.5}),
    ],
}


@pytest.mark.parametrize("name", NAMES)
def test_they_conform(installed, name):
    check_neuron(registry().neurons[name], trace=TRACES[name], conserves=True)


# ----- what the built-in ones get -----


def test_they_are_listed(installed, capsys):
    done = run(capsys, "plugins", "--kind", "neuron", "--json", "-")
    found = {e["name"]: e for e in json.loads(done.out)["plugins"] if e["package"] != "nspike"}
    assert set(found) == set(NAMES)
    assert {(e["package"], e["version"], e["state"]) for e in found.values()} == {("nspike-outside", "0.3.1", "ok")}


@pytest.mark.parametrize("name", NAMES)
def test_they_convert_save_and_run(installed, name, tmp_path):
    planes = [np.random.default_rng(i).random((1, 30, 32), np.float32) for i in range(2)]
    options = {"converter": "rueckauer", "neuron": name, "timesteps": 6, "neuron_parameters": {}}
    snn, report = nspike.convert(tiny_model(), planes, **options)
    assert snn.spiking.neuron == name
    assert np.isfinite(report.psnr_to_ann)
    assert len(report.layers) == 3
    assert (report.rounding is None) == (name != "falling"), "floats are simulated for declared neurons"
    nspike.save(tmp_path / "snn.h5", snn)
    again = nspike.load(tmp_path / "snn.h5")
    pixels = np.rint(planes[0][0] * 255).astype(np.uint8)
    one, other = again.run(pixels, digest=True), snn.run(pixels, digest=True, threads=1, tile=64)
    assert np.array_equal(one.image, other.image)
    assert one.ledger.layers[0].digests == other.ledger.layers[0].digests
    assert one.ledger.spikes > 0


@pytest.fixture
def desk(installed, tmp_path, monkeypatch):
    return lay_out(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_audited(desk, capsys, name):
    assert run(capsys, "audit", "photo.png", "--plugin", name, "--json", "one.json").code == 0
    options = ["--threads", "3", "--tile", "64"]
    assert run(capsys, "audit", "photo.png", "--plugin", name, *options, "--json", "two.json").code == 0
    first = (desk / "one.json").read_bytes()
    assert (desk / "two.json").read_bytes() == first
    assert run(capsys, "audit", "--verify", "one.json").code == 0
    certificate = json.loads(first)
    assert name in json.dumps(certificate)
    layer = certificate["layers"][0]
    layer["steps"][1]["synops"] += 1
    (desk / "edited.json").write_text(json.dumps(certificate))
    done = run(capsys, "audit", "--verify", "edited.json")
    assert done.code == 1
    assert f"{layer['name']}, step 2" in done.out + done.err


@pytest.mark.parametrize("name", NAMES)
def test_they_run_evaluate_and_are_checked_by_name(desk, capsys, name):
    assert run(capsys, "run", "photo.png", "--plugin", name).code == 0
    assert run(capsys, "evaluate", "dncnn-s25", "--data", "photos", "--limit", "1", "--plugin", name).code == 0
    done = run(capsys, "plugin", "check", name, "--conserves")
    assert done.code == 0, done.out
    assert "all" in done.out.splitlines()[-1]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_converted_fine_tuned_and_audited(desk, capsys, name):
    """What a stranger does: convert a network for the neuron, fine-tune it, and prove every spike of what came out."""
    nspike.save("ann.h5", replace(tiny_model(), spiking=None))
    told = ("--plugin", name, "--head", "cpm", "-T", 4, "--crops", 4, "--crop-size", 32)
    done = run(capsys, "convert", "ann.h5", "--calibrate", "photos", "-o", "snn.h5", *told)
    assert done.code == 0, done.err
    told = ("--batch", 4, "--patch", 24, "--steps", 40, "--rate", 2e-2)
    done = run(capsys, "finetune", "snn.h5", "--data", "photos", "-o", "tuned.h5", *told)
    assert done.code == 0, done.err
    history = (desk / "tuned.history.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in history]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    tuned = nspike.load("tuned.h5")
    assert tuned.spiking.neuron == name
    gradient = "time" if name == "falling" else "rate"
    assert tuned.info.provenance["fine_tuning"]["gradient"] == gradient
    net = DifferentiableNetwork(tuned, registry().neurons[name], registry().heads["cpm"])
    assert net.gradient == gradient
    pixels = image(5, 2, 1, 21, 30).astype(np.int32) * 257
    trained, (output, _, spikes) = net.run(pixels), engine(tuned, pixels, net.neuron, net.head)
    for layer, train in trained.trains.items():
        np.testing.assert_array_equal(train.dense(), spikes[layer])
    np.testing.assert_array_equal(trained.output.data, output)

    assert run(capsys, "audit", "photo.png", "--model", "tuned.h5", "--json", "tuned.json").code == 0
    done = run(capsys, "audit", "--verify", "tuned.json", "--model", "tuned.h5")
    assert done.code == 0, done.out + done.err


def test_its_method_is_compared(desk, capsys):
    """It stands among the built-in ones, in the list and in a table, and its row is what its neuron does."""
    listed = json.loads(run(capsys, "plugins", "--kind", "method", "--json", "-").out)["plugins"]
    assert ("falling-threshold", "nspike-outside") in {(e["name"], e["package"]) for e in listed}
    options = ["--data", "photos", "--limit", 1, "--calibrate", "photos", "--crops", 2, "-o", "table"]
    methods = ["--methods", "rueckauer,falling-threshold", "--timesteps", 4]
    done = run(capsys, "compare", "--network", "dncnn-s25", *methods, *options, "--json", "r.json")
    assert done.code == 0, done.err
    assert "falling-threshold" in done.out
    rows = {row["label"]: row for row in json.loads((desk / "r.json").read_text())["rows"]}
    mine, plain = rows["falling-threshold"], rows["rueckauer"]
    assert (mine["model"]["neuron"], plain["model"]["neuron"]) == ("falling", "if")
    swapped, _ = nspike.swap(nspike.load("table/" + plain["model"]["file"]), neuron="falling", parameters={"last": 0.5})
    assert nspike.evaluate(swapped, "photos", limit=1).mean().psnr == mine["mean"]["psnr"] != plain["mean"]["psnr"]


def test_only_a_declared_neuron_trains_through_time(desk, capsys):
    """And what cannot be says what can."""
    told = ("--data", "photos", "-o", "tuned.h5", "--batch", 2, "--patch", 16, "--steps", 1)
    done = run(capsys, "finetune", "dncnn-s25", "--plugin", "adaptive", "--set", "gradient=time", *told)
    assert done.code == 4
    assert "neuron adaptive has a kernel of its own" in done.err
    assert "trains with the gradient 'rate'" in done.err
    done = run(capsys, "finetune", "dncnn-s25", "--plugin", "falling", "--set", "gradient=rate", *told)
    assert done.code == 0, done.err
    assert nspike.load("tuned.h5").info.provenance["fine_tuning"]["gradient"] == "rate"


def test_a_certificate_of_a_neuron_that_is_not_installed(desk, capsys, monkeypatch):
    assert run(capsys, "audit", "photo.png", "--plugin", "falling", "--json", "one.json").code == 0
    monkeypatch.setenv(LOAD, "")
    registry.cache_clear()
    done = run(capsys, "audit", "--verify", "one.json")
    assert done.code == 4
    assert "there is no neuron 'falling'" in done.err


def test_another_process_has_them(installed, tmp_path):
    done = launch("plugin", "check", "adaptive", PYTHONPATH=str(installed), NSPIKE_LOAD_PLUGINS="nspike-outside")
    assert done.code == 0, done.err + done.out
