"""MatConvNet networks in MATLAB files of both kinds, as they should be and as they should not."""

import random

import h5py
import numpy as np
import pytest
from nspike_plugins import _mat_hdf5, _mat_v5, matconvnet

from nspike import BadInputError
from tests.mutants import refused
from tests.plugins.mat_files import hdf5_order, write_v5, write_v73

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
FIRST, MIDDLE, LAST = (
    RNG.standard_normal(shape).astype(np.float32) for shape in ((4, 1, 3, 5), (4, 4, 3, 5), (1, 4, 3, 5))
)
BIAS, GAMMA, BETA = (RNG.standard_normal(4).astype(np.float32) for _ in range(3))
MOMENTS = np.abs(RNG.standard_normal((2, 4))).astype(np.float32)
LAYERS = [
    ("conv", [hdf5_order(FIRST), BIAS[None]]),
    ("relu", []),
    ("conv", [hdf5_order(MIDDLE), None]),
    ("bnorm", [GAMMA[None], BETA[:, None], MOMENTS]),
    ("relu", []),
    ("conv", [hdf5_order(LAST), np.ones((1, 1), np.float32)]),
    ("loss", []),
]
NAMES = [
    "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bn.gamma", "layers.1.bn.beta",
    "layers.1.bn.mean", "layers.1.bn.std", "layers.2.weight", "layers.2.bias",
]  # fmt: skip

both = pytest.mark.parametrize("write", [write_v73, write_v5], ids=["v73", "v5"])


@both
def test_names_shapes_and_axes(tmp_path, write):
    path = write(tmp_path / "sigma=25.mat", LAYERS)
    assert matconvnet.detect(path, path.read_bytes()[:512])
    found = matconvnet.read(path)
    assert list(found.tensors) == NAMES
    assert found.metadata == {"layers": "conv, relu, conv, bnorm, relu, conv, loss"}
    assert found.format == "matconvnet"
    for index, weight in enumerate((FIRST, MIDDLE, LAST)):
        np.testing.assert_array_equal(found.tensors[f"layers.{index}.weight"], weight)
    np.testing.assert_array_equal(found.tensors["layers.0.bias"], BIAS)
    np.testing.assert_array_equal(found.tensors["layers.1.bn.beta"], BETA)
    np.testing.assert_array_equal(found.tensors["layers.1.bn.mean"], MOMENTS[0])
    np.testing.assert_array_equal(found.tensors["layers.1.bn.std"], MOMENTS[1])
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in found.tensors.values())


def test_compressed_files_and_fields_of_old(tmp_path):
    zipped = write_v73(tmp_path / "a.mat", LAYERS, compression="gzip", shuffle=True)
    assert list(matconvnet.read(zipped).tensors) == NAMES
    old = write_v73(tmp_path / "b.mat", LAYERS[:2], old_fields=True)
    np.testing.assert_array_equal(matconvnet.read(old).tensors["layers.0.bias"], BIAS)
    assert list(matconvnet.read(write_v5(tmp_path / "c.mat", LAYERS, do_compression=True)).tensors) == NAMES


@both
@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([("dagnn.Conv", [])], "is a DagNN; expected a SimpleNN"),
        ([("convt", [hdf5_order(FIRST)])], "layer of type 'convt'"),
        ([("conv", [hdf5_order(FIRST), np.ones((1, 3))])], "layers.0.bias has 3 values; expected 4"),
        ([("conv", [])], "layers.0 has no weights"),
        ([LAYERS[0], ("bnorm", [GAMMA[None], BETA[None]])], "batch norm behind layers.0"),
        ([("bnorm", [GAMMA[None], BETA[None], MOMENTS])], "batch norm"),
        ([LAYERS[0], LAYERS[3], LAYERS[3]], "two batch norms"),
    ],
)
def test_networks_that_are_not_understood(tmp_path, write, layers, match):
    with pytest.raises(BadInputError, match=match):
        matconvnet.read(write(tmp_path / "x.mat", layers))


def refused_after(tmp_path, change, match):
    path = write_v73(tmp_path / "x.mat", LAYERS)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(BadInputError, match=match) as caught:
        matconvnet.read(path)
    assert str(path) in str(caught.value)


def test_links_are_not_followed(tmp_path):
    write_v73(tmp_path / "elsewhere.mat", LAYERS)

    def external(file):
        del file["net"]
        file["net"] = h5py.ExternalLink("elsewhere.mat", "/net")

    def soft(file):
        del file["#refs#/layer0/weights"]
        file["#refs#/layer0/weights"] = h5py.SoftLink("/#refs#/layer2/weights")

    refused_after(tmp_path, external, "is a link to somewhere else")
    refused_after(tmp_path, soft, "'weights' is a link to somewhere else")


def _weights(file, dataset):
    """Make the first layer's weights refer to `dataset`."""
    file["#refs#/layer0/weights"][0, 0] = dataset.ref


def test_data_elsewhere_or_in_unusual_forms(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4096))

    def external(file):
        outside = [(str(tmp_path / "secret"), 0, 4096)]
        _weights(file, file["#refs#"].create_dataset("bad", (4, 1, 3, 3), "f4", external=outside))

    def virtual(file):
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (4,))
        _weights(file, file["#refs#"].create_virtual_dataset("bad", layout))

    def filtered(file):
        _weights(file, file["#refs#"].create_dataset("bad", data=FIRST, compression="lzf"))

    for change in (external, virtual, filtered):
        refused_after(tmp_path, change, "data outside the file or in an unusual form")


def test_sizes_are_looked_at_before_they_are_allocated(tmp_path):
    def huge(file):
        shape = (1 << 20, 1 << 20)
        _weights(file, file["#refs#"].create_dataset("bad", shape, "f4", chunks=(64, 64), compression="gzip"))

    refused_after(tmp_path, huge, "many times larger than the file")


def test_many_references_to_one_array_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(_mat_hdf5, "_BASE_BYTES", 0)
    monkeypatch.setattr(_mat_hdf5, "_MAX_RATIO", 2)
    big = np.zeros((100, 100), np.float32)

    def change(file):
        held = file["#refs#"].create_dataset("bad", data=big)
        del file["#refs#/layer0/weights"]
        many = file["#refs#/layer0"].create_dataset("weights", (20, 1), h5py.ref_dtype)
        many[:, 0] = [held.ref] * 20

    refused_after(tmp_path, change, "many times larger than the file")


def test_other_things_where_numbers_and_names_should_be(tmp_path):
    def text(file):
        _weights(file, file["#refs#"].create_dataset("bad", data=["text"], dtype=h5py.string_dtype()))

    def null(file):
        file["#refs#/layer0/weights"][0, 0] = h5py.Reference()

    def no_type(file):
        del file["#refs#/layer0/type"]

    def no_net(file):
        del file["net"]

    def numbers(file):
        del file["net/layers"]
        file["net/layers"] = np.ones(3)

    refused_after(tmp_path, text, "where numbers should be")
    refused_after(tmp_path, null, "damaged")
    refused_after(tmp_path, no_type, "without a type in text")
    refused_after(tmp_path, no_net, "no variable with a field 'layers'")
    refused_after(tmp_path, numbers, "where a cell array should be")


def test_inflated_version_5(tmp_path, monkeypatch):
    monkeypatch.setattr(_mat_v5, "_BASE_BYTES", 0)
    bomb = [("conv", [np.zeros((64, 64, 10, 10), np.float32)])]
    path = write_v5(tmp_path / "x.mat", bomb, do_compression=True)
    with pytest.raises(BadInputError, match="many times larger than the file"):
        matconvnet.read(path)


def test_files_that_are_not_matlab(tmp_path):
    path = tmp_path / "x.mat"
    path.write_bytes(b"something else")
    with pytest.raises(BadInputError, match=r"is not a MATLAB file; expected version 7\.3 or 5"):
        matconvnet.read(path)
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        matconvnet.read(tmp_path / "absent.mat")


@both
@pytest.mark.parametrize("third", [0, *(pytest.param(third, marks=pytest.mark.slow) for third in (1, 2))])
def test_prefixes_are_refused(tmp_path, write, third):
    path = write(tmp_path / "x.mat", LAYERS[:3])
    raw = path.read_bytes()
    # a version 5 file may end after any whole variable, of which `net` is the first
    whole = len(raw) if write is write_v73 else raw.rindex(b"other") - 48
    step = 1 + whole // (40 if write is write_v73 else 150)
    for length in range(third * step, whole, 3 * step):
        path.write_bytes(raw[:length])
        with pytest.raises(BadInputError):
            matconvnet.read(path)


@both
@pytest.mark.parametrize("seed", [11, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (12, 13))])
def test_flipped_bytes(tmp_path, write, seed):
    path = write(tmp_path / "x.mat", LAYERS)
    raw = path.read_bytes()
    tries = 20 if write is write_v73 else 400
    count = refused(matconvnet.read, path, raw, random.Random(seed), tries, BadInputError)
    assert tries // 20 < count < tries * 3 // 4, count  # most bytes are weights, any of which is as good
