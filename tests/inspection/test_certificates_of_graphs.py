"""Certificates of networks with every kind of layer: nspike and the checker agree, and the schema and bytes are kept."""

import numpy as np
import pytest

from nspike.graph.network import Network
from nspike.inspection.auditing import audit, verify
from nspike.inspection.certificate import dumps
from nspike.model.file import digest, save
from tests.desk import write
from tests.inspection.networks import NETWORKS, edsr, ffdnet, model_of, shuffles, told, unet
from tests.inspection.test_certificate_schema import faults
from tests.inspection.test_check_certificate import check, script
from tests.tiny import tiny_model

pytestmark = pytest.mark.slow


def holds(folder, model, photo, run=None, **options):
    """The certificate, which the script and `--verify` believe."""
    save(folder / "m.h5", model)
    certificate = audit(run or model, photo, model_digest=digest(model), **options).certificate
    (folder / "c.json").write_text(dumps(certificate))
    code, text = check(folder / "c.json", folder / "m.h5", photo)
    assert code == 0, text
    assert verify(certificate, model, photo) == []
    assert faults(certificate) == []
    return certificate


@pytest.mark.parametrize(
    ("neuron", "head"),
    [
        ("if", "membrane"),
        ("mprn", "cpm"),
        ("mprn_beta", "rate"),
        ("lif_hard", "recycling"),
        ("signed", "membrane"),
        ("burst", "membrane"),
        ("few_spikes", "membrane"),
        ("ternary", "membrane"),
        ("atif", "cpm"),
        ("dietsnn", "rate"),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer_holds(tmp_path, name, neuron, head):
    photo = write(tmp_path / "photo.png", 11, 14)
    certificate = holds(tmp_path, model_of(NETWORKS[name](), 3, neuron=neuron, head=head), photo)
    assert all(sum(map(sum, (step["events"] for step in layer["steps"]))) for layer in certificate["layers"])


@pytest.mark.parametrize("seed", range(4))
def test_colour_and_16_bits(tmp_path, seed):
    holds(tmp_path, model_of(ffdnet(3), seed), write(tmp_path / "colour.png", 7, 10, 3))
    holds(tmp_path, model_of(unet(), seed), write(tmp_path / "channels.png", 7, 10, 3))
    holds(tmp_path, model_of(shuffles(), seed), write(tmp_path / "deep.png", 9, 8, dtype=np.uint16))
    holds(tmp_path, model_of(edsr(), seed), write(tmp_path / "grey.png", 5, 6))


@pytest.mark.parametrize("shape", [(7, 6), (7, 6, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("colour", ["y", "gray"])
def test_a_network_that_enlarges_by_itself(tmp_path, shape, colour):
    photo = write(tmp_path / "photo.png", *shape)
    certificate = holds(tmp_path, model_of(edsr(1), 2, colour=colour), photo)
    assert certificate["input"]["scale"] == 2
    assert certificate["input"]["planes"] == (3 if len(shape) == 3 and colour == "gray" else 1)
    assert certificate["output"]["shape"][:2] == [14, 12]


@pytest.mark.parametrize(("shape", "plane"), [((1, 1), (4, 4)), ((1, 6), (4, 8)), ((2, 13), (4, 16)), ((8, 4), (8, 4))])
def test_an_image_smaller_than_its_padding(tmp_path, shape, plane):
    """And one that needs none, whose certificate does not speak of it."""
    photo = write(tmp_path / "photo.png", *shape)
    stated = holds(tmp_path, model_of(unet(), 5), photo)["input"]
    assert (stated["height"], stated["width"]) == plane
    padded = {"image_height": shape[0], "image_width": shape[1]} if shape != plane else {}
    assert {key: n for key, n in stated.items() if key.startswith("image")} == padded


def test_the_bytes_are_the_same_for_all_tiles_and_threads(tmp_path):
    photo = write(tmp_path / "photo.png", 70, 130)
    for network in (unet(), shuffles()):
        model = model_of(network, 6)
        whole = holds(tmp_path, model, photo, threads=1)
        assert dumps(audit(model, photo, tile=64, threads=2).certificate) == dumps(whole)


def test_a_run_that_was_told_another_noise_level(tmp_path):
    photo, model = write(tmp_path / "photo.png", 9, 8), model_of(ffdnet(), 7)
    own, other = holds(tmp_path, model, photo), holds(tmp_path, model, photo, told(model, 70.5))
    assert own["parameters"]["noise_levels"] == {"sigma": [25 / 255]}
    assert other["parameters"]["noise_levels"] == {"sigma": [70.5 / 255]}
    assert own["layers"][0]["steps"][0]["sha256"] != other["layers"][0]["steps"][0]["sha256"]


def test_new_keys_appear_only_where_they_are_needed(tmp_path):
    photo = write(tmp_path / "photo.png", 20, 24)
    certificate = holds(tmp_path, tiny_model(), photo)
    assert not {"image_height", "image_width"} & set(certificate["input"])
    assert not {"signed_layers", "noise_levels"} & set(certificate["parameters"])
    assert "current_additions" not in certificate["work"]
    graph = holds(tmp_path, model_of(edsr(), 1), write(tmp_path / "colour.png", 6, 5, 3))
    assert graph["parameters"]["signed_layers"] == ["f0", "f1", "f2"]
    assert graph["work"]["current_additions"] > 0


def test_a_declared_neuron_from_outside_in_signed_layers(tmp_path):
    """It is simulated as the certificate says, and only its plugin can confirm it."""
    from nspike.registry.plugins import registry

    (tmp_path / "late.py").write_text(
        "from nspike import NEVER, Neuron, hookimpl\n"
        "def fire(parameters, step, timesteps):\n"
        "    return NEVER if step == 1 else 0.75\n"
        "@hookimpl\n"
        "def register_neurons(register):\n"
        "    register(Neuron(name='late-in-graphs', summary='x', source='x', fire=fire, planes=(1, 2), post_steps=1))\n"
    )
    registry().resolve(str(tmp_path / "late.py"), ("neuron",))
    try:
        photo, model = write(tmp_path / "photo.png", 5, 6), model_of(edsr(), 1, neuron="late-in-graphs")
        save(tmp_path / "m.h5", model)
        certificate = audit(model, photo).certificate
        (tmp_path / "c.json").write_text(dumps(certificate))
    finally:
        registry.cache_clear()
    assert faults(certificate) == []
    code, text = check(tmp_path / "c.json", tmp_path / "m.h5", photo)
    assert (code, "every spike the same" in text) == (2, True), text
    certificate["parameters"]["neuron_steps"]["f0"]["fires"][1:] = [0.5] * 4
    (tmp_path / "c.json").write_text(dumps(certificate))
    assert check(tmp_path / "c.json", tmp_path / "m.h5", photo)[0] == 1


def test_a_kind_of_layer_that_the_script_does_not_know():
    module, description = script(), unet().to_dict()
    description["layers"][1] |= {"kind": "max_pool"}
    with pytest.raises(module.Unchecked, match="layer 'a' is of kind 'max_pool', which this script does not know"):
        module.Graph(description)


def test_the_script_knows_every_kind_that_runs_as_spikes():
    from nspike.graph.geometry import GEOMETRY
    from nspike.graph.layer import KINDS

    assert set(script().KINDS) == {name for name, kind in KINDS.items() if GEOMETRY[kind].role != "plain"}
    assert all(isinstance(make(), Network) and make().is_spiking for make in NETWORKS.values())
    used = {type(layer) for make in NETWORKS.values() for layer in make().layers}
    assert {name for name, kind in KINDS.items() if kind in used} == set(script().KINDS) - {"gate"}
