"""HDF5 files from anywhere: the library crashes, or takes too much, in a process of its own."""

import os
import re
import resource
import socket
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from nspike.files import guarded
from nspike.files.foreign import Refused, open_regular, read_bytes
from nspike.files.guarded import open_hdf5
from nspike.files.hdf5 import fletcher32

VALUES = np.arange(60.0).reshape(3, 4, 5)


def written(path, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("group/values", data=VALUES, **options)
        file.attrs.create("about", b"text", dtype=h5py.string_dtype("utf-8", 4))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (2, 3, 5)},
        {"chunks": (2, 3, 5), "compression": "gzip", "shuffle": True},
        {"chunks": (2, 3, 5), "compression": "gzip", "fletcher32": True},
    ],
    ids=["contiguous", "chunks", "gzip", "fletcher32"],
)
def test_numbers_and_attributes(tmp_path, options):
    with open_hdf5(written(tmp_path / "x.h5", **options)) as file:
        assert {path: node.kind for path, node in file.nodes.items()} == {"group": "group", "group/values": "dataset"}
        assert file.attributes() == {"about": "text"}
        assert (file.array(file.nodes["group/values"]) == VALUES).all()
        part = file.select(file.nodes["group/values"], [(1, 3), (2, 4), (0, 2)])
        assert (part == VALUES[1:3, 2:4, :2]).all()


def test_links_are_listed_and_not_followed(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["soft"] = h5py.SoftLink("/elsewhere")
        file["external"] = h5py.ExternalLink("/etc/passwd", "/")
    with open_hdf5(tmp_path / "x.h5") as file:
        assert [node.kind for node in file.nodes.values()] == ["link", "link"]


def test_a_wrong_checksum_is_noticed(tmp_path):
    path = written(tmp_path / "x.h5", chunks=VALUES.shape, fletcher32=True)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(VALUES.tobytes())
    data[at + 7] ^= 1
    path.write_bytes(data)
    with open_hdf5(path) as file, pytest.raises(Refused, match="a checksum is wrong"):
        file.array(file.nodes["group/values"])


@pytest.mark.parametrize("data", [b"", b"\0\0", b"a", b"abc", b"\xff" * 10, bytes(range(256)) * 9])
def test_fletcher32_is_the_librarys(tmp_path, data):
    first = second = 0
    for at in range(0, len(data), 2):
        first = (first + (data + b"\0")[at] * 256 + (data + b"\0")[at + 1]) % 65535
        second = (second + first) % 65535
    right = fletcher32(data)
    assert (right % 65536 % 65535, right // 65536 % 65535) == (first, second)


def test_a_child_that_dies_is_a_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setattr(guarded, "_MAIN", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(OSError, match="crashed on it: signal 11"):
        open_hdf5(written(tmp_path / "x.h5"))


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
def test_a_bomb_takes_no_memory(tmp_path):
    """A chunk of 800 MB of zeros in a file of less than 1 MB."""
    path, size = tmp_path / "bomb.h5", 800 << 20
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])
    with h5py.File(path, "w") as file:
        # a chunk large enough for HDF5 to write down its packed size
        values = file.create_dataset("values", (4,), "f8", chunks=(1 << 17,), maxshape=(None,), compression="gzip")
        values.id.write_direct_chunk((0,), packed)
    with open_hdf5(path) as file:
        with pytest.raises(Refused, match="expected 1048576"):
            file.array(file.nodes["values"])
        peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{file._process.pid}/status").read_text())[1]
    assert int(peak) < 300 << 10


def test_the_childs_memory_is_bounded(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("values", (1 << 28,), "f8")  # 2 GiB that were never written
    with open_hdf5(tmp_path / "x.h5") as file, pytest.raises(OSError, match="takes more than 640 MiB"):
        file.array(file.nodes["values"])


def test_the_child_ends_with_the_file(tmp_path):
    file = open_hdf5(written(tmp_path / "x.h5"))
    process = file._process
    assert process.poll() is None
    del file
    assert process.poll() is not None


def test_modules_in_the_working_folder_are_not_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("json", "h5py", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('owned', 'w')")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with open_hdf5(written(tmp_path / "x.h5")):
        assert not (tmp_path / "owned").exists()


# ----- the door -----


def devices(folder):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket"))
    return ["/dev/zero", folder / "pipe", folder / "socket"]


def test_what_is_no_regular_file_is_not_read(tmp_path):
    for path in devices(tmp_path):
        with pytest.raises(Refused, match="is not a regular file"):
            read_bytes(path, 1 << 20)
    with pytest.raises(Refused, match="is a folder"):
        open_regular(tmp_path, 1)


def test_the_size_is_looked_at_first(tmp_path):
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 1 << 40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refused, match="at most 1000 are read"):
        read_bytes(path, 1000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16
    path.write_bytes(b"content")
    assert read_bytes(path, 7) == b"content"
