"""Nothing is overwritten by surprise."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from nspike.cli import guard
from nspike.cli.group import COMMANDS
from nspike.cli.guard import keep_apart, taken
from nspike.errors import OutputError, UsageError
from nspike.model.file import save
from tests.cli.console import run, start
from tests.desk import lay_out
from tests.small_models import small_ann
from tests.tiny import tiny_model


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    folder = lay_out(tmp_path, monkeypatch)
    save(folder / "ann.h5", small_ann())
    save(folder / "m.h5", tiny_model())
    (folder / "mine.py").write_text(
        "from nspike import Neuron, hookimpl\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron(name='guarded', summary='plain', source='a test'))\n"
    )
    (folder / "recipe.toml").write_text('model = "m.h5"\ndata = "photos"\nsteps = 1\n')
    (folder / "linked").mkdir()
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


RUN = ("run", "photo.png", "--model", "m.h5", "--overwrite")
ON_AN_INPUT = [
    (("info", "m.h5", "--json"), "m.h5"),
    (("evaluate", "m.h5", "--data", "photos", "--limit", "1", "--json"), "m.h5"),
    (("convert", "ann.h5", "--calibrate", "photos", "--overwrite", "-o"), "ann.h5"),
    (("convert", "ann.h5", "--calibrate", "photos", "-o", "snn.h5", "--json"), "ann.h5"),
    (("import", "dncnn_25.pth", "--network", "dncnn", "--overwrite", "-o"), "dncnn_25.pth"),
    (("import", "dncnn_25.pth", "--network", "dncnn", "-o", "new.h5", "--json"), "dncnn_25.pth"),
    (("finetune", "recipe.toml", "--overwrite", "-o"), "recipe.toml"),
    (("finetune", "m.h5", "--data", "photos", "--overwrite", "-o"), "m.h5"),
    (("finetune", "m.h5", "--data", "photos", "-o", "new.h5", "--json"), "m.h5"),
    (("plugin", "check", "mine.py", "--json"), "mine.py"),
    (("plugin", "check", "mine.py:guarded", "--json"), "mine.py"),
    ((*RUN, "-o", "x.png", "--plugin", "mine.py", "--json"), "mine.py"),
    ((*RUN, "-o", "x.png", "--json"), "m.h5"),
    ((*RUN, "-o"), "photo.png"),
    (("trace", "photo.png", "--model", "m.h5", "--overwrite", "-o"), "m.h5"),
    (("diff", "photo.png", "--model", "m.h5", "--against", "ann.h5", "--json"), "ann.h5"),
    (("audit", "photo.png", "--model", "m.h5", "--plugin", "mine.py", "--json"), "mine.py"),
]


@pytest.mark.parametrize(
    ("command", "name"), ON_AN_INPUT, ids=lambda value: " ".join(value) if value != str(value) else value
)
def test_no_input_is_replaced(here, capsys, command, name):
    before = contents(here)
    linked = f"linked/other{os.path.splitext(name)[1]}"
    for target in (name, f"./{name}", linked):
        if target == linked:
            os.link(name, linked)
            before = contents(here)
        done = run(capsys, *command, target)
        assert (done.code, "would replace an input" in done.err) == (2, True), (target, done)
        assert contents(here) == before


OTHERS = {
    "m.h5": None,
    "photo.png": None,
    "package.json": b'{\n  "name": "x",\n  "version": "1"\n}\n',
    "settings.json": b'{\n  "nspike": {"threads": 2}\n}\n',
}


@pytest.mark.parametrize(
    "command",
    [
        ("models", "--json"),
        ("plugins", "--json"),
        ("plugin", "new", "mine", "--json"),
        ("completion", "bash", "--json"),
        ("examples", "images", "--json"),
        ("run", "clean.png", "--json"),
        ("audit", "clean.png", "--json"),
        ("audit", "clean.png", "--report"),
    ],
    ids=" ".join,
)
def test_reports_replace_reports_alone(here, capsys, command):
    shutil.copy(here / "photo.png", here / "clean.png")
    for name, content in OTHERS.items():
        if content is not None:
            (here / name).write_bytes(content)
        before = contents(here)
        done = run(capsys, *command, name)
        assert (done.code, "is no report of nspike's" in done.err) == (5, True), done
        assert contents(here) == before


@pytest.mark.parametrize(
    "command",
    [("models",), ("plugins",), ("plugins", "mprn"), ("completion", "bash"), ("info", "m.h5")],
    ids=" ".join,
)
def test_a_report_is_replaced(here, capsys, command):
    (here / "r.json").touch()  # as mktemp leaves it
    for _ in range(2):
        assert run(capsys, *command, "--json", "r.json").code == 0
    assert next(iter(json.loads((here / "r.json").read_bytes()))) == "nspike"


def test_a_certificate_is_replaced(here, capsys):
    for _ in range(2):
        assert run(capsys, "audit", "photo.png", "--model", "m.h5", "--json", "c.json").code == 0
    assert next(iter(json.loads((here / "c.json").read_bytes()))) == "format"


BROKEN = "broken.h5"
"""A model, network, image or trace that no command can read: one that complains of it has not looked at its target first."""
EARLY = [
    ("run", "broken.png", "--model", "m.h5", "-o"),
    ("run", "broken.png", "--model", "m.h5", "-o", "x.png", "--json"),
    ("audit", BROKEN, "--json"),
    ("audit", BROKEN, "--report"),
    ("audit", "--verify", BROKEN, "--json"),
    ("trace", BROKEN, "-o"),
    ("trace", BROKEN, "--json"),
    ("diff", BROKEN, BROKEN, "--json"),
    ("replay", "recorded.h5", "--model", BROKEN, "-o"),
    ("replay", "recorded.h5", "--model", BROKEN, "-o", "x.png", "--json"),
    ("curve", BROKEN, "--json"),
    ("curve", BROKEN, "--save-steps"),
    ("import", BROKEN, "--network", "dncnn", "-o"),
    ("import", BROKEN, "--network", "dncnn", "-o", "x.h5", "--json"),
    ("convert", BROKEN, "--calibrate", "photos", "-o"),
    ("convert", BROKEN, "--calibrate", "photos", "-o", "x.h5", "--json"),
    ("export", BROKEN, "--format", "nir", "-o"),
    ("export", BROKEN, "--format", "nir", "-o", "x.nir", "--json"),
    ("train", BROKEN, "--data", "photos", "-o"),
    ("train", BROKEN, "--data", "photos", "-o", "x.h5", "--json"),
    ("finetune", BROKEN, "--data", "photos", "-o"),
    ("finetune", BROKEN, "--data", "photos", "-o", "x.h5", "--json"),
    ("evaluate", BROKEN, "--data", "photos", "--json"),
    ("compare", "--network", BROKEN, "--methods", "burst", "--data", "photos", "-o"),
    ("compare", "--network", BROKEN, "--methods", "burst", "--data", "photos", "-o", "x", "--json"),
    ("info", BROKEN, "--json"),
    ("plugin", "check", BROKEN, "--json"),
    ("plugin", "new", "mine", "-o"),
    ("plugin", "new", "mine", "--json"),
    ("examples",),
    ("examples", "x", "--json"),
    ("completion", "bash", "--json"),
    ("models", "--json"),
    ("plugins", "--json"),
    ("warmup", "--json"),
]
FOLDERS = {("run", "-o"), ("curve", "--save-steps"), ("compare", "-o"), ("examples", "examples")}
"""What is a folder, or may be one: of these a missing one is made."""


@pytest.mark.parametrize("command", EARLY, ids=" ".join)
def test_what_cannot_be_written_is_told_before_the_work(here, capsys, monkeypatch, command):
    for name in (BROKEN, "broken.png"):
        (here / name).write_bytes(b"broken")
    if command[0] == "replay":
        assert run(capsys, "trace", "photo.png", "--model", "m.h5", "-o", "recorded.h5").code == 0
    monkeypatch.setattr("nspike.engine.warmup.warm_up", None)
    before = contents(here)
    x = "x.png" if command[-1] == "-o" and command[0] == "run" else "x"
    if command[:2] == ("plugin", "new") and command[-1] == "-o":
        targets = {"/proc/x": "cannot write /proc/x", "photo.png/x": "cannot write photo.png/x"}
    elif (command[0], command[-1]) in FOLDERS:
        targets = {f"/proc/{x}": "can be made in /proc", f"photo.png/{x}": "photo.png is a file"}
    else:
        targets = {
            "/proc/x": "can be made in /proc",
            "linked": "it is a folder",
            "none/x": "the folder none does not exist",
        }
    for target, message in targets.items():
        done = run(capsys, *command, target)
        assert (done.code, message in done.err, done.out) == (5, True, ""), (target, done)
        assert contents(here) == before
        assert not (here / "x").exists()


def test_every_command_is_among_them():
    names = {command[0] for command in EARLY}
    assert names == set(COMMANDS)


def test_a_report_goes_into_the_folder_that_its_command_makes(here, capsys):
    commands = (
        ("run", "photo.png", "--model", "m.h5", "-o", "deep/er/x.png"),
        ("curve", "photo.png", "--model", "m.h5", "--save-steps", "deep/er"),
        ("examples", "deep/er"),
        ("plugin", "new", "mine", "-o", "deep/er"),
    )
    for command in commands:
        for report in ("deep/er/r.json", "deep/r.json"):
            done = run(capsys, *command, "--json", report)
            assert done.code == 0, done
            assert json.loads((here / report).read_bytes())
            shutil.rmtree(here / "deep")


def test_every_command_checks_its_report():
    folder = Path(guard.__file__).parent / "commands"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.py")}
    for name, text in texts.items():
        if "json_file" in text:
            assert 'check_report("--json"' in text, name


@pytest.mark.parametrize(
    "command",
    [
        ("import", "dncnn_25.pth", "--network", "dncnn", "-o", "there.h5"),
        ("convert", "ann.h5", "--calibrate", "photos", "--crops", "2", "-o", "there.h5"),
    ],
    ids=lambda command: command[0],
)
def test_a_model_that_is_there_stays(here, capsys, command):
    (here / "there.h5").write_bytes(b"precious")
    done = run(capsys, *command)
    assert (done.code, done.err) == (5, "nspike: there.h5: it exists already; --overwrite replaces it\n")
    assert (here / "there.h5").read_bytes() == b"precious"
    assert run(capsys, *command, "--overwrite").code == 0
    assert (here / "there.h5").read_bytes() != b"precious"


WRITERS = [
    ("run", "photo.png", "-o", "x.png"),
    ("run", "photos", "-o", "x"),
    ("trace", "photo.png", "-o", "x.h5"),
    ("import", "dncnn_25.pth", "--network", "dncnn", "-o", "x.h5"),
    ("convert", "ann.h5", "--calibrate", "photos", "--crops", "2", "-o", "x.h5"),
    ("finetune", "m.h5", "--data", "photos", "--steps", "1", "--batch", "1", "--patch", "16", "-o", "x.h5"),
    ("audit", "photo.png", "--model", "m.h5", "--json", "x.json"),
    ("curve", "photo.png", "--model", "m.h5", "--json", "x.json"),
    ("curve", "photo.png", "--model", "m.h5", "--save-steps", "x"),
    ("evaluate", "m.h5", "--data", "photos", "--limit", "1", "--json", "x.json"),
    ("info", "m.h5", "--json", "x.json"),
]


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: " ".join(command[:2]))
def test_two_runs_do_not_write_the_same(here, capsys, command):
    before = contents(here)
    with taken(command[-1]):
        done = run(capsys, *command)
        assert (done.code, "another run is writing it" in done.err) == (5, True)
        assert contents(here) == before
    assert run(capsys, *command).code == 0


def test_two_audits_do_not_write_the_same_page(here, capsys):
    command = ("audit", "photo.png", "--model", "m.h5", "--report", "x.html")
    with taken("x.html"):
        done = run(capsys, *command)
    assert (done.code, "another run is writing it" in done.err) == (5, True)


def test_several_runs_write_to_a_device(here, capsys):
    with taken("/dev/null"):
        assert run(capsys, "info", "m.h5", "--json", "/dev/null").code == 0


def test_one_name_for_two_results(here, capsys):
    for command in (("run", "photo.png", "--model", "m.h5", "-o"), ("trace", "photo.png", "--model", "m.h5", "-o")):
        done = run(capsys, *command, "x.png", "--json", "x.png")
        assert (done.code, "--json x.png would replace an input" in done.err) == (2, True)


def test_a_lock_goes_with_its_process(tmp_path):
    target = tmp_path / "x.png"
    code = f"import time; from nspike.cli.guard import taken\nwith taken({str(target)!r}): print(1, flush=True); time.sleep(60)"
    process = start([sys.executable, "-c", code], stdout=-1)
    assert process.stdout.readline() == "1\n"
    with pytest.raises(OutputError), taken(target):
        pass
    process.kill()
    process.communicate()
    with taken(target), taken(tmp_path / "y.png"):
        pass


def test_names_of_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep_apart("-o", None, ("a",))
    keep_apart("-o", "-", ("-",))
    keep_apart("-o", "b", ("a", None, "mprn"))
    for written in ("a", "./a", tmp_path / "a"):
        with pytest.raises(UsageError, match="would replace an input"):
            keep_apart("-o", written, ("b", "a"))
