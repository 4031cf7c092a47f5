"""The literature's ways of measuring restoration: what is degraded how, and what is compared with what.

gray: images as 8-bit grey, plus Gaussian noise from a generator that is seeded anew for each, neither limited nor
    rounded; the output is limited and rounded to 8 bits, and PSNR and SSIM are those of 8-bit images (KAIR, DnCNN).
y-crop: luma (MATLAB's rgb2ycbcr on doubles), cropped to multiples of 2, then 3, then 4 as far as the scale, shrunk and
    enlarged by MATLAB's bicubic without rounding between; the output is limited, not rounded; PSNR and MAE without a border of
    the scale, SSIM on the whole image (pytorch-vdsr, and SpikingIR's tables).
rgb: pairs of a degraded and a clean image, laid out as in `nspike.degradations.layouts`; the output is limited, not rounded, PSNR
    over all channels.
    With a sigma instead: colour images plus noise as under `gray`, rounded to 8 bits (Restormer).
y: the same pairs, but compared on luma: output and clean image are rounded to 8 bits, and so is their luma (MATLAB's rgb2ycbcr on
    uint8), as deraining is measured (Restormer).

The input is scored exactly as the output is. Both usual windows of SSIM are computed; each protocol has its primary one.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.layouts import find_pairs
from nspike.degradations.noise import add_gaussian
from nspike.errors import BadInputError
from nspike.images.color import rgb_to_ycbcr
from nspike.images.file import list_images, read
from nspike.images.metrics import mae, psnr, ssim
from nspike.images.plane import to_pixels
from nspike.images.resize import imresize, modcrop

Window = Literal["gauss11", "uniform7"]
WINDOWS: tuple[Window, ...] = ("gauss11", "uniform7")
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """PSNR in dB, SSIM under both windows, and the mean absolute error as a share of white."""

    psnr: float
    gauss11: float
    uniform7: float
    mae: float

    def ssim(self, window: Window) -> float:
        """SSIM under one of the two windows."""
        return self.gauss11 if window == "gauss11" else self.uniform7

    def figures(self) -> dict[str, float | None]:
        """The figures by name; None for an infinite PSNR, and for the SSIM of images smaller than the window."""
        values = {"psnr": self.psnr} | {f"ssim_{window}": self.ssim(window) for window in WINDOWS} | {"mae": self.mae}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


def limited(output: Floats) -> Floats:
    """An output between black and white."""
    return np.clip(output, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Case:
    """One image of a benchmark: what the network is given (float64, black 0, white 1), and how an output is scored.

    name : of the image's file.
    scale : by which the network is to enlarge; 1 where it is enlarged already; None for networks that keep the size.
    small : of super-resolution, the image before it is enlarged, (H, W) or (H, W, 3).
    clean : what an output is compared with, float64, black 0 and white 1. shown : an output as it is scored: limited, or rounded,
        or its luma; likewise.
    """

    name: str
    degraded: Floats
    score: Callable[[Floats], Quality]
    scale: int | None = None
    small: Floats | None = None
    clean: Floats | None = None
    shown: Callable[[Floats], Floats] = limited

    def compared_with(self) -> Floats:
        """The clean image. Raises BadInputError where the protocol gives none."""
        if self.clean is None:
            raise BadInputError(f"{self.name}: its protocol gives no clean image to look at")
        return self.clean

    def seen_by(self, network_scale: int, channels: int) -> tuple[Floats, int | None]:
        """What a network is given, and the scale to run it at: the degraded image, or, if it enlarges by itself, the small one.

        Of a colour image a network of one channel is given the luma.
        """
        if network_scale == 1 or self.small is None:
            return self.degraded, self.scale
        small = self.small
        return (rgb_to_ycbcr(small)[..., 0] if small.ndim == 3 and channels == 1 else small), network_scale


@dataclass(frozen=True)
class Settings:
    """The protocol's numbers: sigma in units of 1/255 and the noise's seed; scale for super-resolution."""

    sigma: float | None = None
    seed: int = 0
    scale: int | None = None


@dataclass(frozen=True, eq=False)
class Given:
    """An image that is not in a file: what stands for its name, and its pixels."""

    name: str
    pixels: NDArray[Any]

    def __str__(self) -> str:
        return self.name


Source: TypeAlias = Path | Given


@dataclass(frozen=True)
class Protocol:
    """A protocol: its name, the SSIM window that its tables use, the images of a folder as cases, and whether these are pairs."""

    name: str
    primary: Window
    sources: Callable[[Path, Settings], list[tuple[Path, ...]]]
    case: Callable[[tuple[Source, ...], Settings], Case]
    paired: bool = False


def compare(output: NDArray[Any], clean: NDArray[Any], data_range: float, *, unit: float = 1.0) -> Quality:
    """All figures of two images of one shape, both divided by `unit`; SSIM is NaN for images smaller than the window."""
    windows = {}
    for window, side in zip(WINDOWS, (11, 7), strict=True):
        large = min(clean.shape[:2]) >= side
        windows[window] = ssim(output, clean, data_range, window, unit=unit) if large else float("nan")
    error = mae(output, clean, data_range, unit=unit)
    return Quality(psnr(output, clean, data_range, unit=unit), **windows, mae=error)


def _images(folder: Path, settings: Settings) -> list[tuple[Path, ...]]:
    files: list[tuple[Path, ...]] = [(path,) for path in list_images(folder)]
    if not files:
        raise BadInputError(f"{folder}: there are no images in this folder")
    return files


def _pairs(folder: Path, settings: Settings) -> list[tuple[Path, ...]]:
    """(degraded, clean) paths, or with a sigma the clean ones alone."""
    return _images(folder, settings) if settings.sigma is not None else list(find_pairs(folder))


def _gray(paths: tuple[Source, ...], settings: Settings) -> Case:
    pixels = _pixels8(paths[0])
    if pixels.ndim == 3:
        weights = pixels.astype(np.int64) * np.array([19595, 38470, 7471])  # BT.601 in 65536ths, as Pillow does
        pixels = ((weights.sum(axis=2) + 32768) >> 16).astype(np.uint8)
    return _noisy(paths[0].name, pixels, settings)


def _noisy(name: str, clean: NDArray[np.uint8], settings: Settings) -> Case:
    degraded = add_gaussian(clean / 255.0, _required(settings.sigma, "sigma"), settings.seed)
    return Case(
        name,
        degraded,
        lambda output: compare(to_pixels(output), clean, 255.0),
        clean=clean / 255.0,
        shown=lambda output: to_pixels(output) / 255.0,
    )


def _y_crop(paths: tuple[Source, ...], settings: Settings) -> Case:
    scale = int(_required(settings.scale, "scale"))
    pixels = _pixels8(paths[0]) / 255.0
    luma = rgb_to_ycbcr(pixels)[..., 0] if pixels.ndim == 3 else pixels
    for multiple in [*range(2, min(scale, 4) + 1), scale]:
        luma = luma[tuple(slice(0, length) for length in modcrop(luma, multiple).shape)]
        pixels = pixels[: luma.shape[0], : luma.shape[1]]
    if min(luma.shape) <= 2 * scale:
        raise BadInputError(f"{paths[0]}: the image is too small for scale {scale}")
    degraded = imresize(imresize(luma, 1 / scale), float(scale))
    clean = luma * 255.0
    inner = (slice(scale, -scale), slice(scale, -scale))

    def shown(output: Floats) -> Floats:
        return limited(rgb_to_ycbcr(output)[..., 0] if output.ndim == 3 else output)

    def score(output: Floats) -> Quality:
        output = rgb_to_ycbcr(output)[..., 0] if output.ndim == 3 else output
        output = np.clip(output * 255.0, 0.0, 255.0)
        whole = compare(output, clean, 255.0)
        error = mae(output[inner], clean[inner], 255.0)
        return Quality(psnr(output[inner], clean[inner], 255.0), whole.gauss11, whole.uniform7, error)

    return Case(paths[0].name, degraded, score, scale=1, small=imresize(pixels, 1 / scale), clean=luma, shown=shown)


def _rgb(paths: tuple[Source, ...], settings: Settings) -> Case:
    if settings.sigma is not None:
        return _noisy(paths[0].name, _pixels8(paths[0]), settings)
    degraded, clean = (_float_pixels(path) for path in paths)
    if degraded.shape != clean.shape:
        raise BadInputError(f"{paths[0]} {degraded.shape} and {paths[1]} {clean.shape} are not of the same shape")
    return Case(paths[0].name, degraded, lambda output: compare(limited(output), clean, 1.0), clean=clean)


def _y(paths: tuple[Source, ...], settings: Settings) -> Case:
    rgb = _rgb(paths, settings)
    clean = _luma8(_float_pixels(paths[1]))
    return Case(
        rgb.name,
        rgb.degraded,
        lambda output: compare(_luma8(output), clean, 255.0),
        clean=clean / 255.0,
        shown=lambda output: _luma8(output) / 255.0,
    )


def _luma8(pixels: Floats) -> NDArray[np.uint8]:
    """The luma of an image, both rounded to 8 bits; a grey image is its own."""
    rounded = to_pixels(pixels)
    if rounded.ndim == 2:
        return rounded
    return to_pixels(rgb_to_ycbcr(rounded / 255.0)[..., 0])


def _pixels8(path: Source) -> NDArray[np.uint8]:
    pixels = path.pixels if isinstance(path, Given) else read(path).pixels
    if pixels.dtype.kind == "f":
        raise BadInputError(f"{path}: holds floats; this protocol is defined for 8-bit images")
    if pixels.dtype != np.uint8:
        raise BadInputError(f"{path}: has 16 bits a sample; this protocol is defined for 8-bit images")
    return pixels.astype(np.uint8, copy=False)


def _float_pixels(path: Source) -> Floats:
    pixels = path.pixels if isinstance(path, Given) else read(path).pixels
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float64)
    return pixels / float(np.iinfo(pixels.dtype).max)


def _required(value: float | None, name: str) -> float:
    if value is None:
        raise BadInputError(f"this protocol needs a {name}")
    return value


PROTOCOLS = {
    "gray": Protocol("gray", "gauss11", _images, _gray),
    "y-crop": Protocol("y-crop", "uniform7", _images, _y_crop),
    "rgb": Protocol("rgb", "uniform7", _pairs, _rgb, paired=True),
    "y": Protocol("y", "gauss11", _pairs, _y, paired=True),
}


def cases(protocol: Protocol, folder: Path, settings: Settings, limit: int | None = None) -> Iterator[Case]:
    """The cases of a folder one after the other, at most `limit` of them."""
    for paths in protocol.sources(folder, settings)[:limit]:
        yield protocol.case(paths, settings)
