"""MatConvNet's SimpleNN structure in a MATLAB 5 file, parsed here: SciPy's reader can crash on a damaged file.

A file is a header of 128 bytes and elements: a type and a size (uint32 each, or 16 bits each where the data are at most four
bytes and follow at once), then the data, padded to eight bytes. An array is an element of elements: flags, sizes, name, and
what it holds. Of array kinds there are structures, cells, text and dense real numbers; others are passed over.
"""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8", 16: "u1", 17: "u2", 18: "u4",
}  # fmt: skip
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _TEXT = 1, 2, 4
_NUMBERS = range(6, 16)
_COMPLEX = 0x0800
_MAX_DEPTH = 16
_BASE_BYTES = 64 << 20
_MAX_RATIO = 16  # trained weights hardly compress


def read_layers(path: Path) -> list[tuple[str, list[NDArray[np.generic]]]]:
    """The layers' types and weights, axes reversed as in HDF5."""
    raw = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
    if order is None:
        raise Refused("has no byte order in its header; it is damaged: fetch it again")
    left = _BASE_BYTES + _MAX_RATIO * len(raw)
    elements = _Elements(raw[128:], order)
    nets: dict[str, Any] = {}
    while not elements.done():
        kind, body = elements.next()
        if kind == _COMPRESSED:
            body = _inflate(body, left)
            left -= len(body)
            kind, body = _Elements(body, order).next()
        if kind == _MATRIX:
            name, value = _array(body, order, 0)
            if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "layers" in value[0]:
                nets[name] = value[0]["layers"]
    if not nets:
        raise Refused("has no structure with a field 'layers'; expected a MatConvNet SimpleNN saved as `net`")
    layers = nets.get("net", next(iter(nets.values())))
    return [_layer(item) for item in _listed(layers)]


def _layer(item: Any) -> tuple[str, list[NDArray[np.generic]]]:
    """One layer's type and weights, from a structure (within a cell) or one of an array of structures."""
    fields = item[0] if isinstance(item, list) and len(item) == 1 else item
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise Refused("has a layer without a type in text; expected a MatConvNet SimpleNN")
    if "weights" in fields:
        weights = _listed(fields["weights"])
    else:
        weights = [fields[name] for name in ("filters", "biases") if name in fields]
    if not all(isinstance(array, np.ndarray) for array in weights):
        raise Refused("has something else where numbers should be; expected a MatConvNet SimpleNN")
    return fields["type"], weights


def _listed(value: Any) -> list[Any]:
    """A cell array's items; of an empty array, none."""
    if isinstance(value, list):
        return value
    if isinstance(value, np.ndarray) and not value.size:
        return []
    raise Refused("has something else where a cell array should be; expected a MatConvNet SimpleNN")


class _Elements:
    """Goes through the elements in `data`."""

    def __init__(self, data: memoryview, order: str) -> None:
        self._data = data
        self._order: Any = {"<": "little", ">": "big"}[order]
        self._at = 0

    def done(self) -> bool:
        """Whether all elements have been read."""
        return self._at >= len(self._data)

    def left(self) -> int:
        """The number of unread bytes."""
        return len(self._data) - self._at

    def next(self) -> tuple[int, memoryview]:
        """Read the next element: its type and its data."""
        tag = self._data[self._at : self._at + 8]
        first = int.from_bytes(tag[:4], self._order)
        if first >> 16:
            kind, size, begin, end = first & 0xFFFF, first >> 16, self._at + 4, self._at + 8
            if size > 4:
                raise Refused("has a short element that is too long; it is damaged: fetch it again")
        else:
            kind, size, begin = first, int.from_bytes(tag[4:], self._order), self._at + 8
            end = begin + size + (0 if kind == _COMPRESSED else -size % 8)
        if len(tag) < 8 or begin + size > len(self._data):
            raise Refused("is cut short, or a size in it is wrong; fetch it again")
        self._at = end
        return kind, self._data[begin : begin + size]


def _inflate(body: memoryview, most: int) -> memoryview:
    """A compressed element, unless it is larger than `most`."""
    inflater = zlib.decompressobj()
    inside = inflater.decompress(body, most + 1)
    if len(inside) > most:
        raise Refused("its arrays are many times larger than the file; it is damaged or hostile: fetch it again")
    if not inflater.eof:
        raise Refused("has compressed data that are cut short; fetch it again")
    return memoryview(inside)


def _array(body: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """An array's name and value: a list of dicts, a list, text, numbers with reversed axes, or None."""
    if depth > _MAX_DEPTH:
        raise Refused("has arrays within arrays beyond measure; expected a MatConvNet SimpleNN")
    if not body:
        return "", np.zeros(0)
    parts = _Elements(body, order)
    flags = int(_numbers(*parts.next(), order)[0])
    sizes = [int(size) for size in _numbers(*parts.next(), order)]
    name = bytes(parts.next()[1]).decode("latin1")
    kind, count = flags & 0xFF, math.prod(sizes)
    if min(sizes, default=-1) < 0 or len(sizes) > 32:
        raise Refused("has an array whose sizes make no sense; it is damaged: fetch it again")
    if kind == _CELL:
        return name, [_inner(parts, order, depth) for _ in range(_affordable(count, parts))]
    if kind == _STRUCT:
        width = int(_numbers(*parts.next(), order)[0])
        joined = bytes(parts.next()[1])
        names = [
            joined[at : at + width].split(b"\0")[0].decode("latin1") for at in range(0, len(joined), max(1, width))
        ]
        _affordable(count * max(1, len(names)), parts)
        return name, [{field: _inner(parts, order, depth) for field in names} for _ in range(count)]
    if kind == _TEXT:
        return name, "".join(map(chr, _numbers(*parts.next(), order).tolist())) if count else ""
    if kind in _NUMBERS and not flags & _COMPLEX:
        values = _numbers(*parts.next(), order)
        if len(values) != count:
            raise Refused(f"has an array of sizes {sizes} with {len(values)} values; it is damaged: fetch it again")
        return name, values.reshape(sizes[::-1])
    return name, None


def _inner(parts: _Elements, order: str, depth: int) -> Any:
    """The value of an array within an array."""
    kind, body = parts.next()
    if kind != _MATRIX:
        raise Refused("has something else where an array should be; it is damaged: fetch it again")
    return _array(body, order, depth + 1)[1]


def _affordable(count: int, parts: _Elements) -> int:
    """`count` arrays, if the bytes that are left can hold as many."""
    if count * 8 > parts.left():
        raise Refused(f"has a cell or structure of {count} arrays and no room for them; it is damaged: fetch it again")
    return count


def _numbers(kind: int, body: memoryview, order: str) -> NDArray[np.generic]:
    """The numbers of an element."""
    if kind not in _TYPES:
        raise Refused(f"has numbers of type {kind}; expected one of {', '.join(map(str, _TYPES))}")
    return np.frombuffer(body, np.dtype(order + _TYPES[kind]))
