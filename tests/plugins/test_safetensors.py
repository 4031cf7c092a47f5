"""The safetensors format: dtypes, metadata, and damaged files."""

import json
import random
import struct

import numpy as np
import pytest
from nspike_plugins import safetensors
from safetensors.numpy import save_file

from nspike import BadInputError
from tests import mutants

W = np.arange(12, dtype=np.float32).reshape(3, 4)


def raw_file(path, entries, data, metadata=None):
    """A file written by hand, for dtypes that NumPy lacks: entries are (name, dtype, shape, begin, end)."""
    header = {name: {"dtype": dtype, "shape": shape, "data_offsets": [b, e]} for name, dtype, shape, b, e in entries}
    text = json.dumps(header | ({"__metadata__": metadata} if metadata else {})).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8"])
def test_dtypes(tmp_path, dtype):
    values = np.array([[0, 1, 3]]).astype(dtype)
    save_file({"a": values}, tmp_path / "x.safetensors")
    found = safetensors.read(tmp_path / "x.safetensors").tensors["a"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    assert found.flags.writeable


def test_bfloat16_becomes_float32(tmp_path):
    data = np.array([0x3F80, 0xC040, 0x0001], "<u2").tobytes()
    path = raw_file(tmp_path / "x.safetensors", [("a", "BF16", [3], 0, 6)], data)
    found = safetensors.read(path).tensors["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [1, -3, 2.0**-133]


def test_scalars_and_empty_tensors(tmp_path):
    entries = [("s", "BF16", [], 0, 2), ("e", "F32", [0, 3], 2, 2)]
    found = safetensors.read(raw_file(tmp_path / "x.safetensors", entries, b"\x80\x3f")).tensors
    assert found["s"].shape == ()
    assert found["s"] == 1
    assert found["e"].shape == (0, 3)


def test_metadata_and_order(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"b": W, "a": W + 1}, path, {"recipe": "sigma 25"})
    found = safetensors.read(path)
    assert list(found.tensors) == ["a", "b"]
    assert found.metadata == {"recipe": "sigma 25"}
    assert found.format == "safetensors"
    assert safetensors.detect(path, path.read_bytes()[:512])
    assert not safetensors.detect(path, b"PK\x03\x04" + bytes(100))


def test_a_dtype_that_numpy_lacks_is_named(tmp_path):
    path = raw_file(tmp_path / "x.safetensors", [("a", "F8_E4M3", [2], 0, 2)], b"\0\0")
    with pytest.raises(BadInputError, match=r"x\.safetensors: tensor 'a' has dtype F8_E4M3; expected one of BF16"):
        safetensors.read(path)


@pytest.mark.parametrize(
    "entry",
    [("a", "F32", [1 << 40], 0, 4), ("a", "F32", [1], 0, 400), ("a", "F32", [2], 0, 4), ("a", "F32", [1], 2, 4)],
)
def test_sizes_that_do_not_fit(tmp_path, entry):
    with pytest.raises(BadInputError, match=r"x\.safetensors: damaged"):
        safetensors.read(raw_file(tmp_path / "x.safetensors", [entry], bytes(4)))


def test_absent_file(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        safetensors.read(tmp_path / "x.safetensors")


def test_prefixes_and_flipped_bytes(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": W, "b": W[:, 0]}, path, {"k": "v"})
    raw = path.read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(BadInputError):
            safetensors.read(path)
    count = mutants.refused(safetensors.read, path, raw, random.Random(3), 400, BadInputError)
    assert 40 < count < 390, count
