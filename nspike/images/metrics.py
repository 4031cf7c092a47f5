"""How near a restored image is to the true one: PSNR, SSIM in its two usual forms, MAE, and the conversion rate.

    PSNR = 10·log10(range² / MSE)
    MAE  = mean of |a - b| / range
    SSIM = mean of (2·μa·μb + C1)(2·σab + C2) / ((μa² + μb² + C1)(σa² + σb² + C2)),  C1 = (0.01·range)², C2 = (0.03·range)²

Sources: Wang et al., Image quality assessment, 2004 (`gauss11`: 11x11 Gaussian of σ 1.5, only windows inside the image,
divided by n, as in MATLAB's ssim_index); scikit-image's default (`uniform7`: 7x7 mean, divided by n - 1, as in the papers
that took it). Sums run in a fixed order.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nspike.errors import BadInputError
from nspike.runtime.arguments import numbers
from nspike.runtime.parallel import each

Floats = NDArray[np.float64]

_GAUSS = [math.exp(-(offset * offset) / (2 * 1.5 * 1.5)) for offset in range(-5, 6)]
_WINDOWS = {
    "gauss11": ([weight / math.fsum(_GAUSS) for weight in _GAUSS], 1.0),
    "uniform7": ([1 / 7] * 7, 49 / 48),
}
"""The weights along an axis, and the correction of the covariance."""

_BAND = 64


def psnr(a: ArrayLike, b: ArrayLike, data_range: float | None = None, *, unit: float = 1.0) -> float:
    """The peak signal-to-noise ratio in dB, over all pixels and channels; infinite for equal images.

    Parameters
    ----------
    a, b : of one shape, integers or floats
    data_range : the distance from black to white; default: 255 for uint8, 65535 for uint16, 1 for floats
    unit : what all values are divided by first

    Raises
    ------
    BadInputError
        for different shapes, and for images of which one has integers and the other has not, without `data_range`.
    """
    first, second, data_range = _pair(a, b, data_range)
    total = np.zeros(first[0].size)
    for y0, y1 in _bands(len(first)):
        difference = (_floats(first[y0:y1], unit) - _floats(second[y0:y1], unit)).reshape(y1 - y0, -1)
        _add_rows(total, difference * difference)
    mean = _sum(total) / first.size
    return math.inf if mean == 0 else 10 * math.log10(data_range * data_range / mean)


def mae(a: ArrayLike, b: ArrayLike, data_range: float | None = None, *, unit: float = 1.0) -> float:
    """The mean absolute error over all pixels and channels, as a share of `data_range`: 0 for equal images.

    Parameters
    ----------
    a, b, data_range, unit : as for `psnr`

    Raises
    ------
    BadInputError
        as `psnr` does.
    """
    first, second, data_range = _pair(a, b, data_range)
    total = np.zeros(first[0].size)
    for y0, y1 in _bands(len(first)):
        difference = np.abs(_floats(first[y0:y1], unit) - _floats(second[y0:y1], unit))
        _add_rows(total, difference.reshape(y1 - y0, -1))
    return _sum(total) / first.size / data_range


def ssim(
    a: ArrayLike, b: ArrayLike, data_range: float | None = None, window: str = "gauss11", *, unit: float = 1.0
) -> float:
    """The structural similarity, 1 for equal images; of colour images, the mean over the channels.

    Parameters
    ----------
    a, b : (H, W) or (H, W, C), of one shape, integers or floats
    data_range : the distance from black to white; default: 255 for uint8, 65535 for uint16, 1 for floats
    window : "gauss11" or "uniform7"
    unit : what all values are divided by first

    Raises
    ------
    BadInputError
        as `psnr` does, and for an unknown window and images smaller than the window.
    """
    first, second, data_range = _pair(a, b, data_range)
    if window not in _WINDOWS:
        raise BadInputError(f"unknown SSIM window {window!r}; known are {', '.join(_WINDOWS)}")
    weights, correction = _WINDOWS[window]
    if first.ndim not in (2, 3) or min(first.shape[:2]) < len(weights):
        raise BadInputError(
            f"SSIM {window} needs images of at least {len(weights)}x{len(weights)} pixels, (H, W) or (H, W, C); "
            f"these are {first.shape}"
        )
    if first.ndim == 2:
        return _ssim_plane(first, second, data_range, weights, correction, unit)
    channels = int(first.shape[2])
    planes = [
        _ssim_plane(first[..., c], second[..., c], data_range, weights, correction, unit) for c in range(channels)
    ]
    return math.fsum(planes) / channels


def conversion_rate(
    psnr_snn: float, psnr_ann: float, ssim_snn: float | None = None, ssim_ann: float | None = None
) -> float:
    """How much of the ANN's quality its spiking conversion keeps, in percent, at most 100.

    The mean of the ratios of PSNR and SSIM; of PSNR alone where no SSIM is given, as usual for denoising.
    """
    if (ssim_snn is None) != (ssim_ann is None):
        raise BadInputError("give the SSIM of both networks, or of neither")
    if not psnr_ann > 0 or (ssim_ann is not None and not ssim_ann > 0):
        raise BadInputError(f"the ANN's PSNR and SSIM must be positive, not {psnr_ann} and {ssim_ann}")
    rate = 1.0 if psnr_snn == psnr_ann else psnr_snn / psnr_ann
    if ssim_snn is not None and ssim_ann is not None:
        rate = (rate + ssim_snn / ssim_ann) / 2
    return 100 * min(1.0, rate)


def _pair(a: ArrayLike, b: ArrayLike, data_range: float | None) -> tuple[NDArray[Any], NDArray[Any], float]:
    numbers(data_range=data_range)
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape:
        raise BadInputError(f"only images of one size can be compared, not {first.shape} with {second.shape}")
    if not first.size or not first.ndim:
        raise BadInputError(f"there are no pixels to compare: the shape is {first.shape}")
    if data_range is None:
        data_range = _range_of(first)
        if _range_of(second) != data_range:
            raise BadInputError(
                f"the images are {first.dtype} and {second.dtype}: convert one to the other's type, or give data_range"
            )
    if not data_range > 0:
        raise BadInputError(f"data_range must be positive (255 for 8 bits), not {data_range}")
    return first, second, data_range


def _range_of(pixels: NDArray[Any]) -> float:
    """White, of pixels whose type says it."""
    if pixels.dtype in (np.uint8, np.uint16):
        return float(np.iinfo(pixels.dtype).max)
    if pixels.dtype.kind != "f":
        raise BadInputError(f"{pixels.dtype} does not say what is white: give data_range (255 for 8 bits)")
    return 1.0


def _bands(height: int) -> Iterator[tuple[int, int]]:
    """The rows in bands, so that no whole image is held as floats."""
    return ((y, min(y + _BAND, height)) for y in range(0, height, _BAND))


def _floats(pixels: NDArray[Any], unit: float) -> NDArray[np.float64]:
    values = np.asarray(pixels, np.float64)
    return values if unit == 1 else values / unit


def _add_rows(total: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    """Add (N, M) to (M,) row by row: an order that does not depend on the machine's vector width, nor on bands."""
    for row in rows:
        total += row


def _sum(total: NDArray[np.float64]) -> float:
    """The sum, from the first to the last."""
    return float(np.cumsum(total)[-1])


def _ssim_plane(
    first: NDArray[Any], second: NDArray[Any], data_range: float, weights: list[float], correction: float, unit: float
) -> float:
    """The mean over the windows of a plane; columns are shared out over threads, each is added from its top to its foot."""
    from nspike.kernels.similarity import add_similarities  # the compiler is loaded where something is computed

    height, width = int(first.shape[0]) - len(weights) + 1, int(first.shape[1]) - len(weights) + 1
    along = np.array(weights)
    c1, c2 = (0.01 * data_range) * (0.01 * data_range), (0.03 * data_range) * (0.03 * data_range)
    total = np.zeros(width)
    for y0, y1 in _bands(height):
        rows = slice(y0, y1 + len(weights) - 1)
        a, b = (np.ascontiguousarray(_floats(plane[rows], unit)) for plane in (first, second))

        def columns(_: int, x0: int, x1: int, a: Floats = a, b: Floats = b) -> None:
            add_similarities(a, b, along, correction, c1, c2, total, x0, x1)

        each(columns, width)
    return _sum(total) / (height * width)
