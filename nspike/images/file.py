"""Reading and writing image files without silent loss.

Read: BMP, GIF, JPEG, PNG, TIFF, WebP; written: the same without GIF. 8 bits a sample everywhere; 16 bits as PNG (grey and
colour, with or without alpha) and as grey TIFF.
A file that could only be read or written with loss, or by guessing, is refused with the reason.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nspike.errors import BadInputError, OutputError, nearest
from nspike.files.atomic import write_bytes
from nspike.files.foreign import read_bytes
from nspike.images import exif as _exif
from nspike.images import pillow as _pillow
from nspike.images import png16 as _png16
from nspike.images import tiff as _tiff
from nspike.images.jpeg_blocks import Blocks
from nspike.images.pillow import DPI, Decoded, Samples, check_size
from nspike.images.pillow import MAX_PIXELS as MAX_PIXELS

_LARGEST_PIXEL = 8  # bytes: RGB and alpha of 16 bits
_LARGEST_METADATA = 2**26
_SIGNATURES = (
    (_png16.SIGNATURE, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WEBP"),
    (b"BM", "BMP"),
)
_WRITTEN = {
    ".bmp": "BMP",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
_EXIF, _PROFILE = "EXIF", "colour profile"
_LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
_LARGEST_EXIF = {"BMP": 0, "JPEG": 65533}
READ_SUFFIXES = (*sorted([*_WRITTEN, ".gif"]),)
WRITE_SUFFIXES = (*sorted(_WRITTEN),)


@dataclass(frozen=True, eq=False)
class ImageData:
    """An image, upright, as in its file.

    Parameters
    ----------
    pixels : uint8 or uint16, (H, W) grey or (H, W, 3) RGB
    alpha : the same dtype, (H, W), 0 transparent; or None
    icc_profile : the colour profile, or None
    exif : the EXIF block with its prefix, its orientation set to upright; or None
    dpi : the resolution in pixels per inch, across and down; or None
    path, format : where it was read, and the file format's name ("PNG", "JPEG", ...)
    sha256 : the hexadecimal digest of the file's bytes
    blocks : of a JPEG, how it was quantised; or None
    """

    pixels: Samples
    alpha: Samples | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: DPI | None = None
    path: Path | None = None
    format: str | None = None
    sha256: str | None = None
    blocks: Blocks | None = None

    def __post_init__(self) -> None:
        pixels, alpha = self.pixels, self.alpha
        if pixels.dtype not in (np.uint8, np.uint16) or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)):
            raise BadInputError(
                f"an image is uint8 or uint16, (H, W) or (H, W, 3); these pixels are {pixels.dtype} {pixels.shape}"
            )
        if not pixels.size:
            raise BadInputError("an image needs at least one pixel")
        if alpha is not None and (alpha.dtype != pixels.dtype or alpha.shape != pixels.shape[:2]):
            raise BadInputError(
                f"the alpha of {pixels.dtype} pixels {pixels.shape} must be {pixels.dtype} {pixels.shape[:2]}, "
                f"not {alpha.dtype} {alpha.shape}"
            )


def list_images(folder: str | os.PathLike[str], dangling: list[Path] | None = None) -> list[Path]:
    """The images in `folder`, by their suffix, sorted by name; not those in its folders, and no hidden files.

    dangling : takes the links that lead nowhere; without it they are errors.

    Raises
    ------
    BadInputError
        where `folder` is not a folder, or cannot be listed, or has such a link.
    """
    try:
        entries = sorted(Path(folder).iterdir())
    except NotADirectoryError as error:
        raise BadInputError(f"{folder}: is a file, not a folder") from error
    except OSError as error:
        raise BadInputError(f"{folder}: {error.strerror}") from error
    named = [entry for entry in entries if entry.suffix.lower() in READ_SUFFIXES and not entry.name.startswith(".")]
    lost = [entry for entry in named if leads_nowhere(entry)]
    if dangling is not None:
        dangling += lost
    elif lost:
        raise BadInputError(f"{lost[0]}: is a link to what is not there")
    return [entry for entry in named if entry.is_file()]


def leads_nowhere(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a link to what is not there."""
    return os.path.islink(path) and not os.path.exists(path)


def read(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> ImageData:
    """Read an image.

    Palettes are expanded, 1-bit images become 0 and 255, a transparent colour becomes alpha, and the EXIF orientation
    is applied. The format is recognised by the file's content, not by its name.

    Raises
    ------
    BadInputError
        naming the file: missing, not an image, damaged, truncated, empty, larger than `max_pixels` (by default
        `MAX_PIXELS`; found before anything is decoded), animated or of several pages, or of a kind that could not be
        read without losing bits.
    """
    path = Path(path)
    try:
        data = _contents(path, largest_file(MAX_PIXELS if max_pixels is None else max_pixels))
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # a null character in the name
        raise BadInputError(f"{path}: {error}") from error
    return decode(data, path, max_pixels=max_pixels)


def largest_file(max_pixels: int) -> int:
    """How many bytes a file of an image of so many pixels may have."""
    return _LARGEST_PIXEL * max_pixels + _LARGEST_METADATA


def decode(data: bytes, path: Path, *, max_pixels: int | None = None) -> ImageData:
    """The image in the bytes of a file, as `read` gives it; `path` is its name in messages. Raises BadInputError."""
    try:
        if not data:
            raise BadInputError("is empty (0 bytes)")
        kind = next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)
        if kind is None:
            raise BadInputError("is not an image in a known format (BMP, GIF, JPEG, PNG, TIFF, WebP)")
        decode = _read_png if kind == "PNG" else _pillow.decode
        with _pillow.without_limit():
            decoded = decode(data, kind, max_pixels)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
        raise BadInputError(f"{path}: {str(error) or type(error).__name__}") from error
    samples, orientation, blocks, dpi = decoded.samples, decoded.orientation, decoded.blocks, decoded.dpi
    if blocks is not None:
        blocks = blocks.turned(orientation, *samples.shape[:2])
    if dpi is not None and orientation >= 5:
        dpi = dpi[::-1]
    samples = _exif.turn(samples, orientation)
    color = samples.shape[2] >= 3
    return ImageData(
        pixels=np.ascontiguousarray(samples[..., :3] if color else samples[..., 0]),
        alpha=None if samples.shape[2] in (1, 3) else np.ascontiguousarray(samples[..., -1]),
        icc_profile=decoded.icc_profile if _profile_fits(decoded.icc_profile, color) else None,
        exif=decoded.exif,
        dpi=dpi or _exif.resolution(decoded.exif),
        path=path,
        format=kind,
        sha256=hashlib.sha256(data).hexdigest(),
        blocks=blocks,
    )


def write(path: str | os.PathLike[str], image: ImageData, *, fsync: bool = False, quality: int | None = None) -> None:
    """Write `image` in the format that the suffix of `path` names, completely or not at all.

    PNG, TIFF, WebP (lossless) and BMP are exact; JPEG has quality 95 without chroma subsampling. WebP stores grey as RGB.
    `quality`, 1 to 100, makes JPEGs and WebPs of that quality. The EXIF block states the size that is written; `left_out`
    tells what of the metadata a format drops.

    Raises
    ------
    OutputError
        for an unknown suffix, for 16 bits or alpha in a format that cannot hold them, and when the system refuses (no
        space, read-only, missing folder).
    """
    write_bytes(path, encode(path, image, quality=quality), fsync=fsync)


def encode(path: str | os.PathLike[str], image: ImageData, *, quality: int | None = None) -> bytes:
    """The bytes that `write` writes. Raises OutputError."""
    kind = check_kept(path, image)
    pixels, alpha, lost = image.pixels, image.alpha, left_out(path, image)
    profile = None if _PROFILE in lost else image.icc_profile
    exif = None if _EXIF in lost else _exif.sized(image.exif, pixels.shape[1], pixels.shape[0])
    samples = pixels if pixels.ndim == 3 else pixels[..., None]
    if alpha is not None:
        samples = np.concatenate([samples, alpha[..., None]], axis=2)
    try:
        if kind == "TIFF":
            return _tiff.encode(samples, profile, exif, image.dpi)
        if pixels.dtype == np.uint16:
            return _png16.encode(samples, profile, (exif or b"")[6:], image.dpi)
        return _pillow.encode(samples, kind, profile, exif, image.dpi, quality)
    except Exception as error:  # Pillow's encoders too raise nearly anything
        raise OutputError(f"cannot write {path}: {str(error) or type(error).__name__}") from error


def left_out(path: str | os.PathLike[str], image: ImageData) -> tuple[str, ...]:
    """What of the image's metadata the format that the suffix of `path` names cannot hold, in words."""
    kind = _WRITTEN[Path(path).suffix.lower()]
    lost = []
    if len(image.exif or b"") > _LARGEST_EXIF.get(kind, len(image.exif or b"")):
        lost.append(_EXIF)
    color = image.pixels.ndim == 3 or kind == "WEBP"
    if image.icc_profile is not None and (kind == "BMP" or not _profile_fits(image.icc_profile, color)):
        lost.append(_PROFILE)
    if kind == "WEBP" and image.dpi is not None and image.exif is not None and _exif.resolution(image.exif) is None:
        lost.append("resolution")
    return tuple(lost)


def check_kept(path: str | os.PathLike[str], image: ImageData, scale: int = 1) -> str:
    """The format that the suffix of `path` names.

    Raises OutputError if it is unknown, or cannot hold all pixels of `image`, made `scale` times larger.
    """
    suffix = Path(path).suffix.lower()
    kind = _WRITTEN.get(suffix)
    if kind is None:
        raise OutputError(
            f"cannot write {path}: unknown suffix {suffix!r}; known are {', '.join(WRITE_SUFFIXES)}."
            + nearest(suffix, WRITE_SUFFIXES)
        )
    pixels, alpha = image.pixels, image.alpha
    deep = pixels.dtype == np.uint16
    if deep and kind != "PNG" and not (kind == "TIFF" and pixels.ndim == 2 and alpha is None):
        what = "16-bit colour or alpha" if kind == "TIFF" else "16 bits"
        raise OutputError(f"cannot write {path}: {what} cannot be kept in this format; use .png")
    if alpha is not None and kind in ("JPEG", "BMP"):
        raise OutputError(f"cannot write {path}: {kind} cannot hold transparency; use .png, .tif or .webp")
    height, width = (scale * side for side in pixels.shape[:2])
    if max(height, width) > _LARGEST_SIDE.get(kind, max(height, width)):
        raise OutputError(
            f"cannot write {path}: {width}x{height} pixels are more than {kind} can hold, {_LARGEST_SIDE[kind]} on a side; "
            "use .png or .tif"
        )
    return kind


def _contents(path: Path, limit: int) -> bytes:
    status = os.stat(path)  # before opening: a pipe would wait for its writer
    if stat.S_ISDIR(status.st_mode):
        raise BadInputError("is a folder, not an image")
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise BadInputError("is empty (0 bytes)")
    return read_bytes(path, limit)


def _read_png(data: bytes, kind: str, max_pixels: int | None) -> Decoded:
    png = _png16.parse(data)
    check_size(png.width, png.height, max_pixels)
    if png.animated:
        raise BadInputError("is animated (APNG); only still images can be restored: extract the frames first")
    if png.depth != 16:
        _png16.check_length(png)
        decoded = _pillow.decode(data, kind, max_pixels, transparent_level=png.transparent_level)
        return decoded._replace(dpi=png.dpi)
    orientation, exif = _exif.split(png.chunks.get(b"eXIf"))
    return Decoded(_png16.decode(png), png.icc_profile, exif, orientation, dpi=png.dpi)


def _profile_fits(profile: bytes | None, color: bool) -> bool:
    """Whether an ICC profile describes pixels of this kind: a grey one on RGB pixels would be wrong."""
    return profile is None or profile[16:20] not in ((b"GRAY", b"CMYK") if color else (b"RGB ", b"CMYK"))
