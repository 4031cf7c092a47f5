"""The EXIF block of an image: what has to change when its pixels do. All other bytes stay as and where they are.

Nothing is moved, as the notes of a camera's maker (MakerNote) hold offsets of their own into the block.
Source: CIPA DC-008 (Exif 2.32), 4.6.
"""

import struct
from typing import Any

from numpy.typing import NDArray

from nspike.images.ifd import LONG, RATIONAL, Structure

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
PREFIX = b"Exif\x00\x00"
INCH, CENTIMETRE = 2, 3
_EXIF, _INTEROPERABILITY = 0x8769, 0xA005
_WIDTHS, _HEIGHTS = (0x0100, 0xA002, 0x1001), (0x0101, 0xA003, 0x1002)
"""In the first directory, in the one of EXIF, and in the one of interoperability."""


def split(exif: bytes | None) -> tuple[int, bytes | None]:
    """The orientation (1 to 8) of an EXIF block, and the block, prefixed, as one of the image that is upright.

    Its orientation is set to 1, and its thumbnail, which shows the image as it was, is taken out of the list of directories. A
    block that is no TIFF structure is dropped: (1, None). An orientation outside 1 to 8 counts as upright.
    """
    if not exif:
        return 1, None
    try:
        block = Structure(exif.removeprefix(PREFIX))
    except (ValueError, struct.error):
        return 1, None
    entry = block.first.get(ORIENTATION)
    orientation = block.number(entry) or 1
    if entry is not None:
        block.write("HIHH", entry.at + 2, 3, 1, 1, 0)
    if block.end + 4 <= len(block.data):
        block.write("I", block.end, 0)
    orientation = orientation if 1 <= orientation <= 8 else 1
    across, down = block.first.get(X_RESOLUTION), block.first.get(Y_RESOLUTION)
    if orientation >= 5 and across is not None and down is not None:
        x, y = (slice(entry.at + 2, entry.at + 12) for entry in (across, down))
        block.data[x], block.data[y] = block.data[y], block.data[x]
    return orientation, PREFIX + bytes(block.data)


def sized(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The block with the image's size in pixels, wherever it states one. What is no EXIF block stays as it is."""
    if not exif:
        return exif
    try:
        block = Structure(exif.removeprefix(PREFIX))
    except (ValueError, struct.error):
        return exif
    directories = [block.first, block.below(block.first, _EXIF)]
    directories.append(block.below(directories[1], _INTEROPERABILITY))
    for size, tags in ((width, _WIDTHS), (height, _HEIGHTS)):
        for directory, tag in zip(directories, tags, strict=True):
            entry = directory.get(tag)
            if entry is not None and block.number(entry) is not None:
                block.write("HII", entry.at + 2, LONG, 1, size)
    return PREFIX + bytes(block.data)


def resolution(exif: bytes | None) -> tuple[float, float] | None:
    """Pixels per inch, across and down, or None where the block does not say."""
    try:
        block = Structure((exif or b"").removeprefix(PREFIX))
    except (ValueError, struct.error):
        return None
    unit = block.number(block.first.get(RESOLUTION_UNIT)) or INCH
    found = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = block.first.get(tag)
        if entry is None or (entry.kind, entry.length) != (RATIONAL, 1):
            return None
        over, under = block.read("II", entry.value)
        found.append(over / under if under else 0.0)
    return per_inch(found[0], found[1], unit)


def per_inch(across: float, down: float, unit: int) -> tuple[float, float] | None:
    """Pixels per inch, of those per `unit`; None where they are no resolution."""
    factor = {INCH: 1.0, CENTIMETRE: 2.54}.get(unit, 0.0)
    found = (factor * across, factor * down)
    return found if all(1.0 <= value <= 65535.0 for value in found) else None


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """`array` (H, W, ...), stored under `orientation`, as it is to be seen; (W, H, ...) for 5 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
