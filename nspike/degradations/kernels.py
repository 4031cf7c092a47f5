"""Kernels of blur that were measured, such as those of Levin et al. (2009): from images, NumPy's files and MATLAB's.

A file may be anybody's: nothing in it is run, and its size is looked at first.
"""

import hashlib
import io
import math
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError
from nspike.files.foreign import Refused, read_bytes
from nspike.files.guarded import open_hdf5
from nspike.images.file import read

Floats = NDArray[np.float64]

LARGEST_SIDE = 255
_MOST = 4096
_LARGEST_FILE = 2**26
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_AT = (0, 512)


def read_kernels(path: str) -> tuple[Floats, ...]:
    """The kernels of a file, or of all files in a folder, in the order of names: float64 (k, k), k odd, each with sum 1.

    A file is a grey image (.png), an array (k, l) or (n, k, l) (.npy), several of them (.npz), or a MATLAB file with matrices,
    alone or in cells (.mat, also v7.3).

    Raises BadInputError for a path without kernels, a file that cannot be read, and values that are no kernel.
    """
    place = Path(path)
    if not place.exists():
        raise BadInputError(
            f"{path}: there is no such file or folder of blur kernels; name one as the degradation's folder"
        )
    try:
        files = sorted(file for file in place.iterdir() if file.suffix.lower() in _READ) if place.is_dir() else [place]
        return _read_all(tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files), place)
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def digest_of(kernels: tuple[Floats, ...]) -> str:
    """A digest of kernels."""
    digest = hashlib.sha256()
    for kernel in kernels:
        digest.update(repr(kernel.shape).encode() + kernel.tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _read_all(files: tuple[tuple[Path, int, int], ...], place: Path) -> tuple[Floats, ...]:
    kernels = []
    for file, _, _ in files:
        reader = _READ.get(file.suffix.lower())
        if reader is None:
            raise BadInputError(f"{file}: blur kernels are read from {', '.join(_READ)} files, or a folder of them")
        try:
            kernels += [_checked(array) for array in reader(file)]
        except BadInputError as error:
            message = str(error)
            raise BadInputError(message if message.startswith(str(file)) else f"{file}: {message}") from error
        except Exception as error:  # readers of foreign formats raise nearly anything on damaged files
            raise BadInputError(f"{file}: cannot be read: {str(error) or type(error).__name__}") from error
        if len(kernels) > _MOST:
            raise BadInputError(f"{place}: holds more than {_MOST} kernels")
    if not kernels:
        raise BadInputError(f"{place}: there are no blur kernels ({', '.join(_READ)}) here")
    return tuple(kernels)


def _checked(array: NDArray[Any]) -> Floats:
    """A kernel, made square with an odd side by zeros, its sum 1."""
    if array.ndim != 2 or not array.size or max(array.shape) > LARGEST_SIDE:
        raise BadInputError(f"a kernel is a matrix of at most {LARGEST_SIDE}x{LARGEST_SIDE}, not {array.shape}")
    kernel = np.asarray(array, np.float64)
    total = math.fsum(kernel.ravel()) if np.isfinite(kernel).all() else math.nan
    if not (total > 0 and math.isfinite(total) and kernel.min() >= 0):
        raise BadInputError("a kernel's values are finite, not negative and not all 0")
    side = max(kernel.shape) | 1
    before = [(side - length) // 2 for length in kernel.shape]
    after = [side - length - first for length, first in zip(kernel.shape, before, strict=True)]
    return np.pad(kernel, list(zip(before, after, strict=True))) / total


def _image(path: Path) -> Iterator[NDArray[Any]]:
    pixels = read(path, max_pixels=LARGEST_SIDE**2).pixels
    if pixels.ndim != 2:
        raise BadInputError("a kernel is a grey image, and this one is in colour")
    yield pixels


def _array(path: Path) -> Iterator[NDArray[Any]]:
    yield from _split(np.load(io.BytesIO(read_bytes(path, _LARGEST_FILE)), allow_pickle=False))


def _arrays(path: Path) -> Iterator[NDArray[Any]]:
    data = io.BytesIO(read_bytes(path, _LARGEST_FILE))
    with zipfile.ZipFile(data) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LARGEST_FILE:
            raise BadInputError(f"unpacks to more than {_LARGEST_FILE} bytes")
    with np.load(data, allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            yield from _split(arrays[name])


def _matlab(path: Path) -> Iterator[NDArray[Any]]:
    data = read_bytes(path, _LARGEST_FILE)
    if any(data[at : at + len(_HDF5)] == _HDF5 for at in _HDF5_AT):
        yield from _matlab_hdf5(path)
        return
    from scipy.io import loadmat

    values = loadmat(io.BytesIO(data))
    waiting = [values[name] for name in sorted(values, reverse=True) if not name.startswith("__")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, np.ndarray) and value.dtype == object:
            waiting += list(value.ravel()[::-1])
        elif isinstance(value, np.ndarray) and value.dtype.kind in "uif":
            yield from _split(value)


def _matlab_hdf5(path: Path) -> Iterator[NDArray[Any]]:
    """The matrices of a v7.3 file, whose axes HDF5 has turned round."""
    with open_hdf5(path) as file:
        for node in file.nodes.values():
            if (
                node.kind == "dataset"
                and node.dtype is not None
                and node.dtype.kind == "f"
                and len(node.shape or ()) == 2
            ):
                if node.nbytes > _LARGEST_FILE or node.layout in ("virtual", "external"):
                    raise Refused(f"holds {node.path}, which is too large or is stored elsewhere")
                yield file.array(node).T


def _split(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    if array.dtype.kind not in "uif":
        raise BadInputError(f"a kernel holds numbers, not {array.dtype}")
    yield from array if array.ndim == 3 else [array]


_READ: dict[str, Callable[[Path], Iterator[NDArray[Any]]]] = {
    ".png": _image,
    ".npy": _array,
    ".npz": _arrays,
    ".mat": _matlab,
}
