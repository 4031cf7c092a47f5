"""Spike trains where they lie: packed or plain in an HDF5 file, or in memory; read a few rows at a time.

Nothing in a file is trusted (see `nspike.files.guarded`), and what an array declares is known before it is read.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from nspike.files.foreign import Refused, open_regular
from nspike.files.guarded import LARGEST, HDF5File, HDF5Node
from nspike.files.hdf5 import DEFLATE, SHUFFLE

MOST_CHUNK = 2**28
_KEPT = 2**25
"""Bytes of unpacked chunks that are kept: a chunk may hold several steps."""


class Train(Protocol):
    """The spikes of one layer."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(planes, steps, channels, height, width)."""

    def read(self, n: int, step: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """The spikes of image plane n at a step from 0, bool (channels, rows, columns)."""


@dataclass(frozen=True, eq=False)
class Plain:
    """An array (planes, steps, channels, height, width), in memory or in a file, of zeros and ones."""

    array: Any
    name: str

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Shape of the array: (planes, steps, channels, height, width)."""
        return tuple(self.array.shape)

    def read(self, n: int, step: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """As `Train.read`. Raises Refused for values other than 0 and 1."""
        channels = slice(0, self.shape[2])
        values = self.array[n, step, channels, rows[0] : rows[1], columns[0] : columns[1]]
        if values.dtype != bool and not ((values == 0) | (values == 1)).all():
            raise Refused(f"{self.name} holds other values than 0 and 1")
        return np.asarray(values, bool)


@dataclass(frozen=True, eq=False)
class PackedBits:
    """Bytes uint8 (planes, steps, channels, height, ⌈width/8⌉) of `width` columns, the first in the lowest bit."""

    array: Any
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Shape once unpacked: (planes, steps, channels, height, width)."""
        planes, steps, channels, height, _ = self.array.shape
        return planes, steps, channels, height, self.width

    def read(self, n: int, step: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """The spikes of plane n at a step from 0, bool (channels, rows, columns)."""
        first = columns[0] // 8
        packed = self.array[n, step, 0 : self.shape[2], rows[0] : rows[1], first : -(-columns[1] // 8)]
        bits = np.unpackbits(packed, axis=-1, bitorder="little").view(np.bool_)
        return bits[..., columns[0] - 8 * first : columns[1] - 8 * first]


class Stored:
    """A dataset of an HDF5 file: indexed by whole numbers and ranges, it reads no more than the chunks that it needs.

    Raises Refused for one that could do more than hold numbers.
    """

    def __init__(self, file: HDF5File, node: HDF5Node) -> None:
        path = node.path
        if node.kind != "dataset":
            raise Refused(f"{path} is not an array")
        if node.layout == "virtual":
            raise Refused(f"{path} is a virtual dataset")
        if node.layout == "external":
            raise Refused(f"{path} is stored in another file")
        if node.dtype is None or node.dtype.itemsize > 8:
            raise Refused(f"{path} has dtype {node.what}; expected plain numbers or booleans")
        if node.shape is None or not 4 <= len(node.shape) <= 5 or 0 in node.shape:
            raise Refused(f"{path} has shape {node.shape}; expected ([planes,] steps, channels, height, width)")
        if any(code not in (DEFLATE, SHUFFLE) for code in node.filters):
            raise Refused(f"{path} uses an HDF5 filter other than gzip and shuffle")
        self._nbytes = math.prod(node.chunks or (1,)) * node.dtype.itemsize
        if self._nbytes > MOST_CHUNK:
            raise Refused(f"{path} has chunks of {self._nbytes} bytes; at most {MOST_CHUNK} are read")
        if node.chunks is None and math.prod(node.shape) * node.dtype.itemsize > file.size:
            raise Refused(f"{path} declares more than the file holds")
        if node.chunks is not None and node.stored > file.size:
            raise Refused(f"{path} has chunks that are larger than the file")
        self._file, self._node = file, node
        self._four = len(node.shape) == 4
        self.shape = (1, *node.shape) if self._four else node.shape
        self.dtype = node.dtype
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        wanted = [(i, i + 1) if isinstance(i, int) else (i.start, i.stop) for i in index]
        values = self._file.select(self._node, wanted[1:] if self._four else wanted, self._chunk)
        return values.reshape([b - a for i, (a, b) in zip(index, wanted, strict=True) if not isinstance(i, int)])

    def forget(self) -> None:
        """Free the cached chunks."""
        self._kept.clear()

    def _chunk(self, corner: tuple[int, ...]) -> NDArray[Any]:
        if corner in self._kept:
            self._kept.move_to_end(corner)
            return self._kept[corner]
        values = self._file.chunk(self._node, corner)
        self._kept[corner] = values
        while len(self._kept) * self._nbytes > _KEPT and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return values


class Zipped:
    """An array of an NPZ file, read when it is first asked for.

    shape and dtype are those in its header; four axes become five.
    """

    def __init__(self, path: Path, member: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path, self._member = path, member
        self.shape = (1, *shape) if len(shape) == 4 else shape
        self.dtype = dtype
        self._values: NDArray[Any] | None = None

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        if self._values is None:
            with (
                open_regular(self._path, LARGEST) as file,
                ZipFile(file) as archive,
                archive.open(self._member) as data,
            ):
                self._values = np.lib.format.read_array(data, allow_pickle=False).reshape(self.shape)
        return np.asarray(self._values[index])

    def forget(self) -> None:
        """Free the array that has been read."""
        self._values = None
