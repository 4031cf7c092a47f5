"""docs/check_certificate.py, the checker without nspike, on true and on tampered certificates."""

import contextlib
import copy
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.inspection.auditing import audit
from nspike.inspection.certificate import dumps
from nspike.model.file import digest
from nspike.model.shipped import find
from tests.desk import write
from tests.graphs import branched, random_model
from tests.test_imports import imports
from tests.tiny import image, tiny_model

SCRIPT = Path(__file__).parents[2] / "docs" / "check_certificate.py"


def script():
    """The script as a module: quick. `launch` runs it as a stranger does."""
    spec = importlib.util.spec_from_file_location("check_certificate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAIN = script().main


def check(certificate, model, photo):
    """(exit code, what it printed), in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = MAIN([str(path) for path in (certificate, model, photo)])
    return code, printed.getvalue().strip()


def launch(certificate, model, photo):
    """(exit code, what it printed), in a process of its own."""
    done = subprocess.run(
        [sys.executable, SCRIPT, certificate, model, photo], capture_output=True, text=True, timeout=100
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout.strip()


def saved(folder, model, photo, name="c.json", **options):
    """The files of a model and of a certificate of it, perhaps with other parts than its own."""
    nspike.save(folder / "m.h5", model)
    swapped = nspike.swap(model, **{k: v for k, v in options.items() if k != "scale"})[0]
    done = audit(swapped, photo, model_digest=digest(model), scale=options.get("scale"))
    (folder / name).write_text(dumps(done.certificate))
    return folder / name, folder / "m.h5"


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A true certificate, its model's file, and its image."""
    folder = tmp_path_factory.mktemp("check")
    photo = write(folder / "photo.png", 70, 66)
    return *saved(folder, tiny_model(head="cpm"), photo), photo


def test_it_imports_nothing_of_nspike():
    roots = {module.split(".")[0] for module, _, _ in imports(SCRIPT.read_text(encoding="utf-8"))}
    assert roots <= {*sys.stdlib_module_names, "numpy", "h5py", "PIL"}


# ----- what holds -----


@pytest.mark.parametrize(
    ("name", "scale", "shape", "options"),
    [
        ("dncnn-s25", None, (24, 20), {}),
        ("dncnn-s50", None, (10, 12), {"neuron": "if", "timesteps": 6}),
        ("aodnet", None, (32, 32, 3), {}),
        ("vdsr", 2, (8, 9, 3), {}),
    ],
)
def test_the_shipped_models(tmp_path, name, scale, shape, options):
    photo = write(tmp_path / "photo.png", *shape)
    model = nspike.load(name)
    done = audit(nspike.swap(model, **options)[0], photo, model_digest=digest(model), scale=scale)
    (tmp_path / "c.json").write_text(dumps(done.certificate))
    code, text = launch(tmp_path / "c.json", find(name), photo)
    layers, steps = len(done.certificate["layers"]), len(done.certificate["layers"][0]["steps"])
    assert (code, text) == (0, f"HOLDS: {layers} layers, {steps} steps, every spike the same")


@pytest.mark.parametrize(
    ("model", "shape", "options"),
    [
        (tiny_model(), (70, 66), {}),
        (tiny_model(), (20, 24), {"neuron": "mprn_beta"}),
        (tiny_model(head="rate"), (20, 24, 3), {"neuron": "if", "timesteps": 9}),
        (tiny_model(head="recycling"), (20, 24), {}),
        (tiny_model("dehaze", "rgb", "image"), (20, 24), {"head": "cpm"}),
        (tiny_model("superres", "y", "add"), (9, 11), {"scale": 4}),
        (random_model(branched(4, 5, 3, channels=3, gate=True)), (20, 22, 3), {}),
    ],
    ids=["tiles", "mprn_beta", "three planes", "recycling", "grey in colour", "enlarged", "concat and gate"],
)
def test_all_kinds_hold(tmp_path, model, shape, options):
    photo = write(tmp_path / "photo.png", *shape)
    code, text = check(*saved(tmp_path, model, photo, **options), photo)
    assert (code, text[:6]) == (0, "HOLDS:"), text


def test_sixteen_bits(tmp_path):
    photo = write(tmp_path / "photo.png", 20, 24, dtype=np.uint16)
    code, text = check(*saved(tmp_path, tiny_model(), photo), photo)
    assert code == 0, text


def test_a_declared_neuron_from_outside(tmp_path):
    """It was never told of it: all that the spikes depend on stands in the certificate."""
    from nspike.registry.plugins import registry

    (tmp_path / "silent.py").write_text(
        "from nspike import NEVER, Neuron, hookimpl\n"
        "def fire(parameters, step, timesteps):\n"
        "    return NEVER if step == 1 else 1.5 - step / (2 * timesteps)\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron(name='trial-of-check', summary='x', source='x', fire=fire, post_steps=2))\n"
    )
    registry().resolve(str(tmp_path / "silent.py"), ("neuron",))
    photo = write(tmp_path / "photo.png", 20, 24)
    try:
        certificate, model = saved(tmp_path, tiny_model(), photo, neuron="trial-of-check")
    finally:
        registry.cache_clear()
    assert json.loads(certificate.read_text())["parameters"]["neuron_steps"]["relu1"]["fires"][0] is None
    code, text = check(certificate, model, photo)
    assert code == 0, text


# ----- what is refuted -----


def digit(text):
    return ("1" if text[0] == "0" else "0") + text[1:]


TAMPERED = [
    (("input", "file_sha256"), digit, "input, file_sha256"),
    (("input", "plane_sha256"), digit, "input, plane_sha256"),
    (("input", "height"), lambda n: n + 1, "input, height"),
    (("model", "digest"), digit, "model, digest"),
    (("model", "name"), lambda name: "other", "model, name"),
    (("parameters", "neuron_steps", "relu1", "initial"), lambda v: 0.25, "layer relu1, step 1"),
    (("parameters", "neuron_steps", "relu2", "fires"), lambda v: [*v[:-1], 0.5], "layer relu2, step 5"),
    (("parameters", "head_parameters", "weight"), digit, "parameters, head_parameters"),
    (("layers", 0, "steps", 0, "events"), lambda v: [v[0] + 1], "layer relu1, step 1, events"),
    (("layers", 1, "steps", 4, "sha256"), digit, "layer relu2, step 5, sha256"),
    (("layers", 2, "steps", 3, "sha256"), digit, "layer output, step 4, sha256"),
    (("layers", 1, "steps", 2, "synops"), lambda n: n + 10, "layer relu2, step 3, synops"),
    (("layers", 1, "steps", 2, "synops"), float, "layer relu2, step 3, synops"),
    (("layers", 0, "steps", 3, "more"), lambda _: 1, "layer relu1, step 4, more"),
    (("layers",), lambda layers: layers[:-1], "number of layers"),
    (("work", "head_macs"), lambda n: n + 1, "work, head_macs"),
    (("totals", "synops"), lambda n: n - 1, "totals, synops"),
    (("output", "sha256"), digit, "output, sha256"),
]


@pytest.mark.parametrize(
    ("path", "change", "where"), TAMPERED, ids=[" ".join(map(str, path)) for path, _, _ in TAMPERED]
)
def test_every_tampering_is_refuted(case, tmp_path, path, change, where):
    certificate, model, photo = case
    values = json.loads(certificate.read_text())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = change(place.get(path[-1]) if isinstance(place, dict) else place[path[-1]])
    (tmp_path / "c.json").write_text(json.dumps(values))
    code, text = check(tmp_path / "c.json", model, photo)
    assert (code, text.startswith(f"REFUTED: {where}")) == (1, True), text


def test_another_image(case, tmp_path):
    certificate, model, _ = case
    code, text = launch(certificate, model, write(tmp_path / "other.png", 70, 66, seed=3))
    assert (code, text.startswith("REFUTED: input, file_sha256: ")) == (1, True)


def test_another_model(case, tmp_path):
    certificate, _, photo = case
    nspike.save(tmp_path / "other.h5", tiny_model(head="cpm", seed=5))
    code, text = check(certificate, tmp_path / "other.h5", photo)
    assert (code, text.startswith("REFUTED: model, digest: ")) == (1, True)


def test_a_weight_that_was_changed_in_the_file(case, tmp_path):
    """Its digest is that of the floats; the integers are caught by the spikes."""
    certificate, model, photo = case
    shutil.copy(model, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        weights = file["integers/relu2/weights"]
        weights[0, 1] = weights[0, 1] + 200
    code, text = check(certificate, tmp_path / "m.h5", photo)
    assert (code, text.startswith("REFUTED: layer relu2, step ")) == (1, True)
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["ann/conv1.bias"][0] += 1
    code, text = check(certificate, tmp_path / "m.h5", photo)
    assert (code, text.startswith("REFUTED: model, digest: ")) == (1, True)


# ----- what it cannot tell -----


def test_a_neuron_with_a_kernel_of_its_own(tmp_path):
    photo = write(tmp_path / "photo.png", 20, 24)
    code, text = check(*saved(tmp_path, tiny_model(), photo, neuron="lif"), photo)
    assert (code, "neuron lif has a kernel of its own" in text) == (2, True)


def test_spikes_of_another_value_than_the_files(tmp_path):
    """Their value is folded into the kernels of the model's file, which are of another neuron."""
    from dataclasses import replace

    model = tiny_model()
    own = {"mprn_beta": {name: {"beta": 0.5} for name in ("relu1", "relu2")}}
    model = model.with_spiking(replace(model.spiking, neuron_parameters=own))
    photo = write(tmp_path / "photo.png", 20, 24)
    code, text = check(*saved(tmp_path, model, photo, neuron="mprn_beta"), photo)
    assert (code, "for spikes of another value" in text) == (2, True), text
    own_file = nspike.swap(model, neuron="mprn_beta")[0]
    code, text = check(*saved(tmp_path, own_file, photo), photo)
    assert code == 0, text


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": "nspike certificate", "version": 1}', b"\xff\xfe"])
def test_what_is_no_certificate(case, tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    code, text = check(tmp_path / "c.json", *case[1:])
    assert (code, text.startswith("NOT CHECKED: ")) == (2, True)


def test_files_of_another_kind(case, tmp_path):
    certificate, model, photo = case
    for files in (
        (certificate, photo, photo),
        (certificate, model, tmp_path / "gone.png"),
        (certificate, certificate, photo),
    ):
        code, text = check(*files)
        assert (code, text.startswith("NOT CHECKED: ")) == (2, True), text


def test_pixels_that_another_decoder_reads(case, tmp_path):
    """The same file, another plane: as a JPEG may be read elsewhere."""
    certificate, model, _ = case
    values = copy.deepcopy(json.loads(certificate.read_text()))
    Image.fromarray(image(70, 66, seed=4)).save(tmp_path / "p.png")
    values["input"]["file_sha256"] = hashlib.sha256((tmp_path / "p.png").read_bytes()).hexdigest()
    (tmp_path / "c.json").write_text(json.dumps(values))
    code, text = check(tmp_path / "c.json", model, tmp_path / "p.png")
    assert (code, "or this decoder reads other pixels" in text) == (1, True)
