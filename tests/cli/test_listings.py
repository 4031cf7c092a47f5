"""The commands plugins, models and info."""

import json
from pathlib import Path

import numpy as np
import pytest
from nspike_plugins import spikerir_lite

from nspike.graph.geometry import parameter_shapes
from nspike.model import shipped as models
from nspike.model.file import digest, save
from nspike.model.model import Info, Model
from nspike.registry.plugins import LOAD, registry
from tests.cli.console import launch, run
from tests.converting.graphs import many, model_of
from tests.model.test_shipped import ship
from tests.package_maker import make_package
from tests.small_models import small_ann, small_snn


def test_plugins(capsys):
    outcome = run(capsys, "plugins")
    assert outcome.code == 0
    line = next(line for line in outcome.out.splitlines() if line.startswith("mprn "))
    assert line.split()[:5] == ["mprn", "neuron", "nspike", "0.1.0", "ok"]
    found = json.loads(run(capsys, "plugins", "--json", "-").out)["plugins"]
    assert {"name", "kind", "package", "version", "state", "error", "summary"} == set(found[0])
    assert len(found) == len(registry().entries())


def test_plugins_of_a_kind(capsys):
    found = json.loads(run(capsys, "plugins", "--kind", "head", "--json", "-").out)["plugins"]
    assert {entry["kind"] for entry in found} == {"head"}
    outcome = run(capsys, "plugins", "--kind", "haed")
    assert (outcome.code, "Did you mean 'head'" in outcome.err) == (4, True)


def test_the_options_of_a_plugin(capsys):
    outcome = run(capsys, "plugins", "rueckauer")
    assert outcome.code == 0
    assert "data-based threshold balancing" in outcome.out
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["percentile", "99.9", "[50,", "100]"] in [row[:4] for row in rows]
    assert ["per", "layer", "layer", "or", "channel"] in [row[:5] for row in rows]
    (beta,) = json.loads(run(capsys, "plugins", "neuron:mprn", "--json", "-").out)["plugins"]
    assert (beta["name"], beta["kind"]) == ("mprn", "neuron")
    assert [option["name"] for option in beta["options"]] == ["beta", "v_init"]
    assert (beta["options"][0]["default"], beta["options"][0]["low"], beta["options"][0]["high"]) == (0.0, -30.0, 30.0)
    assert "(0.5, 1]" in run(capsys, "plugins", "mprn_beta").out, "a range whose lower end is left out"
    assert "no options" in run(capsys, "plugins", "cpm", "--kind", "head").out


def test_what_convert_takes_instead_of_a_default(capsys):
    outcome = run(capsys, "plugins", "converter:rueckauer")
    assert "`nspike convert` without --fast takes per = channel, v_init = 0.5 where nothing is said." in outcome.out
    assert (
        "takes beta = 3.0, v_init = 0.5 where nothing is said, if the converter" in run(capsys, "plugins", "mprn").out
    )
    assert "nspike convert" not in run(capsys, "plugins", "qcfs").out
    (told,) = json.loads(run(capsys, "plugins", "converter:rueckauer", "--json", "-").out)["plugins"]
    assert {o["name"]: (o["default"], o["convert"]) for o in told["options"]}["per"] == ("layer", "channel")


def test_every_plugin_can_be_described(capsys):
    for entry in registry().entries():
        outcome = run(capsys, "plugins", f"{entry.kind}:{entry.name}")
        assert (outcome.code, outcome.err) == (0, ""), entry
    method = run(capsys, "plugins", "method:dietsnn").out
    assert "theta_scale 0.3), neuron dietsnn, head membrane, T = 5" in method


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mpnr"], "Did you mean 'mprn'"),
        (["neuron:cpm"], "there is no neuron 'cpm'"),
        (["cpm", "--kind", "neuron"], "there is no neuron 'cpm'"),
        (["neurn:mprn"], "Did you mean 'neuron'"),
        (["cpm", "--kind", "haed"], "Did you mean 'head'"),
    ],
)
def test_no_such_plugin_to_describe(capsys, arguments, says):
    outcome = run(capsys, "plugins", *arguments)
    assert (outcome.code, outcome.out) == (4, "")
    assert says in outcome.err


def test_broken_plugin_is_listed(tmp_path):
    make_package(tmp_path, "sick", "import nspike\n@nspike.hookimpl\ndef register_neuron(register): ...")
    make_package(tmp_path, "evil", "raise RuntimeError('\\033[2J wiped')")
    outcome = launch("plugins", PYTHONPATH=str(tmp_path), **{LOAD: "sick,evil"})
    assert outcome.code == 0
    assert "sick" in outcome.out
    assert "Did you mean 'register_neurons'" in outcome.out
    assert "RuntimeError: \\x1b[2J wiped (evil.py, line 1)" in outcome.out


def test_models(capsys, tmp_path, monkeypatch):
    quality = {"psnr": {"ann": 29.95, "snn": 27.125}}
    save(tmp_path / "dncnn-s25.h5", small_snn(name="dncnn-s25", quality=quality))
    save(tmp_path / "plain.h5", small_ann(name="plain"))
    ship(tmp_path, monkeypatch)
    outcome = run(capsys, "models")
    assert outcome.code == 0
    assert "dncnn-s25 *  denoise  sigma 25" in outcome.out
    assert "psnr (ann 29.95, snn 27.125)" in outcome.out
    assert "(ANN)" in outcome.out
    found = json.loads(run(capsys, "models", "--json", "-").out)["models"]
    assert [(m["name"], m["default"], m["timesteps"]) for m in found] == [
        ("dncnn-s25", True, 10),
        ("plain", False, None),
    ]
    assert found[0]["quality"] == quality


def test_each_set_that_a_model_was_measured_on_has_a_line(capsys, tmp_path, monkeypatch):
    quality = {f"Set5 x{scale}": {"psnr": 30.0 + scale, "psnr_input": 28.0} for scale in (2, 3)}
    save(tmp_path / "vdsr.h5", small_snn(name="vdsr", quality=quality))
    ship(tmp_path, monkeypatch)
    header, *lines = run(capsys, "models").out.splitlines()[:3]
    found = [line[header.index("quality") :] for line in lines]
    assert found == ["Set5 x2 32.00 dB (input 28.00)", "Set5 x3 33.00 dB (input 28.00)"]


def test_no_models(capsys, tmp_path, monkeypatch):
    ship(tmp_path, monkeypatch)
    assert run(capsys, "models").out == "none\n"


@pytest.mark.parametrize("model", [small_ann(), small_snn()], ids=["ann", "snn"])
def test_info(capsys, tmp_path, model):
    path = tmp_path / "model.h5"
    save(path, model)
    outcome = run(capsys, "info", path)
    assert outcome.code == 0
    for text in ("small, 3 convolutions, 229 parameters", "3 pixels", digest(model), "conv2", "4×4×3×3"):
        assert text in outcome.out
    assert ("T = 10" in outcome.out) is (model.spiking is not None)
    found = json.loads(run(capsys, "info", path, "--json", "-").out)
    assert found["digest"] == digest(model)
    assert found["parameters"] == 229
    assert len(found["network"]["layers"]) == 5
    if model.spiking:
        assert found["spiking"]["scales"]["act1"] == model.spiking.scales["act1"].tolist()


def test_info_says_where_the_licence_is(capsys):
    done = run(capsys, "info", "dncnn-s25")
    (line,) = [line for line in done.out.splitlines() if line.startswith("licence:")]
    assert Path(line.split("see ")[1].split(" for ")[0]).samefile(models.find("dncnn-s25").with_name("LICENSE"))


def test_info_of_a_model_without_licence_beside_one(capsys, tmp_path):
    save(tmp_path / "model.h5", small_ann())
    (tmp_path / "LICENSE").write_text("MIT")
    (line,) = [
        line for line in run(capsys, "info", tmp_path / "model.h5").out.splitlines() if line.startswith("licence:")
    ]
    assert line.split() == ["licence:", "not", "stated"]


def test_info_of_a_network_of_several_sizes(capsys, tmp_path):
    path = tmp_path / "model.h5"
    save(path, model_of(many()))
    rows = [line.split() for line in run(capsys, "info", path).out.splitlines()]
    known = {row[0]: row[1:] for row in rows if row}
    assert known["noise"] == ["constant", "small", "1", "×1/2", "meaning", "sigma"]
    assert known["grouped"][:4] == ["conv", "relu2", "8×4×3×3", "×1/2"]
    assert " ".join(known["grouped"][4:]) == "dilation 2, groups 2"
    assert known["deep"][:4] == ["conv", "pool", "8×8×3×3", "×1/4"]
    assert known["shuffle"] == ["pixel_shuffle", "relu4", "2", "×1", "factor", "2"]


def test_info_shows_what_thop_would_count(capsys, tmp_path):
    network = spikerir_lite.ARCHITECTURE.network()
    path = tmp_path / "model.h5"
    parameters = {
        name: np.ones(shape, np.float32) for layer in network.layers for name, shape in parameter_shapes(layer).items()
    }
    save(path, Model(Info("lite", "denoise", "rgb"), network, parameters))
    text = run(capsys, "info", path).out
    assert "spikerir_lite, 36 convolutions, 65,475 parameters" in text
    assert "1,299 parameters: papers' counter `thop` sees layers of torch.nn alone, and none of SpikingJelly's" in text
    found = json.loads(run(capsys, "info", path, "--json", "-").out)
    assert (found["parameters"], found["parameters_thop"]) == (65475, 1299)
    save(path, small_ann())
    assert "thop:" not in run(capsys, "info", path).out
    assert json.loads(run(capsys, "info", path, "--json", "-").out)["parameters_thop"] is None


def test_info_escapes_what_a_file_says(capsys, tmp_path):
    path = tmp_path / "model.h5"
    save(path, small_ann(licence="\033]0;gotcha\x07", provenance={"by": "\x9b31m"}))
    outcome = run(capsys, "info", path)
    assert "\033" not in outcome.out
    assert "\x9b" not in outcome.out
    assert "\\x1b]0;gotcha\\x07" in outcome.out


def test_info_of_what_is_no_model(capsys, tmp_path):
    for name, content, error in (
        ("a.h5", b"", "empty"),
        ("b.h5", b"PK\3\4", "nspike import"),
        ("dncn", None, "no model"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        outcome = run(capsys, "info", tmp_path / name if content is not None else name)
        assert outcome.code == 3
        assert error in outcome.err
    assert models.DEFAULT
