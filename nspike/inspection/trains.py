"""Spike trains where they lie: packed or plain in an HDF5 file, or in memory; read a few rows at a time.

As in `nspike.files.hdf5`, nothing in a file is trusted: chunks are unpacked here, so that none grows beyond what it declares.
"""

import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nspike.files.hdf5 import Refused, filters_of, unpack

MOST_CHUNK = 2**28
_KEPT = 2**25
"""Bytes of unpacked chunks that are kept: a chunk may hold several steps."""

Selection = tuple[tuple[int, int], ...]
"""First and last (exclusive) of each dimension."""


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
        """Of the array."""
        return tuple(self.array.shape)

    def read(self, n: int, step: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """As `Train.read`. Raises Refused for values other than 0 and 1."""
        channels = slice(0, self.shape[2])
        values = self.array[n, step, channels, rows[0] : rows[1], columns[0] : columns[1]]
        if values.dtype != bool and not ((values == 0) | (values == 1)).all():
            raise Refused(f"{self.name} holds other values than 0 and 1")
        return np.asarray(values, bool)


@dataclass(frozen=True, eq=False)
class Packed:
    """Bytes uint8 (planes, steps, channels, height, ⌈width/8⌉) of `width` columns, the first in the lowest bit."""

    array: Any
    width: int

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Of the spikes."""
        planes, steps, channels, height, _ = self.array.shape
        return planes, steps, channels, height, self.width

    def read(self, n: int, step: int, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.bool_]:
        """As `Train.read`."""
        first = columns[0] // 8
        packed = self.array[n, step, 0 : self.shape[2], rows[0] : rows[1], first : -(-columns[1] // 8)]
        bits = np.unpackbits(packed, axis=-1, bitorder="little").view(np.bool_)
        return bits[..., columns[0] - 8 * first : columns[1] - 8 * first]


class Stored:
    """A dataset of an HDF5 file: indexed by whole numbers and ranges, it reads no more than the chunks that it needs.

    Raises Refused for one that could do more than hold numbers.
    """

    def __init__(self, path: str, dataset: Any, file_bytes: int) -> None:
        import h5py

        plan = dataset.id.get_create_plist()
        if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
            raise Refused(f"{path} is a virtual dataset")
        if plan.get_external_count():
            raise Refused(f"{path} is stored in another file")
        kind = dataset.dtype
        if kind.kind not in "biuf" or kind.itemsize > 8:
            raise Refused(f"{path} has dtype {kind}; expected plain numbers or booleans")
        if dataset.shape is None or not 4 <= len(dataset.shape) <= 5 or 0 in dataset.shape:
            raise Refused(f"{path} has shape {dataset.shape}; expected ([planes,] steps, channels, height, width)")
        if any(code not in (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE) for code in filters_of(dataset)):
            raise Refused(f"{path} uses an HDF5 filter other than gzip and shuffle")
        chunks = dataset.chunks or (1,)
        if math.prod(chunks) * kind.itemsize > MOST_CHUNK:
            raise Refused(
                f"{path} has chunks of {math.prod(chunks) * kind.itemsize} bytes; at most {MOST_CHUNK} are read"
            )
        if dataset.chunks is None and math.prod(dataset.shape) * kind.itemsize > file_bytes:
            raise Refused(f"{path} declares more than the file holds")
        if dataset.chunks is not None and dataset.id.get_storage_size() > file_bytes:
            raise Refused(f"{path} has chunks that are larger than the file")
        self._path, self._dataset = path, dataset
        self._written = _written(dataset)
        self._four = len(dataset.shape) == 4
        self.shape = (1, *dataset.shape) if self._four else dataset.shape
        self.dtype = kind
        self._kept: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()

    def __getitem__(self, index: tuple[int | slice, ...]) -> NDArray[Any]:
        wanted = tuple((i, i + 1) if isinstance(i, int) else (i.start, i.stop) for i in index)
        found = self._select(wanted[1:] if self._four else wanted)
        return found.reshape([b - a for i, (a, b) in zip(index, wanted, strict=True) if not isinstance(i, int)])

    def forget(self) -> None:
        """Drop the chunks that are kept."""
        self._kept.clear()

    def _select(self, wanted: Selection) -> NDArray[Any]:
        chunks = self._dataset.chunks
        if chunks is None:
            return np.asarray(self._dataset[tuple(slice(a, b) for a, b in wanted)])
        out = np.zeros([b - a for a, b in wanted], self.dtype)
        ranges = [range(a // c * c, b, c) for (a, b), c in zip(wanted, chunks, strict=True)]
        for corner in itertools.product(*ranges):
            spans = list(zip(wanted, corner, chunks, strict=True))
            into = tuple(slice(max(a, o) - a, min(b, o + c) - a) for (a, b), o, c in spans)
            part = tuple(slice(max(a, o) - o, min(b, o + c) - o) for (a, b), o, c in spans)
            out[into] = self._chunk(corner)[part]
        return out

    def _chunk(self, corner: tuple[int, ...]) -> NDArray[Any]:
        if corner in self._kept:
            self._kept.move_to_end(corner)
            return self._kept[corner]
        chunks, nbytes = self._dataset.chunks, math.prod(self._dataset.chunks) * self.dtype.itemsize
        if self._written is not None and corner not in self._written:
            values = np.zeros(chunks, self.dtype)
        else:
            skipped, raw = self._dataset.id.read_direct_chunk(corner)
            if skipped:
                raise Refused(f"{self._path} skips a filter")
            raw = unpack(self._path, raw, filters_of(self._dataset), nbytes, self.dtype.itemsize)
            values = np.frombuffer(raw, self.dtype).reshape(chunks)
        self._kept[corner] = values
        while len(self._kept) * nbytes > _KEPT and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return values


def _written(dataset: Any) -> set[tuple[int, ...]] | None:
    """The first elements of the chunks that were ever written; None if all were (to ask for each takes longer by far)."""
    if dataset.chunks is None:
        return None
    grid = (-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
    if dataset.id.get_num_chunks() == math.prod(grid):
        return None
    found: set[tuple[int, ...]] = set()
    dataset.id.chunk_iter(lambda info: found.add(info.chunk_offset))
    return found
