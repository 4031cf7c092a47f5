"""The directories of a TIFF structure, which TIFF files and EXIF blocks are: where each value is.

Source: TIFF 6.0, section 2.
"""

import struct
from typing import Literal, NamedTuple

SHORT, LONG, RATIONAL, UNDEFINED = 3, 4, 5, 7
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"II*\x00": "<", b"MM\x00*": ">"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of a value, by its kind."""


class Entry(NamedTuple):
    """An entry of a directory, of `length` values; `at` is where its 12 bytes begin, `value` where its values do."""

    tag: int
    kind: int
    length: int
    at: int
    value: int


class Structure:
    """A block of bytes whose values are found, and changed where they are.

    Raises ValueError or struct.error for bytes that are no such structure; a directory's entries of unknown kinds, and those
    whose values lie outside the block, are left out.
    """

    def __init__(self, block: bytes) -> None:
        order = _ORDERS.get(bytes(block[:4]))
        if order is None:
            raise ValueError("is no TIFF structure")
        self.data = bytearray(block)
        self.order = order
        (start,) = self.read("I", 4)
        self.first = self.directory(start)
        self.end = start + 2 + 12 * self.read("H", start)[0]
        """Where the first directory says which one follows it."""

    def read(self, layout: str, at: int) -> tuple[int, ...]:
        """The integers at a place, in the block's byte order."""
        return struct.unpack_from(self.order + layout, self.data, at)

    def write(self, layout: str, at: int, *values: int) -> None:
        """Put integers at a place."""
        struct.pack_into(self.order + layout, self.data, at, *values)

    def directory(self, start: int) -> dict[int, Entry]:
        """The entries of a directory by their tags; of a tag that is there twice, the first."""
        (count,) = self.read("H", start)
        entries: dict[int, Entry] = {}
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = self.read("HHI", at)
            size = _SIZES.get(kind, 0) * number
            value = at + 8 if size <= 4 else self.read("I", at + 8)[0]
            if size and value + size <= len(self.data):
                entries.setdefault(tag, Entry(tag, kind, number, at, value))
        return entries

    def below(self, parent: dict[int, Entry], tag: int) -> dict[int, Entry]:
        """The directory that an entry points to; empty where there is none, or a damaged one."""
        try:
            return self.directory(self.read("I", parent[tag].value)[0])
        except (KeyError, struct.error):
            return {}

    def number(self, entry: Entry | None) -> int | None:
        """An entry's value if it is one whole number."""
        if entry is None or entry.length != 1 or entry.kind not in (SHORT, LONG):
            return None
        return self.read("H" if entry.kind == SHORT else "I", entry.value)[0]
