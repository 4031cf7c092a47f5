"""Compression as a JPEG: what a camera writes, and what noise looks like once it has been through that.

    D = decode(encode(round(255·x), quality)) / 255,    x clipped to [0, 1]

Pillow's libjpeg does both, as it does when an image is read. The quality decides by which steps the coefficients of 8x8 blocks
are quantised, and chroma has full resolution (4:4:4) or half of it in both directions (4:2:0). Noise comes out coarse, without
its finest detail, and alike in all channels. Blocks begin at the upper left.
"""

import io

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError

Floats = NDArray[np.float64]

MARGIN = 16
"""Pixels of a block of halved chroma, so that a crop with a margin of it looks like a part of a larger JPEG."""


def compress(pixels01: Floats, quality: int, *, halved: bool = False) -> Floats:
    """An image as it is read from a JPEG.

    Parameters
    ----------
    pixels01 : float64 (H, W, 1) or (H, W, 3), in [0, 1]; what is outside is clipped
    quality : Pillow's, 1 to 100
    halved : chroma in half resolution, 4:2:0, instead of 4:4:4; of one channel, which has none, it changes nothing

    Returns
    -------
    float64 of the same shape, multiples of 1/255.

    Raises BadInputError for another shape or quality.
    """
    if pixels01.dtype != np.float64 or pixels01.ndim != 3 or pixels01.shape[2] not in (1, 3) or not pixels01.size:
        raise BadInputError(
            f"expected float64 (H, W, 1) or (H, W, 3) to compress, not {pixels01.dtype} {pixels01.shape}"
        )
    if not 1 <= quality <= 100:
        raise BadInputError(f"a JPEG's quality is 1 to 100, not {quality}")
    from PIL import Image

    samples = np.rint(np.clip(pixels01, 0, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples))
    image.save(stream, "JPEG", quality=int(quality), subsampling=2 if halved else 0)
    with Image.open(stream, formats=["JPEG"]) as read:
        return np.asarray(read, np.float64).reshape(pixels01.shape) / 255
