"""HDF5 bytes from and to plain attributes and arrays, as model files use them, and nothing else that HDF5 can do.

Reading trusts nothing: only hard links, text and integers as attributes of the root, plain little-endian numbers as
datasets; no links, external storage, virtual datasets, references, variable lengths, or filters but gzip and shuffle.
Sizes are checked before anything is allocated, and chunks are unpacked here, not by the library, so that none can grow
beyond what it declares. Whatever is refused raises `Refused`; a damaged file may raise anything else that h5py raises.
Not guarded against: a file made to attack the HDF5 library itself, with all its checksums right.
"""

import io
import itertools
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.files.foreign import Refused as Refused
from nspike.runtime.held import held

Attributes = dict[str, str | int]
"""Attributes of the root by name."""

Arrays = dict[str, NDArray[Any]]
"""Datasets by path, such as "ann/conv1.weight"."""

HEADER_BYTES = 512
"""The free space before the HDF5 part (its "user block"), for the caller to use."""

MAX_BYTES = 2**30
_START = b"\x89HDF\r\n\x1a\n\x03"  # older formats have no checksums, and the library crashes on damaged ones
_MAX_DIMENSIONS = 5
_MAX_OBJECTS = 20_000
_MAX_DEPTH = 4
_MAX_ATTRIBUTES = 64
_MAX_TEXT = 2**24
DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
"""The codes of HDF5's filters, as its format has them."""

_WORDS = 2**20
_DTYPES = tuple(np.dtype(code) for code in ("<f4", "<f8", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8"))


def write(attributes: Mapping[str, str | int], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Make an HDF5 file in memory; equal content gives equal bytes. The first `HEADER_BYTES` are left zero."""
    import h5py

    buffer = io.BytesIO()
    with held(), create(buffer, HEADER_BYTES) as file:
        for name, value in attributes.items():
            if isinstance(value, str):
                text = value.encode()
                file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8", max(len(text), 1)))
            else:
                file.attrs.create(name, value, dtype="<i8")
        for path, array in arrays.items():
            data = np.asarray(array)
            data = data.astype(data.dtype.newbyteorder("<"), copy=False)
            make_groups(file, path)
            packing = {"chunks": data.shape, "compression": "gzip", "shuffle": True} if data.shape else {}
            file.create_dataset(path, data=data, track_times=False, **packing)
    return buffer.getvalue()


def create(stream: Any, userblock: int = 0) -> Any:
    """A new `h5py.File` in a stream, without the times that HDF5 otherwise writes into groups.

    It has the 1.10 format: older ones are larger, and the oldest has room for 64 KiB of attributes only. Datasets get no times
    with `track_times=False`, groups with `make_groups`.
    """
    import h5py
    from h5py import h5f, h5fd, h5p

    plan = h5p.create(h5p.FILE_CREATE)
    plan.set_userblock(userblock)
    plan.set_obj_track_times(False)  # the root's
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5fd.fileobj_driver, stream)
    return h5py.File(h5f.create(repr(stream).encode(), h5f.ACC_TRUNC, fcpl=plan, fapl=access))


def make_groups(file: Any, path: str) -> None:
    """Make the groups that a path needs, without times; those that HDF5 makes along the way have the time, up to HDF5 1.14."""
    from h5py import h5g, h5p

    plan = h5p.create(h5p.GROUP_CREATE)
    plan.set_obj_track_times(False)
    names = path.split("/")[:-1]
    for depth in range(1, len(names) + 1):
        group = "/".join(names[:depth])
        if group not in file:
            h5g.create(file.id, group.encode(), gcpl=plan)


def read(data: bytes, *, datasets: bool = True) -> tuple[Attributes, Arrays]:
    """Read what `write` made, or only its attributes. The caller must handle every exception."""
    import h5py

    if data[HEADER_BYTES : HEADER_BYTES + 9] != _START:
        raise Refused("its HDF5 part is not in the 1.10 format")
    file_id = h5py.h5f.open_file_image(data)
    try:
        file = h5py.File(file_id)
        attributes = root_attributes(file.id)
        if not datasets:
            return attributes, {}
        arrays = _walk(file, h5py)
        total = sum(_nbytes(dataset) for dataset in arrays.values())
        if total > MAX_BYTES:
            raise Refused(f"holds {total} bytes of arrays; at most {MAX_BYTES} are read")
        return attributes, {path: _array(path, dataset, len(data)) for path, dataset in arrays.items()}
    finally:
        file_id.close()


def root_attributes(root: Any) -> Attributes:
    """The attributes of a file's root. Raises Refused for others than text of fixed length and 64-bit integers."""
    from h5py import h5a, h5t, string_dtype

    count = h5a.get_num_attrs(root)
    if count > _MAX_ATTRIBUTES:
        raise Refused(f"has {count} attributes; at most {_MAX_ATTRIBUTES} are read")
    attributes: Attributes = {}
    for index in range(count):
        attribute = h5a.open(root, index=index)
        name, kind = attribute.name.decode(), attribute.get_type()
        if attribute.shape != ():
            raise Refused(f"attribute {name!r} is not a single value")
        if isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str() and kind.get_size() <= _MAX_TEXT:
            text = np.empty((), string_dtype("utf-8", kind.get_size()))
            attribute.read(text)
            attributes[name] = bytes(text.item()).decode()
        elif isinstance(kind, h5t.TypeIntegerID) and kind.get_size() == 8:
            number = np.empty((), "<i8")
            attribute.read(number)
            attributes[name] = int(number)
        else:
            raise Refused(f"attribute {name!r} is neither a text of fixed length nor a 64-bit integer")
    return attributes


def _walk(file: Any, h5py: Any) -> dict[str, Any]:
    """The datasets of a file by path, in a fixed order, each checked."""
    arrays: dict[str, Any] = {}
    objects = 0
    waiting = [("", file)]
    while waiting:
        prefix, group = waiting.pop()
        for name in itertools.islice(group, _MAX_OBJECTS + 1):
            path = f"{prefix}{name}"
            objects += 1
            if objects > _MAX_OBJECTS:
                raise Refused(f"has more than {_MAX_OBJECTS} objects")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(f"{path} is a soft or external link")
            thing = group[name]
            if len(thing.attrs):
                raise Refused(f"{path} has attributes; only the root may")
            if isinstance(thing, h5py.Group):
                if path.count("/") + 1 >= _MAX_DEPTH:
                    raise Refused(f"{path} lies too deep")
                waiting.append((f"{path}/", thing))
            elif isinstance(thing, h5py.Dataset):
                _check(path, thing, h5py)
                arrays[path] = thing
            else:
                raise Refused(f"{path} is neither a group nor a dataset")
    return arrays


def _check(path: str, dataset: Any, h5py: Any) -> None:
    """Refuse a dataset that could do more than hold numbers."""
    plan = dataset.id.get_create_plist()
    if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise Refused(f"{path} is a virtual dataset")
    if plan.get_external_count():
        raise Refused(f"{path} is stored in another file")
    if not isinstance(dataset.id.get_type(), h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID):
        raise Refused(f"{path} does not hold plain numbers")
    if dataset.dtype not in _DTYPES:
        raise Refused(f"{path} has dtype {dataset.dtype.str}; expected one of {', '.join(d.str for d in _DTYPES)}")
    shape = dataset.shape
    if shape is None or len(shape) > _MAX_DIMENSIONS or dataset.maxshape != shape or 0 in shape:
        raise Refused(f"{path} has shape {shape}; expected a fixed one of at most {_MAX_DIMENSIONS} dimensions")
    if _nbytes(dataset) > MAX_BYTES:
        raise Refused(f"{path} holds {_nbytes(dataset)} bytes; at most {MAX_BYTES} are read")
    filters = filters_of(dataset)
    if any(code not in (DEFLATE, SHUFFLE) for code in filters):
        raise Refused(f"{path} uses an HDF5 filter other than gzip and shuffle")
    if len(set(filters)) != len(filters):
        raise Refused(f"{path} uses an HDF5 filter twice")


def _nbytes(dataset: Any) -> int:
    count: int = math.prod(dataset.shape)
    size: int = dataset.dtype.itemsize
    return count * size


def filters_of(dataset: Any) -> list[int]:
    """The codes of a dataset's filters, in the order in which they are applied."""
    plan = dataset.id.get_create_plist()
    return [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]


def _array(path: str, dataset: Any, file_bytes: int) -> NDArray[Any]:
    """The values of a dataset that has been checked."""
    if dataset.chunks is None:
        return np.array(dataset[()], dtype=dataset.dtype)
    shape, dtype = dataset.shape, dataset.dtype
    if dataset.chunks != shape or dataset.id.get_num_chunks() != 1:
        raise Refused(f"{path} is not stored in one piece")
    if dataset.id.get_chunk_info(0).size > file_bytes:
        raise Refused(f"{path} has a chunk larger than the file")
    skipped, raw = dataset.id.read_direct_chunk((0,) * len(shape))
    if skipped:
        raise Refused(f"{path} skips a filter")
    values = np.frombuffer(unpack(path, raw, filters_of(dataset), _nbytes(dataset), dtype.itemsize), dtype)
    return values.reshape(shape).copy()


def unpack(path: str, raw: bytes, filters: list[int], nbytes: int, itemsize: int) -> bytes:
    """A chunk's bytes, exactly `nbytes` of them. Raises Refused if there are others, or the checksum is wrong."""
    most = nbytes + 4 * filters.count(FLETCHER32)
    for code in reversed(filters):
        if code == DEFLATE:
            stream = zlib.decompressobj()
            raw = stream.decompress(raw, most + 1)
        elif code == FLETCHER32:
            raw = _checked(path, raw)
        elif len(raw) == nbytes:
            raw = np.frombuffer(raw, np.uint8).reshape(itemsize, -1).T.tobytes()
    if len(raw) != nbytes:
        raise Refused(f"{path} holds {len(raw)} bytes or more; expected {nbytes}")
    return raw


def _checked(path: str, raw: bytes) -> bytes:
    """The bytes before a Fletcher-32 checksum that is right, or has its bytes swapped as old versions wrote them."""
    data, stored = raw[:-4], raw[-4:]
    right = fletcher32(data)
    swapped = int.from_bytes(bytes((stored[1], stored[0], stored[3], stored[2])), "little") if len(raw) >= 4 else -1
    if len(raw) < 4 or right not in (int.from_bytes(stored, "little"), swapped):
        raise Refused(f"{path} is damaged: a checksum is wrong")
    return data


def fletcher32(data: bytes) -> int:
    """HDF5's Fletcher-32 checksum: of big-endian words of 16 bits, the last one padded with zero."""
    words = np.frombuffer(data + bytes(len(data) % 2), ">u2")
    first = second = 0
    for at in range(0, len(words), _WORDS):
        part = words[at : at + _WORDS].astype(np.uint64)
        second += first * len(part) + int((part * np.arange(len(part), 0, -1, dtype=np.uint64)).sum())
        first += int(part.sum())
    return _folded(second) << 16 | _folded(first)


def _folded(total: int) -> int:
    """Modulo 65535, where only a sum of nothing is 0."""
    return total and (total - 1) % 65535 + 1
