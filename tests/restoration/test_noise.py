"""The noise of photographs: of JPEGs it is that before compression, within what is stated here.

On the bundled images, quality 80, 60 and 40: noise of 15 and 25 is found within 20 %, 50 (which black and white cut off) within
30 %. Below what compression hides the estimate says so.
"""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.images.file import decode
from nspike.images.jpeg_blocks import Blocks
from nspike.restoration.noise import Noise, noise_of

BUNDLED = Path(nspike.__file__).parent / "images" / "bundled"
NAMES = ("camera", "chelsea", "astronaut", "coffee")
TOLERANCE = {15: 0.2, 25: 0.2, 50: 0.3}


def photo(name, sigma, quality, **options):
    """A bundled image with noise, as a JPEG that was read."""
    clean = np.asarray(Image.open(BUNDLED / f"{name}.png"))
    noisy = np.clip(np.rint(clean + np.random.RandomState(0).normal(0, sigma, clean.shape)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=quality, **options)
    return decode(stream.getvalue(), Path(f"{name}.jpg"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("quality", [80, 60, 40])
def test_bundled_images(name, quality):
    for sigma, tolerance in TOLERANCE.items():
        image = photo(name, sigma, quality)
        found = noise_of(image.pixels, image.blocks)
        assert found.sigma == pytest.approx(sigma, rel=tolerance)
        assert not found.at_least
        if sigma == 15 and quality <= 60:
            assert noise_of(image.pixels).sigma < 0.5 * sigma, "without the file's steps"


@pytest.mark.parametrize("name", NAMES)
def test_little_noise_is_found_or_said_to_be_hidden(name):
    for quality in (95, 60, 20):
        image = photo(name, 4, quality)
        found = noise_of(image.pixels, image.blocks)
        assert found.at_least or found.sigma == pytest.approx(4, abs=3)
    assert found.hidden > 4


def test_subsampled_chroma_does_not_matter():
    whole, halved = (photo("chelsea", 20, 70, subsampling=kind) for kind in ("4:4:4", "4:2:0"))
    assert noise_of(whole.pixels, whole.blocks).sigma == pytest.approx(
        noise_of(halved.pixels, halved.blocks).sigma, rel=0.1
    )


def test_in_one_channel_of_a_jpeg_there_is_the_noise_of_luma():
    image = photo("chelsea", 20, 70)
    found = noise_of(image.pixels, image.blocks)
    assert found.in_channel == pytest.approx(0.669 * found.sigma, rel=1e-3)
    assert noise_of(image.pixels).in_channel == noise_of(image.pixels).sigma
    grey = photo("camera", 20, 70)
    assert noise_of(grey.pixels, grey.blocks).in_channel == noise_of(grey.pixels, grey.blocks).sigma


def test_grey_in_three_channels_has_the_noise_of_grey():
    image = photo("camera", 20, 60)
    grey = noise_of(image.pixels, image.blocks)
    assert noise_of(np.stack([image.pixels] * 3, axis=2), image.blocks).sigma == pytest.approx(grey.sigma, rel=1e-6)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_photograph_keeps_its_blocks(orientation):
    clean = np.asarray(Image.open(BUNDLED / "camera.png"))[:221, :253]
    noisy = np.clip(clean + np.random.RandomState(0).normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noisy).save(stream, "JPEG", quality=50, exif=exif.tobytes())
    image = decode(stream.getvalue(), Path("a.jpg"))
    found = noise_of(image.pixels, image.blocks)
    assert found.sigma == pytest.approx(20, rel=0.2)


def test_a_large_photograph_is_sampled_on_its_blocks():
    image = photo("camera", 20, 50)
    large = np.tile(image.pixels, (5, 5))
    for top in (0, 3, 5):
        found = noise_of(large[(8 - top) % 8 :], Blocks(image.blocks.steps, top))
        assert found.sigma == pytest.approx(20, rel=0.15)


def test_the_public_estimate_is_the_same(tmp_path):
    image = photo("coffee", 25, 50)
    stream = tmp_path / "coffee.jpg"
    clean = np.asarray(Image.open(BUNDLED / "coffee.png"))
    noisy = np.clip(np.rint(clean + np.random.RandomState(0).normal(0, 25, clean.shape)), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(stream, "JPEG", quality=50)
    assert nspike.estimate_noise(stream) == noise_of(image.pixels, image.blocks).sigma


def test_words():
    assert str(Noise(12.34)) == str(Noise(12.34, 5.0)) == "sigma 12.3"
    assert str(Noise(2.0, 5.6)) == "at least sigma 2.0 (the JPEG's compression hides noise up to about 6)"
