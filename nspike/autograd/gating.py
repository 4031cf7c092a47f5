"""What networks of prompts and of frequencies need (PromptIR, AdaIR): pools, learnt planes, a split spectrum; (N, C, H, W)."""

import numpy as np

from nspike.autograd.attention import matmul, softmax
from nspike.autograd.tensor import Array, Tensor, operation


def _d_largest(g: Array, out: Array, x: Array, axes: tuple[int, ...]) -> Array:
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    flat = moved.reshape(*moved.shape[: -len(axes)], -1)
    gradient = np.zeros_like(flat)
    np.put_along_axis(gradient, flat.argmax(-1)[..., None], g.reshape(*flat.shape[:-1], 1), axis=-1)
    return np.moveaxis(gradient.reshape(moved.shape), range(-len(axes), 0), axes)


@operation(_d_largest)
def largest(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest along some axes, which are kept; its gradient goes to the first of equals."""
    return np.asarray(x.max(axis=axes, keepdims=True))


def _d_shrink(g: Array, out: Array, x: Array, factor: int) -> Array:
    gradient, first = np.zeros_like(x), factor // 2 - 1
    for y in (first, first + 1):
        for z in (first, first + 1):
            gradient[:, :, y::factor, z::factor] = g * x.dtype.type(0.25)
    return gradient


@operation(_d_shrink)
def shrink(x: Array, factor: int) -> Array:
    """The mean of the middle 2×2 pixels of each block."""
    first = factor // 2 - 1
    parts = [x[:, :, y::factor, z::factor] for y in (first, first + 1) for z in (first, first + 1)]
    return np.asarray((parts[0] + parts[1] + parts[2] + parts[3]) * x.dtype.type(0.25))


def _weights(size: int, target: int) -> Array:
    """Bilinear interpolation along an axis as a matrix (target, size), between pixel centres, the ends repeated."""
    at = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size))))


def _d_resize(g: Array, out: Array, x: Array, size: tuple[int, int]) -> Array:
    rows, columns = (_weights(n, m).astype(x.dtype) for n, m in zip(x.shape[2:], size, strict=True))
    return np.asarray(rows.T @ g @ columns)


@operation(_d_resize)
def resize(x: Array, size: tuple[int, int]) -> Array:
    """To any size, bilinear and without smoothing, as PyTorch's with align_corners=False."""
    rows, columns = (_weights(n, m).astype(x.dtype) for n, m in zip(x.shape[2:], size, strict=True))
    return np.asarray(rows @ x @ columns.T)


def prompt(scores: Tensor, planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Σₖ softmax(s)ₖ·Pₖ at some size: scores (N, count, 1, 1), planes (count, C, h, w)."""
    count, channels, height, width = planes.shape
    shares = softmax(scores.reshape(-1, count))
    mixed = matmul(shares, planes.reshape(count, channels * height * width))
    return resize(mixed.reshape(-1, channels, height, width), size=size)


def _box(shape: tuple[int, ...], shares: Array, block: int) -> Array:
    """Which frequencies are low, (N, 1, H, W) of 0 and 1."""
    box = np.zeros((shape[0], 1, *shape[2:]))
    for n, share in enumerate(shares.reshape(len(shares), 2).astype(np.float32)):
        half = [int(np.float32(side // block) * part) for side, part in zip(shape[2:], share, strict=True)]
        low = [np.r_[:h, side - h : side] for h, side in zip(half, shape[2:], strict=True)]
        box[n, 0][np.ix_(*low)] = 1
    return box


def _parts(x: Array, box: Array) -> Array:
    low = np.fft.ifft2(box * np.fft.fft2(x))
    return np.asarray(np.concatenate([low, x - low], axis=1))


def _d_frequencies(g: Array, out: Array, x: Array, shares: Array, block: int) -> Array:
    box = _box(x.shape, shares, block)
    parts = _parts(x, box)
    size = np.abs(parts)
    turned = g * parts / np.where(size > 0, size, 1)
    low, high = np.split(turned, 2, axis=1)
    return np.asarray((high + np.fft.ifft2(box * np.fft.fft2(low - high))).real, x.dtype)


def _d_shares(g: Array, out: Array, x: Array, shares: Array, block: int) -> Array:
    return np.zeros_like(shares)


@operation(_d_frequencies, _d_shares)
def frequencies(x: Array, shares: Array, block: int) -> Array:
    """Low, then high frequencies of each channel; the shares are rounded to whole frequencies and learn nothing."""
    return np.asarray(np.abs(_parts(x, _box(x.shape, shares, block))), x.dtype)
