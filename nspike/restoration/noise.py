"""How noisy an image is, in the units of noise levels everywhere in nspike."""

import numpy as np

from nspike.degradations.noise import estimate_sigma
from nspike.images.plane import to_plane
from nspike.model.model import ImageLike
from nspike.restoration.inputs import read_input


def estimate_noise(image: ImageLike) -> float:
    """Estimate the standard deviation of the white Gaussian noise in an image, in units of 1/255.

    Parameters
    ----------
    image : a file or an array, as for `nspike.restore`; at least 4x4 pixels. Of colour images the mean over the channels is
        taken; alpha does not count.

    Returns
    -------
    float
        sigma as in `--sigma`: 25 is the noise that `dncnn-s25` was trained for.

    Raises
    ------
    BadInputError
        a file that cannot be read, an array that is no image, or one that is too small.
    """
    pixels = read_input(image).pixels
    if pixels.dtype.kind == "u":
        to_plane(pixels[:1])  # refuses what is neither uint8 nor uint16
        return 255 * estimate_sigma(pixels / float(np.iinfo(pixels.dtype).max))
    to_plane(pixels)
    return 255 * estimate_sigma(pixels.astype(np.float64))
