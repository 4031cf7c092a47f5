import copy
import hashlib
from dataclasses import replace

import numpy as np
import pytest

import nspike
from nspike.errors import BadInputError, ModelError, PluginError, UsageError
from nspike.inspection import auditing
from nspike.inspection.auditing import audit, image_of, model_of, verify
from nspike.inspection.certificate import dumps, hash_array
from nspike.model import shipped as models
from nspike.model.file import digest, save
from tests.desk import write
from tests.graphs import branched, random_model
from tests.tiny import image, tiny_model

MODEL = tiny_model()


@pytest.fixture
def photo(tmp_path):
    return write(tmp_path / "photo.png", 150, 140)


HOW = [
    {"threads": 1},
    {"threads": 2},
    {"threads": 2, "tile": 64},
    {"threads": 1, "tile": 128},
    {"memory": 1 << 30, "threads": 3},
]


@pytest.mark.parametrize("options", [{}, {"neuron": "if", "head": "cpm"}, {"neuron": "lif", "head": "rate"}])
def test_the_same_bytes_however_it_is_run(photo, options):
    model = nspike.swap(MODEL, **options)[0]
    texts = {dumps(audit(model, photo, **how).certificate) for how in HOW}
    assert len(texts) == 1


def test_colour_and_enlargement_are_the_same_bytes_too(tmp_path):
    colour = write(tmp_path / "colour.png", 70, 66, 3)
    larger = tiny_model("superres", "y", "add")
    for model, scale in ((MODEL, None), (tiny_model("dehaze", "rgb", "image"), None), (larger, 2)):
        one = audit(model, colour, scale=scale, threads=1).certificate
        two = audit(model, colour, scale=scale, threads=2, tile=64).certificate
        assert dumps(one) == dumps(two)
        assert verify(one, model, colour, tile=64) == []


def test_the_content(photo):
    done = audit(MODEL, photo)
    values = done.certificate
    assert values["input"]["file_sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    plane = 257 * image(150, 140).astype("<i4")
    assert values["input"]["plane_sha256"] == hashlib.sha256(plane.tobytes()).hexdigest()
    assert values["model"] == {"name": "tiny", "digest": digest(MODEL)}
    assert values["output"]["sha256"] == hash_array(done.result.image)
    assert values["totals"]["spikes"] == done.result.ledger.spikes == MODEL.run(image(150, 140)).ledger.spikes
    counted = sum(sum(step["events"]) for layer in values["layers"] for step in layer["steps"])
    assert counted == values["totals"]["spikes"]
    assert [len(layer["steps"]) for layer in values["layers"]] == [5, 5]
    assert [step["post"] for step in values["layers"][0]["steps"]] == [False] * 4 + [True]


def test_digests_are_those_of_the_documentation(photo):
    """Leaves of 64×64 blocks, recomputed from the float simulation's spikes by the words of docs/reference/certificate.md."""
    from nspike.integer import reference as floatsim
    from nspike.integer.rounding import build
    from nspike.registry.parts import head_of, neuron_of

    integers = build(MODEL, neuron_of(MODEL), head_of(MODEL))
    plane = 257.0 * image(150, 140)[None] / 65535
    spikes = floatsim.simulate(floatsim.from_integers(integers), plane).spikes["relu1"]  # (steps, C, H, W)
    values = audit(MODEL, photo).certificate
    for step, entry in enumerate(values["layers"][0]["steps"]):
        leaves = b""
        for y in range(0, 150, 64):
            for x in range(0, 140, 64):
                bits = np.asarray(spikes[step], bool)[:, y : y + 64, x : x + 64]
                leaves += hashlib.sha256(np.packbits(bits.ravel(), bitorder="little").tobytes()).digest()
        assert entry["sha256"] == hashlib.sha256(leaves).hexdigest(), step


# ----- verifying -----


def test_what_holds(photo):
    for options in ({}, {"neuron": "if", "timesteps": 7}, {"head": "cpm"}):
        stored = audit(nspike.swap(MODEL, **options)[0], photo, model_digest=digest(MODEL)).certificate
        for how in HOW:
            assert verify(stored, MODEL, photo, **how) == []


def test_every_digit_that_is_edited_is_found(photo):
    stored = audit(MODEL, photo).certificate
    for layer, entry in enumerate(stored["layers"]):
        for step, figures in enumerate(entry["steps"]):
            edited = copy.deepcopy(stored)
            digits = figures["sha256"]
            edited["layers"][layer]["steps"][step]["sha256"] = ("1" if digits[0] == "0" else "0") + digits[1:]
            (found,) = verify(edited, MODEL, photo)
            assert found.startswith(f"layer relu{layer + 1}, step {step + 1}, sha256: ")


def test_another_network_differs_first_where_it_is_another(photo):
    """A weight of the second layer is changed, and the certificate claims the changed model's digest."""
    stored = audit(MODEL, photo).certificate
    weight = MODEL.parameters["conv2.weight"].copy()
    weight[3, 0, 1, 1] += 0.5
    other = nspike.Model(MODEL.info, MODEL.network, {**MODEL.parameters, "conv2.weight": weight}, MODEL.spiking)
    (found,) = verify(stored, other, photo)
    assert found.startswith("model: the certificate is of 'tiny'")
    stored["model"]["digest"] = digest(other)
    found = verify(stored, other, photo)
    assert found[0].startswith("layer relu2, step ")
    assert any(d.startswith("output, sha256") for d in found)
    assert not any(d.startswith("layer relu1") and "sha256" in d for d in found)


def test_another_image_is_told_without_a_run(photo, tmp_path, monkeypatch):
    stored = audit(MODEL, photo).certificate
    other = write(tmp_path / "other.png", 150, 140, seed=3)
    monkeypatch.setattr(auditing, "restore", lambda *_, **__: pytest.fail("it was run"))
    (found,) = verify(stored, MODEL, other)
    assert found.startswith("input: the certificate is of a file with SHA-256")


def test_the_same_pixels_in_another_file(photo, tmp_path):
    """The file's digest is part of the certificate."""
    stored = audit(MODEL, photo).certificate
    (tmp_path / "longer.png").write_bytes(photo.read_bytes() + b"\0")
    assert len(verify(stored, MODEL, tmp_path / "longer.png")) == 1


@pytest.mark.parametrize(
    ("part", "key", "value", "error", "message"),
    [
        ("parameters", "neuron", "mprm", PluginError, "'mprn'"),
        ("parameters", "neuron", None, BadInputError, "damaged: its parameters, neuron is None"),
        ("parameters", "neuron", ["if"], BadInputError, "damaged"),
        ("parameters", "head", 3, BadInputError, "damaged"),
        ("parameters", "head", "cmp", PluginError, "'cpm'"),
        ("parameters", "timesteps", "4", BadInputError, "damaged: its parameters, timesteps is '4'"),
        ("parameters", "timesteps", True, BadInputError, "damaged"),
        ("parameters", "timesteps", 0, BadInputError, "cannot be run: T = 0"),
        ("parameters", "timesteps", 10**9, BadInputError, "cannot be run: T = 1000000000"),
        ("parameters", "neuron_parameters", None, BadInputError, "damaged: its parameters, neuron_parameters is None"),
        ("parameters", "neuron_parameters", {}, BadInputError, "its neuron_parameters are not by layer"),
        ("input", None, None, BadInputError, "it has no 'input'"),
        ("model", None, [], BadInputError, "it has no 'model'"),
        ("parameters", None, 1, BadInputError, "it has no 'parameters'"),
    ],
)
def test_damaged_certificates(photo, part, key, value, error, message):
    stored = audit(MODEL, photo).certificate
    if key is None:
        stored[part] = value
    else:
        stored[part][key] = value
    with pytest.raises(error, match=message):
        verify(stored, MODEL, photo)


@pytest.mark.parametrize("scale", [1, 2, True, "2", 1.0, [2]])
def test_a_scale_for_a_model_that_keeps_the_size(photo, scale):
    stored = audit(MODEL, photo).certificate
    stored["input"]["scale"] = scale
    (found,) = verify(stored, MODEL, photo)
    assert found == f"input, scale: the certificate says {scale!r}; model tiny keeps the image's size"


@pytest.mark.parametrize("scale", [None, 0, 9, True, 2.0, "2", -2])
def test_a_scale_that_no_model_has(tmp_path, scale):
    model, small = tiny_model("superres", "y", "add"), write(tmp_path / "small.png", 9, 8)
    stored = audit(model, small).certificate
    assert stored["input"]["scale"] == 2  # the first that it was trained for
    stored["input"]["scale"] = scale
    (found,) = verify(stored, model, small)
    assert found.endswith("model tiny enlarges, by 1 to 8")


def test_parameters_that_are_not_the_models(photo):
    """A run with other parameters is certified like any other, and verified with the model of the file."""
    own = {"mprn": {name: {"beta": 1.0, "v_init": 0.25} for name in ("relu1", "relu2")}}
    changed = MODEL.with_spiking(replace(MODEL.spiking, neuron_parameters=own))
    stored = audit(changed, photo, model_digest=digest(MODEL)).certificate
    assert verify(stored, MODEL, photo) == []
    stored["parameters"]["neuron_parameters"]["relu2"]["beta"] = 1.5
    assert verify(stored, MODEL, photo)[0].startswith("parameters, neuron_steps, relu2, fires")


def test_a_plain_ann_cannot_be_audited(photo):
    ann = nspike.Model(MODEL.info, MODEL.network, MODEL.parameters)
    with pytest.raises(ModelError, match="plain ANN"):
        audit(ann, photo)


def test_a_graph_with_a_gate_is_certified(tmp_path):
    """Concatenations and the product with the image are in it."""
    model = random_model(branched(4, 5, 3, channels=3, gate=True))
    photo = write(tmp_path / "hazy.png", 66, 70, 3)
    one = audit(model, photo, threads=1)
    assert dumps(one.certificate) == dumps(audit(model, photo, threads=2, tile=64).certificate)
    assert len(one.certificate["layers"]) == len(model.network.activations)


# ----- finding -----


def test_the_model_is_found_by_its_digest(tmp_path, monkeypatch, photo):
    other = tiny_model(seed=2)
    for name, model in (("one", other), ("two", MODEL)):
        save(tmp_path / f"{name}.h5", model)
    monkeypatch.setattr(models, "shipped", lambda: [(n, tmp_path / f"{n}.h5") for n in ("one", "two")])
    stored = audit(MODEL, photo).certificate
    assert digest(model_of(stored)) == digest(MODEL)
    stored["model"]["digest"] = "0"
    with pytest.raises(ModelError, match=r"has the digest 0; give the file of 'tiny', model=FILE"):
        model_of(stored)


def test_the_image_is_found_by_its_digest(tmp_path, photo):
    stored = audit(MODEL, photo).certificate
    write(tmp_path / "a.png", 20, 20)
    assert image_of(stored, [tmp_path / "nowhere", tmp_path]) == photo
    photo.unlink()
    with pytest.raises(UsageError, match="name the image"):
        image_of(stored, [tmp_path])
