"""Batches of crops: seeded, degraded as the model is used to it, refused where they cannot be made."""

import numpy as np
import pytest

from nspike.degradations import batches as batches_module
from nspike.degradations.batches import CropBatches
from nspike.degradations.blur import convolve, defocus_kernel
from nspike.degradations.haze import FAR, NEAR
from nspike.degradations.kinds import Degradation, degrade
from nspike.errors import BadInputError, UsageError
from nspike.graph.initialise import initial_parameters
from nspike.graph.layer import IMAGE, Activation, Concat, Constant, Conv, PixelShuffle
from nspike.graph.network import Network
from nspike.images import file as images
from nspike.images.resize import imresize
from nspike.model.model import Info, Model
from tests.tiny import image, tiny_model


def fill(folder, *shape, count=3):
    folder.mkdir(parents=True)
    for i in range(count):
        images.write(folder / f"p{i}.png", images.ImageData(image(*shape, seed=i)))
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


def enlarging():
    """A network that enlarges by 2 itself, its sides multiples of 4."""
    layers = (
        Conv("down", IMAGE, 3, 4, 4, stride=4, padding=(0, 0)),
        Activation("act", "down", 4),
        Conv("up", "act", 4, 192, 1),
        PixelShuffle("out", "up", 8),
    )
    network = Network("enlarging", 3, layers, "out", "image")
    info = Info("enlarging", "superres", "rgb", degradation={"scales": [2]})
    return Model(info, network, initial_parameters(network, 0))


def test_a_network_that_enlarges_has_smaller_degraded_crops(tmp_path):
    folder = fill(tmp_path / "clean", 40, 50, 3)
    batches = CropBatches(enlarging(), folder, batch=3, patch=19)
    degraded, clean = batches(0)
    assert (degraded.shape, clean.shape) == ((3, 3, 16, 16), (3, 3, 32, 32)), "a multiple of 4"
    for small, large in zip(degraded, clean, strict=True):
        expected = imresize(large.transpose(1, 2, 0).astype(np.float64), 0.5).transpose(2, 0, 1)
        np.testing.assert_array_equal(small, expected.astype(np.float32))
    with pytest.raises(BadInputError, match="too few for crops of 48"):
        CropBatches(enlarging(), folder, patch=24)(0)


@pytest.mark.parametrize(
    "degradation",
    [Degradation("noise", {"sigma": 25}), Degradation("bicubic", {"scales": [2, 3]}), Degradation("pairs")],
)
def test_a_network_that_enlarges_learns_from_its_scale_alone(tmp_path, degradation):
    folder = fill(tmp_path / "clean", 40, 50, 3)
    with pytest.raises(UsageError, match=r"enlarges by 2 itself: it learns from the degradation bicubic .* \[2\]"):
        CropBatches(enlarging(), folder, degradation=degradation)


def test_crops_are_multiples_of_what_the_network_takes(tmp_path):
    layers = (Conv("down", IMAGE, 1, 4, 2, stride=12, padding=(0, 0)), Activation("act", "down", 4))
    layers += (Conv("up", "act", 4, 144, 1), PixelShuffle("out", "up", 12))
    network = Network("coarse", 1, layers, "out", "image")
    model = Model(tiny_model().info, network, initial_parameters(network, 0))
    folder = fill(tmp_path / "clean", 40, 50)
    assert CropBatches(model, folder, patch=35)(0)[0].shape[2:] == (24, 24)
    with pytest.raises(UsageError, match="at least 12 pixels"):
        CropBatches(model, folder, patch=11)


def test_dehazing_takes_pairs(tmp_path):
    for name, seed in (("hazy", 0), ("GT", 5)):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for i in range(2):
            file = f"s{i}_1.png" if name == "hazy" else f"s{i}.png"
            images.write(tmp_path / "pairs" / name / file, images.ImageData(image(30, 32, 3, seed=seed + i)))
    model = tiny_model(task="dehaze", colour="rgb", mode="image")
    degraded, clean = CropBatches(model, tmp_path / "pairs", batch=2, patch=16)(0)
    assert degraded.shape == clean.shape == (2, 3, 16, 16)
    assert not np.array_equal(degraded, clean)
    with pytest.raises(BadInputError, match="expected pairs, in hazy/ and GT/"):
        CropBatches(model, fill(tmp_path / "alone", 30, 30, 3), degradation=Degradation("pairs"))


def test_haze_is_made_from_disparities_or_from_random_depths(tmp_path):
    folder = tmp_path / "scenes"
    fill(folder, 40, 40, 3, count=2)
    images.write(folder / "a_view1.png", images.ImageData(image(40, 40, 3)))
    disparity = np.repeat(np.linspace(10, 200, 40).astype(np.uint8)[:, None], 40, axis=1)
    images.write(folder / "a_disp1.png", images.ImageData(disparity))
    model = tiny_model(task="dehaze", colour="rgb", mode="image")
    assert len(CropBatches(model, folder).sources) == 3
    for name in ("p0.png", "p1.png"):
        (folder / name).unlink()
    degraded, clean = CropBatches(
        model, folder, batch=1, patch=40, degradation=Degradation("haze", {"beta": 1.0, "airlight": 1.0})
    )(0)
    lost = np.sort(((1 - degraded[0]) / np.maximum(1 - clean[0], 1e-6)).mean(axis=0).ravel())
    np.testing.assert_allclose([lost[0], lost[-1]], np.exp([-FAR, -NEAR]), rtol=1e-5)


def test_the_noise_level_of_each_crop(tmp_path):
    folder = fill(tmp_path / "clean", 90, 90)
    layers = (Constant("map", IMAGE, (0.1,), "sigma"), Concat("in", (IMAGE, "map")), Conv("out", "in", 2, 1, 3))
    network = Network("told", 1, layers, "out", "image")
    model = Model(tiny_model().info, network, initial_parameters(network, 0))
    options = {"batch": 6, "patch": 64, "degradation": Degradation("noise", {"sigma": [1, 60]})}
    batches = CropBatches(model, folder, **options)
    degraded, clean = batches(3)
    sigmas = batches.sigmas(3)
    assert sigmas.min() < 20 < 40 < sigmas.max()
    np.testing.assert_allclose((degraded - clean).std(axis=(1, 2, 3)) * 255, sigmas, rtol=0.05)
    np.testing.assert_array_equal(batches.sigmas(3), sigmas)
    assert not np.array_equal(batches.sigmas(4), sigmas)
    assert CropBatches(tiny_model(), folder, **options).sigmas(3) is None, "a network that is not told it"
    jpeg = Degradation("jpeg", {"sigma": [1, 60], "share": 0.5})
    compressed = CropBatches(model, folder, **{**options, "degradation": jpeg})
    assert (compressed.sigmas(3) > 1).all()
    degraded, clean = compressed(3)
    spread = (degraded - clean).std(axis=(1, 2, 3)) * 255
    alone = np.isclose(spread, compressed.sigmas(3), rtol=0.05)
    assert alone.any(), "crops that are not compressed"
    haze = CropBatches(model, folder, degradation=Degradation("haze"), batch=1, patch=64)
    assert haze.sigmas(0) is None


def test_several_folders_at_once(tmp_path):
    folders = [fill(tmp_path / name, 24, 24, count=count) for name, count in (("a", 1), ("b", 3))]
    batches = CropBatches(tiny_model(), folders, batch=2, patch=16)
    assert len(batches.sources) == 4
    assert batches(0)[0].shape == (2, 1, 16, 16)
    assert batches.fingerprint == CropBatches(tiny_model(), folders, batch=2, patch=16).fingerprint
    others = [
        CropBatches(tiny_model(), folders[0], batch=2, patch=16),
        CropBatches(tiny_model(), folders, batch=3, patch=16),
        CropBatches(tiny_model(), folders, batch=2, patch=16, degradation=Degradation("noise", {"sigma": 5})),
    ]
    assert all(other.fingerprint != batches.fingerprint for other in others)
    with pytest.raises(UsageError, match="at least one folder"):
        CropBatches(tiny_model(), [])


def test_a_blurred_crop_knows_what_is_around_it(tmp_path):
    folder = fill(tmp_path / "clean", 60, 60, count=1)
    batches = CropBatches(tiny_model(), folder, batch=8, patch=16, degradation=Degradation("defocus", {"radius": 6.0}))
    degraded, clean = batches(0)
    whole = images.read(folder / "p0.png").pixels / 255.0
    blurred = convolve(whole, defocus_kernel(6.0))
    windows = np.lib.stride_tricks.sliding_window_view(whole, (16, 16))
    for got, crop in zip(degraded[:, 0], clean[:, 0], strict=True):
        turned = [(f, k, np.rot90(crop[:, ::-1] if f else crop, k)) for f in (0, 1) for k in range(4)]
        places = [
            (f, k, *np.argwhere(np.abs(windows - t).max(axis=(2, 3)) < 1e-6)[0])
            for f, k, t in turned
            if (np.abs(windows - t).max(axis=(2, 3)) < 1e-6).any()
        ]
        flip, quarter, y, x = places[0]
        same = np.rot90(got[:, ::-1] if flip else got, quarter)
        np.testing.assert_allclose(same, blurred[y : y + 16, x : x + 16], atol=1e-6)


def test_refusals(tmp_path):
    with pytest.raises(BadInputError, match=r"p\d.png: 24x20 pixels are too few for crops of 32"):
        CropBatches(tiny_model(), fill(tmp_path / "small", 20, 24), patch=32)(0)
    fill(tmp_path / "mixed", 40, 40, count=30)
    images.write(tmp_path / "mixed" / "p17.png", images.ImageData(image(10, 40)))
    with pytest.raises(BadInputError, match=r"p17.png: 40x10 pixels are too few"):
        CropBatches(tiny_model(), tmp_path / "mixed", patch=32).check()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no images"):
        CropBatches(tiny_model(), tmp_path / "empty")
    with pytest.raises(UsageError, match="at least 1 crop of at least 8"):
        CropBatches(tiny_model(), tmp_path / "small", batch=0)


def test_scales_take_turns_from_crop_to_crop_and_batch_to_batch(tmp_path, monkeypatch):
    """A crop is as large as the smallest multiple of its scale that holds the patch: 26, 27 and 28 for 2, 3 and 4."""
    seen = []

    def kept(scene, degradation, index, draw):
        seen.append((index, scene.image.shape[0]))
        return degrade(scene, degradation, index, draw)

    monkeypatch.setattr(batches_module, "degrade", kept)
    model = tiny_model(task="superres", colour="y", mode="add")
    batches = CropBatches(model, fill(tmp_path / "clean", 40, 50, 3), batch=2, patch=25)
    for number in (0, 1, 2):
        batches(number)
    assert seen == [(0, 26), (1, 27), (2, 28), (3, 26), (4, 27), (5, 28)]
