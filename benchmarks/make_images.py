"""Make the bundled images in nspike/images/bundled again, from scikit-image's: the same pixels on every machine.

    pip install scikit-image && python benchmarks/make_images.py [FOLDER]

Noise follows nspike.degradations.noise.add_gaussian (σ 25, seed 0), here limited to [0, 1] and rounded to 8 bits, as a
file must be.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage import data

from nspike.degradations.haze import add_haze
from nspike.degradations.noise import add_gaussian
from nspike.images.file import ImageData, write
from nspike.images.plane import to_pixels
from nspike.images.resize import imresize

SIGMA = 25
SEED = 0
BETA, AIRLIGHT = 1.0, 0.9


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_pixels(imresize(pixels / 255.0, 0.5))


def noisy(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return to_pixels(add_gaussian(pixels / 255.0, SIGMA, SEED))


def hazy(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Haze that thickens smoothly towards the top of the image, a little faster to the left."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    depth = 0.3 + 0.9 * (1 - y / height) + 0.2 * (1 - x / width)
    return to_pixels(add_haze(pixels / 255.0, depth, beta=BETA, airlight=AIRLIGHT))


def images() -> dict[str, NDArray[np.uint8]]:
    camera = halved(data.camera())
    chelsea = data.chelsea()[20:260, 80:400]
    coffee = halved(data.coffee())
    astronaut = data.astronaut()[:256, 96:352]
    return {
        "camera": camera,
        "camera_noisy25": noisy(camera),
        "chelsea": chelsea,
        "chelsea_noisy25": noisy(chelsea),
        "coffee": coffee,
        "coffee_hazy": hazy(coffee),
        "astronaut": astronaut,
        "astronaut_lr": halved(astronaut),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent / "nspike" / "images" / "bundled"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    folder = parser.parse_args().folder
    for name, pixels in images().items():
        write(folder / f"{name}.png", ImageData(np.ascontiguousarray(pixels)))
        print(f"{name}.png {pixels.shape}")
