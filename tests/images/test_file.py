import errno
import hashlib
import os
import stat
import struct
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

import nspike
from nspike.errors import BadInputError, OutputError
from nspike.files import atomic
from nspike.images.file import READ_SUFFIXES, WRITE_SUFFIXES, ImageData, list_images, read, write

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def orientation_block(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    return exif.tobytes()


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize("shape", [(13, 10), (13, 10, 3), (1, 1), (1, 1, 3)])
def test_lossless_8_bit_is_read_as_pillow_wrote_it(tmp_path, suffix, shape):
    pixels, path = noise(shape), tmp_path / f"image{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    decoded = read(path)
    if suffix == ".webp" and len(shape) == 2:
        pixels = np.stack([pixels] * 3, axis=2)  # WebP has no grey
    assert np.array_equal(decoded.pixels, pixels)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.pixels.flags.writeable
    assert decoded.alpha is None
    assert decoded.path == path
    assert decoded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path):
    for mode, name in (("L", "grey.jpg"), ("RGB", "colour.JPEG")):
        Image.fromarray(noise((20, 30, 3))).convert(mode).save(tmp_path / name, "JPEG", progressive=mode == "L")
        assert np.array_equal(read(tmp_path / name).pixels, np.asarray(Image.open(tmp_path / name)))
        assert read(tmp_path / name).format == "JPEG"


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_kept(tmp_path, suffix):
    rgba = noise((9, 8, 4))
    Image.fromarray(rgba).save(tmp_path / f"a{suffix}", **({"lossless": True, "exact": True} if "w" in suffix else {}))
    decoded = read(tmp_path / f"a{suffix}")
    assert np.array_equal(decoded.pixels, rgba[..., :3])
    assert np.array_equal(decoded.alpha, rgba[..., 3])


def test_grey_alpha(tmp_path):
    la = noise((9, 8, 2))
    Image.fromarray(la).save(tmp_path / "a.png")
    decoded = read(tmp_path / "a.png")
    assert np.array_equal(decoded.pixels, la[..., 0])
    assert np.array_equal(decoded.alpha, la[..., 1])


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif", ".bmp"])
def test_palette_is_expanded(tmp_path, suffix):
    image = Image.fromarray(noise((12, 11, 3))).quantize(16)
    image.save(tmp_path / f"p{suffix}")
    decoded = read(tmp_path / f"p{suffix}")
    assert np.array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.alpha is None


@pytest.mark.parametrize("transparency", [3, bytes(range(0, 256, 16))])
def test_palette_with_transparency_gets_alpha(tmp_path, transparency):
    image = Image.fromarray(noise((12, 11, 3))).quantize(16)
    image.save(tmp_path / "p.png", transparency=transparency)
    decoded = read(tmp_path / "p.png")
    index = np.asarray(image)
    levels = np.frombuffer(transparency, np.uint8) if isinstance(transparency, bytes) else 255 * (np.arange(16) != 3)
    assert np.array_equal(decoded.alpha, levels[index])
    assert np.array_equal(decoded.pixels, np.asarray(image.convert("RGB")))


def test_gif_with_transparency_gets_alpha(tmp_path):
    image = Image.fromarray(noise((12, 11, 3))).quantize(16)
    image.save(tmp_path / "p.gif", transparency=int(np.asarray(image)[0, 0]))
    decoded = read(tmp_path / "p.gif")
    assert np.array_equal(decoded.alpha == 0, np.asarray(image) == np.asarray(image)[0, 0])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_becomes_0_and_255(tmp_path, suffix):
    bits = noise((9, 13)) > 127
    Image.fromarray(bits).save(tmp_path / f"b{suffix}")
    assert np.array_equal(read(tmp_path / f"b{suffix}").pixels, np.where(bits, 255, 0))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_few_bits_with_a_transparent_level(tmp_path, depth):
    levels = noise((6, 8)) >> (8 - depth)
    packed = np.packbits((levels[..., None] >> np.arange(depth - 1, -1, -1)) & 1, axis=None).reshape(6, -1)
    rows = np.pad(packed, ((0, 0), (1, 0)))
    (tmp_path / "g.png").write_bytes(png(8, 6, depth, 0, rows.tobytes(), (b"tRNS", struct.pack(">H", 1))))
    decoded = read(tmp_path / "g.png")
    assert np.array_equal(decoded.pixels, levels * (255 // (2**depth - 1)))
    assert np.array_equal(decoded.alpha, np.where(levels == 1, 0, 255))


def test_8_bit_colour_key_becomes_alpha(tmp_path):
    pixels = noise((6, 5, 3))
    Image.fromarray(pixels).save(tmp_path / "k.png", transparency=tuple(int(v) for v in pixels[2, 3]))
    decoded = read(tmp_path / "k.png")
    assert decoded.alpha[2, 3] == 0
    assert (decoded.alpha == 255).sum() == 29
    assert np.array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", "16.png"])
def test_exif_orientation_is_applied_and_cleared(tmp_path, suffix, orientation):
    path, block = tmp_path / f"o{suffix}", orientation_block(orientation)
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = [200, 30, 60]
    pixels[8:, 16:] = [20, 130, 160]
    upright = np.asarray(ImageOps.exif_transpose(with_exif(pixels, block)))
    if suffix == "16.png":
        write(path, ImageData(pixels.astype(np.uint16) * 257, exif=block))
        assert np.array_equal(read(path).pixels, upright.astype(np.uint16) * 257)
    else:
        options = {".webp": {"lossless": True}, ".jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
        Image.fromarray(pixels).save(path, exif=block, **options)
        assert read(path).pixels.shape == upright.shape
        assert np.abs(read(path).pixels.astype(int) - upright).max() <= (4 if suffix == ".jpg" else 0)
    exif = Image.Exif()
    exif.load(read(path).exif)
    assert exif.get(0x0112, 1) == 1
    assert exif[0x010F] == "a camera"
    again = tmp_path / "again.png"
    write(again, read(path))
    assert np.array_equal(read(again).pixels, read(path).pixels)


def with_exif(pixels, block):
    image = Image.fromarray(pixels)
    image.info["exif"] = block
    return image


@pytest.mark.parametrize(
    "block",
    [b"Exif\0\0", b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"II*\0"],
)
def test_damaged_exif_does_not_cost_the_image(tmp_path, block):
    pixels = noise((4, 5), np.uint16)
    write(tmp_path / "e.png", ImageData(pixels, exif=b"Exif\0\0" + block.removeprefix(b"Exif\0\0") + b" "))
    assert np.array_equal(read(tmp_path / "e.png").pixels, pixels)
    assert read(tmp_path / "e.png").exif is None


def test_orientation_out_of_range_is_upright(tmp_path):
    pixels = noise((4, 6), np.uint16)
    write(tmp_path / "e.png", ImageData(pixels, exif=orientation_block(77)))
    assert np.array_equal(read(tmp_path / "e.png").pixels, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp", "a.jpg", "deep.png", "deep.tif"])
def test_icc_profile_and_exif_survive_a_round_trip(tmp_path, name):
    pixels = noise((8, 8), np.uint16) if "deep" in name else noise((8, 8, 3))
    profile = PROFILE[:16] + b"GRAY" + PROFILE[20:] if "deep" in name else PROFILE
    write(tmp_path / name, ImageData(pixels, icc_profile=profile, exif=orientation_block(1)))
    decoded = read(tmp_path / name)
    assert decoded.icc_profile == profile
    exif = Image.Exif()
    exif.load(decoded.exif)
    assert exif[0x010F] == "a camera"


def test_a_profile_of_other_pixels_is_not_kept(tmp_path):
    grey = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    write(tmp_path / "a.png", ImageData(noise((8, 8, 3)), icc_profile=grey))
    assert "icc_profile" not in Image.open(tmp_path / "a.png").info
    write(tmp_path / "b.webp", ImageData(noise((8, 8)), icc_profile=grey))
    assert read(tmp_path / "b.webp").icc_profile is None


def test_a_phone_jpeg_of_several_images_shows_its_first(tmp_path):
    first, second = (Image.fromarray(noise((16, 16, 3), seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "m.jpg", "MPO", save_all=True, append_images=[second])
    assert Image.open(tmp_path / "m.jpg").n_frames == 2
    assert np.array_equal(read(tmp_path / "m.jpg").pixels, np.asarray(Image.open(tmp_path / "m.jpg")))


def test_content_decides_not_the_name(tmp_path):
    Image.fromarray(noise((5, 5))).save(tmp_path / "a.jpg", "PNG")
    assert read(tmp_path / "a.jpg").format == "PNG"


# ---------------------------------------------------------------- 16 bits


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (1, 1), (300, 2, 3)])
def test_16_bit_png_round_trip(tmp_path, shape, alpha):
    pixels = noise(shape, np.uint16)
    decoded = ImageData(pixels, alpha=noise(shape[:2], np.uint16, 1) if alpha else None)
    write(tmp_path / "d.png", decoded)
    again = read(tmp_path / "d.png")
    assert again.pixels.dtype == np.uint16
    assert np.array_equal(again.pixels, pixels)
    assert np.array_equal(again.alpha, decoded.alpha) if alpha else again.alpha is None
    with Image.open(tmp_path / "d.png") as image:  # another reader sees the same, as far as it can
        image.load()
        top = np.asarray(image)
    if shape == (7, 9) and not alpha:
        assert np.array_equal(top, pixels)
    elif shape == (7, 9, 3):
        assert np.array_equal(top[..., :3], pixels >> 8)


@pytest.mark.parametrize("big", [False, True])
def test_16_bit_grey_tiff(tmp_path, big):
    pixels = noise((7, 9), np.uint16)
    Image.frombytes("I;16B" if big else "I;16", (9, 7), pixels.astype(">u2" if big else "<u2").tobytes()).save(
        tmp_path / "a.tif"
    )
    assert np.array_equal(read(tmp_path / "a.tif").pixels, pixels)
    write(tmp_path / "b.tif", ImageData(pixels))
    assert np.array_equal(read(tmp_path / "b.tif").pixels, pixels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.tif")), pixels)


def test_16_bit_grey_png_by_pillow(tmp_path):
    pixels = noise((40, 30), np.uint16)
    pixels[10:30] = np.arange(30) * 300  # smooth, so that several row filters are used
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png").pixels, pixels)


def slow_filter(rows, size, kinds):
    """PNG's five filters, byte by byte, from their definitions."""
    out = np.zeros((len(rows), 1 + rows.shape[1]), np.uint8)
    for y, kind in enumerate(kinds):
        out[y, 0] = kind
        for x in range(rows.shape[1]):
            a = int(rows[y, x - size]) if x >= size else 0
            b = int(rows[y - 1, x]) if y else 0
            c = int(rows[y - 1, x - size]) if y and x >= size else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out[y, 1 + x] = (int(rows[y, x]) - [0, a, b, (a + b) // 2, paeth][kind]) % 256
    return out


def png(width, height, depth, color, filtered, *chunks, interlaced=0):
    """A PNG file of filtered rows and ancillary chunks, from the format's definition."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, "mixed"])
@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_with_each_row_filter(tmp_path, color, channels, kind):
    samples = noise((12, 7, channels), np.uint16)
    rows = samples.astype(">u2").view(np.uint8).reshape(12, -1)
    kinds = [4, 3, 0, 1, 2, 4, 4, 3, 3, 1, 2, 0] if kind == "mixed" else [kind] * 12
    filtered = slow_filter(rows, 2 * channels, kinds).tobytes()
    (tmp_path / "f.png").write_bytes(png(7, 12, 16, color, filtered))
    decoded = read(tmp_path / "f.png")
    assert np.array_equal(decoded.pixels, samples[..., :3] if channels >= 3 else samples[..., 0])
    assert channels in (1, 3) or np.array_equal(decoded.alpha, samples[..., -1])


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 4), (9, 11)])
def test_16_bit_interlaced_png(tmp_path, shape):
    samples = noise((*shape, 3), np.uint16)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for y, x, down, right in passes:
        part = samples[y::down, x::right]
        if part.size:
            rows = np.ascontiguousarray(part, ">u2").view(np.uint8).reshape(len(part), -1)
            data += slow_filter(rows, 6, [4] * len(part)).tobytes()
    (tmp_path / "i.png").write_bytes(png(shape[1], shape[0], 16, 2, data, interlaced=1))
    assert np.array_equal(read(tmp_path / "i.png").pixels, samples)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_transparent_colour_becomes_alpha(tmp_path, channels):
    samples = noise((4, 5, channels), np.uint16)
    key = samples[1, 2].astype(">u2").tobytes()
    rows = np.pad(samples.astype(">u2").view(np.uint8).reshape(4, -1), ((0, 0), (1, 0)))
    (tmp_path / "t.png").write_bytes(png(5, 4, 16, 0 if channels == 1 else 2, rows.tobytes(), (b"tRNS", key)))
    alpha = read(tmp_path / "t.png").alpha
    assert alpha[1, 2] == 0
    assert (alpha == 65535).sum() == 19


def colour_tiff_16(path):
    """A little uncompressed 16-bit RGB TIFF, written by hand."""
    pixels = noise((2, 3, 3), np.uint16)
    tags = [(256, 3, 1, 3), (257, 3, 1, 2), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 128), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 36)]
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0\x08\0\0\0" + ifd + struct.pack("<3H", 16, 16, 16) + pixels.astype("<u2").tobytes())


def test_16_bit_colour_tiff_is_refused_never_cut(tmp_path):
    colour_tiff_16(tmp_path / "c.tif")
    assert Image.open(tmp_path / "c.tif").mode == "RGB"  # the trap: Pillow would cut it
    with pytest.raises(BadInputError, match=r"c\.tif: is a 16-bit colour TIFF.*16-bit PNG"):
        read(tmp_path / "c.tif")


@pytest.mark.parametrize(
    ("name", "decoded", "message"),
    [
        ("a.jpg", ImageData(noise((4, 4), np.uint16)), r"16 bits .*\.png"),
        ("a.bmp", ImageData(noise((4, 4), np.uint16)), r"16 bits .*\.png"),
        ("a.webp", ImageData(noise((4, 4, 3), np.uint16)), r"16 bits .*\.png"),
        ("a.tif", ImageData(noise((4, 4, 3), np.uint16)), r"16-bit colour or alpha .*\.png"),
        ("a.tif", ImageData(noise((4, 4), np.uint16), alpha=noise((4, 4), np.uint16)), r"16-bit colour or alpha"),
        ("a.jpg", ImageData(noise((4, 4)), alpha=noise((4, 4))), "transparency"),
        ("a.bmp", ImageData(noise((4, 4, 3)), alpha=noise((4, 4))), "transparency"),
        ("a.pgn", ImageData(noise((4, 4))), r"unknown suffix '\.pgn'.*\.webp.*Did you mean '\.png'"),
        ("a", ImageData(noise((4, 4))), r"unknown suffix ''; known are \.bmp"),
        ("a.gif", ImageData(noise((4, 4))), r"unknown suffix"),
        ("a.webp", ImageData(np.zeros((1, 17000), np.uint8)), "cannot write"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(tmp_path, name, decoded, message):
    with pytest.raises(OutputError, match=message):
        write(tmp_path / name, decoded)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what is refused


def hostile_files(folder):
    """Each name with the bytes, and what the error must say."""
    rng = np.random.default_rng(7)
    Image.fromarray(noise((40, 40, 3))).save(folder / "good.png")
    good = (folder / "good.png").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    gap = slice(len(good) // 2, len(good) // 2 + 100)
    (folder / "good.png").unlink()
    return {
        "empty.png": (b"", "empty"),
        "text.png": (b"this is no image", "not an image in a known format"),
        "random.jpg": (rng.bytes(5000), "not an image in a known format"),
        "flipped.png": (bytes(flipped), "checksum"),
        "gap.png": (good[: gap.start] + good[gap.stop :], "checksum|truncated"),
        "huge.png": (png(100000, 100000, 8, 2, b""), "100000x100000"),
        "huge16.png": (png(100000, 100000, 16, 2, b""), "100000x100000"),
        "largest.png": (png(2**31 - 1, 2**31 - 1, 16, 6, b""), "too large"),
        "zero.png": (png(0, 5, 8, 0, b""), "no pixels"),
        "nodata.png": (b"".join([good[:33], good[-12:]]), "no image data"),
        "noheader.png": (good[:8] + good[-12:], "header"),
        "short16.png": (png(9, 9, 16, 2, bytes(100)), "truncated"),
        "filter16.png": (png(2, 2, 16, 0, b"\x09" * 10), "filter"),
        "kind16.png": (png(2, 2, 16, 3, bytes(10)), "invalid"),
        "notzlib.png": (png(2, 2, 16, 0, b"").replace(zlib.compress(b""), b"12345678"), "checksum"),
        "gif.gif": (b"GIF89a" + rng.bytes(200), "gif"),
        "tiff.tif": (b"II*\0\x08\0\0\0" + rng.bytes(300), "tif"),
        "bmp.bmp": (b"BM" + rng.bytes(300), "bmp"),
        "webp.webp": (b"RIFF\x20\0\0\0WEBPVP8 " + rng.bytes(300), "webp"),
        "jpeg.jpg": (b"\xff\xd8\xff\xe0" + rng.bytes(300), "jpg"),
        "only.jpg": (b"\xff\xd8\xff", "jpg"),
        "signature.png": (good[:8], "truncated"),
    }


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_hostile_files_are_named_errors(tmp_path):
    for name, (content, message) in hostile_files(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInputError, match=message) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", ["t.png", "t16.png", "t.jpg", "t.tif", "t.bmp", "t.webp", "t.gif"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    if name == "t.gif":
        Image.fromarray(noise((60, 70, 3))).quantize(64).save(path)
    else:
        write(path, ImageData(noise((60, 70, 3), np.uint16 if "16" in name else np.uint8)))
    whole = path.read_bytes()
    for part in (0.01, 0.1, 0.3, 0.5, 0.8, 0.95):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(BadInputError, match=str(path)):
            read(path)


def test_size_is_checked_before_decoding(tmp_path):
    for name in ("s.png", "s.jpg", "s.tif", "s.bmp", "s.webp", "s.gif"):
        Image.fromarray(noise((20, 30))).save(tmp_path / name)
        assert read(tmp_path / name, max_pixels=600).pixels.shape[:2] == (20, 30)
        with pytest.raises(BadInputError, match=r"30x20 pixels, the limit is 599"):
            read(tmp_path / name, max_pixels=599)
    with open(tmp_path / "long.png", "wb") as stream:
        stream.truncate(2**34)  # sparse
    with pytest.raises(BadInputError, match="too large"):
        read(tmp_path / "long.png")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_several_frames_are_refused(tmp_path, name):
    frames = [Image.fromarray(noise((12, 12, 3), seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(BadInputError, match=r"frames|animated"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "name", "message"),
    [
        ("F", "f.tif", "floating"),
        ("I", "i.tif", "32-bit"),
        ("CMYK", "c.jpg", "CMYK.*RGB"),
        ("CMYK", "c.tif", "CMYK.*RGB"),
        ("LAB", "l.tif", "LAB.*RGB"),
    ],
)
def test_other_samples_and_colour_spaces_are_refused(tmp_path, mode, name, message):
    Image.new(mode, (5, 5)).save(tmp_path / name)
    with pytest.raises(BadInputError, match=message):
        read(tmp_path / name)


def test_what_is_not_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, message in (
        (tmp_path / "none.png", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.png", "not a regular file"),
        ("nul\0.png", "null"),
    ):
        with pytest.raises(BadInputError, match=message):
            read(path)


@pytest.mark.filterwarnings("error")
def test_pillows_own_limit_neither_warns_nor_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("s.png", "s.jpg", "s.tif", "s.bmp", "s.webp", "s.gif"):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
        assert read(tmp_path / name).pixels.shape == (40, 40, 3)
        assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(BadInputError):
        read(tmp_path / "none.png")
    threads = [threading.Thread(target=read, args=(tmp_path / "s.jpg",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("pixels", "alpha"),
    [
        (np.zeros((4, 4)), None),
        (np.zeros((4, 4, 4), np.uint8), None),
        (np.zeros(4, np.uint8), None),
        (np.zeros((0, 4), np.uint8), None),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint16)),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)),
    ],
)
def test_an_image_is_checked(pixels, alpha):
    with pytest.raises(BadInputError):
        ImageData(pixels, alpha=alpha)


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("suffix", WRITE_SUFFIXES)
@pytest.mark.parametrize("shape", [(13, 10), (13, 10, 3)])
def test_written_files_are_read_again(tmp_path, suffix, shape):
    smooth = np.add.outer(np.arange(13) * 5, np.arange(10) * 7).astype(np.uint8)
    pixels = smooth if len(shape) == 2 else np.stack([smooth, smooth[::-1], smooth // 2], axis=2)
    write(tmp_path / f"w{suffix.upper()}", ImageData(pixels))
    again = read(tmp_path / f"w{suffix.upper()}").pixels
    if suffix == ".webp" and len(shape) == 2:
        again = again[..., 0]
    error = np.abs(again.astype(int) - pixels).max()
    assert error == 0 or (suffix.startswith(".j") and error < 12)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3)])
def test_alpha_round_trip(tmp_path, suffix, shape):
    decoded = ImageData(noise(shape), alpha=noise((5, 6), seed=1))
    write(tmp_path / f"a{suffix}", decoded)
    again = read(tmp_path / f"a{suffix}")
    assert np.array_equal(again.alpha, decoded.alpha)
    assert np.array_equal(again.pixels, decoded.pixels if suffix != ".webp" or len(shape) == 3 else grey3(decoded))


def grey3(decoded):
    return np.stack([decoded.pixels] * 3, axis=2)


def test_non_contiguous_pixels(tmp_path):
    for dtype in (np.uint8, np.uint16):
        pixels = noise((10, 12, 3), dtype)[::-2, ::3]
        write(tmp_path / "n.png", ImageData(pixels))
        assert np.array_equal(read(tmp_path / "n.png").pixels, pixels)


def fail_with(code):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call, code):
    write(tmp_path / "a.png", ImageData(noise((5, 5))))
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(atomic.os, call, fail_with(code))
    with pytest.raises(OutputError, match=rf"cannot write .*a\.png: {os.strerror(code)}"):
        write(tmp_path / "a.png", ImageData(noise((50, 50))), fsync=True)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.png", ImageData(noise((5, 5))))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_device(tmp_path):
    (tmp_path / "full.png").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        write(tmp_path / "full.png", ImageData(noise((5, 5))))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_targets(tmp_path):
    decoded = ImageData(noise((5, 5)))
    with pytest.raises(OutputError, match=r"the folder .*missing does not exist"):
        write(tmp_path / "missing" / "a.png", decoded)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        write(tmp_path / "folder.png", decoded)
    with pytest.raises(OutputError, match="null"):
        write(tmp_path / "nul\0.png", decoded)
    (tmp_path / "link.png").symlink_to("real.png")
    write(tmp_path / "link.png", decoded)
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").is_file()
    longest = "x" * 251 + ".png"
    write(tmp_path / longest, decoded)
    assert read(tmp_path / longest).pixels.shape == (5, 5)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write(tmp_path / "a.png", ImageData(noise((5, 5))))


def test_new_files_have_the_usual_permissions(tmp_path):
    write(tmp_path / "a.png", ImageData(noise((5, 5))))
    (tmp_path / "b").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_replacing_the_pixels_keeps_the_rest(tmp_path):
    write(tmp_path / "a.png", ImageData(noise((6, 5, 3)), alpha=noise((6, 5)), icc_profile=PROFILE))
    restored = replace(read(tmp_path / "a.png"), pixels=noise((6, 5, 3), seed=9))
    write(tmp_path / "b.png", restored)
    again = read(tmp_path / "b.png")
    assert again.icc_profile == PROFILE
    assert np.array_equal(again.pixels, restored.pixels)
    assert np.array_equal(again.alpha, restored.alpha)


# ---------------------------------------------------------------- folders, imports, bundled images


def test_list_images(tmp_path):
    for name in ("b.png", "a.JPG", "c.tiff", "note.txt", ".hidden.png", "d.webp"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.JPG", "b.png", "c.tiff", "d.webp"]
    assert set(WRITE_SUFFIXES) < set(READ_SUFFIXES)
    with pytest.raises(BadInputError, match="is a file"):
        list_images(tmp_path / "b.png")
    with pytest.raises(BadInputError, match="No such file"):
        list_images(tmp_path / "none")
    (tmp_path / "e.png").symlink_to("none")
    dangling = []
    assert len(list_images(tmp_path, dangling)) == 4
    assert dangling == [tmp_path / "e.png"]
    with pytest.raises(BadInputError, match=r"e\.png: is a link to what is not there"):
        list_images(tmp_path)


def test_importing_images_loads_neither_pillow_nor_scipy():
    code = (
        "import sys, nspike.images.file, nspike.images.metrics, nspike.degradations.noise\n"
        "import nspike.images.plane, nspike.images.resize, nspike.images.color\n"
        "sys.exit(any(name.split('.')[0] in ('PIL', 'scipy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_bundled_images():
    folder = Path(nspike.__file__).parent / "images" / "bundled"
    images = list_images(folder)
    assert len(images) == 8
    notes = (folder / "README.md").read_text()
    for path in images:
        assert f"`{path.name}`" in notes
        assert read(path).pixels.dtype == np.uint8
    assert sum(path.stat().st_size for path in images) < 1_500_000
    for degraded, clean in (("camera_noisy25", "camera"), ("chelsea_noisy25", "chelsea"), ("coffee_hazy", "coffee")):
        assert read(folder / f"{degraded}.png").pixels.shape == read(folder / f"{clean}.png").pixels.shape
