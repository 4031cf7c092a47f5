"""What moves pixels: pixel shuffle and its opposite, bilinear interpolation, the spectrum's L1 norm."""

import numpy as np

from nspike.autograd.tensor import Array, operation


def _shuffle(x: Array, factor: int) -> Array:
    n, c, h, w = x.shape
    parts = x.reshape(n, c // factor**2, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // factor**2, h * factor, w * factor)


def _unshuffle(x: Array, factor: int) -> Array:
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // factor, factor, w // factor, factor).transpose(0, 1, 3, 5, 2, 4)
    return parts.reshape(n, c * factor**2, h // factor, w // factor)


def _d_shuffle(g: Array, out: Array, x: Array, factor: int) -> Array:
    return _unshuffle(g, factor)


def _d_unshuffle(g: Array, out: Array, x: Array, factor: int) -> Array:
    return _shuffle(g, factor)


@operation(_d_shuffle)
def pixel_shuffle(x: Array, factor: int) -> Array:
    """(N, C·r², H, W) -> (N, C, H·r, W·r)."""
    return _shuffle(x, factor)


@operation(_d_unshuffle)
def pixel_unshuffle(x: Array, factor: int) -> Array:
    """(N, C, H·r, W·r) -> (N, C·r², H, W)."""
    return _unshuffle(x, factor)


def _weights(size: int, factor: int) -> Array:
    """Bilinear interpolation along an axis as a matrix (size·factor, size): pixel centres kept, edges repeated."""
    at = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0.0)
    low = np.minimum(at.astype(int), size - 1)
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((size * factor, size))
    rows = np.arange(size * factor)
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, high), at - low)
    return matrix


def _d_interpolate(g: Array, out: Array, x: Array, factor: int) -> Array:
    rows, columns = (_weights(n, factor).astype(x.dtype) for n in x.shape[2:])
    return np.asarray(rows.T @ g @ columns)


@operation(_d_interpolate)
def interpolate(x: Array, factor: int) -> Array:
    """Bilinear enlargement of (N, C, H, W) by a whole number, as PyTorch's with align_corners=False."""
    rows, columns = (_weights(n, factor).astype(x.dtype) for n in x.shape[2:])
    return np.asarray(rows @ x @ columns.T)


def _d_spectral_norm(g: Array, out: Array, x: Array) -> Array:
    from scipy import fft

    spectrum = fft.fft2(x)
    size = np.abs(spectrum)
    unit = spectrum / np.where(size > 0, size, 1)
    pixels = x.shape[-2] * x.shape[-1]
    return np.asarray(g * fft.ifft2(unit).real * (pixels / x.size), x.dtype)


@operation(_d_spectral_norm)
def spectral_norm(x: Array) -> Array:
    """The mean of |F|, F being the Fourier transform over the last two axes."""
    from scipy import fft  # in single precision where x is

    return np.asarray(np.mean(np.abs(fft.fft2(x)), dtype=x.dtype))
