"""What moves or joins pixels: shuffles, slices, enlargement, pooling, the spectrum's L1 norm. All of (N, C, H, W)."""

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


def _swap(x: Array, groups: int) -> Array:
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(x.shape)


def _d_channel_shuffle(g: Array, out: Array, x: Array, groups: int) -> Array:
    return _swap(g, x.shape[1] // groups)


@operation(_d_channel_shuffle)
def channel_shuffle(x: Array, groups: int) -> Array:
    """Channels (groups, C/groups) read as (C/groups, groups)."""
    return _swap(x, groups)


def _d_channels(g: Array, out: Array, x: Array, first: int, count: int) -> Array:
    gradient = np.zeros_like(x)
    gradient[:, first : first + count] = g
    return gradient


@operation(_d_channels)
def channels(x: Array, first: int, count: int) -> Array:
    """`count` channels from `first` on."""
    return x[:, first : first + count]


def _blocks(x: Array, size: int) -> Array:
    """A view (N, C, h, size, w, size)."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // size, size, w // size, size)


def _repeated(x: Array, factor: int) -> Array:
    return x.repeat(factor, axis=2).repeat(factor, axis=3)


def _d_nearest(g: Array, out: Array, x: Array, factor: int) -> Array:
    return np.asarray(_blocks(g, factor).sum(axis=(3, 5)))


@operation(_d_nearest)
def nearest(x: Array, factor: int) -> Array:
    """Each pixel repeated along both axes."""
    return _repeated(x, factor)


def _d_average_pool(g: Array, out: Array, x: Array, size: int) -> Array:
    return _repeated(g * x.dtype.type(1 / size**2), size)


@operation(_d_average_pool)
def average_pool(x: Array, size: int) -> Array:
    """The mean of each size×size block."""
    return np.asarray(_blocks(x, size).mean(axis=(3, 5)))


def _d_max_pool(g: Array, out: Array, x: Array, size: int) -> Array:
    n, c, h, w = out.shape
    blocks = _blocks(x, size).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h, w, -1)
    gradient = np.zeros_like(blocks)
    np.put_along_axis(gradient, blocks.argmax(axis=-1)[..., None], g[..., None], axis=-1)
    return gradient.reshape(n, c, h, w, size, size).transpose(0, 1, 2, 4, 3, 5).reshape(x.shape)


@operation(_d_max_pool)
def max_pool(x: Array, size: int) -> Array:
    """The largest of each size×size block; its gradient goes to the first of equals."""
    return np.asarray(_blocks(x, size).max(axis=(3, 5)))


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


def bilinear(size: int, wanted: int) -> Array:
    """Bilinear interpolation along an axis to any size, (wanted, size): pixel centres kept, edges repeated."""
    at = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0.0, size - 1)
    low = np.minimum(at.astype(int), size - 1)
    matrix = np.zeros((wanted, size))
    rows = np.arange(wanted)
    np.add.at(matrix, (rows, low), 1 - (at - low))
    np.add.at(matrix, (rows, np.minimum(low + 1, size - 1)), at - low)
    return matrix


def adaptive_average(size: int, wanted: int) -> Array:
    """Averages of neighbours along an axis to any smaller size, (wanted, size), as PyTorch's adaptive pooling takes them."""
    matrix = np.zeros((wanted, size))
    for i in range(wanted):
        first, last = i * size // wanted, -(-(i + 1) * size // wanted)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def _along(x: Array, matrix: Array, axis: int) -> Array:
    first = np.tensordot(matrix.astype(x.dtype), x, axes=(1, axis))
    return np.ascontiguousarray(np.moveaxis(first, 0, axis))


def _d_mapped(g: Array, out: Array, x: Array, matrix: Array, axis: int) -> Array:
    return _along(g, matrix.T, axis)


@operation(_d_mapped)
def mapped(x: Array, matrix: Array, axis: int) -> Array:
    """A linear map along an axis, matrix (wanted, size)."""
    return _along(x, matrix, axis)


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
