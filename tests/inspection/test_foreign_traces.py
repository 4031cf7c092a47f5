"""Traces from strangers: links, damage that makes the library crash, and arrays that are larger than they look."""

import json
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

import nspike
from nspike.errors import BadInputError
from tests.tiny import tiny_model

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "good.h5"
    nspike.trace(tiny_model(), PIXELS, path)
    return path


@pytest.fixture
def changed(good, tmp_path):
    """A trace after `change`, as an open file."""

    def make(change):
        path = tmp_path / "changed.h5"
        path.write_bytes(good.read_bytes())
        with h5py.File(path, "r+", libver=("v110", "v110")) as file:
            change(file)
        return path

    return make


def test_a_group_that_is_a_link(changed, good):
    def external(file):
        del file["spikes"]
        file["spikes"] = h5py.ExternalLink(str(good), "/spikes")

    def soft(file):
        file.move("spikes", "elsewhere")
        file["spikes"] = h5py.SoftLink("/elsewhere")

    for change in (external, soft):
        with pytest.raises(BadInputError, match="is a soft or external link"):
            nspike.read_trace(changed(change))


def test_a_layer_that_can_change_its_size(changed, good):
    with nspike.read_trace(good) as trace:
        name = trace.layers[0]

    def resizable(file):
        values = file[f"spikes/{name}"][()]
        del file[f"spikes/{name}"]
        file.create_dataset(f"spikes/{name}", data=values, chunks=values.shape, maxshape=(None,) * 5)

    with pytest.raises(BadInputError, match="has no fixed shape"):
        nspike.read_trace(changed(resizable))


@pytest.mark.parametrize(
    ("key", "value"),
    [("sha256", 7), ("sha256", [3]), ("events", "many"), ("events", [1.5]), ("gains", None), ("channels", -1)],
)
def test_what_a_trace_says_of_itself_is_checked(changed, key, value):
    def change(file):
        info = json.loads(file.attrs["trace"])
        info["layers"][0][key] = value
        text = json.dumps(info).encode()
        del file.attrs["trace"]
        file.attrs.create("trace", text, dtype=h5py.string_dtype("utf-8", len(text)))

    with pytest.raises(BadInputError, match="damaged"):
        nspike.read_trace(changed(change))


def test_arrays_of_another_shape_are_not_unpacked(good, tmp_path):
    """256 MB of zeros in a file of 260 KB."""
    path = tmp_path / "bomb.npz"
    with nspike.read_trace(good) as trace:
        name = trace.layers[0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(f"{name}.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (1, 256, 1024, 1024)}
        )
        for _ in range(256):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(BadInputError, match="they cannot be compared"):
        nspike.diff(good, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_an_array_that_is_cut_short(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive, archive.open("relu1.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1, 2, 4, 4)}
        np.lib.format.write_array_header_1_0(member, header)
        member.write(bytes(31))
    with pytest.raises(BadInputError, match="not allowed in a trace: relu1"):
        nspike.read_trace(tmp_path / "x.npz")
