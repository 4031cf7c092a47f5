"""The EXIF orientation: find it, clear it, obey it. All other bytes of the block stay as they are."""

import struct
from typing import Any

from numpy.typing import NDArray

ORIENTATION = 0x0112
PREFIX = b"Exif\x00\x00"
_SHORT, _LONG = 3, 4


def split(exif: bytes | None) -> tuple[int, bytes | None]:
    """The orientation (1 to 8) of an EXIF block, and the block, prefixed, with its orientation set to 1 (upright).

    A block that is no TIFF structure is dropped: (1, None). An orientation outside 1 to 8 counts as upright.
    """
    if not exif:
        return 1, None
    block = bytearray(exif.removeprefix(PREFIX))
    try:
        order = {b"II*\x00": "<", b"MM\x00*": ">"}[bytes(block[:4])]
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        orientation = 1
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(order + "HHI", block, entry)
            if tag == ORIENTATION and kind in (_SHORT, _LONG):
                layout = order + ("H" if kind == _SHORT else "I")
                (orientation,) = struct.unpack_from(layout, block, entry + 8)
                struct.pack_into(layout, block, entry + 8, 1)
    except (KeyError, struct.error):
        return 1, None
    return (orientation if 1 <= orientation <= 8 else 1), PREFIX + bytes(block)


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """`array` (H, W, ...), stored under `orientation`, as it is to be seen; (W, H, ...) for 5 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
