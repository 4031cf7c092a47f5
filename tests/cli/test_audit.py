"""`nspike audit`, through real files."""

import json
import re
import subprocess
import sys

import pytest

import nspike
from nspike.inspection import auditing
from nspike.model.file import digest, save
from tests.cli.console import interrupt, launch, run
from tests.desk import write
from tests.tiny import tiny_model


@pytest.fixture
def certificate(here, capsys):
    assert run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "c.json").code == 0
    return here / "c.json"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


# ----- making one -----


def test_a_certificate_of_set_parameters_holds(here, capsys):
    done = run(capsys, "audit", "photo.png", "--sigma", 25, "--set", "v_init=0.25", "--json", "c.json")
    assert (done.code, "v_init = 0.25 instead of" in done.out) == (0, True)
    values = json.loads((here / "c.json").read_text())["parameters"]["neuron_parameters"]
    assert {own["v_init"] for own in values.values()} == {0.25}
    assert run(capsys, "audit", "--verify", "c.json").code == 0
    edit(here / "c.json", lambda c: next(iter(c["parameters"]["neuron_parameters"].values())).update(v_init=0.5))
    assert run(capsys, "audit", "--verify", "c.json").code == 1


def test_heads_parameters_are_not_set_in_an_audit(here, capsys):
    for command in ("audit", "trace"):
        done = run(capsys, command, "photo.png", "--sigma", 25, "--plugin", "cpm", "--set", "bias=0.5")
        assert (done.code, "hold a head's parameters as digests" in done.err) == (2, True)


def test_audit(here, capsys):
    done = run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "c.json")
    assert done.code == 0, done
    model = nspike.load("dncnn-s25")
    values = json.loads((here / "c.json").read_text())
    assert values["model"] == {"name": "dncnn-s25", "digest": digest(model)}
    for text in (
        "relu1",
        "mprn, membrane, T = 4 + 1",
        f"spikes {values['totals']['spikes']:,}",
        "modelled, not measured",
    ):
        assert text in done.out
    assert "certificate written to c.json" in done.out


def test_the_energy_side_by_side_and_the_time_beside(here, capsys):
    done = run(capsys, "audit", "photo.png", "--sigma", 25, "--ann")
    for model in ("horowitz45", "memory45", "quantised45"):
        assert f"\n{model} (modelled, not measured): " in done.out
    assert re.search(r"model +column +SNN +ANN +SNN/ANN +pays below", done.out)
    assert re.search(r"\nquantised45  integers +[\d.]+ .J +[\d.]+ .J +[\d.]+ % +[\d.]+ %\n", done.out)
    assert len(re.findall(r"\n  source: M. Horowitz, ISSCC.* \(2014\)", done.out)) == 3
    spent = r"[\d.]+ s \([\d.]+ s of processor time\)"
    assert re.search(rf"measured on this CPU: the SNN {spent}, digests included, the plain ANN {spent}\.", done.out)
    assert "On a CPU the energy is a model: no joule was measured" in done.out
    assert "plain ANN" not in run(capsys, "audit", "photo.png", "--sigma", 25).out


def test_the_quality_against_a_clean_image(here, capsys):
    words = ["audit", "photo.png", "--sigma", 25, "--json", "c.json"]
    done = run(capsys, *words, "--reference", "photo.png")
    assert re.search(r"\nagainst photo.png: PSNR infinite -> [\d.]+ dB, SSIM 1.0000 -> 0.[\d]+\n", done.out)
    assert "psnr" not in (here / "c.json").read_text()
    done = run(capsys, "audit", "--verify", "c.json", "--reference", "photo.png")
    assert (done.code, "--reference is for making a certificate" in done.err) == (2, True)


def test_nothing_modelled_or_timed_is_certified(here, capsys, certificate):
    """No energy, no seconds; the same certificate with every option that only tells more."""
    before = certificate.read_text()
    for word in ("energy", "joule", "second", "horowitz"):
        assert word not in before
    assert (
        run(capsys, "audit", "photo.png", "--sigma", 25, "--ann", "--plugin", "memory45", "--json", "c.json").code == 0
    )
    assert certificate.read_text() == before


def test_the_same_bytes_on_stdout_and_for_any_threads_and_tile(here, capsys, certificate):
    write(here / "large.png", 150, 140)
    texts = set()
    for how in (["--threads", 1], ["--threads", 2], ["--threads", 2, "--tile", 64], ["--memory", "1G"]):
        done = run(capsys, "audit", "large.png", "--sigma", 25, *how, "--json", "-")
        assert done.code == 0
        texts.add(done.out)
    assert len(texts) == 1
    assert run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "-").out == certificate.read_text()


def test_two_processes_write_the_same_bytes(here, tmp_path):
    model = tmp_path / "shelf" / "dncnn-s25.h5"
    for name, hash_seed in (("one", "1"), ("two", "2")):
        done = launch("audit", "photo.png", "--model", model, "--json", f"{name}.json", PYTHONHASHSEED=hash_seed)
        assert done.code == 0, done.err
    assert (here / "one.json").read_bytes() == (here / "two.json").read_bytes()


def test_swapped_parts_are_told_and_certified(here, capsys):
    done = run(capsys, "audit", "photo.png", "--plugin", "if", "-T", 6, "--plugin", "memory45", "--json", "c.json")
    assert "not the shipped configuration: neuron if instead of mprn" in done.out
    assert "memory45  arithmetic and memory" in done.out
    assert "horowitz45" not in done.out
    values = json.loads((here / "c.json").read_text())
    assert (values["parameters"]["neuron"], values["parameters"]["timesteps"]) == ("if", 6)
    assert run(capsys, "audit", "--verify", "c.json").code == 0


def test_enlarging(here, capsys):
    assert run(capsys, "audit", "small.png", "--task", "superres", "--scale", 3, "--json", "c.json").code == 0
    assert json.loads((here / "c.json").read_text())["input"]["scale"] == 3
    assert run(capsys, "audit", "--verify", "c.json").code == 0


# ----- verifying -----


def test_a_certificate_that_holds(here, capsys, certificate):
    done = run(capsys, "audit", "--verify", "c.json")
    assert (done.code, done.out) == (0, "c.json holds: photo.png, 2 layers, 5 steps, every spike the same\n")
    done = run(capsys, "audit", "photo.png", "--verify", "c.json", "--threads", 1, "--tile", 64, "--json", "-")
    expected = {"certificate": "c.json", "image": "photo.png", "holds": True, "differences": []}
    assert json.loads(done.out) == {"nspike": nspike.__version__, **expected}


def test_an_edited_digit(here, capsys, certificate):
    def change(values):
        figures = values["layers"][1]["steps"][2]
        figures["sha256"] = figures["sha256"][:-1] + ("0" if figures["sha256"][-1] != "0" else "1")

    edit(certificate, change)
    done = run(capsys, "audit", "--verify", "c.json", "--json", "report.json")
    assert (done.code, done.out) == (1, "")
    assert "c.json does not hold. First difference: layer relu2, step 3, sha256: " in done.err
    report = json.loads((here / "report.json").read_text())
    assert not report["holds"]
    assert len(report["differences"]) == 1


def test_many_differences_are_counted(here, capsys, certificate):
    def change(values):
        for layer in values["layers"]:
            for step in layer["steps"]:
                step["synops"] += 1
                step["neuron_updates"] += 1

    edit(certificate, change)
    done = run(capsys, "audit", "--verify", "c.json")
    assert done.code == 1
    assert "First difference: layer relu1, step 1, synops: " in done.err
    assert "and 10 more" in done.err


def test_another_image(here, capsys, certificate):
    done = run(capsys, "audit", "noisy.png", "--verify", "c.json")
    assert done.code == 1
    assert "First difference: input: the certificate is of a file" in done.err


def test_another_model(here, capsys, certificate):
    done = run(capsys, "audit", "--verify", "c.json", "--model", "dncnn-s50")
    assert done.code == 1
    assert "First difference: model: the certificate is of 'dncnn-s25'" in done.err


def test_a_model_that_is_not_shipped(here, capsys, tmp_path):
    save(here / "mine.h5", tiny_model(seed=7))
    assert run(capsys, "audit", "photo.png", "--model", "mine.h5", "--json", "c.json").code == 0
    done = run(capsys, "audit", "--verify", "c.json")
    assert done.code == 3
    assert "--model FILE" in done.err
    assert run(capsys, "audit", "--verify", "c.json", "--model", "mine.h5").code == 0


def test_the_image_is_looked_for_beside_the_certificate(here, capsys, certificate, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(capsys, "audit", "--verify", certificate).code == 0
    (here / "photo.png").unlink()
    done = run(capsys, "audit", "--verify", certificate)
    assert done.code == 2
    assert "name the image" in done.err


def test_a_neuron_from_a_file(here, capsys):
    (here / "mine.py").write_text(
        "from nspike import Neuron, hookimpl\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron(name='trial-of-audit', summary='plain', source='a test'))\n"
    )
    assert run(capsys, "audit", "photo.png", "--plugin", "mine.py", "--json", "c.json").code == 0
    assert run(capsys, "audit", "--verify", "c.json", "--plugin", "mine.py").code == 0
    from nspike.registry.plugins import registry

    registry.cache_clear()
    done = run(capsys, "audit", "--verify", "c.json")
    assert done.code == 4
    assert "'trial-of-audit'" in done.err
    assert run(capsys, "audit", "--verify", "c.json", "--plugin", "mine.py").code == 0
    registry.cache_clear()


# ----- what goes wrong -----


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", 3, "not JSON"),
        (b"{}", 3, "written by `nspike audit`"),
        (b"\x89PNG", 3, "not JSON"),
        (b'{"format": "nspike certificate", "version": 3}', 3, "of version 3; this nspike reads version 2"),
        (b'{"format": "nspike certificate", "version": 2}', 3, "damaged: it has no 'model'"),
        (b'{"format": "nspike certificate", "version": 2, "model": {"digest": 3}}', 3, "digest 3"),
        (None, 3, "No such file"),
    ],
)
def test_bad_certificates(here, capsys, content, code, message):
    if content is not None:
        (here / "c.json").write_bytes(content)
    before = names(here)
    done = run(capsys, "audit", "--verify", "c.json")
    assert (done.code, message in done.err, done.out) == (code, True, ""), done
    assert done.err.startswith("nspike: c.json") or message == "digest 3" or "damaged" in message
    assert names(here) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name an image"),
        (["gone.png"], 3, "gone.png: No such file"),
        (["."], 3, "is a folder"),
        (["photo.png", "-T", "0"], 2, "at least 1"),
        (["photo.png", "--threads", "0"], 2, "--threads"),
        (["photo.png", "--tile", "100"], 2, "multiple of 64"),
        (["photo.png", "--max-pixels", "100"], 3, "too large"),
        (["photo.png", "--plugin", "mprm"], 4, "'mprn'"),
        (["photo.png", "--plugin", "rueckauer"], 2, "a plugin of kind converter and method cannot be used here"),
        (["photo.png", "--model", "dncn-s25"], 3, "'dncnn-s25'"),
        (["photo.png", "--task", "denois"], 2, "denoise"),
        (["photo.png", "--json", "none/c.json"], 5, "the folder none does not exist"),
        (["photo.png", "--json", "photos"], 5, "it is a folder"),
        (["photo.png", "--json", "./photo.png"], 2, "would replace an input"),
        (["--verify", "c.json", "--json", "c.json"], 2, "would replace an input"),
        (
            ["--verify", "c.json", "-T", "4"],
            2,
            "-T is for making a certificate; --verify takes it from the certificate",
        ),
        (["--verify", "c.json", "--ann"], 2, "--ann is for making a certificate"),
        (
            ["--verify", "c.json", "--report", "r.html"],
            2,
            "--report is for making a certificate; leave it out with --verify",
        ),
        (["photo.png", "--report", "./photo.png"], 2, "would replace an input"),
        (["photo.png", "--json", "r.html", "--report", "r.html"], 2, "would replace an input"),
        (["photo.png", "--report", "none/r.html"], 5, "the folder none does not exist"),
        (["--verify", "c.json", "--plugin", "if"], 2, "--plugin is for making a certificate"),
        (["--verify", "c.json", "--plugin", "gone.py"], 4, "gone.py"),
        (["--verify", "c.json", "--model", "gone.h5"], 3, "gone.h5"),
        (["--verify", "c.json", "gone.png"], 3, "gone.png"),
        (["--verify", "c.json", "--tile", "100"], 2, "multiple of 64"),
    ],
)
def test_errors(here, capsys, certificate, arguments, code, message):
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    done = run(capsys, "audit", *arguments)
    assert (done.code, message in done.err, done.out) == (code, True, ""), done
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_full_disk(here, capsys):
    for target in ("/dev/full",):
        done = run(capsys, "audit", "photo.png", "--json", target)
        assert done.code == 5
        assert "cannot write /dev/full: No space left on device" in done.err


def test_a_full_disk_behind_stdout(here, tmp_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "nspike", "audit", "photo.png", "--json", "-"]
        command += ["--model", str(tmp_path / "shelf" / "dncnn-s25.h5")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=here)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


def test_an_older_certificate_stays_when_interrupted(here, capsys, certificate, monkeypatch):
    before = certificate.read_bytes()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(auditing, "restore", interrupted)
    done = run(capsys, "audit", "photo.png", "--json", "c.json")
    assert (done.code, done.err.strip()) == (130, "nspike: interrupted")
    assert certificate.read_bytes() == before


def test_control_c_from_outside(here, tmp_path):
    write(here / "large.png", 800, 800)
    before = names(here)
    model = tmp_path / "shelf" / "dncnn-s25.h5"
    interrupt("audit", "large.png", "--json", "c.json", "-T", 100, "--tile", 64, "--model", model)
    assert names(here) == before
