"""Blurred images: I = J ∗ h, h being a straight line (motion) or a disc (defocus), antialiased, its sum 1.

The image is mirrored beyond its border.
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
    radius = math.ceil(length / 2)
    kernel = np.zeros((2 * radius + 3, 2 * radius + 3))
    along = np.linspace(-(length - 1) / 2, (length - 1) / 2, max(1, math.ceil(_FINE * length)))
    y, x = radius + 1 - along * math.sin(angle), radius + 1 + along * math.cos(angle)
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
