"""Blurred images: I = J ∗ h, h being a straight line (motion), the path of a shaken camera or a disc (defocus), antialiased, its
sum 1. The image is mirrored beyond its border.

A camera's path has constant speed, and a direction that is a random walk: after the whole exposure it has turned by an angle of
standard deviation `bend`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

Floats = NDArray[np.float64]

_FINE = 8
"""Samples along a pixel's side."""


def motion_kernel(length: float, angle: float) -> Floats:
    """A line of `length` pixels at `angle` (radians from the x axis), its sum 1: float64 (k, k), k odd."""
    if not (math.isfinite(length) and length >= 1 and math.isfinite(angle)):
        raise BadInputError(f"motion blur needs a length of at least 1 pixel and an angle, not {length} and {angle}")
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, max(1, math.ceil(_FINE * length)))
    return _drawn(-along * math.sin(angle), along * math.cos(angle), math.ceil(length / 2))


def shake_kernel(length: float, bend: float, draw: np.random.Generator) -> Floats:
    """A camera's random path of `length` pixels that bends by about `bend` radians, its sum 1: float64 (k, k), k odd."""
    if not (math.isfinite(length) and length >= 1 and math.isfinite(bend) and bend >= 0):
        raise BadInputError(f"shake needs a length of at least 1 pixel and a bend from 0, not {length} and {bend}")
    count = max(2, math.ceil(_FINE * length))
    turns = draw.normal(0, bend / math.sqrt(count), count)
    turns[0] = draw.uniform(0, 2 * math.pi)
    direction, step = np.cumsum(turns), (length - 1) / count
    y, x = (np.cumsum(step * part(direction)) for part in (np.sin, np.cos))
    y, x = (path - (path.min() + path.max()) / 2 for path in (y, x))
    return _drawn(y, x, math.ceil(length / 2))


def _drawn(y: Floats, x: Floats, radius: int) -> Floats:
    """The points (y, x) around the middle, at most `radius` away, each shared among the four pixels next to it."""
    kernel = np.zeros((2 * radius + 3, 2 * radius + 3))
    y, x = y + (radius + 1), x + (radius + 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.add.at(kernel, (top + dy, left + dx), np.abs(1 - dy - (y - top)) * np.abs(1 - dx - (x - left)))
    return np.asarray(kernel / kernel.sum())


def defocus_kernel(radius: float) -> Floats:
    """A disc of `radius` pixels, its sum 1: float64 (k, k), k odd."""
    if not (math.isfinite(radius) and radius > 0):
        raise BadInputError(f"defocus needs a radius above 0 pixels, not {radius}")
    reach = math.ceil(radius)
    side = 2 * reach + 1
    fine = (np.arange(side * _FINE) + 0.5) / _FINE - side / 2
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    kernel = inside.reshape(side, _FINE, side, _FINE).mean(axis=(1, 3))
    return np.asarray(kernel / kernel.sum())


def convolve(pixels: Floats, kernel: Floats) -> Floats:
    """`pixels` (H, W) or (H, W, C) with `kernel` (k, k), mirrored beyond the border."""
    from scipy.ndimage import convolve as slide

    shaped = kernel if pixels.ndim == 2 else kernel[..., None]
    return np.asarray(slide(pixels, shaped, mode="mirror"), np.float64)
