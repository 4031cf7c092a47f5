"""`nspike finetune`: what it writes, that it goes on to the bit after any end, and what it says to bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nspike.errors import OutputError
from nspike.fitting import state
from nspike.images.file import ImageData, write
from nspike.integer.normalise import normalised_conv
from nspike.model.file import load, load_integers, save
from nspike.registry.plugins import registry
from tests.cli.console import run, start
from tests.tiny import image, tiny_model

ADAPTIVE = Path(__file__).parents[1] / "outside_plugin" / "nspike_outside" / "adaptive.py"
QUICK = ("--patch", 16, "--batch", 2, "--steps", 3, "--set", "validation_limit=1")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A model, training and validation images; the current folder."""
    for folder, count in (("photos", 2), ("check", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            write(tmp_path / folder / f"{i}.png", ImageData(image(32, 40, seed=i)))
    save(tmp_path / "tiny.h5", tiny_model(head="cpm", timesteps=3))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finetune(capsys, *arguments):
    return run(capsys, "finetune", "tiny.h5", "--data", "photos", "-o", "out.h5", *QUICK, *arguments)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_steps_are_the_warm_start_alone(capsys, desk):
    outcome = finetune(
        capsys, "--steps", 0, "--set", "warm_start=regression", "--set", "warm_crops=4", "--validation", "check"
    )
    assert (outcome.code, outcome.err) == (0, "")
    start, fitted = (load(desk / name) for name in ("tiny.h5", "out.h5"))
    kernels = [normalised_conv(m.network, m.parameters, m.spiking, "conv2")[0] for m in (start, fitted)]
    assert 0 < np.abs(kernels[1] - kernels[0]).max() < 1
    records = [line["what"] for line in lines(desk / "out.history.jsonl")]
    assert records == ["validation"]


def test_finetune(capsys, desk):
    outcome = finetune(capsys, "--validation", "check", "--set", "validation_every=2", "--name", "tuned", "--json", "-")
    assert (outcome.code, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert [v["step"] for v in report["validations"]] == [0, 2, 3]
    assert report["best"]["psnr"] == max(v["psnr"] for v in report["validations"])
    assert 0 < report["best"]["firing_rate"] < 1
    assert report["best"]["energy_ratio"] > 0
    model = load(desk / "out.h5")
    assert model.info.name == "tuned"
    recipe = model.info.provenance["fine_tuning"]
    assert (recipe["steps"], recipe["data"], recipe["model"], recipe["validation"]) == (
        3,
        ["photos"],
        "tiny.h5",
        "check",
    )
    assert recipe["step"] == report["best"]["step"]
    assert model.info.quality["check"]["psnr"] == pytest.approx(report["best"]["psnr"])
    assert {"psnr_ann", "psnr_input", "energy_ratio paper"} <= set(model.info.quality["check"])
    assert {"exponent", "weights", "theta"} <= set(load_integers(desk / "out.h5")["output"])
    history = lines(desk / "out.history.jsonl")
    assert [(e["what"], e["step"]) for e in history] == [
        ("validation", 0), ("record", 1), ("record", 2), ("validation", 2), ("record", 3), ("validation", 3),
    ]  # fmt: skip
    assert "<svg" in (desk / "out.curves.svg").read_text()
    shown = run(capsys, "info", "out.h5")
    assert "fine_tuning: " in shown.out
    assert "steps 3" in shown.out


def test_a_recipe_file(capsys, desk):
    (desk / "sub").mkdir()
    (desk / "sub" / "recipe.toml").write_text(
        'model = "../tiny.h5"\ndata = ["../photos"]\nsteps = 2\nbatch = 2\npatch = 16\nrate = 1e-3\n'
        'pixel = { l1 = 1.0, fft = 0.1 }\nschedule = "step"\nevery = 1\nper = "channel"\n'
        '[degradation]\nkind = "noise"\nsigma = [5, 30]\n'
    )
    outcome = run(
        capsys, "finetune", "sub/recipe.toml", "-o", "out.h5", "-T", 2, "--plugin", "mprn_beta", "--rate", 0.01
    )
    assert outcome.code == 0, outcome.err
    model = load(desk / "out.h5")
    assert (model.spiking.neuron, model.spiking.timesteps) == ("mprn_beta", 2)
    assert model.info.degradation == {"sigma": [5, 30]}
    assert model.info.provenance["fine_tuning"]["pixel"] == {"l1": 1.0, "fft": 0.1}
    assert [entry["rate"] for entry in lines(desk / "out.history.jsonl")] == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plugin", "l1"], {"pixel": "l1", "energy": "energy"}),
        (["--plugin", "fft", "--set", "pixel={mse = 1.0, fft = 0.5}"], {"pixel": {"mse": 1.0, "fft": 0.5}}),
        (["--plugin", "mine.py"], {"pixel": "mse", "energy": "mine"}),
    ],
)
def test_a_loss_as_a_plugin(capsys, desk, arguments, expected):
    (desk / "mine.py").write_text(
        "from nspike import Loss, hookimpl\n\n\n@hookimpl\ndef register_losses(register):\n"
        "    price = lambda seen: next(iter(seen.rates.values())).square()\n"
        '    register(Loss("mine", "the first layer\'s rate, squared", "here", price, of_spikes=True))\n'
    )
    registry.cache_clear()
    outcome = finetune(capsys, *arguments)
    registry.cache_clear()
    assert (outcome.code, outcome.err) == (0, "")
    assert load(desk / "out.h5").info.provenance["fine_tuning"].items() >= expected.items()


def test_a_plain_ann_is_converted_first(capsys, desk):
    import dataclasses

    save(desk / "ann.h5", dataclasses.replace(tiny_model(), spiking=None))
    told = ("--set", "calibration=4", "--set", "converter_options={percentile = 99}", "--plugin", "mprn", "-T", 2)
    outcome = run(capsys, "finetune", "ann.h5", "--data", "photos", "-o", "out.h5", *QUICK, *told)
    assert outcome.code == 0, outcome.err
    model = load(desk / "out.h5")
    assert (model.spiking.head, model.spiking.timesteps) == ("cpm", 2)
    assert model.info.provenance["converter_options"]["percentile"] == 99


def test_a_network_trained_as_a_spiking_one_goes_on_from_where_it_is(capsys, desk):
    import dataclasses

    save(desk / "ann.h5", dataclasses.replace(tiny_model(), spiking=None))
    told = ("--set", "converter=direct", "--set", "converter_options={theta = 0.3}", "--plugin", "lif_hard", "-T", 2)
    outcome = run(capsys, "finetune", "ann.h5", "--data", "photos", "-o", "out.h5", *QUICK, *told)
    assert outcome.code == 0, outcome.err
    model = load(desk / "out.h5")
    assert (model.spiking.neuron, model.spiking.timesteps) == ("lif_hard", 2)
    assert model.info.provenance["converter"] == "direct"
    assert all((scale == 1).all() for scale in model.spiking.scales.values())


def test_the_same_command_again_has_nothing_left_to_do(capsys, desk):
    assert finetune(capsys).code == 0
    before = {path.name: path.read_bytes() for path in desk.glob("out.*")}
    again = finetune(capsys)
    assert again.code == 0
    assert "3 steps, 3 of them before" in again.out
    after = {path.name: path.read_bytes() for path in desk.glob("out.*")}
    assert {name for name in before if before[name] != after[name]} <= {"out.state.npz"}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_goes_on_to_the_bit(capsys, desk, end):
    told = ("--steps", "12", "--validation", "check", "--set", "validation_every=4", "--set", "minutes=0")
    options = [str(argument) for argument in (*QUICK, *told)]
    command = [sys.executable, "-m", "nspike", "finetune", "tiny.h5", "--data", "photos", *options, "-o"]
    process = start([*command, "out.h5"], stdout=subprocess.DEVNULL)
    history = desk / "out.history.jsonl"
    deadline = time.monotonic() + 40
    while not (history.exists() and history.read_bytes().count(b'"record"') >= 4) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(end)
    _, err = process.communicate(timeout=30)
    assert not (desk / "out.h5").exists()
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "saved in out.state.npz; the same command goes on from there" in err
    resumed = subprocess.run([*command, "out.h5", "--json", "resumed.json"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads((desk / "resumed.json").read_text())["resumed_from"] >= 3
    straight = subprocess.run([*command, "straight.h5"], capture_output=True, text=True)
    assert straight.returncode == 0, straight.stderr
    assert (desk / "out.h5").read_bytes() == (desk / "straight.h5").read_bytes()
    kept = [[{**e, "seconds": 0} for e in lines(desk / f"{name}.history.jsonl")] for name in ("out", "straight")]
    assert kept[0] == kept[1], "no line twice, none missing"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--set", "step=3"], 2, "unknown key 'step'. Did you mean 'steps'"),
        (["--set", "validaton=check"], 2, "unknown key 'validaton'. Did you mean 'validation'"),
        (["--set", "steps"], 2, "expected KEY=VALUE"),
        (["--set", "calibration=many"], 2, "calibration = 'many'; expected a whole number"),
        (["--set", "pixel=mes"], 4, "there is no loss 'mes'. Did you mean 'mse'"),
        (["--set", "energy=enrgy"], 4, "Did you mean 'energy'"),
        (["--set", "optimiser=adan"], 2, "there is no optimiser 'adan'. Did you mean 'adam'"),
        (["--set", "schedule=cosin"], 2, "there is no schedule 'cosin'. Did you mean 'cosine'"),
        (["--set", "surrogate=sigmoyd"], 4, "Did you mean 'sigmoid'"),
        (["--set", "degradation={sigma = 3}"], 2, "degradation has no kind"),
        (["--set", "degradation={kind = 'nois'}"], 2, "there is no degradation 'nois'. Did you mean 'noise'"),
        (["--plugin", "mpnr"], 4, "Did you mean 'mprn'"),
        (["--plugin", ADAPTIVE, "--set", "gradient=time"], 4, "neuron adaptive has a kernel of its own"),
        (["--set", "gradient=rates"], 2, "Did you mean 'rate'"),
        (["--model", "tinny.h5"], 3, "no such model file"),
        (["--data", "none"], 3, "none: No such file"),
        (["--data", "empty"], 3, "empty: there are no images"),
        (["--data", "broken"], 3, "broken/0.png"),
        (["--patch", 64], 3, "40x32 pixels are too few for crops of 64"),
        (["--validation", "empty"], 3, "empty: there are no images"),
        (["--steps", -1], 2, "no negative numbers"),
        (["-o", "none/out.h5"], 5, "the folder none does not exist"),
    ],
)
def test_wrong_use(capsys, desk, arguments, code, error):
    (desk / "empty").mkdir()
    (desk / "broken").mkdir()
    (desk / "broken" / "0.png").write_bytes(b"not an image")
    outcome = finetune(capsys, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert error in outcome.err
    assert not (desk / "out.h5").exists()


def test_recipes_that_cannot_be_read(capsys, desk):
    for name, text, error in [("none.toml", None, "cannot be read"), ("bad.toml", "steps = = 3", "is no TOML")]:
        if text is not None:
            (desk / name).write_text(text)
        outcome = run(capsys, "finetune", name, "-o", "out.h5")
        assert outcome.code == 3
        assert f"{name}: {error}" in outcome.err
    (desk / "empty.toml").write_text("")
    assert "has no data" in run(capsys, "finetune", "empty.toml", "-o", "out.h5").err
    assert "has no model" in run(capsys, "finetune", "empty.toml", "--data", "photos", "-o", "out.h5").err


def test_a_result_is_not_replaced_unasked(capsys, desk):
    (desk / "out.h5").write_bytes(b"something else")
    outcome = finetune(capsys)
    assert outcome.code == 5
    assert "out.h5: is there already; --overwrite replaces it" in outcome.err
    assert (desk / "out.h5").read_bytes() == b"something else"
    assert finetune(capsys, "--overwrite").code == 0
    clash = run(capsys, "finetune", "tiny.h5", "--data", "photos", "-o", "tiny.h5")
    assert (clash.code, "would replace an input" in clash.err) == (2, True)


def test_a_state_of_another_recipe(capsys, desk):
    assert finetune(capsys).code == 0
    for changed, said in (
        (["--rate", 0.5], "another recipe (rate)"),
        (["--batch", 3], "another recipe (batch"),
        (["--data", "check"], "another recipe (data)"),
        (["-T", 2], "another model"),
    ):
        outcome = finetune(capsys, *changed)
        assert outcome.code == 2
        assert said in outcome.err
        assert "move it away to start anew" in outcome.err


def test_a_diverging_loss(capsys, desk):
    outcome = finetune(capsys, "--rate", 1e30, "--set", "minutes=0", "--steps", 9)
    assert outcome.code == 3
    assert "training diverged at step" in outcome.err
    assert "the last state stays in out.state.npz" in outcome.err
    assert (desk / "out.state.npz").exists()
    assert not (desk / "out.h5").exists()
    assert lines(desk / "out.history.jsonl")


def test_a_full_disk(capsys, desk, monkeypatch):
    def full(path, data, **options):
        raise OutputError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(state, "write_bytes", full)
    outcome = finetune(capsys)
    assert outcome.code == 5
    assert "cannot write out.state.npz: No space left on device" in outcome.err
    assert not (desk / "out.h5").exists()
    assert not [path for path in os.listdir(desk) if path.endswith(".tmp")]


def test_a_baseline(capsys, desk):
    other = tiny_model(seed=5, name="better")
    save(desk / "better.h5", other)
    assert finetune(capsys, "--set", "baseline=better.h5").code == 0
    model = load(desk / "out.h5")
    np.testing.assert_array_equal(model.parameters["conv1.weight"], other.parameters["conv1.weight"])
    assert model.info.provenance["baseline"]["name"] == "better"


def test_progress(capsys, desk, monkeypatch):
    monkeypatch.setenv("NSPIKE_PROGRESS", "1")
    outcome = finetune(capsys, "--validation", "check")
    shown = [line for line in outcome.err.splitlines() if line.startswith("step: 3/3")]
    assert ", loss " in shown[-1]
    assert "firing" in shown[-1]
    assert "energy" in shown[-1]
