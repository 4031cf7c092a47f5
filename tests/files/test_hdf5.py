"""HDF5 files are the same bytes whenever they are made: no library's default puts the time into them."""

import io
import re
import time

import h5py
import numpy as np
import pytest

from nspike.files import hdf5


def written():
    """A file with groups in groups."""
    arrays = {"ann/conv.weight": np.ones((2, 3), np.float32), "spiking/heads/cpm/k": np.zeros(4), "alone": np.int64(3)}
    return hdf5.write({"info": "text", "number": 3}, arrays)


def test_the_same_bytes_a_second_later():
    first = written()
    time.sleep(1.1)
    assert written() == first


def timed(data):
    """How many object headers (of version 2: OHDR, 2, flags) there are, and how many of them have times (flag 0x20)."""
    flags = [data[at.end()] for at in re.finditer(rb"OHDR\x02", data)]
    return len(flags), sum(bool(flag & 0x20) for flag in flags)


def test_no_group_and_no_dataset_has_times():
    assert timed(written()) == (8, 0)  # the root, ann, spiking, heads, cpm, and three datasets


def test_headers_with_times_are_seen():
    plan = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    plan.set_obj_track_times(True)
    stream = io.BytesIO()
    with hdf5.create(stream) as file:
        h5py.h5g.create(file.id, b"timed", gcpl=plan)
    assert timed(stream.getvalue()) == (2, 1)


def test_what_is_written_is_read():
    attributes, arrays = hdf5.read(written())
    assert attributes == {"info": "text", "number": 3}
    assert sorted(arrays) == ["alone", "ann/conv.weight", "spiking/heads/cpm/k"]
    np.testing.assert_array_equal(arrays["ann/conv.weight"], np.ones((2, 3), np.float32))


@pytest.mark.parametrize("userblock", [0, 512])
def test_a_stream_gets_a_file_of_the_110_format(userblock):
    stream = io.BytesIO()
    with hdf5.create(stream, userblock) as file:
        hdf5.make_groups(file, "a/b/c")
        hdf5.make_groups(file, "a/b/d")
        file.create_dataset("a/b/c", data=[1, 2], track_times=False)
    assert stream.getvalue()[userblock : userblock + 9] == b"\x89HDF\r\n\x1a\n\x03"
    with h5py.File(io.BytesIO(stream.getvalue())) as file:
        assert list(file["a/b"]) == ["c"]
