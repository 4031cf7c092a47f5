"""docs/check_certificate.py, the checker without nspike, on true and on tampered certificates."""

import contextlib
import hashlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
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

METHODS = {
    "burst": {"gamma": 3.0},
    "few_spikes": {"slots": 3.0},
    "ternary": {"amplitude": 0.7},
    "atif": {"theta": 0.8},
    "dietsnn": {"keep": 0.9},
}
"""The declared neurons of the compared methods, with parameters."""


@pytest.mark.parametrize(
    ("name", "scale", "shape", "options"),
    [
        ("dncnn-s25", None, (24, 20), {}),
        ("dncnn-s25-few", None, (24, 20), {}),
        ("dncnn-s50", None, (10, 12), {"neuron": "if", "timesteps": 6}),
        ("aodnet", None, (32, 32, 3), {}),
        ("aodnet-few", None, (32, 32, 3), {}),
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
        *(
            (tiny_model("dehaze", "rgb", "image", neuron=neuron), (20, 24, 3), {"parameters": parameters})
            for neuron, parameters in METHODS.items()
        ),
        *((random_model(branched(4, 5, 3, channels=3, gate=True)), (20, 22, 3), {"neuron": n}) for n in METHODS),
    ],
    ids=[
        *("tiles", "mprn_beta", "three planes", "recycling", "grey in colour", "enlarged", "concat and gate"),
        *METHODS,
        *(f"{name} and gate" for name in METHODS),
    ],
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
    """What it answers at each step stands in the certificate; that this is what its name means, only its code tells."""
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
    values = json.loads(certificate.read_text())
    assert values["parameters"]["neuron_steps"]["relu1"]["fires"][0] is None
    code, text = check(certificate, model, photo)
    same = "with what the certificate says of it: 2 layers, 6 steps, every spike the same"
    assert (code, text) == (2, f"NOT CHECKED: neuron trial-of-check is not known to this script; {same}")
    values["layers"][1]["steps"][2]["sha256"] = digit(values["layers"][1]["steps"][2]["sha256"])
    certificate.write_text(json.dumps(values))
    code, text = check(certificate, model, photo)
    assert (code, text.startswith("REFUTED: layer relu2, step 3, sha256")) == (1, True)


# ----- what is refuted -----


def digit(text):
    return ("1" if text[0] == "0" else "0") + text[1:]


TAMPERED = [
    (("input", "file_sha256"), digit, "input, file_sha256"),
    (("input", "plane_sha256"), digit, "input, plane_sha256"),
    (("input", "height"), lambda n: n + 1, "input, height"),
    (("model", "digest"), digit, "model, digest"),
    (("model", "name"), lambda name: "other", "model, name"),
    (("parameters", "neuron_steps", "relu1", "initial"), lambda v: 0.25, "parameters, neuron_steps, relu1, initial"),
    (
        ("parameters", "neuron_steps", "relu2", "fires"),
        lambda v: [*v[:-1], 0.5],
        "parameters, neuron_steps, relu2, fires",
    ),
    (("parameters", "head_parameters", "weight"), digit, "parameters, head_parameters"),
    (("layers", 0, "steps", 0, "events"), lambda v: [v[0] + 1], "layer relu1, step 1, events"),
    (("layers", 1, "steps", 4, "sha256"), digit, "layer relu2, step 5, sha256"),
    (("layers", 2, "steps", 3, "sha256"), digit, "layer output, step 4, sha256"),
    (("layers", 1, "steps", 2, "synops"), lambda n: n + 10, "layer relu2, step 3, synops"),
    (("layers", 1, "steps", 2, "synops"), float, "layer relu2, step 3, synops"),
    (("layers", 0, "steps", 3, "more"), lambda _: 1, "layer relu1, step 4: more"),
    (("layers",), lambda layers: layers[:-1], "layers: the certificate lists"),
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


def test_a_file_that_was_changed(case, tmp_path):
    """With the checksum that it then has."""
    certificate, model, photo = case
    for path in ("integers/relu2/weights", "ann/conv1.bias"):
        shutil.copy(model, tmp_path / "m.h5")
        with h5py.File(tmp_path / "m.h5", "r+") as file:
            array = file[path][()]
            array.ravel()[0] += 1
            file[path][...] = array
        data = (tmp_path / "m.h5").read_bytes()
        checksum = hashlib.sha256(data[512:]).hexdigest().encode()
        (tmp_path / "m.h5").write_bytes(re.sub(rb"sha256 [0-9a-f]{64}", b"sha256 " + checksum, data, count=1))
        code, text = check(certificate, tmp_path / "m.h5", photo)
        assert (code, "its digests are not those of its content" in text) == (2, True), text


# ----- what it cannot tell -----


def test_a_neuron_with_a_kernel_of_its_own(tmp_path):
    from dataclasses import replace as changed

    from nspike.registry.plugins import registry
    from tests.own_neurons import LEAKY

    photo = write(tmp_path / "photo.png", 20, 24)
    own = changed(LEAKY.fast, name="leaks-of-check")
    registry().add([("neuron", own)], str(tmp_path / "leaks.py"), "")
    registry().neurons.fill({**{name: registry().neurons[name] for name in registry().neurons}, own.name: own})
    try:
        files = saved(tmp_path, tiny_model(), photo, neuron=own.name)
    finally:
        registry.cache_clear()
    code, text = check(*files, photo)
    assert (code, "'leaks-of-check' has a kernel of its own" in text) == (2, True), text


def test_spikes_of_another_value_than_the_files(tmp_path):
    """Their value is folded into kernels that the model's file does not hold; they are made from its floats."""
    from dataclasses import replace

    model = tiny_model()
    own = {"mprn_beta": {name: {"alpha": 0.9, "beta": 0.5, "v_init": 0.0} for name in ("relu1", "relu2")}}
    model = model.with_spiking(replace(model.spiking, neuron_parameters=own))
    photo = write(tmp_path / "photo.png", 20, 24)
    code, text = check(*saved(tmp_path, model, photo, neuron="mprn_beta"), photo)
    assert code == 0, text
    own_file = nspike.swap(model, neuron="mprn_beta")[0]
    code, text = check(*saved(tmp_path, own_file, photo), photo)
    assert code == 0, text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["photo.png", "photo.tif"])
def test_an_image_that_is_turned(tmp_path, name, orientation):
    """A camera's photo is read upright."""
    photo, exif = tmp_path / name, Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image(20, 24)).save(photo, exif=exif)
    code, text = check(*saved(tmp_path, tiny_model(width=2), photo), photo)
    assert code == 0, text


def test_sixteen_bit_colour_is_not_checked(tmp_path):
    """Pillow would cut it to 8 bits; an honest certificate must not be called refuted."""
    photo = write(tmp_path / "photo.png", 20, 24, 3, dtype=np.uint16)
    code, text = check(*saved(tmp_path, tiny_model(width=2), photo), photo)
    assert (code, text) == (2, "NOT CHECKED: 16-bit colour or alpha, which Pillow cuts to 8 bits")


def test_what_another_decoder_of_a_jpeg_reads(tmp_path):
    photo = write(tmp_path / "photo.jpg", 20, 24)
    certificate, model = saved(tmp_path, tiny_model(width=2), photo)
    assert check(certificate, model, photo)[0] == 0
    values = json.loads(certificate.read_text())
    values["input"]["plane_sha256"] = digit(values["input"]["plane_sha256"])
    certificate.write_text(json.dumps(values))
    code, text = check(certificate, model, photo)
    assert (code, "this decoder may read other pixels" in text) == (2, True), text


def test_an_image_that_takes_too_much_memory_is_not_begun(tmp_path, monkeypatch):
    module, photo = script(), write(tmp_path / "photo.png", 20, 24)
    certificate, model = saved(tmp_path, tiny_model(), photo)
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    monkeypatch.setattr(module, "run", lambda *_: pytest.fail("it was begun"))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert module.main([str(path) for path in (certificate, model, photo)]) == 2
    assert "20x24 pixels and 5 steps are too many for this script's memory" in printed.getvalue()


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


def test_files_that_are_missing_or_have_no_spikes_are_named(case, tmp_path):
    certificate, model, photo = case
    gone, plain = tmp_path / "gone", tmp_path / "plain.h5"
    for files in ((gone, model, photo), (certificate, gone, photo), (certificate, model, gone)):
        assert check(*files) == (2, f"NOT CHECKED: {gone}: No such file or directory")
    nspike.save(plain, replace(tiny_model(), spiking=None))
    assert check(certificate, plain, photo) == (2, f"NOT CHECKED: {plain} has no spiking form: it is a plain network")
