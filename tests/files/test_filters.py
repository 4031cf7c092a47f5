"""Filters of datasets: gzip and shuffle, once each. One that is applied twice unpacks a chunk into a larger one."""

import io

import h5py
import numpy as np
import pytest

from nspike.files import hdf5


def packed(values, *filters):
    """A file with one dataset in one chunk, which these filters have packed."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=hdf5.HEADER_BYTES, libver=("v110", "v110")) as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(values.shape)
        for kind in filters:
            plan.set_deflate(6) if kind == "gzip" else plan.set_shuffle()
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_INT32, space, plan)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return buffer.getvalue()


VALUES = np.arange(600, dtype=np.int32).reshape(20, 30)


@pytest.mark.parametrize("filters", [(), ("gzip",), ("shuffle",), ("shuffle", "gzip")])
def test_each_once(filters):
    np.testing.assert_array_equal(hdf5.read(packed(VALUES, *filters))[1]["a"], VALUES)


@pytest.mark.parametrize("filters", [("gzip", "gzip"), ("shuffle", "shuffle"), ("shuffle", "gzip", "gzip")])
def test_twice_is_refused(filters):
    with pytest.raises(hdf5.Refused, match="a uses an HDF5 filter twice"):
        hdf5.read(packed(VALUES, *filters))
