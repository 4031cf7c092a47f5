"""TIFF files, written: deflated strips, with the image's EXIF in them as it is.

The file begins with the EXIF block, which is a TIFF structure itself; the pixels follow it, then a first directory in place of
the block's own, with the entries of both. So every offset in the block stays right, those in a maker's notes too, and the
file has the block's byte order. (libtiff, through Pillow, writes no directories of EXIF and GPS.)
Source: TIFF 6.0; Adobe Photoshop TIFF Technical Notes (deflate); ICC.1, annex B.3.
"""

import struct
import zlib
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from nspike.images.exif import INCH, PREFIX, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION
from nspike.images.ifd import LONG, RATIONAL, SHORT, UNDEFINED, Structure

_ICC_PROFILE = 0x8773
_DESCRIPTIVE = (
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x013C),  # names, descriptions, camera
    *(0x0112, 0x0132),  # orientation, date
    *(X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT),
    *(0x02BC, 0x4746, 0x4749, 0x8298, 0x83BB, 0x8649),  # XMP, ratings, copyright, IPTC, Photoshop
    *(0x8769, 0x8825),  # the directories of EXIF and GPS
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0xC4A5),  # Windows' descriptions, print image matching
)
"""Tags of an EXIF block's first directory that say nothing of how pixels are stored."""
_STRIP = 2**18
_MOST = 2**32


def encode(
    samples: NDArray[np.uint8 | np.uint16],
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """A TIFF file with the samples (H, W, channels), 1 grey, 2 with alpha, 3 RGB, 4 with alpha.

    Raises ValueError for one of more than 4 GiB.
    """
    try:
        block = Structure((exif or b"").removeprefix(PREFIX))
    except (ValueError, struct.error):
        block = Structure(b"II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    out, order = block.data, block.order
    height, width, channels = samples.shape
    pixels = np.ascontiguousarray(samples, samples.dtype.newbyteorder(order))
    rows = max(_STRIP // max(pixels[:1].nbytes, 1), 1)
    starts, lengths = [], []
    for row in range(0, height, rows):
        packed = zlib.compress(pixels[row : row + rows].tobytes())
        starts.append(_append(out, packed))
        lengths.append(len(packed))
    own: dict[int, tuple[int, list[int]]] = {
        0x0100: (LONG, [width]),
        0x0101: (LONG, [height]),
        0x0102: (SHORT, [8 * pixels.itemsize] * channels),
        0x0103: (SHORT, [8]),  # deflate
        0x0106: (SHORT, [2 if channels > 2 else 1]),  # RGB, or black is 0
        0x0111: (LONG, starts),
        0x0115: (SHORT, [channels]),
        0x0116: (LONG, [min(rows, height)]),
        0x0117: (LONG, lengths),
        0x011C: (SHORT, [1]),  # channels side by side
    }
    if channels in (2, 4):
        own[0x0152] = (SHORT, [2])  # alpha, not multiplied in
    if dpi is not None:
        own |= {X_RESOLUTION: (RATIONAL, _ratio(dpi[0])), Y_RESOLUTION: (RATIONAL, _ratio(dpi[1]))}
        own[RESOLUTION_UNIT] = (SHORT, [INCH])
    if icc_profile:
        own[_ICC_PROFILE] = (UNDEFINED, list(icc_profile))
    entries = {tag: bytes(out[e.at : e.at + 12]) for tag, e in block.first.items() if tag in _DESCRIPTIVE}
    for tag, (kind, values) in own.items():
        entries[tag] = _entry(out, order, tag, kind, values)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    start = _append(out, directory)
    if len(out) > _MOST:
        raise ValueError("it would be of more than 4 GiB, and no TIFF can; use .png")
    struct.pack_into(order + "I", out, 4, start)
    return bytes(out)


def _entry(out: bytearray, order: str, tag: int, kind: int, values: list[int]) -> bytes:
    """A directory's entry, whose values are put at the end of the file if they do not fit into it."""
    code = {SHORT: "H", LONG: "I", RATIONAL: "I", UNDEFINED: "B"}[kind]
    if max(values) >= _MOST:
        raise ValueError("it would be of more than 4 GiB, and no TIFF can; use .png")
    packed = struct.pack(f"{order}{len(values)}{code}", *values)
    count = len(values) // 2 if kind == RATIONAL else len(values)
    if len(packed) > 4:
        packed = struct.pack(order + "I", _append(out, packed))
    return struct.pack(order + "HHI", tag, kind, count) + packed.ljust(4, b"\x00")


def _append(out: bytearray, data: bytes) -> int:
    """Where `data` are put, which is even."""
    out += bytes(len(out) % 2)
    at = len(out)
    out += data
    return at


def _ratio(value: float) -> list[int]:
    ratio = Fraction(value).limit_denominator(10000)
    return [ratio.numerator, ratio.denominator]
