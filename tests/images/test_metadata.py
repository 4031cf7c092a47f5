"""EXIF, colour profiles and resolution, from each kind of file to each other."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from nspike.errors import OutputError
from nspike.images import exif as exif_block
from nspike.images.file import ImageData, check_kept, decode, encode, left_out, read, write

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
WRITTEN = ["a.png", "a.tif", "a.jpg", "a.webp", "deep.png", "deep.tif"]


def noise(shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def camera(order=">", orientation=1, size=(24, 16), thumbnail=True):
    """An EXIF block as cameras write it: GPS, a maker's note that counts from the block's begin, and a thumbnail.

    The maker's note is "NOTE" and where in the block its text "secret" stands.
    """
    blob = io.BytesIO()
    Image.new("RGB", (12, 8)).save(blob, "JPEG")
    out = bytearray(b"II*\0" if order == "<" else b"MM\0*") + bytes(4)

    def put(data):
        out.extend(bytes(len(out) % 2))
        out.extend(data)
        return len(out) - len(data)

    def pack(layout, *values):
        return struct.pack(order + layout, *values)

    def directory(entries, following=0):
        packed = []
        for tag, kind, count, value in entries:
            stored = value if len(value) <= 4 else pack("I", put(value))
            packed.append(pack("HHI", tag, kind, count) + stored.ljust(4, b"\0"))
        return put(pack("H", len(packed)) + b"".join(packed) + pack("I", following))

    secret = put(b"secret")
    gps = directory([(1, 2, 2, b"N\0"), (2, 5, 3, pack("6I", 52, 1, 31, 1, 12, 1)), (29, 2, 11, b"2020:01:01\0")])
    interoperability = directory(
        [(1, 2, 4, b"R98\0"), (0x1001, 3, 1, pack("H", size[0])), (0x1002, 3, 1, pack("H", size[1]))]
    )
    details = directory(
        [
            (0x829A, 5, 1, pack("II", 1, 250)),
            (0x9003, 2, 20, b"2020:01:01 01:01:01\0"),
            (0x927C, 7, 8, b"NOTE" + pack("I", secret)),
            (0x9286, 7, 15, b"ASCII\0\0\0a photo"),
            (0xA002, 3, 1, pack("H", size[0])),
            (0xA003, 4, 1, pack("I", size[1])),
            (INTEROPERABILITY, 4, 1, pack("I", interoperability)),
        ]
    )
    small = put(blob.getvalue())
    second = directory(
        [
            (0x0103, 3, 1, pack("H", 6)),
            (0x0201, 4, 1, pack("I", small)),
            (0x0202, 4, 1, pack("I", len(blob.getvalue()))),
        ]
    )
    first = directory(
        [
            (0x010F, 2, 9, b"a camera\0"),
            (0x0112, 3, 1, pack("H", orientation)),
            (0x011A, 5, 1, pack("II", 300, 1)),
            (0x011B, 5, 1, pack("II", 150, 1)),
            (0x0128, 3, 1, pack("H", 2)),
            (0x0213, 3, 1, pack("H", 1)),
            (EXIF, 4, 1, pack("I", details)),
            (GPS, 4, 1, pack("I", gps)),
        ],
        second if thumbnail else 0,
    )
    out[4:8] = pack("I", first)
    return b"Exif\0\0" + bytes(out)


def photo(path, block, size=(24, 16), **options):
    """A JPEG file with this EXIF block."""
    pixels = np.tile(np.linspace(0, 255, size[0]), (size[1], 1)).astype(np.uint8)
    Image.fromarray(pixels).convert("RGB").save(path, exif=block, **options)
    return path


def opened(path):
    """A file's EXIF, as Pillow sees it, and the bytes that its offsets count in."""
    with Image.open(path) as image:
        exif = image.getexif()
        data = path.read_bytes() if image.format == "TIFF" else image.info["exif"].removeprefix(b"Exif\0\0")
        for group in (EXIF, GPS, INTEROPERABILITY):
            exif.get_ifd(group)
        return exif, data


def pixels_for(name, source):
    """Pixels that this file may hold: 16 bits are grey in TIFF."""
    if "deep" not in name:
        return source
    return noise(source.shape[:2], np.uint16)


# ----- EXIF -----


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_cameras_exif_is_kept(tmp_path, name, order):
    source = read(photo(tmp_path / "s.jpg", camera(order)))
    pixels = pixels_for(name, source.pixels)
    write(tmp_path / name, ImageData(pixels, exif=source.exif, icc_profile=None, dpi=source.dpi))
    exif, data = opened(tmp_path / name)
    assert exif[0x010F] == "a camera"
    details = exif.get_ifd(EXIF)
    assert (details[0x9003], details[0x829A]) == ("2020:01:01 01:01:01", 1 / 250)
    assert details[0x9286] == b"ASCII\0\0\0a photo"
    note = details[0x927C]
    (secret,) = struct.unpack(order + "I", note[4:])
    assert data[secret : secret + 6] == b"secret", "a maker's note counts from the block's begin"
    assert exif.get_ifd(GPS)[2] == (52, 31, 12)
    assert exif.get_ifd(INTEROPERABILITY)[1] == "R98"
    again = read(tmp_path / name)
    assert again.dpi == pytest.approx((300, 150), abs=0.013)
    if not name.endswith("jpg"):
        assert np.array_equal(again.pixels, pixels)


@pytest.mark.parametrize("name", WRITTEN)
def test_exif_from_tiff(tmp_path, name):
    first = read(photo(tmp_path / "s.jpg", camera("<")))
    write(tmp_path / "first.tif", first)
    source = read(tmp_path / "first.tif")
    pixels = pixels_for(name, source.pixels)
    write(tmp_path / name, ImageData(pixels, exif=source.exif, dpi=source.dpi))
    exif, _ = opened(tmp_path / name)
    details = exif.get_ifd(EXIF)
    assert details[0x9286] == b"ASCII\0\0\0a photo"
    assert details[0x927C][:4] == b"NOTE"
    assert details[0x829A] == 1 / 250
    assert exif.get_ifd(GPS)[2] == (52, 31, 12)
    assert exif.get_ifd(INTEROPERABILITY)[1] == "R98"
    assert exif[0x010F] == "a camera"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "deep.png"])
def test_sizes_and_thumbnails_are_of_the_upright_image(tmp_path, name, orientation):
    source = read(photo(tmp_path / "s.jpg", camera(orientation=orientation)))
    pixels = pixels_for(name, source.pixels)
    write(tmp_path / name, ImageData(pixels, exif=source.exif, dpi=source.dpi))
    exif, _ = opened(tmp_path / name)
    height, width = source.pixels.shape[:2]
    details, interoperability = exif.get_ifd(EXIF), exif.get_ifd(INTEROPERABILITY)
    assert (details[0xA002], details[0xA003]) == (width, height)
    assert (interoperability[0x1001], interoperability[0x1002]) == (width, height)
    assert exif[0x0112] == 1
    assert not exif.get_ifd(1), "the thumbnail shows the image as it was"
    assert read(tmp_path / name).dpi == pytest.approx((300, 150) if orientation < 5 else (150, 300), abs=0.013)


def test_sizes_of_an_enlarged_image(tmp_path):
    source = read(photo(tmp_path / "s.jpg", camera()))
    write(tmp_path / "a.png", ImageData(noise((70000, 3)), exif=source.exif))
    details = opened(tmp_path / "a.png")[0].get_ifd(EXIF)
    assert (details[0xA002], details[0xA003]) == (3, 70000)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what it leaves out
def test_damaged_exif_costs_no_image(tmp_path):
    """Any byte of the block may be wrong: the pixels are written, and what reads TIFF reads them."""
    rng, whole, pixels = np.random.default_rng(3), camera(), noise((9, 7, 3))
    for _ in range(300):
        block = np.frombuffer(whole, np.uint8).copy()
        block[rng.integers(10, len(block), 3)] = rng.integers(0, 256, 3)
        orientation, exif = exif_block.split(block.tobytes())
        assert orientation in range(1, 9)
        assert exif is None or len(exif) == len(whole)
        data = encode("a.tif", ImageData(pixels, exif=exif))
        assert np.array_equal(decode(data, tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (300, 200), (1000, 500, 3)])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_strips(tmp_path, shape, alpha, order):
    pixels, opaque = noise(shape), noise(shape[:2]) if alpha else None
    write(tmp_path / "a.tif", ImageData(pixels, alpha=opaque, icc_profile=PROFILE, exif=camera(order)))
    again = read(tmp_path / "a.tif")
    assert np.array_equal(again.pixels, pixels)
    assert np.array_equal(again.alpha, opaque) if alpha else again.alpha is None
    assert again.icc_profile == (PROFILE if len(shape) == 3 else None)
    if not alpha:
        deep = noise(shape[:2], np.uint16)
        write(tmp_path / "d.tif", ImageData(deep, exif=camera(order)))
        assert np.array_equal(read(tmp_path / "d.tif").pixels, deep)


# ----- resolution: PNG holds whole pixels per metre, which are within 0.0127 per inch -----


@pytest.mark.parametrize("name", [*WRITTEN, "a.bmp"])
@pytest.mark.parametrize("given", ["s.jpg", "s.png", "s.tif", "s.bmp"])
def test_the_resolution_is_kept(tmp_path, name, given):
    Image.fromarray(noise((9, 8, 3))).save(tmp_path / given, dpi=(300, 150))
    source = read(tmp_path / given)
    assert source.dpi == pytest.approx((300, 150), abs=0.013)
    write(tmp_path / name, ImageData(pixels_for(name, source.pixels), exif=source.exif, dpi=source.dpi))
    assert read(tmp_path / name).dpi == pytest.approx((300, 150), abs=0.013)
    with Image.open(tmp_path / name) as image:
        if not name.endswith("webp"):
            assert image.info["dpi"] == pytest.approx((300, 150), abs=0.013)


@pytest.mark.parametrize("name", ["s.jpg", "s.png", "s.tif", "s.webp", "s.gif"])
def test_no_resolution_is_made_up(tmp_path, name):
    Image.fromarray(noise((9, 8, 3))).save(tmp_path / name)
    source = read(tmp_path / name)
    assert source.dpi is None
    write(tmp_path / "again.png", source)
    assert "dpi" not in Image.open(tmp_path / "again.png").info


def test_a_turned_tiff_has_its_resolution_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise((9, 8, 3))).save(tmp_path / "a.tif", dpi=(300, 150), exif=exif)
    source = read(tmp_path / "a.tif")
    assert source.pixels.shape == (8, 9, 3)
    assert source.dpi == (150, 300)


def test_centimetres_and_nonsense():
    assert exif_block.per_inch(100, 50, 3) == (254, 127)
    for across, down, unit in ((0, 0, 2), (float("nan"), 72, 2), (72, 72, 1), (1e9, 72, 2), (72, -1, 2)):
        assert exif_block.per_inch(across, down, unit) is None


# ----- what a format cannot hold -----


def test_what_is_left_out_is_told(tmp_path):
    grey = PROFILE[:16] + b"GRAY" + PROFILE[20:]
    color, plain, large = noise((9, 8, 3)), noise((9, 8)), camera() + bytes(70000)
    for name, image, expected in (
        ("a.bmp", ImageData(color, icc_profile=PROFILE, exif=camera(), dpi=(72, 72)), ("EXIF", "colour profile")),
        ("a.bmp", ImageData(color, dpi=(72, 72)), ()),
        ("a.jpg", ImageData(color, icc_profile=PROFILE, exif=camera(), dpi=(72, 72)), ()),
        ("a.jpg", ImageData(color, exif=large), ("EXIF",)),
        ("a.png", ImageData(color, exif=large), ()),
        ("a.tif", ImageData(color, exif=large, icc_profile=grey), ("colour profile",)),
        ("a.webp", ImageData(plain, icc_profile=grey), ("colour profile",)),
        ("a.webp", ImageData(plain, dpi=(72, 72), exif=Image.Exif().tobytes()), ("resolution",)),
    ):
        assert left_out(name, image) == expected, name
        write(tmp_path / name, image)
        again = read(tmp_path / name)
        assert (again.exif is None) == (image.exif is None or "EXIF" in expected), name
        assert (again.icc_profile is None) == (image.icc_profile is None or "colour profile" in expected), name


def test_sides_that_a_format_cannot_have():
    image = ImageData(np.zeros((1, 10000), np.uint8))
    assert check_kept("a.webp", image) == "WEBP"
    with pytest.raises(
        OutputError, match=r"a\.webp: 20000x2 pixels are more than WEBP can hold, 16383 on a side; use \.png"
    ):
        check_kept("a.webp", image, 2)
    assert check_kept("a.jpg", image, 6) == "JPEG"
    with pytest.raises(OutputError, match="JPEG"):
        check_kept("a.jpg", image, 7)
