"""The steps and the blocks of a JPEG, also of one that is turned for display."""

import io

import numpy as np
import pytest
from PIL import Image

from nspike.images.exif import turn
from nspike.images.file import decode, read
from nspike.images.jpeg_blocks import Blocks, blocks_of

STEPS = np.arange(1, 65).reshape(8, 8)


def jpeg(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


@pytest.mark.parametrize("channels", [(), (3,)])
def test_steps_of_luma(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (33, 42, *channels), np.uint8)
    tables = [list(range(1, 65)), [99] * 64]
    blocks = decode(jpeg(pixels, qtables=tables[: 1 + bool(channels)]), tmp_path).blocks
    np.testing.assert_array_equal(blocks.steps, STEPS)
    assert (blocks.top, blocks.left) == (0, 0)


def test_rows_are_vertical_frequencies(tmp_path):
    """With a step of 255 for horizontal frequencies, vertical stripes are gone, and horizontal ones stay."""
    table = np.ones((8, 8), int)
    table[0, 1:] = 255
    stripes = np.tile(np.array([110, 130], np.uint8), (16, 8))
    for pixels, kept in ((stripes, False), (np.ascontiguousarray(stripes.T), True)):
        image = decode(jpeg(pixels, qtables=[table.ravel().tolist()]), tmp_path)
        np.testing.assert_array_equal(image.blocks.steps, table)
        assert np.ptp(image.pixels.astype(int)) == (20 if kept else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned(tmp_path, orientation):
    height, width = 19, 29
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(np.zeros((height, width), np.uint8), qtables=[STEPS.ravel().tolist()], exif=exif.tobytes())
    blocks = decode(data, tmp_path).blocks
    marks = np.zeros((height, width))
    marks[::8, ::8] = 1
    marks[7::8, 7::8] = 2  # the last pixel of a block becomes the first where it is mirrored
    whole = turn(marks[:16, :24], orientation)
    seen = turn(marks, orientation)
    assert (seen.shape[0] % 8 * (blocks.top > 0), seen.shape[1] % 8 * (blocks.left > 0)) == (blocks.top, blocks.left)
    rows, columns = whole.shape
    np.testing.assert_array_equal(seen[blocks.top :, blocks.left :][:rows, :columns], whole)
    np.testing.assert_array_equal(blocks.steps, STEPS.T if orientation >= 5 else STEPS)


def test_none_where_there_are_no_such_blocks(tmp_path):
    pixels = np.zeros((16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").blocks is None
    assert blocks_of(Image.fromarray(pixels)) is None
    image = Image.open(io.BytesIO(jpeg(pixels)))
    assert isinstance(blocks_of(image), Blocks)
    image.info["adobe_transform"] = 0
    assert blocks_of(image) is None
