"""How noisy an image is, in the units of noise levels everywhere in nspike."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.jpeg_noise import estimate_before_jpeg
from nspike.degradations.noise import estimate_sigma
from nspike.images.jpeg_blocks import SIDE, Blocks
from nspike.images.plane import to_plane
from nspike.model.model import ImageLike
from nspike.restoration.inputs import read_input

_SAMPLE = 1024
_LEAST = 8
_LUMA = (0.299, 0.587, 0.114)  # JFIF
_OF_INDEPENDENT = math.sqrt(math.fsum(weight * weight for weight in _LUMA))
"""The luma's noise, of channels whose noises are independent and 1."""


@dataclass(frozen=True)
class Noise:
    """An image's noise in units of 1/255, and up to what noise its compression hides all of it (0: not compressed).

    channel : what a network that takes one channel at a time has to remove. In a JPEG of colours it is less: chroma, and
        with it what makes the channels' noises differ, is mostly gone, and luma has the noise of a weighted mean.
    """

    sigma: float
    hidden: float = 0.0
    channel: float | None = None

    @property
    def in_channel(self) -> float:
        """`channel`, or where it is the same, `sigma`."""
        return self.sigma if self.channel is None else self.channel

    @property
    def at_least(self) -> bool:
        """Whether there may be more than `sigma`."""
        return self.sigma < self.hidden

    def __str__(self) -> str:
        if not self.at_least:
            return f"sigma {self.sigma:.1f}"
        return f"at least sigma {self.sigma:.1f} (the JPEG's compression hides noise up to about {self.hidden:.0f})"


def noise_of(pixels: NDArray[Any], blocks: Blocks | None = None) -> Noise | None:
    """The estimated noise of an image, from its middle if it is large; None if it is tiny.

    Parameters
    ----------
    pixels : uint8 or uint16, (H, W) or (H, W, 3), of which the channels' mean is taken
    blocks : of a JPEG; then the noise before compression is estimated, from luma. In colour the channels' noises are taken
        to be independent, unless the image is grey.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < _LEAST:
        return None
    top, left = max(0, (height - _SAMPLE) // 2), max(0, (width - _SAMPLE) // 2)
    if blocks is not None and pixels.dtype == np.uint8:
        top, left = top - (top - blocks.top) % SIDE, left - (left - blocks.left) % SIDE
        top, left = (at + SIDE if at < 0 else at for at in (top, left))
        found = _before_jpeg(pixels[top : top + _SAMPLE, left : left + _SAMPLE], blocks)
        if found is not None:
            return found
    sample = pixels[top : top + _SAMPLE, left : left + _SAMPLE] / float(np.iinfo(pixels.dtype).max)
    return Noise(255 * estimate_sigma(sample)) if min(sample.shape[:2]) >= _LEAST else None


def _before_jpeg(pixels: NDArray[Any], blocks: Blocks) -> Noise | None:
    share = 1.0
    if pixels.ndim == 2:
        luma = pixels.astype(np.float64)
    else:
        red, green, blue = (pixels[..., c].astype(np.float64) for c in range(3))
        luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        if max(np.mean(np.abs(red - green)), np.mean(np.abs(blue - green))) >= 1:
            share = _OF_INDEPENDENT
    found = estimate_before_jpeg(luma, blocks.steps)
    return None if found is None else Noise(found.sigma / share, found.hidden / share, found.sigma)


def estimate_noise(image: ImageLike) -> float:
    """Estimate the standard deviation of the white Gaussian noise in an image, in units of 1/255.

    Parameters
    ----------
    image : a file or an array, as for `nspike.restore`; at least 4x4 pixels. Of colour images the mean over the channels is
        taken; alpha does not count. Of a JPEG's file it is the noise before compression, as far as that has left any.

    Returns
    -------
    float
        sigma as in `--sigma`: 25 is the noise that `dncnn-s25` was trained for.

    Raises
    ------
    BadInputError
        a file that cannot be read, an array that is no image, or one that is too small.
    """
    source = read_input(image)
    pixels = source.pixels
    if pixels.dtype.kind == "u":
        to_plane(pixels[:1])  # refuses what is neither uint8 nor uint16
        if source.blocks is not None and (found := noise_of(pixels, source.blocks)) is not None:
            return found.sigma
        return 255 * estimate_sigma(pixels / float(np.iinfo(pixels.dtype).max))
    to_plane(pixels)
    return 255 * estimate_sigma(pixels.astype(np.float64))
