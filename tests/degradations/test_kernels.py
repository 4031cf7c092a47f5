"""Blur kernels from files of every kind, and from damaged ones."""

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from nspike.degradations.kernels import LARGEST_SIDE, digest_of, read_kernels
from nspike.errors import BadInputError
from nspike.images.file import ImageData, write

LEVIN = Path(__file__).parents[2].parent / "shared" / "data" / "reference" / "Levin_kernels"
KERNEL = np.array([[0, 1, 0, 0], [2, 3, 4, 0], [0, 0, 5, 1]], np.float64)
SQUARE = np.pad(KERNEL, ((1, 1), (0, 1))) / 16


def test_every_kind_of_file(tmp_path):
    write(tmp_path / "a.png", ImageData(KERNEL.astype(np.uint8)))
    np.save(tmp_path / "b.npy", np.stack([KERNEL, KERNEL]))
    np.savez(tmp_path / "c.npz", one=KERNEL)
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = KERNEL, 3 * KERNEL
    scipy.io.savemat(tmp_path / "d.mat", {"kernels": cells})
    with h5py.File(tmp_path / "e.mat", "w", userblock_size=512, libver="latest") as file:
        file["kernels/a"] = KERNEL.T  # as MATLAB writes it
        file["kernels/sizes"] = [1, 2]
    (tmp_path / "notes.txt").write_text("not read")
    kernels = read_kernels(str(tmp_path))
    assert len(kernels) == 7
    for kernel in kernels:
        assert kernel.dtype == np.float64
        np.testing.assert_allclose(kernel, SQUARE, rtol=1e-12)
    assert len(read_kernels(str(tmp_path / "b.npy"))) == 2
    assert digest_of(kernels) != digest_of(kernels[:1])


def test_a_changed_file_is_read_again(tmp_path):
    np.save(tmp_path / "a.npy", KERNEL)
    first = read_kernels(str(tmp_path))
    np.save(tmp_path / "a.npy", np.ones((9, 9)))
    assert read_kernels(str(tmp_path))[0].shape != first[0].shape


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def bomb():
    """An NPZ that unpacks to far more than it has."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(2**27))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.npy", saved(-KERNEL), "not negative"),
        ("a.npy", saved(0 * KERNEL), "not all 0"),
        ("a.npy", saved(KERNEL * np.nan), "finite"),
        ("a.npy", saved(np.ones((1, LARGEST_SIDE + 1))), "at most 255x255"),
        ("a.npy", saved(np.ones(3)), "is a matrix"),
        ("a.npy", saved(KERNEL.astype(complex)), "holds numbers"),
        ("a.npy", saved(np.array([{}], object)), "pickle"),
        ("a.npz", bomb(), "unpacks to more"),
        ("a.npz", b"PK", "cannot be read"),
        ("a.mat", b"MATLAB 5.0 MAT-file, cut short", "cannot be read"),
        ("a.mat", b"\x89HDF\r\n\x1a\n and no more", "a.mat"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "a.png"),
        ("a.txt", b"1 2 3", "read from .png"),
    ],
)
def test_refusals(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInputError, match=message):
        read_kernels(str(tmp_path / name))


def test_nothing_there(tmp_path):
    with pytest.raises(BadInputError, match="no blur kernels"):
        read_kernels(str(tmp_path))
    with pytest.raises(BadInputError, match="gone"):
        read_kernels(str(tmp_path / "gone"))


@pytest.mark.skipif(not LEVIN.is_dir(), reason="Levin's kernels are not here")
def test_levins_kernels():
    sides = [len(kernel) for kernel in read_kernels(str(LEVIN))]
    assert sides == [19, 17, 15, 27, 13, 21, 23, 23]
