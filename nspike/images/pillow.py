"""Pillow, and only here: decoding with nothing cut in silence, encoding without loss where the format allows it."""

import contextlib
import io
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError
from nspike.images import exif as _exif
from nspike.images.jpeg import with_noise_before_end
from nspike.images.jpeg_blocks import Blocks, blocks_of
from nspike.runtime.caller import way

if TYPE_CHECKING:
    from PIL.Image import Image

Samples: TypeAlias = NDArray[np.uint8 | np.uint16]
DPI: TypeAlias = tuple[float, float]
"""Pixels per inch, across and down."""


class Decoded(NamedTuple):
    """Samples (H, W, 1 to 4) as they are stored, and what their file says of them; of a JPEG its blocks."""

    samples: Samples
    icc_profile: bytes | None = None
    exif: bytes | None = None
    orientation: int = 1
    blocks: Blocks | None = None
    dpi: DPI | None = None


MAX_PIXELS = 256_000_000
"""The most pixels of an image that is read, if no other number is given."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "BMP": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 4},  # of 12 megapixels in a third of the time of 6, a fiftieth larger
    "WEBP": {"lossless": True, "exact": True},
}
_KEPT_TIFF_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)  # description, make, model, ..., copyright
_INTEROPERABILITY = 0xA005
_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raise BadInputError for an image without pixels, or with more than `max_pixels`, of which None is `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise BadInputError(f"has no pixels: its header says {width}x{height}")
    limit = MAX_PIXELS if max_pixels is None else max_pixels
    if width * height > limit:
        more = way("--max-pixels", "" if max_pixels is None else "max_pixels")
        raise BadInputError(
            f"is too large: {width}x{height} pixels, the limit is {limit}; cut it into parts"
            + (more and f", or raise {more}")
        )


def decode(data: bytes, kind: str, max_pixels: int | None, *, transparent_level: int | None = None) -> Decoded:
    """The samples and metadata of a file of this kind. Raises BadInputError."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except UnidentifiedImageError as error:
        raise BadInputError(f"is a {kind} file that is damaged, or of a kind that cannot be read") from error
    with image:
        check_size(*image.size, max_pixels)
        # A phone's JPEG with several images (MPO: depth, gain map) shows its first one, as everywhere.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise BadInputError(
                f"has {getattr(image, 'n_frames', 0)} frames or pages; only single images can be restored: "
                "extract them first"
            )
        orientation, exif = _tiff_metadata(image) if kind == "TIFF" else _exif.split(image.info.get("exif"))
        dpi = _dpi(image, kind)
        image.load()
        if kind == "JPEG" and not _complete(data, image):
            raise BadInputError("is truncated: its image data end before the image does")
        if kind == "TIFF":  # Pillow turns the pixels itself and removes the tag; old versions leave both
            stored, orientation = orientation, image.tag_v2.get(_exif.ORIENTATION, 1)  # type: ignore[attr-defined]
            orientation = orientation if orientation in range(1, 9) else 1
            if dpi is not None and stored in range(5, 9) and orientation < 5:
                dpi = dpi[::-1]
        if transparent_level is not None:
            image.info["transparency"] = transparent_level  # Pillow scales 1 to 4 bits to 0..255, but not this level
        blocks = blocks_of(image) if kind == "JPEG" else None
        return Decoded(_samples(image), image.info.get("icc_profile"), exif, orientation, blocks, dpi)


def _dpi(image: "Image", kind: str) -> DPI | None:
    """The resolution that a JPEG, TIFF or BMP states; Pillow makes some up where they do not."""
    across, down, unit = 0.0, 0.0, 0
    with contextlib.suppress(Exception):  # damaged metadata must not cost the image
        if kind == "JPEG":
            (across, down), unit = image.info["jfif_density"], image.info["jfif_unit"] + 1
        elif kind == "TIFF":
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            across, down = float(tags[_exif.X_RESOLUTION]), float(tags[_exif.Y_RESOLUTION])
            unit = tags.get(_exif.RESOLUTION_UNIT, _exif.INCH)
        elif kind == "BMP":
            (across, down), unit = image.info["dpi"], _exif.INCH
    return _exif.per_inch(across, down, unit)


def _complete(data: bytes, image: "Image") -> bool:
    """Whether a decoded JPEG file held the whole image (see `nspike.images.jpeg`)."""
    from PIL import Image

    longer = with_noise_before_end(data)
    if longer is None:
        return True  # without an end mark, Pillow has refused what is cut short
    with Image.open(io.BytesIO(longer), formats=["JPEG"]) as again:
        again.load()
        return np.array_equal(np.asarray(again), np.asarray(image))


def _samples(image: "Image") -> Samples:
    """The samples (H, W, 1 to 4) of a decoded image, or an error where Pillow's mode is not of our kinds."""
    mode = image.mode
    if mode in ("1", "L", "P", "RGB") and "transparency" in image.info:
        image = image.convert("LA" if mode in ("1", "L") else "RGBA")
    elif mode == "P":
        image = image.convert("RGBA" if image.palette and image.palette.mode == "RGBA" else "RGB")
    elif mode in ("PA", "RGBa"):
        image = image.convert("RGBA")
    elif mode == "La":
        image = image.convert("LA")
    elif mode == "RGBX":
        image = image.convert("RGB")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("I", "F"):
        raise BadInputError(
            "has 32-bit, signed or floating-point samples; convert it to 8 or 16 bits first, choosing what is black "
            "and what is white"
        )
    elif not (mode in ("L", "LA", "RGB", "RGBA") or mode.startswith("I;16")):
        raise BadInputError(f"has the colour space {mode}; convert it to RGB, with its colour profile, first")
    array = np.array(image)  # a copy: a view of Pillow's memory would be read-only
    if array.dtype != np.uint8:
        array = array.astype(np.uint16)  # I;16B is big-endian
    return array if array.ndim == 3 else array[..., None]


def _tiff_metadata(image: "Image") -> tuple[int, bytes | None]:
    """Refuse a TIFF whose samples Pillow would cut, and make an EXIF block of its descriptive tags."""
    from PIL import Image as pillow

    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    bits = max(tags.get(_TIFF_BITS, (1,)))
    if bits > 8 and image.mode not in ("I", "F"):
        if not image.mode.startswith("I;16"):
            raise BadInputError(
                f"is a {bits}-bit colour TIFF, which would be cut to 8 bits; convert it to a 16-bit PNG"
            )
        if bits != 16 or tags.get(_TIFF_PHOTOMETRIC, 1) != 1:
            raise BadInputError(f"is a {bits}-bit grey TIFF of an unusual kind; convert it to a 16-bit PNG first")
    with contextlib.suppress(Exception):  # damaged metadata must not cost the image
        exif, source = pillow.Exif(), image.getexif()
        for tag in _KEPT_TIFF_TAGS:
            if tag in source:
                exif[tag] = source[tag]
        for group in (0x8769, 0x8825):  # EXIF, GPS
            if values := dict(source.get_ifd(group)):
                if _INTEROPERABILITY in values:  # where it is in the TIFF
                    values[_INTEROPERABILITY] = dict(source.get_ifd(_INTEROPERABILITY))
                exif[group] = values
        return source.get(_exif.ORIENTATION, 1), exif.tobytes() if len(exif) else None
    return 1, None


def encode(
    samples: Samples,
    kind: str,
    profile: bytes | None,
    exif: bytes | None,
    dpi: DPI | None = None,
    quality: int | None = None,
) -> bytes:
    """The bytes of a BMP, JPEG, PNG or WebP file; `quality`, for JPEG and WebP, 1 to 100."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    if kind == "WEBP" and exif is None and dpi is not None:  # which has no other place for it
        block = Image.Exif()
        block[_exif.X_RESOLUTION], block[_exif.Y_RESOLUTION] = dpi
        block[_exif.RESOLUTION_UNIT] = _exif.INCH
        exif = block.tobytes()
    metadata = {"icc_profile": profile, "exif": exif, "dpi": dpi}
    stream = io.BytesIO()
    options = _OPTIONS[kind]
    if quality is not None:
        options = {**options, "quality": quality} | ({"lossless": False} if kind == "WEBP" else {})
    image.save(stream, kind, **options, **{name: value for name, value in metadata.items() if value})
    return stream.getvalue()


_limit_lock = threading.Lock()
_limit_users = 0
_limit_saved: int | None = None


@contextlib.contextmanager
def without_limit() -> Iterator[None]:
    """Switch off Pillow's size warning while we, who check sizes ourselves, are reading; it is global in Pillow."""
    from PIL import Image

    global _limit_users, _limit_saved
    with _limit_lock:
        if not _limit_users:
            _limit_saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _limit_users += 1
    try:
        yield
    finally:
        with _limit_lock:
            _limit_users -= 1
            if not _limit_users:
                Image.MAX_IMAGE_PIXELS = _limit_saved
