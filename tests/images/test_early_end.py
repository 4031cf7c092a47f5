"""Files that end too soon, and say that they are complete."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nspike.errors import BadInputError
from nspike.images.file import read


def jpeg(size=(96, 80), mode="RGB", **options):
    draw = np.random.default_rng(3)
    shape = size[::-1] if mode == "L" else (*size[::-1], 3)
    stream = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, shape, np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


JPEGS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "L"},
        {"quality": 95, "subsampling": 0},
        {"progressive": True},
        {"optimize": True, "size": (33, 17)},
        {"restart_marker_rows": 1},
    ],
    ids=["usual", "grey", "full colour", "progressive", "odd size", "restarts"],
)


@JPEGS
def test_a_jpeg_whose_data_end_early_is_refused(tmp_path, options):
    data, path = jpeg(**options), tmp_path / "x.jpg"
    path.write_bytes(data + b"more after the end")
    assert read(path).pixels.size
    begin = data.rindex(b"\xff\xda")
    for share in (0.3, 0.9):
        cut = begin + 20 + int(share * (len(data) - begin - 24))
        path.write_bytes(data[:cut].rstrip(b"\xff") + b"\xff\xd9")
        with pytest.raises(BadInputError, match="is truncated"):
            read(path)


def png(mode="RGB", rows=10, keep=10, width=13, depth=8, interlace=0):
    """A PNG of `rows` rows by its header, and of `keep` in its data."""
    color, channels = {"L": (0, 1), "RGB": (2, 3), "P": (3, 1), "LA": (4, 2), "RGBA": (6, 4)}[mode]
    raw = b"".join(b"\0" + bytes(-(-width * channels * depth // 8)) for _ in range(keep))
    parts = [b"IHDR" + struct.pack(">IIBBBBB", width, rows, depth, color, 0, 0, interlace)]
    parts += [b"PLTE" + bytes(6)] if mode == "P" else []
    parts += [b"IDAT" + zlib.compress(raw), b"IEND"]
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("mode", "depth"), [("L", 1), ("L", 8), ("L", 16), ("RGB", 8), ("P", 4), ("LA", 8), ("RGBA", 8)]
)
def test_a_png_with_fewer_rows_than_its_header_says_is_refused(tmp_path, mode, depth):
    path = tmp_path / "x.png"
    path.write_bytes(png(mode, depth=depth))
    assert read(path).pixels.shape[:2] == (10, 13)
    for keep in (0, 9):
        path.write_bytes(png(mode, depth=depth, keep=keep))
        with pytest.raises(BadInputError, match="is truncated"):
            read(path)
