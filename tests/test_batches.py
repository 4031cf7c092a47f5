"""Batches of crops: seeded, degraded as the model is used to it, refused where they cannot be made."""

import numpy as np
import pytest

from nspike import images
from nspike.batches import CropBatches
from nspike.errors import BadInputError, UsageError
from tests.tiny import picture, tiny_model


def fill(folder, *shape, count=3):
    folder.mkdir(parents=True)
    for i in range(count):
        images.write(folder / f"p{i}.png", images.Picture(picture(*shape, seed=i)))
    return folder


def test_a_batch_is_a_function_of_its_number(tmp_path):
    folder = fill(tmp_path / "clean", 40, 50)
    batches = CropBatches(tiny_model(), folder, batch=4, patch=16, seed=5)
    degraded, clean = batches(7)
    assert degraded.shape == clean.shape == (4, 1, 16, 16)
    assert degraded.dtype == clean.dtype == np.float32
    batches(0)
    for first, second in zip(
        CropBatches(tiny_model(), folder, batch=4, patch=16, seed=5)(7), (degraded, clean), strict=True
    ):
        np.testing.assert_array_equal(first, second)
    for other in (batches(8), CropBatches(tiny_model(), folder, batch=4, patch=16, seed=6)(7)):
        assert not np.array_equal(other[1], clean)
    assert 15 < 255 * np.std(degraded - clean) < 35, "sigma 25"
    assert len({crop.tobytes() for crop in clean}) == 4


def test_super_resolution_takes_the_scales_in_turn(tmp_path):
    folder = fill(tmp_path / "clean", 40, 50, 3)
    batches = CropBatches(tiny_model(task="superres", colour="y", mode="add"), folder, batch=3, patch=25)
    degraded, clean = batches(0)
    assert degraded.shape == (3, 1, 25, 25)
    lost = [np.std(a - b) for a, b in zip(degraded, clean, strict=True)]
    assert all(value > 0 for value in lost)


def test_dehazing_takes_pairs(tmp_path):
    for name, seed in (("hazy", 0), ("GT", 5)):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for i in range(2):
            file = f"s{i}_1.png" if name == "hazy" else f"s{i}.png"
            images.write(tmp_path / "pairs" / name / file, images.Picture(picture(30, 32, 3, seed=seed + i)))
    model = tiny_model(task="dehaze", colour="rgb", mode="image")
    degraded, clean = CropBatches(model, tmp_path / "pairs", batch=2, patch=16)(0)
    assert degraded.shape == clean.shape == (2, 3, 16, 16)
    assert not np.array_equal(degraded, clean)
    with pytest.raises(BadInputError, match="needs pairs"):
        CropBatches(model, fill(tmp_path / "alone", 30, 30, 3))


def test_refusals(tmp_path):
    with pytest.raises(BadInputError, match=r"p\d.png: 24x20 pixels are too few for crops of 32"):
        CropBatches(tiny_model(), fill(tmp_path / "small", 20, 24), patch=32)(0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no pictures"):
        CropBatches(tiny_model(), tmp_path / "empty")
    with pytest.raises(UsageError, match="at least 1 crop of at least 8"):
        CropBatches(tiny_model(), tmp_path / "small", batch=0)
