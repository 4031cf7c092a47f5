"""What a user can get wrong, across the commands: a clear message, the exit code, nothing half-written, no traceback.

What one command alone can meet is in its own test file; how each reader takes damage apart, in theirs (`test_images`,
`test_weights`, `plugins/test_pytorch_hostile`).
"""

import builtins
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import nspike
from nspike.engine import run as engine
from nspike.errors import PluginError
from nspike.model.file import save
from nspike.registry.plugins import registry
from tests.cli.console import run
from tests.converting.test_importing import dncnn_tensors
from tests.desk import checkpoint, lay_out, write
from tests.plugins.torch_files import Call, G, Writer
from tests.tiny import tiny_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    registry.cache_clear()
    yield lay_out(tmp_path, monkeypatch)
    registry.cache_clear()


def contents(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(here, capsys, code, *arguments, says):
    """The command ends with this code and says this, in a message of its own, and leaves the folder as it was."""
    before = contents(here)
    done = run(capsys, *arguments)
    assert done.code == code, done
    for text in (says,) if isinstance(says, str) else says:
        assert text in done.err, done.err
    assert "unexpected" not in done.err
    assert contents(here) == before
    return done


# ----- checkpoints -----


def hostile(path, **how):
    """A file of torch.save that calls os.system when it is loaded."""
    Writer(**how).save(path, OrderedDict(w=Call(G("os", "system"), ("touch owned",))))


@pytest.mark.parametrize("old", [False, True], ids=["zip", "stream"])
def test_a_hostile_checkpoint_runs_nothing(here, capsys, old):
    hostile(here / "evil.pth", old=old)
    refused(here, capsys, 3, "import", "evil.pth", "--network", "dncnn", "-o", "x.h5", says=["evil.pth", "'os.system'"])


class Attack:
    """Pickled, it calls os.system when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_plain_pickle_runs_nothing(here, capsys, protocol):
    (here / "evil.pth").write_bytes(pickle.dumps({"state_dict": Attack()}, protocol))
    refused(here, capsys, 3, "import", "evil.pth", "--network", "dncnn", "-o", "x.h5", says="evil.pth")


@pytest.mark.parametrize("module", ["os", "posix", "subprocess", "builtins"])
def test_a_hostile_archive_runs_nothing(here, capsys, module):
    name = {"subprocess": "call", "builtins": "eval"}.get(module, "system")
    Writer().save(here / "evil.pth", OrderedDict(w=Call(G(module, name), ("touch owned",))))
    says = ["evil.pth", f"{module}.{name}"]
    refused(here, capsys, 3, "import", "evil.pth", "--network", "dncnn", "-o", "x.h5", says=says)


@pytest.mark.parametrize("keep", [0, 1, 30, 200, -1])
def test_a_truncated_checkpoint(here, capsys, keep):
    path = here / "dncnn_25.pth"
    path.write_bytes(path.read_bytes()[:keep])
    refused(here, capsys, 3, "import", path.name, "--network", "dncnn", "-o", "x.h5", says="dncnn_25.pth")


def test_checkpoints_that_are_something_else(here, capsys):
    (here / "page.pth").write_text("<!DOCTYPE html><html>")
    for name, says in (
        ("photo.png", "known format"),
        ("page.pth", "web page"),
        ("photos", "folder"),
        ("no.pth", "No such"),
    ):
        refused(here, capsys, 3, "import", name, "--network", "dncnn", "-o", "x.h5", says=[name, says])


def test_the_wrong_network_lists_missing_and_unknown_keys(here, capsys):
    says = ["dncnn_25.pth", "missing keys: ", "unknown keys: ", "conv1", "0.weight"]
    refused(here, capsys, 3, "import", "dncnn_25.pth", "--network", "aodnet", "-o", "x.h5", says=says)


def test_missing_and_extra_keys_are_listed(here, capsys):
    tensors = dncnn_tensors()
    tensors["strange.weight"] = tensors.pop("2.weight")
    save_file(tensors, here / "odd.safetensors")
    says = ["missing keys: 2.weight", "unknown keys: strange.weight"]
    refused(here, capsys, 3, "import", "odd.safetensors", "--network", "dncnn", "-o", "x.h5", says=says)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(here, capsys, value):
    tensors = dncnn_tensors()
    tensors["2.weight"][1, 1, 0, 0] = value
    save_file(tensors, here / "nan.safetensors")
    says = ["nan.safetensors", "2.weight", "NaN or infinite"]
    refused(here, capsys, 3, "import", "nan.safetensors", "--network", "dncnn", "-o", "x.h5", says=says)


# ----- model files -----

USERS = (
    ("run", "photo.png", "--model"),
    ("audit", "photo.png", "--model"),
    ("evaluate", "--data", "photos"),
    ("info",),
    ("convert", "--calibrate", "photos", "-o", "x.h5"),
)
"""Every command that reads a model file; the file's name follows."""


@pytest.mark.parametrize("command", USERS, ids=lambda command: command[0])
def test_damaged_model_files(here, capsys, command):
    save(here / "good.h5", tiny_model())
    good = (here / "good.h5").read_bytes()
    flipped = bytearray(good)
    flipped[-100] ^= 1
    future = good.replace(b"format 2, needs nspike 0.1.0", b"format 9, needs nspike 9.9.9")
    assert future != good
    for content, says in (
        (good[:-1000], "bad.h5"),
        (good[:600], "bad.h5"),
        (good[:100], "bad.h5"),
        (b"", "bad.h5"),
        (bytes(flipped), "damaged"),
        (future, "9.9.9"),
        (b"\x89HDF\r\n\x1a\n" + bytes(2000), "not an nspike model file"),
        ((here / "photo.png").read_bytes(), "not an nspike model file"),
    ):
        (here / "bad.h5").write_bytes(content)
        refused(here, capsys, 3, *command, "bad.h5", says=[says, "bad.h5"])
    refused(here, capsys, 3, *command, "photos/", says="photos")
    refused(here, capsys, 3, *command, "gone.h5", says="no such model file")


@pytest.mark.parametrize("command", USERS, ids=lambda command: command[0])
def test_a_misspelt_model_name(here, capsys, command):
    refused(here, capsys, 3, *command, "dncn-s25", says="Did you mean 'dncnn-s25'?")


@pytest.mark.parametrize(("neuron", "name", "value"), [("mprn", "beta", 99.0), ("mprn_beta", "alpha", 0.4)])
def test_a_stored_parameter_out_of_range(here, capsys, neuron, name, value):
    """α is out of (0.5, 1] in the file; every command that runs the model says which layer."""
    from dataclasses import replace

    model = tiny_model(neuron=neuron)
    parameters = {neuron: {"relu2": {name: value}}}
    save(here / "odd.h5", model.with_spiking(replace(model.spiking, neuron_parameters=parameters)))
    says = ["layer relu2", f"{name} = {value:g} is out of range"]
    for command in USERS[:3]:
        refused(here, capsys, 3, *command, "odd.h5", says=says)


def test_neuron_parameters_out_of_range(here, capsys):
    run(capsys, "import", "dncnn_25.pth", "--network", "dncnn", "--sigma", 25, "-o", "ann.h5")
    base = ("convert", "ann.h5", "--calibrate", "photos", "-o", "x.h5")
    for value in ("0.5", "1.01", "-1", "nan", "inf"):
        says = "alpha = "
        refused(here, capsys, 2, *base, "--plugin", "mprn_beta", "--set", f"alpha={value}", says=[says, "(0.5, 1]"])
    refused(
        here, capsys, 2, *base, "--plugin", "mprn", "--set", "alpha=0.7", says=["unknown parameter 'alpha'", "beta"]
    )
    refused(here, capsys, 2, *base, "--set", "v_init=2", says="v_init = 2 is out of range")
    refused(here, capsys, 2, *base, "--set", "v_init=half", says="a parameter is a number")
    refused(here, capsys, 2, *base, "--set", "v_init", says="NAME=VALUE")
    refused(here, capsys, 2, *base, "--option", "percentile=200", says="percentile")
    refused(here, capsys, 2, *base, "--option", "percentil=99", says="Did you mean 'percentile'?")


def test_no_steps(here, capsys):
    run(capsys, "import", "dncnn_25.pth", "--network", "dncnn", "--sigma", 25, "-o", "ann.h5")
    for steps in ("0", "-3", "1000"):
        refused(here, capsys, 2, "run", "photo.png", "-T", steps, says=f"T = {steps}")
        refused(here, capsys, 2, "audit", "photo.png", "-T", steps, says=f"T = {steps}")
        refused(here, capsys, 2, "evaluate", "dncnn-s25", "--data", "photos", "-T", steps, says=f"T = {steps}")
        command = ("convert", "ann.h5", "--calibrate", "photos", "-o", "x.h5", "-T", steps)
        refused(here, capsys, 2, *command, says=f"T = {steps}")
    refused(here, capsys, 2, "run", "photo.png", "-T", "many", says="many")


# ----- names -----


@pytest.mark.parametrize(
    ("command", "code", "nearest"),
    [
        (("run", "photo.png", "--plugin", "mprm"), 4, "'mprn'"),
        (("run", "photo.png", "--plugin", "head:rat"), 4, "'rate'"),
        (("run", "photo.png", "--plugin", "haed:rate"), 4, "'head'"),
        (("audit", "photo.png", "--plugin", "horowitz"), 4, "'horowitz45'"),
        (("evaluate", "dncnn-s25", "--data", "photos", "--plugin", "membran"), 4, "'membrane'"),
        (("evaluate", "dncnn-s25", "--data", "photos", "--protocol", "grey"), 2, "'gray'"),
        (("convert", "shelf.h5", "--calibrate", "photos", "-o", "x.h5", "--plugin", "mprnbeta"), 4, "'mprn_beta'"),
        (("convert", "shelf.h5", "--calibrate", "photos", "-o", "x.h5", "--head", "cmp"), 4, "'cpm'"),
        (("convert", "shelf.h5", "--calibrate", "photos", "-o", "x.h5", "--converter", "rueckhauer"), 4, "'rueckauer'"),
        (("import", "dncnn_25.pth", "--network", "dncn", "-o", "x.h5"), 4, "'dncnn'"),
        (("import", "dncnn_25.pth", "--network", "dncnn", "--format", "torch", "-o", "x.h5"), 4, "'pytorch'"),
        (("plugins", "--kind", "neurons"), 4, "'neuron'"),
        (("runn", "photo.png"), 2, "'run'"),
        (("run", "photo.png", "--treads", "2"), 2, "--threads"),
    ],
)
def test_misspelt_names_suggest_the_nearest(here, capsys, command, code, nearest):
    save(here / "shelf.h5", tiny_model())
    refused(here, capsys, code, *command, says=nearest)


# ----- plugins -----


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def broken(:", ["SyntaxError", "mine.py, line 1"]),
        ("import a_module_that_is_not_there", ["ModuleNotFoundError", "mine.py, line 1"]),
        ("x = 1", ["implements no hook"]),
        ("import sys; sys.exit(0)", ["SystemExit"]),
        (
            "import nspike\n@nspike.hookimpl\ndef register_nuerons(register): ...",
            ["there is no hook 'register_nuerons'", "Did you mean 'register_neurons'?"],
        ),
        ("import nspike\n@nspike.hookimpl\ndef register_neurons(add): ...", ["unknown argument 'add'", "`register`"]),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register): register(nspike.Neuron('if', '', ''))",
            ["the neuron 'if' is registered by both nspike and mine.py"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register): "
            "register(nspike.Neuron('odd', '', '', fire=lambda p, t, T: 1 / 0))",
            ["odd"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_neurons(register): "
            "register(nspike.Neuron('odd', '', '', fire=lambda p, t, T: float('nan')))",
            ["odd"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_heads(register): "
            "register(nspike.Head('odd', '', '', False, lambda layer, parameters: layer.charge[0]))",
            ["head odd gave"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_heads(register): "
            "register(nspike.Head('odd', '', '', False, lambda layer, parameters: layer.charge * 1j))",
            ["head odd gave complex128"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_heads(register): "
            "register(nspike.Head('odd', '', '', False, len, initial=lambda channels: 1 / 0))",
            ["head odd failed: ZeroDivisionError", "mine.py, line 3"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_energy_models(register): "
            "register(nspike.EnergyModel('odd', '', '', {}, {}, lambda ledger: (nspike.EnergyColumn('a', 'x', 1.0),)))",
            ["energy model odd gave EnergyColumn(name='a', snn='x', ann=1.0)"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_energy_models(register): "
            "register(nspike.EnergyModel('odd', '', '', {}, {}, lambda ledger: ledger.no_such_thing))",
            ["energy model odd failed: AttributeError", "mine.py, line 3"],
        ),
        (
            "import nspike\n@nspike.hookimpl\ndef register_energy_models(register): "
            "register(nspike.EnergyModel('odd', '', '', {}, {}, lambda ledger: (1.5,)))",
            ["energy model odd gave (1.5,)"],
        ),
    ],
)
def test_broken_plugins(here, capsys, source, says):
    (here / "mine.py").write_text(source)
    before = contents(here)
    done = run(capsys, "run", "photo.png", "--plugin", "mine.py")
    assert done.code == 4, done
    for text in says:
        assert text in done.err
    after = {path: content for path, content in contents(here).items() if "__pycache__" not in path}
    assert after == before


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        ("1 / 0", "converter odd failed: ZeroDivisionError: division by zero (mine.py, line 3)"),
        ("None", "converter odd gave NoneType; expected nspike.Scales"),
        ("nspike.Scales(1, 2)", "converter odd: scales is 1; expected arrays by layer"),
        ("c.layer_by_layer(lambda *_: None, 2)", "converter odd: layer 'relu1' was given the scale nan"),
        ("nspike.Scales({}, {})", "converter odd: scales of 'relu1' must be 4 positive numbers"),
    ],
)
def test_a_broken_converter(here, capsys, scales, says):
    run(capsys, "import", "dncnn_25.pth", "--network", "dncnn", "--sigma", 25, "-o", "ann.h5")
    (here / "mine.py").write_text(
        "import nspike\n@nspike.hookimpl\n"
        f"def register_converters(register): register(nspike.Converter('odd', '', '', (), lambda c, o: {scales}))\n"
    )
    done = run(capsys, "convert", "ann.h5", "--calibrate", "photos", "--plugin", "mine.py", "-o", "x.h5")
    assert (done.code, says in done.err) == (4, True), done
    assert not (here / "x.h5").exists()


def test_broken_networks_and_formats(here):
    """They can come from packages only; here they are put on the shelves by hand."""
    odd = nspike.Architecture("odd", "", "", "denoise", "gray", lambda tensors: 1 / 0)
    sick = nspike.Format("sick", "", (".sick",), lambda path, head: True, lambda path: [].pop())
    registry().add([("network", odd), ("format", sick)], "test", "1")
    with pytest.raises(PluginError, match=r"here.pth: network odd failed: ZeroDivisionError"):
        nspike.import_checkpoint(checkpoint(Path("here.pth")), "odd")
    with pytest.raises(PluginError, match=r"here.pth: a format's plugin failed: IndexError"):
        nspike.import_checkpoint("here.pth", "dncnn", format="sick")


def test_a_kernel_that_does_not_compile(here, capsys):
    (here / "mine.py").write_text(
        "from nspike import Neuron, hookimpl\n"
        "import numpy as np\n"
        "def step(v, current, state, params, phase, out):\n    v.no_such_method()\n"
        "def step_parameters(parameters, theta, exponent):\n    return np.ones((1, len(theta)), np.int32)\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron('odd', '', '', step=step, step_parameters=step_parameters))\n"
    )
    done = run(capsys, "run", "photo.png", "--plugin", "mine.py")
    assert done.code == 4, done
    assert "odd" in done.err
    assert not (here / "photo_denoise.png").exists()


# ----- images -----

READERS = (("run",), ("audit",), ("run", "--ann"), ("run", "--task", "superres"))


def bad_images(folder):
    """Name -> what the message says of it."""
    good = (folder / "photo.png").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "text.png").write_text("hello")
    (folder / "folder.png").mkdir()
    frames = [Image.fromarray(np.full((9, 9), i, np.uint8)) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    header = bytearray(good)
    header[16:24] = (1_000_000).to_bytes(4, "big") * 2  # width and height, a terapixel
    (folder / "enormous.png").write_bytes(header)
    header[16:24] = bytes(8)
    (folder / "zero.png").write_bytes(header)
    return {
        "empty.png": "is empty",
        "cut.png": "cut.png",
        "text.png": "not an image",
        "folder.png": "folder",
        "moving.gif": "has 3 frames",
        "moving.png": "animated",
        "enormous.png": "enormous.png",
        "zero.png": "zero.png",
        "gone.png": "No such file",
    }


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_bad_images(here, capsys, command):
    for name, says in bad_images(here).items():
        refused(here, capsys, 3, *command, name, says=[name, says])


def test_bad_images_of_other_commands(here, capsys):
    run(capsys, "import", "dncnn_25.pth", "--network", "dncnn", "--sigma", 25, "-o", "ann.h5")
    photos = here / "photos"
    (photos / "p9.png").write_bytes(b"hello")
    refused(here, capsys, 3, "evaluate", "dncnn-s25", "--data", "photos", says="p9.png")
    refused(here, capsys, 3, "convert", "ann.h5", "--calibrate", "photos", "-o", "x.h5", says="p9.png")
    for path in photos.iterdir():
        path.unlink()
    refused(here, capsys, 3, "evaluate", "dncnn-s25", "--data", "photos", says="photos")
    refused(here, capsys, 3, "convert", "ann.h5", "--calibrate", "photos", "-o", "x.h5", says="no images")
    refused(here, capsys, 3, "run", "photos", "-o", "out", says="no images")


def test_an_image_that_may_not_be_read(here, capsys, monkeypatch):
    real = os.open

    def forbidden(path, *flags, **options):
        if os.fspath(path) == "photo.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *flags, **options)

    monkeypatch.setattr(os, "open", forbidden)
    done = run(capsys, "run", "photo.png")
    assert done.code == 3
    assert "photo.png: Permission denied" in done.err


def test_an_image_that_is_a_pipe_does_not_block(here, capsys):
    os.mkfifo(here / "pipe.png")
    done = run(capsys, "run", "pipe.png")
    assert done.code == 3
    assert "pipe.png: is not a regular file" in done.err


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (1, 7), (9, 1, 3)])
def test_the_smallest_images_work(here, capsys, shape):
    write(here / "dot.png", *shape)
    for command in (("run", "--overwrite"), ("run", "--task", "dehaze"), ("run", "--task", "superres"), ("audit",)):
        done = run(capsys, *command, "dot.png")
        assert done.code == 0, done
    assert np.asarray(Image.open(here / "dot_denoise.png")).shape == shape
    larger = tuple(2 * side for side in shape[:2]) + shape[2:]
    assert np.asarray(Image.open(here / "dot_superres.png")).shape == larger


# ----- targets -----

WRITERS = (
    ("run", "photo.png", "--overwrite", "-o"),
    ("import", "dncnn_25.pth", "--network", "dncnn", "--sigma", "25", "--overwrite", "-o"),
    ("convert", "ann.h5", "--calibrate", "photos", "--crops", "2", "--overwrite", "-o"),
    ("audit", "photo.png", "--json"),
    ("run", "photo.png", "--overwrite", "-o", "y.png", "--json"),
    ("plugins", "--json"),
)
"""Every command that writes a file; the file's name follows."""


@pytest.fixture
def target(here, capsys, request):
    """What the command is to write, and the imported network that one of them needs."""
    run(capsys, "import", "dncnn_25.pth", "--network", "dncnn", "--sigma", 25, "-o", "ann.h5")
    return "target.png" if request.node.callspec.params["command"][0] == "run" else "target.h5"


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: f"{command[0]} {command[-1]}")
def test_a_full_disk(here, capsys, command, target):
    """A link to the device that is always full stands for it."""
    (here / target).symlink_to("/dev/full")
    done = run(capsys, *command, target)
    assert done.code == 5, done
    assert f"cannot write {target}: No space left on device" in done.err
    assert not list(here.rglob(".nspike-*"))
    assert (here / target).is_symlink()


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: f"{command[0]} {command[-1]}")
def test_a_disk_that_fills_while_writing(here, capsys, command, target, monkeypatch):
    """An older file stays; nothing else is left."""
    older = b"" if command[-1] == "--json" else b"older"  # an empty file: reports replace nothing but reports
    (here / target).write_bytes(older)
    real = builtins.open

    def filling(path, mode="r", *args, **options):
        stream = real(path, mode, *args, **options)
        if ".nspike-" in str(path):
            stream.close()
            raise OSError(28, "No space left on device")
        return stream

    monkeypatch.setattr(builtins, "open", filling)
    done = run(capsys, *command, target)
    monkeypatch.undo()
    assert done.code == 5, done
    assert "No space left on device" in done.err
    assert (here / target).read_bytes() == older
    assert not list(here.rglob(".nspike-*"))


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: f"{command[0]} {command[-1]}")
def test_a_read_only_folder(here, capsys, command, target, monkeypatch):
    """Simulated: who runs as root may write anywhere."""
    real = builtins.open

    def forbidden(path, mode="r", *args, **options):
        if set(mode) & set("wxa"):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, mode, *args, **options)

    before = contents(here)
    monkeypatch.setattr(builtins, "open", forbidden)
    done = run(capsys, *command, target)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert done.code == 5, done
    assert "Read-only file system" in done.err
    assert contents(here) == before


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: f"{command[0]} {command[-1]}")
def test_a_folder_that_is_missing_or_a_target_that_is_one(here, capsys, command, target):
    if command[0] != "run" or command[-1] == "--json":  # run makes folders, and writes into one
        done = run(capsys, *command, f"none/{target}")
        assert done.code == 5, done
        assert "the folder none does not exist" in done.err
        done = run(capsys, *command, "photos")
        assert done.code == 5, done
        assert "it is a folder" in done.err


# ----- interrupts -----


@pytest.mark.parametrize(
    "command",
    [
        ("run", "photo.png", "--sigma", "25", "-o", "x.png"),
        ("audit", "photo.png", "--json", "x.json"),
        ("evaluate", "dncnn-s25", "--data", "photos", "--json", "x.json"),
    ],
    ids=lambda command: command[0],
)
def test_control_c_in_the_engine(here, capsys, command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "run", interrupted)
    refused(here, capsys, 130, *command, says="interrupted")


@pytest.mark.parametrize("command", WRITERS[1:3], ids=lambda command: command[0])
def test_control_c_while_a_model_is_written(here, capsys, command, target, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    refused(here, capsys, 130, *command, target, says="interrupted")


# ----- nothing else -----


def test_tracebacks_never_reach_the_user(here):
    """In a process of its own, with files of every wrong kind where a model, image, checkpoint or plugin should be."""
    hostile(here / "evil.pth")
    (here / "evil.py").write_text("raise SystemExit('bye')")
    wrong = ["evil.pth", "evil.py", "photos", "gone", "photo.png"]
    code = (
        "import sys\nfrom nspike.cli.group import main\n"
        f"for name in {wrong!r}:\n"
        "    for command in (['info', name], ['run', 'photo.png', '--model', name], ['run', 'photo.png', '--plugin', name],\n"
        "                    ['import', name, '--network', 'dncnn', '-o', 'x.h5'], ['audit', '--verify', name],\n"
        "                    ['convert', name, '--calibrate', 'photos', '-o', 'x.h5'],\n"
        "                    ['evaluate', name, '--data', 'photos']):\n"
        "        code = main(command)\n"
        "        assert code in (2, 3, 4), (command, code)\n"
    )
    before = contents(here)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    assert {p: c for p, c in contents(here).items() if "__pycache__" not in p} == before
    assert nspike.__version__ not in done.stdout


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("run", "photo.png", "--json"), "./photo.png"),
        (("run", "photo.png", "--reference", "clean.png", "--json"), "clean.png"),
        (("run", "photo.png", "-o", "x.png", "--json"), "x.png"),
        (("run", "photo.png", "--model", "mine.h5", "--json"), "mine.h5"),
        (("audit", "photo.png", "--model", "mine.h5", "--json"), "mine.h5"),
        (("import", "dncnn_25.pth", "--network", "dncnn", "-o"), "dncnn_25.pth"),
        (("import", "dncnn_25.pth", "--network", "dncnn", "-o", "x.h5", "--json"), "dncnn_25.pth"),
        (("convert", "mine.h5", "--calibrate", "photos", "-o", "x.h5", "--json"), "mine.h5"),
        (("convert", "mine.h5", "--calibrate", "photos", "-o", "x.h5", "--json"), "x.h5"),
    ],
)
def test_no_output_replaces_an_input(here, capsys, command, file):
    save(here / "mine.h5", tiny_model())
    refused(here, capsys, 2, *command, file, says="would replace an input")
