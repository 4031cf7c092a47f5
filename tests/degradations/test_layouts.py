"""Pairs of images, laid out as the literature's sets are."""

import numpy as np
import pytest

from nspike.degradations.layouts import find_pairs, has_pairs
from nspike.errors import BadInputError
from nspike.images.file import ImageData, write


@pytest.fixture
def lay(tmp_path):
    """Makes the files named, in a folder."""

    def made(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            write(tmp_path / name, ImageData(np.zeros((2, 2), np.uint8)))
        return tmp_path

    return made


def found(folder):
    """The pairs, as text."""
    assert has_pairs(folder)
    pairs = find_pairs(folder)
    return [" ".join(path.relative_to(folder).as_posix() for path in pair) for pair in pairs]


@pytest.mark.parametrize(
    ("files", "pairs"),
    [
        (["hazy/1_2.png", "hazy/1_10.png", "GT/1.png"], ["hazy/1_10.png GT/1.png", "hazy/1_2.png GT/1.png"]),
        (["haze/0001_0.8_0.2.jpg", "clear/0001.png"], ["haze/0001_0.8_0.2.jpg clear/0001.png"]),
        (["Rain/norain-1.png", "NoRain/norain-1.png"], ["Rain/norain-1.png NoRain/norain-1.png"]),
        (["rain/rain-2.png", "norain/norain-2.png"], ["rain/rain-2.png norain/norain-2.png"]),
        (["rainy/rain-002.png", "gt/norain-002.png"], ["rainy/rain-002.png gt/norain-002.png"]),
        (["rain/norain-3x2.png", "norain-3.png"], ["rain/norain-3x2.png norain-3.png"]),
        (["rain-1.png", "norain-1.png", "rain-2.png", "norain-2.png"], ["rain-1.png norain-1.png", "rain-2.png norain-2.png"]),
        (["input/5.png", "target/5.png"], ["input/5.png target/5.png"]),
        (["blur/7.png", "sharp/7.png", "blur_gamma/7.png"], ["blur/7.png sharp/7.png"]),
        (
            ["A/blur/1.png", "A/sharp/1.png", "B/blur/1.png", "B/sharp/1.png", "notes/1.png"],
            ["A/blur/1.png A/sharp/1.png", "B/blur/1.png B/sharp/1.png"],
        ),
        (["source/a.png", "target/a.png"], ["source/a.png target/a.png"]),
        (["inputC/P1.png", "inputC/P3.png", "target/P2.png", "target/P4.png"],
         ["inputC/P1.png target/P2.png", "inputC/P3.png target/P4.png"]),
    ],
)  # fmt: skip
def test_layouts(lay, files, pairs):
    assert found(lay(*files)) == pairs


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["hazy/1_2.png", "GT/3.png"], "1_2.png: its clean image is not in"),
        (["source/a.png", "source/b.png", "target/a.png"], "b.png: its clean image"),
        (["source/a.png", "source/b.png", "target/c.png"], "a.png: its clean image"),
        (["input/1.png", "target/2.png"], "1.png: its clean image"),
        (["rain-1.png", "norain-2.png"], "rain-1.png: its clean image"),
        (["hazy/1.png"], "expected pairs"),
        (["GT/1.png", "hazy/deeper/1.png"], "no images in this folder"),
        (["1.png"], "expected pairs"),
        (["1.png", "A/blur/1.png", "A/sharp/1.png"], "expected pairs"),
    ],
)
def test_what_is_missing(lay, files, message):
    with pytest.raises(BadInputError, match=message):
        find_pairs(lay(*files))


def test_no_pairs(lay, tmp_path):
    assert not has_pairs(tmp_path / "gone")
    assert not has_pairs(lay("norain-1.png", "norain-2.png"))
    with pytest.raises(BadInputError, match="is not a folder"):
        find_pairs(tmp_path / "gone")
