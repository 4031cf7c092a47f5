import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from nspike.errors import ModelError, OutputError
from nspike.files import hdf5 as _hdf5
from nspike.graph.layer import IMAGE
from nspike.model import content
from nspike.model.file import digest, load, load_integers, read_info, save
from nspike.model.model import Model
from tests.small_models import small_ann, small_snn

INTEGERS = {"act1": {"weights": np.arange(-4, 5, dtype=np.int16).reshape(3, 3), "exponent": np.array([14], np.int64)}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a model file with everything in it."""
    path = tmp_path_factory.mktemp("models") / "whole.h5"
    save(path, small_snn(), INTEGERS)
    return path.read_bytes()


def same(left, right):
    """Equality of models and their parts, arrays to the bit."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return left == right and type(left) is type(right)


def wrap(data, version=2):
    """Give changed HDF5 bytes a right header, as an attacker would."""
    body = bytes(data)[_hdf5.HEADER_BYTES :]
    header = (
        f"nspike model file, format {version}, needs nspike 0.1.0 or later\nsha256 {hashlib.sha256(body).hexdigest()}\n"
    )
    return header.encode().ljust(_hdf5.HEADER_BYTES, b"\0") + body


def edit(data, change):
    """The file after `change(h5py.File)`."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        change(file)
    return wrap(buffer.getvalue())


def refused(tmp_path, data, match):
    path = tmp_path / "hostile.h5"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)


# ----- what is written is read -----


@pytest.mark.parametrize("model", [small_ann(), small_snn()], ids=["ann", "snn"])
def test_round_trip(tmp_path, model):
    path = tmp_path / "model.h5"
    save(path, model)
    assert same(load(path), model)
    assert digest(load(path)) == digest(model) == read_info(path).digest
    assert os.listdir(tmp_path) == ["model.h5"]


def test_round_trip_of_odd_descriptions(tmp_path):
    model = small_ann(
        name="Rauschen – σ",
        licence="MIT\nwith a second line",
        degradation={"scales": (2, np.int64(3)), 4: np.float32(0.5)},
        provenance={"deep": {"list": [1, None, True, "é"]}, "long": "x" * 200_000},
    )
    path = tmp_path / "model.h5"
    save(path, model)
    info = load(path).info
    assert info.degradation == {"scales": [2, 3], "4": 0.5}
    assert (info.name, info.licence, info.provenance) == (
        model.info.name,
        model.info.licence,
        model.info.provenance,
    )
    assert digest(load(path)) == digest(model)


def test_how_it_was_trained(tmp_path):
    save(tmp_path / "plain.h5", small_ann())
    save(tmp_path / "spiking.h5", small_ann(trained="spiking"))
    assert [read_info(tmp_path / f"{name}.h5").info.trained for name in ("plain", "spiking")] == ["plain", "spiking"]
    with h5py.File(tmp_path / "plain.h5") as file:
        assert "trained" not in json.loads(file.attrs["info"])
    with pytest.raises(ModelError, match="the model was trained as 'twice'; expected plain or spiking"):
        save(tmp_path / "other.h5", small_ann(trained="twice"))


def test_equal_models_give_equal_files(tmp_path):
    save(tmp_path / "a.h5", small_snn(), INTEGERS)
    save(tmp_path / "b.h5", small_snn(), INTEGERS)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_integers(tmp_path, whole):
    path = tmp_path / "model.h5"
    path.write_bytes(whole)
    found = load_integers(path)
    assert same(found, INTEGERS)
    assert digest(load(path)) == digest(small_snn()), "the integers follow from the model: its digest leaves them out"
    save(path, small_snn())
    assert load_integers(path) == {}


def test_read_info(tmp_path, whole):
    path = tmp_path / "model.h5"
    path.write_bytes(whole)
    found = read_info(path)
    assert (found.neuron, found.head, found.timesteps, found.integers) == ("if", "membrane", 10, True)
    assert (found.version, found.writer, found.size) == (2, "nspike 0.1.0", len(whole))
    assert found.info == small_snn().info
    assert found.network == small_snn().network
    save(path, small_ann())
    assert read_info(path).timesteps is None


def test_digest_sees_every_change():
    model = small_snn()
    seen = {digest(model), digest(small_ann()), digest(small_snn(licence="other"))}
    spiking = model.spiking
    scales = {name: array.copy() for name, array in spiking.scales.items()}
    scales["act1"][0] = np.nextafter(scales["act1"][0], 9)
    seen.add(digest(model.with_spiking(dataclasses.replace(spiking, scales=scales))))
    seen.add(digest(model.with_spiking(dataclasses.replace(spiking, timesteps=11))))
    seen.add(digest(model.with_spiking(dataclasses.replace(spiking, biases={}))))
    seen.add(digest(model.with_spiking(dataclasses.replace(spiking, neuron_parameters={}))))
    assert len(seen) == 7


def test_digest_is_what_the_documentation_says():
    """Recomputed by hand from the file's HDF5 content."""
    model = small_ann()
    sha = hashlib.sha256()
    info = dataclasses.asdict(model.info)
    assert info.pop("trained") == "plain"  # goes without saying
    for name, value in (("info", info), ("network", model.network.to_dict())):
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        sha.update(b"@" + name.encode() + b"\0utf-8\0%d\0" % len(text) + text)
    for name in sorted(model.parameters):
        array = model.parameters[name]
        shape = ",".join(str(size) for size in array.shape)
        sha.update(f"ann/{name}\0<f4\0{shape}\0".encode() + array.astype("<f4").tobytes())
    assert digest(model) == sha.hexdigest()


def test_file_is_hdf5_for_everyone(tmp_path, whole):
    path = tmp_path / "model.h5"
    path.write_bytes(whole)
    with h5py.File(path) as file:
        assert np.array_equal(file["ann/conv1.weight"], small_snn().parameters["conv1.weight"])
        assert file["ann/conv2.weight"].compression == "gzip"
        assert file["ann/conv2.weight"].shuffle
        assert json.loads(file.attrs["info"])["name"] == "small"


def test_h5py_is_imported_late():
    code = "import sys, nspike.model.file; print('h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ----- what is not written -----


def with_parameter(name, array):
    model = small_ann()
    return Model(model.info, model.network, {**model.parameters, name: array})


def with_spiking(**changes):
    model = small_snn()
    return model.with_spiking(dataclasses.replace(model.spiking, **changes))


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (with_parameter("conv1.bias", np.full(4, np.nan, np.float32)), "ann/conv1.bias: 4 values are not finite"),
        (with_parameter("conv1.bias", np.zeros(5, np.float32)), r"ann/conv1.bias: float32 \(5,\); expected .*\(4,\)"),
        (with_parameter("conv1.bias", np.zeros(4)), "ann/conv1.bias: float64"),
        (with_parameter("conv9.bias", np.zeros(4, np.float32)), "ann: unknown array 'conv9.bias'"),
        (with_parameter("a/b", np.zeros(4, np.float32)), "unknown"),
        (Model(small_ann().info, small_ann().network, {}), "ann: conv1.bias, conv1.weight, conv2.bn_bias.* missing"),
        (with_spiking(scales={}), "spiking/scales: act1, act2, output missing"),
        (with_spiking(thresholds=dict.fromkeys(("act1", "act2", "output"), np.zeros(1))), "spiking/thresholds/"),
        (with_spiking(timesteps=0), "T = 0"),
        (with_spiking(timesteps=2.5), "T = 2.5"),
        (with_spiking(neuron_parameters={"mprn": {"act9": {"beta": 1.0}}}), "'act9', which is not a layer of neurons"),
        (with_spiking(neuron_parameters={"mprn": {"act1": {"beta": float("nan")}}}), "cannot be written"),
        (with_spiking(neuron_parameters={"mprn": {"act1": {"beta": "x"}}}), "is not a number"),
        (with_spiking(neuron_parameters={"mprn": 3}), "damaged"),
        (with_spiking(head_parameters={"cpm": {"weight": np.array([np.inf])}}), "not finite"),
        (with_spiking(weights={"conv1": np.zeros((1, 1, 3, 3), np.float32)}), "spiking/weights/conv1"),
        (small_ann(task="paint"), "unknown task 'paint'"),
        (small_ann(quality={"psnr": float("inf")}), "info cannot be written"),
        (small_ann(provenance={"thing": object()}), "info cannot be written"),
    ],
)
def test_inconsistent_model_is_not_written(tmp_path, model, error):
    with pytest.raises(ModelError, match=error):
        save(tmp_path / "model.h5", model)
    assert os.listdir(tmp_path) == []


def test_zero_threshold_is_refused(tmp_path):
    thresholds = {**small_snn().spiking.thresholds, "act1": np.zeros(4)}
    with pytest.raises(ModelError, match="spiking/thresholds: a value is not above zero"):
        save(tmp_path / "model.h5", with_spiking(thresholds=thresholds))


def test_integers_that_are_none(tmp_path):
    for wrong in ({"w": np.zeros(3, np.float32)}, {"w": np.array([np.nan])}, {"a/b": np.zeros(3, np.int32)}):
        with pytest.raises(ModelError, match="is not an array of a layer's integers"):
            save(tmp_path / "model.h5", small_snn(), {"act1": wrong})
    assert os.listdir(tmp_path) == []


def test_integers_of_a_gate(tmp_path):
    path = tmp_path / "model.h5"
    save(path, small_snn(), {"gate": {"gate": np.array([0.25]), "weights": np.zeros((0, 3), np.int16)}})
    assert same(load_integers(path), {"gate": {"gate": np.array([0.25])}})


def test_target_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for target in (tmp_path / "missing" / "model.h5", tmp_path / "folder", "/dev/full"):
        with pytest.raises(OutputError):
            save(target, small_ann())
    assert os.listdir(tmp_path) == ["folder"]


# ----- damaged and hostile files -----


def test_truncated_anywhere(tmp_path, whole):
    path = tmp_path / "short.h5"
    for length in [*range(0, 600, 7), *range(600, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        for read in (load, read_info):
            with pytest.raises(ModelError, match=r"short\.h5"):
                read(path)


def test_any_flipped_bit_is_noticed(tmp_path, whole):
    path = tmp_path / "flipped.h5"
    draw = np.random.default_rng(5)
    places = [*range(0, 120, 3), 300, 511, 512, *draw.integers(512, len(whole), 200)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(draw.integers(8))
        path.write_bytes(changed)
        with pytest.raises(ModelError, match=r"flipped\.h5"):
            load(path)


def test_flipped_bytes_with_a_right_checksum(tmp_path, whole):
    """What an attacker may send: a ModelError, or a model that passed every check; nothing else."""
    path = tmp_path / "flipped.h5"
    draw = np.random.default_rng(6)
    counts = dict.fromkeys((load, load_integers, read_info), 0)
    for _ in range(120):
        changed = bytearray(whole)
        for place in draw.integers(512, len(whole), int(draw.integers(1, 4))):
            changed[place] = int(draw.integers(256))
        path.write_bytes(wrap(changed))
        for read in counts:
            try:
                read(path)
            except ModelError:
                counts[read] += 1
    path.write_bytes(wrap(whole))
    for read, count in counts.items():
        read(path)
        least, most = (12, 115) if read is read_info else (116, 120)  # the digest of the content notices nearly all
        assert least <= count <= most, (read.__name__, count)


def test_future_version(tmp_path, whole):
    data = whole.replace(b"format 2, needs nspike 0.1.0", b"format 3, needs nspike 3.4.0", 1)
    refused(tmp_path, data, r"model format 3, which needs nspike 3\.4\.0 or later; this is nspike 0\.1\.0")


def test_format_1_is_read_in_the_words_of_today(tmp_path, whole):
    """There the network's input was called "picture"."""
    attributes, arrays = _hdf5.read(whole)
    network = json.loads(attributes["network"])
    for layer in network["layers"]:
        if layer.get("source") == IMAGE:
            layer["source"] = "picture"
    attributes["network"] = json.dumps(network)
    texts = {name: attributes[name] for name in ("network", "info", "spiking")}
    plain = {name: array for name, array in arrays.items() if not name.startswith("integers/")}
    attributes["digest"] = content.digest(texts, plain)
    data, path = _hdf5.write(attributes, arrays), tmp_path / "old.h5"
    path.write_bytes(wrap(data, version=1))
    assert same(load(path), small_snn())
    assert (read_info(path).version, read_info(path).digest) == (1, digest(small_snn()))
    path.write_bytes(wrap(data, version=2))
    with pytest.raises(ModelError, match="picture"):
        load(path)


@pytest.mark.parametrize("data", [b"", b"PK\3\4 a checkpoint", b"\x89HDF\r\n\x1a\n", os.urandom(2000)])
def test_other_files(tmp_path, data):
    refused(tmp_path, data, "not an nspike model file")


def test_missing_file_and_folder(tmp_path):
    for path, error in ((tmp_path / "none.h5", "No such file"), (tmp_path, "is a folder"), ("a\0b", "cannot be read")):
        with pytest.raises(ModelError, match=error):
            load(path)


def test_older_hdf5_formats_are_refused(tmp_path, whole):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file, h5py.File(io.BytesIO(whole)) as source:
        for name, value in source.attrs.items():
            file.attrs[name] = value
    refused(tmp_path, wrap(buffer.getvalue()), "not in the 1.10 format")


def soft_link(file):
    file["ann/extra"] = h5py.SoftLink("/ann/conv1.weight")


def external_link(file):
    file["ann/extra"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file):
    file.create_dataset("ann/extra", (4,), "<f4", external=[("/etc/passwd", 0, 16)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("ann/extra", layout)


def lzf(file):
    file.create_dataset("ann/extra", data=np.zeros(100, "<f4"), compression="lzf")


def lengths(file):
    file.create_dataset("ann/extra", (4,), h5py.vlen_dtype(np.float32))


def reference(file):
    file.create_dataset("ann/extra", (4,), h5py.ref_dtype)


def compound(file):
    file.create_dataset("ann/extra", (4,), [("a", "<f4")])


def big_endian(file):
    file.create_dataset("ann/extra", data=np.zeros(4, ">f4"))


def huge(file):
    file.create_dataset("ann/extra", (2**40,), "<f4")


def many_large(file):
    for i in range(5):
        file.create_dataset(f"ann/extra{i}", (2**26,), "<f4")


def six_dimensions(file):
    file.create_dataset("ann/extra", (1,) * 6, "<f4")


def growing(file):
    file.create_dataset("ann/extra", (4,), "<f4", maxshape=(None,))


def empty(file):
    file.create_dataset("ann/extra", data=h5py.Empty("<f4"))


def several_chunks(file):
    file.create_dataset("ann/extra", data=np.zeros(20, "<f4"), chunks=(10,))


def no_chunks(file):
    file.create_dataset("ann/extra", (10,), "<f4", chunks=(10,))


def bomb(file):
    dataset = file.create_dataset("ann/extra", (100,), "<f4", chunks=(100,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(10**8)))


def short_chunk(file):
    dataset = file.create_dataset("ann/extra", (100,), "<f4", chunks=(100,), compression="gzip")
    dataset.id.write_direct_chunk((0,), zlib.compress(bytes(10)))


def unfiltered_chunk(file):
    dataset = file.create_dataset("ann/extra", (100,), "<f4", chunks=(100,), compression="gzip")
    dataset.id.write_direct_chunk((0,), bytes(400), filter_mask=1)


def named_type(file):
    file["ann/extra"] = np.dtype("<f4")


def loop(file):
    file["ann/again"] = file["ann"]


def attribute_below(file):
    file["ann"].attrs["x"] = 1


def vlen_attribute(file):
    file.attrs["info"] = "a text of variable length"


def array_attribute(file):
    file.attrs["writer"] = np.zeros(4)


def unknown_attribute(file):
    file.attrs.create("surprise", b"x", dtype=h5py.string_dtype("utf-8", 1))


def unknown_group(file):
    file["other/thing"] = np.zeros(3)


def lost_attribute(file):
    del file.attrs["network"]


def other_values(file):
    file["ann/conv1.bias"][...] = 0


def not_finite(file):
    file["ann/conv1.bias"][...] = np.nan


def other_radius(file):
    file.attrs.modify("receptive_radius", np.int64(7))


def other_shape(file):
    del file["ann/conv1.bias"]
    file["ann/conv1.bias"] = np.zeros(9, np.float32)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (soft_link, "ann/extra is a soft or external link"),
        (external_link, "ann/extra is a soft or external link"),
        (external_storage, "ann/extra is stored in another file"),
        (virtual, "ann/extra is a virtual dataset"),
        (lzf, "filter other than gzip and shuffle"),
        (lengths, "does not hold plain numbers"),
        (reference, "does not hold plain numbers"),
        (compound, "does not hold plain numbers"),
        (big_endian, "dtype >f4"),
        (huge, "at most 1073741824 are read"),
        (many_large, "at most 1073741824 are read"),
        (six_dimensions, "at most 5 dimensions"),
        (growing, "expected a fixed one"),
        (empty, "has shape None"),
        (several_chunks, "not stored in one piece"),
        (no_chunks, "not stored in one piece"),
        (bomb, "401 bytes or more; expected 400"),
        (short_chunk, "10 bytes or more"),
        (unfiltered_chunk, "skips a filter"),
        (named_type, "neither a group nor a dataset"),
        (loop, "lies too deep"),
        (attribute_below, "ann has attributes"),
        (vlen_attribute, "'info' is neither a text of fixed length"),
        (array_attribute, "'writer' is not a single value"),
        (unknown_attribute, "unknown attribute 'surprise'"),
        (unknown_group, "unknown group 'other'"),
        (lost_attribute, "'network' is missing"),
        (other_values, "the content's digest differs"),
        (not_finite, "ann/conv1.bias: 4 values are not finite"),
        (other_radius, "receptive radius"),
        (other_shape, r"expected float32 \(4,\)"),
    ],
)
def test_hostile_file(tmp_path, whole, change, error):
    refused(tmp_path, edit(whole, change), error)


@pytest.mark.parametrize(
    "network",
    [
        "[" * 100_000,
        "3",
        '{"layers": 3}',
        '{"name": "x", "channels": NaN, "layers": [], "output": "", "mode": "image"}',
        '{"name": "x", "channels": 1, "output": "c", "mode": "add", "layers": '
        '[{"kind": "conv", "name": "c", "source": "image", "in_channels": 1, "out_channels": 1, "kernel": 70001}]}',
        '{"name": "x", "channels": 1, "output": "c", "mode": "add", "layers": '
        '[{"kind": "conv", "name": "c/d", "source": "image", "in_channels": 1, "out_channels": 1, "kernel": 3}]}',
        '{"name": "x", "channels": 1, "output": "c", "mode": "add", "layers": '
        '[{"kind": "conv", "name": ["c"], "source": {}, "in_channels": 1, "out_channels": "1", "kernel": 3}]}',
    ],
)
def test_hostile_description(tmp_path, whole, network):
    def change(file):
        del file.attrs["network"]
        file.attrs.create("network", network.encode(), dtype=h5py.string_dtype("utf-8", len(network)))

    refused(tmp_path, edit(whole, change), "network|description")


def test_integers_that_were_changed(tmp_path, whole):
    path = tmp_path / "model.h5"

    def change(file):
        file["integers/act1/weights"][0, 0] = 7

    path.write_bytes(edit(whole, change))
    for read in (load, load_integers):
        with pytest.raises(ModelError, match="digest of the integers differs"):
            read(path)


def test_integers_without_their_digest(tmp_path, whole):
    path = tmp_path / "model.h5"
    path.write_bytes(edit(whole, lambda file: file.attrs.__delitem__("integers_digest")))
    with pytest.raises(ModelError, match="digest of the integers differs"):
        load(path)


def test_a_key_that_stands_twice_in_a_description(tmp_path, whole):
    def change(file):
        text = file.attrs["spiking"].decode()
        twice = text.replace('"timesteps": 10', '"timesteps": 12, "timesteps": 10')
        assert twice != text
        del file.attrs["spiking"]
        file.attrs.create("spiking", twice.encode(), dtype=h5py.string_dtype("utf-8", len(twice)))

    refused(tmp_path, edit(whole, change), "a key stands twice")
