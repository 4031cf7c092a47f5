"""PNG with 16 bits a sample, read and written exactly; Pillow cuts 16-bit colour to 8 bits without a word.

Source: W3C, Portable Network Graphics (third edition), 5 (chunks), 8 (interlacing) and 9 (filtering).
Everything here raises ValueError, or zlib.error, on a damaged file.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.images.exif import CENTIMETRE, per_inch

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type: grey, RGB, grey + alpha, RGB + alpha
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_WHOLE = ((0, 0, 1, 1),)  # first row, first column, step between rows, step between columns
_LARGEST_CHUNK = 2**30
_LENGTH_AT_ONCE = 2**20
_PER_METRE = 1


@dataclass(frozen=True)
class PNG:
    """The parts of a PNG file whose checksums are right. `chunks` holds the first of each ancillary name."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: bool
    chunks: dict[bytes, bytes]
    data: list[memoryview]

    @property
    def animated(self) -> bool:
        """Whether there is more than one frame (APNG)."""
        control = self.chunks.get(b"acTL", b"")
        return len(control) >= 4 and struct.unpack(">I", control[:4])[0] > 1

    @property
    def transparent_level(self) -> int | None:
        """The grey level, scaled to 0..255, that is transparent in a grey image of at most 8 bits; or None."""
        key = self.chunks.get(b"tRNS", b"")
        if self.color != 0 or self.depth > 8 or len(key) < 2:
            return None
        most = (1 << self.depth) - 1
        return (int.from_bytes(key[:2], "big") & most) * 255 // most

    @property
    def icc_profile(self) -> bytes | None:
        """The ICC profile, or None where there is none, or a damaged one."""
        name, separator, packed = self.chunks.get(b"iCCP", b"").partition(b"\x00")
        if not separator or not name or packed[:1] != b"\x00":
            return None
        try:
            return zlib.decompressobj().decompress(packed[1:], 2**26) or None
        except zlib.error:
            return None

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels per inch, across and down, or None where the file does not say."""
        chunk = self.chunks.get(b"pHYs", b"")
        if len(chunk) != 9 or chunk[8] != _PER_METRE:
            return None
        across, down = struct.unpack(">II", chunk[:8])
        return per_inch(across / 100, down / 100, CENTIMETRE)


def parse(file: bytes) -> PNG:
    """Check the structure and every checksum of a PNG file; nothing is decompressed."""
    chunks: dict[bytes, bytes] = {}
    data: list[memoryview] = []
    for name, body in _walk(memoryview(file)):
        if name == b"IDAT":
            data.append(body)
        else:
            chunks.setdefault(name, bytes(body))
    header = chunks.pop(b"IHDR", b"")
    if len(header) != 13:
        raise ValueError("its PNG header is missing or damaged")
    width, height, depth, color, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if compression or filtering or interlace > 1:
        raise ValueError("its PNG header names an unknown compression, filter or interlacing")
    if not data:
        raise ValueError("it holds no image data")
    return PNG(width, height, depth, color, interlace == 1, chunks, data)


def _walk(file: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = len(SIGNATURE)
    while at + 8 <= len(file):
        length, name = struct.unpack_from(">I4s", file, at)
        body = file[at + 8 : at + 8 + length]
        checksum = file[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            break
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(checksum, "big"):
            raise ValueError(f"it is damaged: the checksum of PNG chunk {name!r} at byte {at} is wrong")
        if name == b"IEND":
            return
        yield name, body
        at += 12 + length
    raise ValueError("it is truncated: the PNG file ends before its end mark")


def check_length(png: PNG) -> None:
    """Raise ValueError where there are data for fewer rows than the header says. Nothing is kept."""
    bits = png.depth * {**_CHANNELS, 3: 1}.get(png.color, 0)
    left = sum(
        height * (1 + (width * bits + 7) // 8)
        for row, column, down, right in (_ADAM7 if png.interlaced else _WHOLE)
        if (height := len(range(row, png.height, down))) and (width := len(range(column, png.width, right)))
    )
    stream = zlib.decompressobj()
    for body in png.data:
        rest: bytes | memoryview = body
        while left > 0 and len(rest):
            left -= len(stream.decompress(rest, _LENGTH_AT_ONCE))
            rest = stream.unconsumed_tail
    if left > 0 and not stream.eof:
        left -= len(stream.flush())
    if left > 0:
        raise ValueError("it is truncated: image data are missing")


def decode(png: PNG) -> NDArray[np.uint16]:
    """The samples of a 16-bit PNG, (H, W, channels): 1 grey, 2 with alpha, 3 RGB, 4 with alpha; tRNS becomes alpha."""
    if png.depth != 16 or png.color not in _CHANNELS:
        raise ValueError(f"its PNG header is invalid: colour type {png.color} with {png.depth} bits")
    channels = _CHANNELS[png.color]
    size = 2 * channels  # bytes per pixel
    passes = []
    for row, column, down, right in _ADAM7 if png.interlaced else _WHOLE:
        height, width = len(range(row, png.height, down)), len(range(column, png.width, right))
        if height and width:
            passes.append((slice(row, None, down), slice(column, None, right), height, width))
    total = sum(height * (1 + width * size) for _, _, height, width in passes)
    raw = np.frombuffer(zlib.decompressobj().decompress(b"".join(png.data), total), np.uint8)
    if len(raw) < total:
        raise ValueError("it is truncated: image data are missing")
    samples = np.empty((png.height, png.width, channels), np.uint16)
    at = 0
    for rows, columns, height, width in passes:
        count = height * (1 + width * size)
        plain = _unfilter(raw[at : at + count].reshape(height, -1), size)
        samples[rows, columns] = plain.view(">u2").reshape(height, width, channels)
        at += count
    return _with_transparency(samples, png.chunks.get(b"tRNS"))


def _with_transparency(samples: NDArray[np.uint16], key: bytes | None) -> NDArray[np.uint16]:
    """Add an alpha channel that is 0 where the pixel has the transparent colour."""
    channels = samples.shape[2]
    if channels not in (1, 3) or key is None or len(key) < 2 * channels:
        return samples
    color = np.frombuffer(key, ">u2", channels)
    alpha = np.where((samples == color).all(axis=2, keepdims=True), 0, 65535)
    return np.concatenate([samples, alpha.astype(np.uint16)], axis=2)


def _unfilter(filtered: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Undo the row filters of (H, 1 + stride) bytes, `size` bytes a pixel; (H, stride)."""
    kinds, out = filtered[:, 0], filtered[:, 1:].copy()
    if kinds.max() > 4:
        raise ValueError("it is damaged: unknown PNG row filter")
    lanes = out.reshape(len(out), -1, size)
    row = 0
    while row < len(out):
        if kinds[row] >= 3:
            end = row + 1
            while end < len(out) and kinds[end] >= 3:
                end += 1
            above = lanes[row - 1] if row else np.zeros_like(lanes[0])
            _unfilter_wave(lanes[row:end], above, kinds[row:end])
            row = end
            continue
        if kinds[row] == 1:
            np.add.accumulate(lanes[row], axis=0, dtype=np.uint8, out=lanes[row])
        elif kinds[row] == 2 and row:
            lanes[row] += lanes[row - 1]
        row += 1
    return out


def _unfilter_wave(lanes: NDArray[np.uint8], above: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> None:
    """Undo Average (3) and Paeth (4) on rows (H, W, size) in place, one diagonal at a time.

    Pixel (y, x) needs its left, upper and upper-left neighbours, all of which lie on earlier diagonals x + y.
    """
    height, width, size = lanes.shape
    paeth = (kinds == 4)[:, None]
    padded = np.zeros((height + 1, width + 1, size), np.uint8)  # a zero pixel left of each row
    padded[0, 1:] = above
    padded[1:, 1:] = lanes
    flat = padded.reshape(-1, size)
    pitch = width + 1
    for diagonal in range(height + width - 1):
        first, last = max(0, diagonal - width + 1), min(height - 1, diagonal)
        rows = np.arange(first, last + 1)
        here = (rows + 1) * pitch + (diagonal - rows + 1)
        left = flat[here - 1].astype(np.int16)
        up = flat[here - pitch].astype(np.int16)
        corner = flat[here - pitch - 1].astype(np.int16)
        estimate = left + up - corner
        to_left, to_up, to_corner = np.abs(estimate - left), np.abs(estimate - up), np.abs(estimate - corner)
        nearest = np.where(to_up <= to_corner, up, corner)
        nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
        flat[here] += np.where(paeth[first : last + 1], nearest, (left + up) >> 1).astype(np.uint8)
    lanes[...] = padded[1:, 1:]


def encode(
    samples: NDArray[np.uint8 | np.uint16],
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> bytes:
    """A PNG file with the uint16 samples (H, W, channels), channels as in `decode`; `exif` without a prefix."""
    height, width, channels = samples.shape
    color = {count: kind for kind, count in _CHANNELS.items()}[channels]
    rows = np.ascontiguousarray(samples, ">u2").view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = 2  # Up
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    packed = memoryview(zlib.compress(filtered.tobytes()))
    parts = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0))]
    if icc_profile:
        parts.append(_chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(icc_profile)))
    if exif:
        parts.append(_chunk(b"eXIf", exif))
    if dpi:
        parts.append(_chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), _PER_METRE)))
    parts += [_chunk(b"IDAT", packed[at : at + _LARGEST_CHUNK]) for at in range(0, len(packed), _LARGEST_CHUNK)]
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunk(name: bytes, body: bytes | memoryview) -> bytes:
    return b"".join([struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))])
