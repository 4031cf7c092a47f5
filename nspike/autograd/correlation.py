"""Convolution of float arrays and its two gradients, for training. Images are (N, H, W, C), kernels (C_out, C_in, k, k).

    y[n, p, o] = b[o] + Σ x[n, s·p + D·d - pad, i]·w[o, i, d]

By matrix products (BLAS) over unrolled neighbourhoods, unrolling whichever side has fewer channels; 3×3 convolutions of
many channels in float32 by Winograd's method, `nspike.kernels.winograd`; one channel in each group by
`nspike.autograd.depthwise`, small groups at single pixels by `nspike.autograd.grouped`. Padding is a number or (before,
after). Results may be given back to `nspike.runtime.buffers`.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from nspike.autograd import depthwise, grouped
from nspike.autograd.depthwise import Pads, padded, pads_of
from nspike.runtime.buffers import take
from nspike.runtime.parallel import available, each

Array = NDArray[np.floating]

_CHUNK = 2**22  # numbers in an unrolled chunk
_DENSE = 20_000  # weights up to which one product with zeros between the groups is faster than one for each of them
_BLOCK = 2  # rows of Winograd tiles at a time: what they become fits the second-level cache


def convolve(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    stride: int = 1,
    pad: int | Pads = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """y float (N, h, w, C_out)."""
    if winograd_serves(w.shape, np.result_type(x, w), stride, pad, groups, dilation):
        return _winograd(x, w, bias)
    if groups > 1:
        y = _grouped(x, w, stride, pad, groups, dilation)
    elif w.shape[0] < w.shape[1] and _turns(w.shape[2], stride, pad, dilation):
        span = dilation * (w.shape[2] - 1)
        height, width = (n + sum(pads_of(pad)) - span for n in x.shape[1:3])
        y = _scatter(x, _turned(w), 1, _turned_pads(span, pad), height, width, dilation)
    else:
        y = _correlate(x, w, stride, pad, dilation)
    if bias is not None:
        y += bias
    return y


def _grouped(x: Array, w: Array, stride: int, pad: int | Pads, groups: int, dilation: int) -> Array:
    if groups == x.shape[3]:
        return depthwise.convolve(x, w, stride, pads_of(pad), dilation)
    if _pointwise(w.shape[2], stride, pad):
        return _by_group(x, w.reshape(groups, -1, w.shape[1]).swapaxes(1, 2))
    parts = zip(*_groups(groups, (x, 3), (w, 0)), strict=True)
    return np.concatenate([convolve(*part, stride=stride, pad=pad, dilation=dilation) for part in parts], axis=3)


def input_gradient(
    g: Array,
    w: Array,
    height: int,
    width: int,
    *,
    stride: int = 1,
    pad: int | Pads = 0,
    groups: int = 1,
    dilation: int = 1,
) -> Array:
    """∂L/∂x float (N, height, width, C_in) from g = ∂L/∂y."""
    if winograd_serves(w.shape, np.result_type(g, w), stride, pad, groups, dilation):
        return _winograd(g, _turned(w), None)
    if groups > 1 and w.shape[1] == 1:
        return depthwise.input_gradient(g, w, height, width, groups, stride, pads_of(pad), dilation)
    if groups > 1 and _pointwise(w.shape[2], stride, pad):
        return _by_group(g, w.reshape(groups, -1, w.shape[1]))
    if groups > 1:
        parts = zip(*_groups(groups, (g, 3), (w, 0)), strict=True)
        gradients = [
            input_gradient(one, kernels, height, width, stride=stride, pad=pad, dilation=dilation)
            for one, kernels in parts
        ]
        return np.concatenate(gradients, axis=3)
    if w.shape[0] < w.shape[1] and _turns(w.shape[2], stride, pad, dilation):
        return _correlate(g, _turned(w), 1, _turned_pads(dilation * (w.shape[2] - 1), pad), dilation)
    return _scatter(g, w, stride, pad, height, width, dilation)


def kernel_gradient(
    x: Array, g: Array, kernel: int, *, stride: int = 1, pad: int | Pads = 0, groups: int = 1, dilation: int = 1
) -> Array:
    """∂L/∂w float (C_out, C_in / groups, kernel, kernel) from g = ∂L/∂y."""
    channels, kept = x.shape[3], g.shape[3]
    if groups > 1 and groups == channels:
        return depthwise.kernel_gradient(x, g, kernel, stride, pads_of(pad), dilation)
    if groups > 1 and _pointwise(kernel, stride, pad):
        if grouped.serves(channels // groups, kept // groups, np.result_type(x, g)):
            return grouped.matrix_gradient(x, g, groups).swapaxes(1, 2).reshape(kept, -1, 1, 1)
        if channels * kept <= _DENSE:
            return _blocks(g.reshape(-1, kept).T @ x.reshape(-1, channels), groups).reshape(kept, -1, 1, 1)
        products: Array = np.matmul(_pixels(g, groups).swapaxes(1, 2), _pixels(x, groups))
        return products.reshape(kept, -1, 1, 1)
    if groups > 1:
        parts = zip(*_groups(groups, (x, 3), (g, 3)), strict=True)
        gradients = [
            kernel_gradient(read, one, kernel, stride=stride, pad=pad, dilation=dilation) for read, one in parts
        ]
        return np.concatenate(gradients, axis=0)
    if winograd_serves((kept, channels, kernel, kernel), np.result_type(x, g), stride, pad, groups, dilation):
        return _winograd_gradient(x, g)
    if kept < channels and _turns(kernel, stride, pad, dilation):
        pads = _turned_pads(dilation * (kernel - 1), pad)
        turned = _products(g, x, kernel, 1, pads, dilation)  # (C_out, k, k, C_in), turned by half
        return np.ascontiguousarray(turned.transpose(0, 3, 1, 2)[:, :, ::-1, ::-1])
    return np.ascontiguousarray(_products(x, g, kernel, stride, pad, dilation).transpose(3, 0, 1, 2))


def _groups(groups: int, *arrays: tuple[Array, int]) -> list[list[Array]]:
    return [np.split(array, groups, axis) for array, axis in arrays]


def _pointwise(kernel: int, stride: int, pad: int | Pads) -> bool:
    """Whether a convolution is a product of matrices at each pixel."""
    return kernel == 1 and stride == 1 and not any(pads_of(pad))


def _pixels(images: Array, groups: int) -> Array:
    """A view (groups, pixels, channels of a group)."""
    return np.ascontiguousarray(images).reshape(-1, groups, images.shape[3] // groups).swapaxes(0, 1)


def _by_group(images: Array, matrices: Array) -> Array:
    """Each group's channels at every pixel times its matrix (groups, in, out)."""
    groups, each_in, each_out = matrices.shape
    out = take((*images.shape[:3], groups * each_out), np.result_type(images, matrices))
    if grouped.serves(each_in, each_out, out.dtype):
        grouped.multiply(images, matrices, out)
        return out
    if matrices.size * groups <= _DENSE:
        whole = np.zeros((images.shape[3], groups * each_out), matrices.dtype)
        _blocks(whole, groups)[:] = matrices
        np.matmul(images.reshape(-1, len(whole)), whole, out=out.reshape(-1, whole.shape[1]))
        return out
    np.matmul(_pixels(images, groups), matrices, out=_pixels(out, groups))
    return out


def _blocks(matrix: Array, groups: int) -> Array:
    """A view (groups, rows, columns) of the blocks on the diagonal."""
    rows, columns = (side // groups for side in matrix.shape)
    a, b = matrix.strides
    return as_strided(matrix, (groups, rows, columns), (rows * a + columns * b, a, b))


def _turned(w: Array) -> Array:
    """The kernel of the opposite direction: channels swapped, turned by half."""
    return w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]


def _turns(kernel: int, stride: int, pad: int | Pads, dilation: int) -> bool:
    """Whether the transposed map is a convolution with the turned kernel."""
    return stride == 1 and max(pads_of(pad)) <= dilation * (kernel - 1)


def _turned_pads(span: int, pad: int | Pads) -> Pads:
    before, after = pads_of(pad)
    return span - before, span - after


# ----- Matrix products over unrolled neighbourhoods -----


def unrolled(x: Array, kernel: int, stride: int, pad: int | Pads, dilation: int = 1) -> Array:
    """A view (N, h, w, k, k, C) of the padded images."""
    images, span = padded(x, pads_of(pad)), dilation * (kernel - 1)
    n, height, width, channels = images.shape
    shape = (n, (height - span - 1) // stride + 1, (width - span - 1) // stride + 1, kernel, kernel, channels)
    a, b, c, d = images.strides
    return as_strided(images, shape, (a, b * stride, c * stride, b * dilation, c * dilation, d), writeable=False)


def _chunks(count: int, numbers: int) -> list[tuple[int, int]]:
    """Ranges of images of which each holds up to `_CHUNK` numbers, given how many an image has."""
    size = max(1, _CHUNK // max(1, numbers))
    return [(first, min(first + size, count)) for first in range(0, count, size)]


def _correlate(x: Array, w: Array, stride: int, pad: int | Pads, dilation: int) -> Array:
    kept, _, kernel, _ = w.shape
    rows = unrolled(x, kernel, stride, pad, dilation)
    matrix = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, kept)
    y = take((*rows.shape[:3], kept), np.result_type(x, w))
    for first, last in _chunks(len(x), rows[0].size):
        part = rows[first:last].reshape(-1, matrix.shape[0])
        np.matmul(part, matrix, out=y[first:last].reshape(-1, kept))
    return y


def _scatter(g: Array, w: Array, stride: int, pad: int | Pads, height: int, width: int, dilation: int) -> Array:
    """What `_correlate` reads from each pixel, put back: the transposed map. By planes, whose rows lie in one piece."""
    kept, channels, kernel, _ = w.shape
    n, h, v, _ = g.shape
    before, after = pads_of(pad)
    matrix = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).reshape(-1, kept)
    out = np.zeros((channels, n, height + before + after, width + before + after), np.result_type(g, w))
    for first, last in _chunks(n, h * v * len(matrix)):
        part = matrix @ np.ascontiguousarray(g[first:last]).reshape(-1, kept).T
        part = part.reshape(kernel, kernel, channels, last - first, h, v)
        for tap in np.ndindex(kernel, kernel):
            y, x = (dilation * at for at in tap)
            ends = (y + (h - 1) * stride + 1, x + (v - 1) * stride + 1)
            out[:, first:last, y : ends[0] : stride, x : ends[1] : stride] += part[tap]
    return np.ascontiguousarray(out[:, :, before : before + height, before : before + width].transpose(1, 2, 3, 0))


def _products(x: Array, g: Array, kernel: int, stride: int, pad: int | Pads, dilation: int) -> Array:
    """Σ over pixels of every neighbour of x with every channel of g: (C of x, k, k, C of g)."""
    rows = unrolled(x, kernel, stride, pad, dilation)
    total = np.zeros((kernel * kernel * x.shape[3], g.shape[3]), np.result_type(x, g))
    for first, last in _chunks(len(x), rows[0].size):
        part = rows[first:last].reshape(-1, total.shape[0])
        total += part.T @ np.ascontiguousarray(g[first:last]).reshape(-1, g.shape[3])
    return total.reshape(kernel, kernel, x.shape[3], -1).transpose(2, 0, 1, 3)


# ----- Winograd -----


def winograd_serves(
    shape: tuple[int, ...], dtype: np.dtype[Any], stride: int, pad: int | Pads, groups: int = 1, dilation: int = 1
) -> bool:
    """Whether a convolution with a kernel of this shape is one for `nspike.kernels.winograd`."""
    if shape[2:] != (3, 3) or (stride, groups, dilation) != (1, 1, 1) or dtype != np.float32:
        return False
    if pads_of(pad) != (1, 1):
        return False
    from nspike.kernels.winograd import COLUMNS

    return shape[0] % COLUMNS == 0 and shape[1] % COLUMNS == 0


def _winograd(x: Array, w: Array, bias: Array | None) -> Array:
    from nspike.kernels import winograd

    n, height, width, channels = x.shape
    kept = len(w)
    kernels = _into_tiles(w).reshape(-1)
    out = take((n, height, width, kept))
    added = np.zeros(kept, np.float32) if bias is None else np.asarray(bias, np.float32)
    flat, size = np.ascontiguousarray(x).reshape(-1), (height, width, channels, kept)

    def piece(_: int, first: int, last: int) -> None:
        winograd.convolve(flat, size, kernels, added, first, last, _BLOCK, out.reshape(-1))

    each(piece, n)
    return out


def _into_tiles(w: Array) -> Array:
    """G w Gᵀ float32 (6, 6, C_in, C_out)."""
    from nspike.kernels.winograd import KERNEL

    once = np.tensordot(KERNEL, w, (1, 2))  # (6, C_out, C_in, 3)
    return np.ascontiguousarray(np.tensordot(once, KERNEL, (3, 1)).transpose(0, 3, 2, 1), np.float32)


def _winograd_gradient(x: Array, g: Array) -> Array:
    silent = np.zeros((1, 1, 1, 1, 1), np.uint64)
    return tile_products(np.ascontiguousarray(x).reshape(-1), silent, 0, 0, x.shape[3], g)


def tile_products(images: Array, words: NDArray[np.uint64], pad: int, step: int, channels: int, g: Array) -> Array:
    """∂L/∂w float32 (C_out, channels, 3, 3) of images, flat float32, or, if there are none, of packed spikes.

    words uint64 (M, rows, columns, steps, words) with `pad` of zeros around; g float32 (steps · M, H, W, C_out), from
    `step` on.
    """
    from nspike.kernels import winograd

    n, height, width, kept = g.shape
    padded = -(-channels // winograd.ROWS) * winograd.ROWS
    sums = np.zeros((available(), winograd.PATCH**2, padded, kept), np.float32)
    flat, size = np.ascontiguousarray(g).reshape(-1), (height, width, channels, kept)

    def piece(number: int, first: int, last: int) -> None:
        into = sums[number].reshape(-1)
        winograd.kernel_gradient(images, words, winograd.BITS, pad, step, size, flat, first, last, _BLOCK, into)

    count = each(piece, n)
    total = sums[:count].sum(axis=0, dtype=np.float64)[:, :channels].reshape(6, 6, channels, kept)
    once = np.tensordot(winograd.KERNEL, total, (0, 0))  # (3, 6, C_in, C_out)
    twice = np.tensordot(winograd.KERNEL, once, (0, 1))  # (3 of x, 3 of y, C_in, C_out)
    return np.ascontiguousarray(twice.transpose(3, 2, 1, 0), np.float32)
