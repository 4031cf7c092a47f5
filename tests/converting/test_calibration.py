import dataclasses

import numpy as np
import pytest

from nspike.converting.calibration import calibration_crops
from nspike.errors import BadInputError, UsageError
from nspike.images.color import rgb_to_ycbcr
from nspike.images.file import ImageData, write
from nspike.images.resize import imresize
from nspike.model.model import Model
from tests.converting.graphs import many, model_of, residual
from tests.small_models import small_ann, small_network


def model(channels=1, **info):
    """What calibration looks at: the description and the number of channels."""
    described = dataclasses.replace(small_ann().info, **info)
    return Model(described, small_network(channels), {})


def put(path, pixels):
    path.parent.mkdir(exist_ok=True)
    write(path, ImageData(pixels))


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(3)
    put(tmp_path / "a.png", draw.integers(0, 256, (40, 50), np.uint8))
    put(tmp_path / "b.png", draw.integers(0, 256, (30, 20, 3), np.uint8))
    put(tmp_path / "c.png", draw.integers(0, 65536, (60, 60), np.uint16))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_noise_of_the_models_sigma(folder):
    degraded, clean = calibration_crops(model(degradation={"sigma": 25.0}), folder, crops=30, size=24)
    assert len(degraded) == len(clean) == 30
    assert {c.shape for c in clean} == {(1, 24, 24), (1, 24, 20)}, "an image smaller than the crop gives all it has"
    assert all(c.dtype == np.float32 and c.min() >= 0 and c.max() <= 1 for c in clean)
    noise = np.concatenate([(d - c).ravel() for d, c in zip(degraded, clean, strict=True)])
    assert noise.std() * 255 == pytest.approx(25, rel=0.05)
    assert len({c.tobytes() for c in clean}) > 20


def test_same_seed_same_crops(folder):
    ann = model(degradation={"sigma": 25.0})
    first, again, other = (calibration_crops(ann, folder, crops=5, size=16, seed=s)[0] for s in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert not any(np.array_equal(x, y) for x, y in zip(first, other, strict=True))
    more = calibration_crops(ann, folder, crops=9, size=16, seed=1)[0]
    assert all(np.array_equal(x, y) for x, y in zip(first, more, strict=False)), "more crops change none of the first"


def test_fewer_crops_than_images(folder):
    degraded, _ = calibration_crops(model(degradation={"sigma": 5}), folder, crops=2, size=16)
    assert len(degraded) == 2


def test_grey_weights(tmp_path):
    put(tmp_path / "red.png", np.full((16, 16, 3), (255, 0, 0), np.uint8))
    _, clean = calibration_crops(model(degradation={"sigma": 0}), tmp_path, crops=1, size=16)
    assert np.allclose(clean[0], 0.299, atol=1e-5)


def test_enlarged_luma(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    put(tmp_path / "a.png", pixels)
    ann = model(task="superres", colour="y", degradation={"scales": [2, 5]})
    degraded, clean = calibration_crops(ann, tmp_path, crops=2, size=24)
    luma = rgb_to_ycbcr(pixels / 255)[..., 0]
    assert np.array_equal(clean[0][0], luma.astype(np.float32))
    assert np.array_equal(degraded[0][0], imresize(imresize(luma, 0.5), size=(24, 24)).astype(np.float32))
    assert degraded[1].shape == clean[1].shape == (1, 20, 20), "cut to a multiple of the second scale"


def test_hazy_images_as_they_are(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    put(tmp_path / "hazy.png", pixels)
    ann = model(3, task="dehaze", colour="rgb", degradation={})
    degraded, clean = calibration_crops(ann, tmp_path, crops=1, size=16)
    assert clean is None
    assert np.array_equal(degraded[0], (pixels / 255).transpose(2, 0, 1).astype(np.float32))


def test_rain_is_made_where_the_model_says_which(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    put(tmp_path / "a.png", pixels)
    ann = model(3, task="derain", colour="rgb", degradation={"kind": "rain", "density": 0.05})
    degraded, clean = calibration_crops(ann, tmp_path, crops=1, size=32)
    assert np.array_equal(clean[0], (pixels / 255).transpose(2, 0, 1).astype(np.float32))
    assert not np.array_equal(degraded[0], clean[0])
    ann = model(3, task="derain", colour="rgb", degradation={})
    assert calibration_crops(ann, tmp_path, crops=1, size=32)[1] is None


def test_pairs_are_cropped_alike(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 128, (40, 30, 3), np.uint8)
    put(tmp_path / "GT" / "one.png", pixels)
    put(tmp_path / "hazy" / "one_1.png", pixels * 2)
    ann = model(3, task="dehaze", colour="rgb", degradation={})
    degraded, clean = calibration_crops(ann, tmp_path, crops=6, size=16)
    assert all(np.allclose(d, 2 * c, atol=1e-6) for d, c in zip(degraded, clean, strict=True))


def test_what_cannot_be(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    ann = model(degradation={"sigma": 25.0})
    for options, error, match in [
        ({"crops": 0}, UsageError, "at least 1 crop"),
        ({"size": 4}, UsageError, "at least 8 pixels"),
        ({"folder": tmp_path / "empty"}, BadInputError, "no images"),
        ({"folder": tmp_path / "none"}, BadInputError, "No such file"),
        ({"model": model(degradation={})}, UsageError, "degradation={'sigma': 25}"),
        ({"model": model(task="superres", degradation={})}, UsageError, r"degradation={'scales': \[2\]}"),
        ({"model": model(task="superres", degradation={"scales": [40]})}, BadInputError, "too small for scale 40"),
    ]:
        given = {"model": ann, "folder": folder, "size": 16, "crops": 2} | options
        with pytest.raises(error, match=match):
            calibration_crops(given.pop("model"), given.pop("folder"), **given)


def test_crops_of_a_network_that_enlarges(tmp_path):
    write(tmp_path / "a.png", ImageData(np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8)))
    ann = model_of(residual(1, 4), task="superres", degradation={"scales": [2]})
    degraded, clean = calibration_crops(ann, tmp_path, crops=3, size=24)
    assert {plane.shape for plane in degraded} == {(1, 24, 24)}
    assert {plane.shape for plane in clean} == {(1, 48, 48)}
    larger = np.stack(degraded).repeat(2, axis=2).repeat(2, axis=3)
    assert np.abs(larger.mean((1, 2, 3)) - np.stack(clean).mean((1, 2, 3))).max() < 0.02


@pytest.mark.parametrize("degradation", [{}, {"sigma": [0, 55]}])
def test_a_network_that_is_told_the_noise_level_is_calibrated_at_it(folder, degradation):
    ann = model_of(many(), degradation=degradation)
    degraded, clean = calibration_crops(ann, folder, crops=8, size=24)
    noise = np.concatenate([(d - c).ravel() for d, c in zip(degraded, clean, strict=True)])
    assert noise.std() == pytest.approx(0.1, rel=0.1)
