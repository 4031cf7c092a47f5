"""Scenes: which files belong together, and their planes."""

import numpy as np
import pytest

from nspike.degradations.sources import Source, find_sources, read_scene
from nspike.errors import BadInputError
from nspike.images import file as images
from tests.tiny import image, tiny_model

INFO = tiny_model(task="dehaze", colour="rgb", mode="image").info


def put(folder, *names, shape=(20, 24, 3)):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        images.write(folder / name, images.ImageData(image(*shape, seed=i)))


@pytest.mark.parametrize(("degraded", "clean"), [("hazy", "GT"), ("rain", "norain"), ("blur", "sharp")])
def test_pairs(tmp_path, degraded, clean):
    put(tmp_path / degraded, "a_1.png", "a_2.png", "b.png")
    put(tmp_path / clean, "a.png", "b.png")
    found = find_sources(tmp_path, pairs=True)
    assert [(s.degraded.name, s.image.name) for s in found] == [
        ("a_1.png", "a.png"), ("a_2.png", "a.png"), ("b.png", "b.png"),
    ]  # fmt: skip
    scene = read_scene(found[0], INFO, 3)
    assert scene.degraded.shape == scene.image.shape == (20, 24, 3)
    with pytest.raises(BadInputError, match="no images"):
        find_sources(tmp_path, pairs=False)


def test_disparities_are_no_images_of_their_own(tmp_path):
    put(tmp_path, "a_view1.png", "b_view1.png", "c.png")
    put(tmp_path, "a_disp1.png", shape=(20, 24))
    found = find_sources(tmp_path, pairs=True)
    assert [(s.image.name, s.disparity and s.disparity.name) for s in found] == [
        ("a_view1.png", "a_disp1.png"), ("b_view1.png", None), ("c.png", None),
    ]  # fmt: skip
    assert read_scene(found[0], INFO, 3).depth.shape == (20, 24, 1)
    put(tmp_path, "a_disp1.png", shape=(20, 20))
    with pytest.raises(BadInputError, match=r"a_disp1.png: its size is not that of .*a_view1.png"):
        read_scene(found[0], INFO, 3)


def test_windows_are_turned_alike(tmp_path):
    put(tmp_path, "p.png")
    scene = read_scene(Source(tmp_path / "p.png", degraded=tmp_path / "p.png"), INFO, 3)
    for turn in range(8):
        window = scene.window(2, 3, 10, turn)
        np.testing.assert_array_equal(window.image, window.degraded)
        part = scene.image[2:12, 3:13]
        np.testing.assert_array_equal(window.image, np.rot90(part[:, ::-1] if turn >= 4 else part, turn % 4))
    assert scene.window(2, 3, 10).image.dtype == np.float64
