"""Protocols and evaluation, on small images and models."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nspike.benchmarking.evaluation import evaluate
from nspike.degradations.protocols import PROTOCOLS, Settings, cases
from nspike.errors import BadInputError, ModelError, UsageError
from nspike.graph.layer import IMAGE, Conv, Nearest
from nspike.graph.network import Network
from nspike.images import metrics
from nspike.images.color import rgb_to_ycbcr
from nspike.images.plane import to_pixels
from nspike.images.resize import imresize
from nspike.model.model import Info, Model
from nspike.restoration.image import restore
from tests.tiny import image, tiny_model

GRAY = tiny_model()
RGB = tiny_model("dehaze", "rgb", "image")
LUMA = tiny_model("superres", "y", "add")


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def grey_folder(tmp_path):
    for i in range(3):
        save(tmp_path / "grey" / f"{i}.png", image(30 + i, 33, seed=i))
    return tmp_path / "grey"


@pytest.fixture
def pairs(tmp_path):
    for i in range(2):
        clean = image(24, 28, 3, seed=i)
        save(tmp_path / "pairs" / "GT" / f"scene_{i}.png", clean)
        save(tmp_path / "pairs" / "hazy" / f"scene_{i}_{i + 5}.png", clean // 2 + 100)
    return tmp_path / "pairs"


def only(protocol, folder, **settings):
    return list(cases(PROTOCOLS[protocol], folder, Settings(**settings)))


def test_gray_noise_is_seeded_for_each_image_and_not_limited(grey_folder):
    first, second, _ = only("gray", grey_folder, sigma=50.0, seed=7)
    clean = np.asarray(Image.open(grey_folder / "1.png"))
    np.random.seed(7)
    noise = np.random.normal(0, 50 / 255.0, clean.shape)
    assert np.array_equal(second.degraded, clean / 255.0 + noise)
    assert first.degraded.min() < 0 or first.degraded.max() > 1


def test_gray_scores_eight_bits(grey_folder):
    case = only("gray", grey_folder, sigma=25.0)[0]
    clean = np.asarray(Image.open(grey_folder / "0.png"))
    output = clean / 255.0 + 0.49 / 255  # rounds to the clean image
    assert case.score(output).psnr == np.inf
    quality = case.score(case.degraded)
    assert quality.psnr == metrics.psnr(to_pixels(case.degraded), clean, 255)
    assert quality.uniform7 == metrics.ssim(to_pixels(case.degraded), clean, 255, "uniform7")
    assert quality.mae == metrics.mae(to_pixels(case.degraded), clean)


def test_gray_reads_colour_as_grey(tmp_path):
    pixels = image(20, 20, 3)
    save(tmp_path / "c.png", pixels)
    case = only("gray", tmp_path, sigma=0.0)[0]
    assert np.array_equal(case.degraded * 255, np.asarray(Image.fromarray(pixels).convert("L")))


@pytest.mark.parametrize(("scale", "shape"), [(2, (34, 46)), (3, (33, 45)), (4, (32, 44))])
def test_y_crop_is_cumulative(tmp_path, scale, shape):
    pixels = image(35, 47, 3)
    save(tmp_path / "c.png", pixels)
    case = only("y-crop", tmp_path, scale=scale)[0]
    assert case.degraded.shape == shape
    luma = rgb_to_ycbcr(pixels / 255.0)[: shape[0], : shape[1], 0]
    assert np.array_equal(case.degraded, imresize(imresize(luma, 1 / scale), float(scale)))
    quality = case.score(case.degraded)
    output = np.clip(case.degraded * 255, 0, 255)
    inner = (slice(scale, -scale), slice(scale, -scale))
    assert quality.psnr == metrics.psnr(output[inner], luma[inner] * 255.0, 255)
    assert quality.mae == metrics.mae(output[inner], luma[inner] * 255.0, 255)
    assert quality.uniform7 == metrics.ssim(output, luma * 255.0, 255, "uniform7")


def test_rgb_pairs_by_scene(pairs):
    first, second = only("rgb", pairs)
    assert (first.name, second.name) == ("scene_0_5.png", "scene_1_6.png")
    clean = np.asarray(Image.open(pairs / "GT" / "scene_1.png")) / 255.0
    assert second.score(clean).psnr == np.inf
    assert second.score(second.degraded).psnr == metrics.psnr(second.degraded, clean, 1.0)


def test_evaluating_a_denoiser(grey_folder):
    found = evaluate(GRAY, grey_folder, limit=2, seed=3)
    assert [image.name for image in found.images] == ["0.png", "1.png"]
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["protocol"] == {"name": "gray", "ssim": "gauss11", "sigma": 25.0, "seed": 3, "scale": None}
    case = only("gray", grey_folder, sigma=25.0, seed=3)[1]
    result = restore(GRAY, case.degraded)
    second = values["images"][1]
    assert second["psnr"] == case.score(result.image).psnr
    assert second["input"]["psnr"] == case.score(case.degraded).psnr
    assert second["ann"]["psnr"] == case.score(restore(GRAY, case.degraded, ann=True).image).psnr
    assert (second["spikes"], second["synops"]) == (result.ledger.spikes, result.ledger.synops)
    mean = values["mean"]
    assert mean["psnr"] == np.mean([p["psnr"] for p in values["images"]])
    assert mean["mae"] == np.mean([p["mae"] for p in values["images"]]) > 0
    assert mean["ssim"] == mean["ssim_gauss11"] != mean["ssim_uniform7"]
    assert mean["conversion_rate"] == metrics.conversion_rate(mean["psnr"], mean["ann"]["psnr"])
    assert values["energy_model"]["name"] == "horowitz45"
    energy = mean["energy"]["paper"]
    pixels = np.mean([30 * 33, 31 * 33])
    assert energy["ann"] == pytest.approx(4.6e-12 * GRAY.network.macs_per_pixel * pixels)
    assert energy["ratio"] == energy["snn"] / energy["ann"]


def test_evaluating_pairs_and_luma(pairs, grey_folder):
    values = evaluate(RGB, pairs).to_dict()
    assert values["protocol"]["name"] == "rgb"
    assert values["mean"]["ssim"] == values["mean"]["ssim_uniform7"]
    both = values["mean"]
    assert both["conversion_rate"] == metrics.conversion_rate(
        both["psnr"], both["ann"]["psnr"], both["ssim"], both["ann"]["ssim"]
    )
    values = evaluate(LUMA, grey_folder, scale=3).to_dict()
    assert values["protocol"] == {"name": "y-crop", "ssim": "uniform7", "sigma": None, "seed": None, "scale": 3}


def test_evaluating_the_plain_ann(grey_folder):
    plain = replace(GRAY, spiking=None)
    values = evaluate(plain, grey_folder, sigma=15, ann=True).to_dict()
    assert values["ran"] == "ann"
    assert "conversion_rate" not in values["mean"]
    assert set(values["mean"]["energy"]["paper"]) == {"ann"}
    assert "spikes" not in values["images"][0]
    with pytest.raises(ModelError, match="plain ANN"):
        evaluate(plain, grey_folder)


def test_colour_noise(tmp_path):
    save(tmp_path / "c.png", image(20, 24, 3))
    values = evaluate(GRAY, tmp_path, protocol="rgb", sigma=25).to_dict()
    assert values["protocol"]["sigma"] == 25


def test_progress(grey_folder):
    calls = []
    evaluate(GRAY, grey_folder, progress=lambda done, total: calls.append(done / total))
    assert calls == sorted(calls)
    assert calls[-1] == 1


def test_images_smaller_than_the_ssim_window(tmp_path):
    save(tmp_path / "small.png", image(8, 8))
    values = evaluate(GRAY, tmp_path).to_dict()
    assert values["mean"]["ssim_gauss11"] is None
    assert values["mean"]["ssim_uniform7"] is not None
    assert values["mean"]["conversion_rate"] > 0


@pytest.mark.parametrize(
    ("model", "options", "error"),
    [
        (GRAY, {"protocol": "grey"}, "Did you mean 'gray'"),
        (GRAY, {"protocol": "y-crop"}, "super-resolution"),
        (LUMA, {"protocol": "gray"}, "keep the size"),
        (GRAY, {"scale": 2}, "keeps the size"),
        (LUMA, {"sigma": 25}, "enlarges"),
        (LUMA, {"scale": 1}, "out of range"),
        (GRAY, {"sigma": -1}, "out of range"),
        (GRAY, {"limit": 0}, "out of range"),
        (tiny_model(degradation={}), {}, "needs sigma"),
    ],
)
def test_usage(grey_folder, model, options, error):
    with pytest.raises(UsageError, match=error):
        evaluate(model, grey_folder, **options)


def test_bad_folders(tmp_path, pairs):
    with pytest.raises(BadInputError, match="no images"):
        evaluate(GRAY, tmp_path)
    with pytest.raises(BadInputError):
        evaluate(GRAY, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="expected pairs of images, in hazy/"):
        evaluate(RGB, tmp_path / "empty")
    (pairs / "GT" / "scene_1.png").unlink()
    with pytest.raises(BadInputError, match=r"scene_1_6\.png: its clean image is not in"):
        evaluate(RGB, pairs)
    save(tmp_path / "deep" / "a.png", image(20, 20, dtype=np.uint16))
    with pytest.raises(BadInputError, match="16 bits"):
        evaluate(GRAY, tmp_path / "deep")


def test_pairs_of_two_sizes(pairs):
    save(pairs / "GT" / "scene_0.png", image(24, 29, 3))
    with pytest.raises(BadInputError, match="not of the same shape"):
        evaluate(RGB, pairs)


def test_a_list_of_images_is_their_folder(grey_folder, pairs):
    def scores(found):
        return [(score.quality, score.input, score.ann, score.spikes) for score in found.images]

    files = sorted(grey_folder.iterdir())
    expected = scores(evaluate(GRAY, grey_folder))
    arrays = [np.asarray(Image.open(path)) for path in files]
    for given in (files, arrays, [array[..., None] for array in arrays]):
        assert scores(evaluate(GRAY, given)) == expected
    assert [score.name for score in evaluate(GRAY, [arrays[0], files[1]]).images] == ["image 1", "1.png"]
    both = [(next((pairs / "hazy").glob(f"scene_{i}_*")), pairs / "GT" / f"scene_{i}.png") for i in range(2)]
    arrays = [tuple(np.asarray(Image.open(path)) for path in pair) for pair in both]
    floats = [tuple(array / 255.0 for array in pair) for pair in arrays]
    for given in (both, arrays, floats):
        assert scores(evaluate(RGB, given)) == scores(evaluate(RGB, pairs))


def test_lists_that_cannot_be_evaluated(pairs):
    one = image(20, 20)
    for given, error in (([], "empty"), (one, "list of images"), ([one / 255.0], "8-bit"), ([(one, one)], "one clean")):
        with pytest.raises(BadInputError, match=error):
            evaluate(GRAY, given)
    with pytest.raises(BadInputError, match="pair of a degraded"):
        evaluate(RGB, [image(20, 20, 3)])


def repeats(channels, colour):
    """A network that repeats each pixel: it enlarges by 2 itself."""
    layers = (Conv("one", IMAGE, channels, channels, 1, bias=False), Nearest("out", "one"))
    weights = {"one.weight": np.eye(channels, dtype=np.float32)[:, :, None, None]}
    return Model(
        Info("repeats", "superres", colour, {"scales": [2]}), Network("n", channels, layers, "out", "image"), weights
    )


@pytest.mark.parametrize(("channels", "colour"), [(1, "y"), (3, "rgb")])
def test_a_network_that_enlarges_is_given_the_small_image(tmp_path, channels, colour):
    """And is scored on luma, like those that are given the enlargement."""
    clean = image(26, 30, 3)
    save(tmp_path / "clean" / "a.png", clean)
    result = evaluate(repeats(channels, colour), tmp_path / "clean", ann=True)
    assert (result.protocol, result.settings.scale) == ("y-crop", 2)
    luma = rgb_to_ycbcr(clean / 255.0)[..., 0]
    small = imresize(clean / 255.0, 1 / 2)
    given = rgb_to_ycbcr(small)[..., 0] if channels == 1 else np.clip(small, 0, 1)
    large = np.repeat(np.repeat(given, 2, 0), 2, 1)
    large = np.clip(large if channels == 1 else rgb_to_ycbcr(large)[..., 0], 0, 1)
    expected = metrics.psnr(255 * large[2:-2, 2:-2], 255 * luma[2:-2, 2:-2], 255.0)
    assert result.mean().psnr == pytest.approx(expected, abs=1e-3)
    bicubic = imresize(imresize(luma, 1 / 2), 2.0)
    assert result.mean("input").psnr == pytest.approx(
        metrics.psnr(255 * np.clip(bicubic, 0, 1)[2:-2, 2:-2], 255 * luma[2:-2, 2:-2], 255.0)
    )


def test_a_network_that_enlarges_has_one_scale(tmp_path):
    with pytest.raises(UsageError, match="scale = 3, but the network of model repeats enlarges by 2"):
        evaluate(repeats(1, "y"), tmp_path, scale=3)


def test_a_colour_denoiser_on_clean_images_needs_a_sigma(tmp_path, pairs):
    blind = tiny_model("denoise", "rgb", degradation={"sigma": [0.0, 55.0]})
    clean = image(20, 24, 3)
    save(tmp_path / "clean" / "a.png", clean)
    with pytest.raises(UsageError, match="needs a sigma to measure it; the model was trained for 0 to 55"):
        evaluate(blind, tmp_path / "clean")
    assert len(evaluate(blind, pairs, baseline=False).images) == 2, "pairs need none"
    found = evaluate(blind, tmp_path / "clean", sigma=25.0, baseline=False)
    np.random.seed(0)
    noisy = clean / 255.0 + np.random.normal(0, 25 / 255.0, clean.shape)
    assert found.images[0].input.psnr == metrics.psnr(to_pixels(noisy), clean, 255)
    assert found.images[0].quality.psnr == metrics.psnr(to_pixels(restore(blind, noisy).image), clean, 255)


def test_deraining_is_measured_on_luma(pairs):
    found = evaluate(tiny_model("derain", "rgb", "image"), pairs, protocol="y", baseline=False)
    values = found.to_dict()
    assert (values["protocol"]["name"], values["protocol"]["ssim"]) == ("y", "gauss11")
    assert (
        found.images[0].quality
        != evaluate(tiny_model("derain", "rgb", "image"), pairs, baseline=False).images[0].quality
    )
    with pytest.raises(UsageError, match="leave out sigma"):
        evaluate(RGB, pairs, protocol="y", sigma=3.0)
