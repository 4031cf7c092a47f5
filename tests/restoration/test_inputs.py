"""Files, arrays of one channel or with alpha, and several images."""

import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.errors import BadInputError, OutputError
from tests.tiny import image, tiny_model

MODEL = tiny_model()
LUMA = tiny_model("superres", "y", "add")


@pytest.mark.parametrize("ann", [False, True])
def test_a_file_is_its_pixels(tmp_path, ann):
    Image.fromarray(image()).save(tmp_path / "x.png")
    expected = MODEL.run(image(), ann=ann).image
    for path in (tmp_path / "x.png", str(tmp_path / "x.png")):
        assert np.array_equal(MODEL.run(path, ann=ann).image, expected)
        assert np.array_equal(nspike.restore(MODEL, path, ann=ann).image, expected)
    with pytest.raises(BadInputError, match=r"gone\.png"):
        MODEL.run(tmp_path / "gone.png")


def test_several_images(tmp_path):
    Image.fromarray(image()).save(tmp_path / "x.png")
    other = image(24, 20, 3)
    for images in ([tmp_path / "x.png", other], (image(), other)):
        first, second = MODEL.run(images)
        assert np.array_equal(first.image, MODEL.run(image()).image)
        assert np.array_equal(second.image, MODEL.run(other).image)
    assert nspike.restore(MODEL, []) == []
    with pytest.raises(BadInputError, match="list"):
        MODEL.run(np.stack([other, other]))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("ann", [False, True])
def test_one_channel_and_alpha(dtype, ann):
    def pixels(*shape):
        return image(*shape, dtype=dtype) if dtype != np.float32 else (image(*shape) / 255).astype(dtype)

    grey, colour = pixels(), pixels(40, 48, 3)
    alpha = np.ascontiguousarray(grey[::-1])
    plain = MODEL.run(grey, ann=ann).image
    single = MODEL.run(grey[..., None], ann=ann).image
    assert single.shape == (40, 48, 1)
    assert np.array_equal(single[..., 0], plain)
    both = MODEL.run(np.dstack([grey, alpha]), ann=ann).image
    assert np.array_equal(both, np.dstack([plain, alpha]))
    rgba = MODEL.run(np.dstack([colour, alpha]), ann=ann).image
    assert rgba.dtype == plain.dtype
    assert np.array_equal(rgba, np.dstack([MODEL.run(colour, ann=ann).image, alpha]))


def test_alpha_is_enlarged():
    colour = image(12, 10, 3)
    for white, dtype in ((255, np.uint8), (1.0, np.float64)):
        pixels = colour if dtype is np.uint8 else colour / 255
        result = LUMA.run(np.dstack([pixels, np.full((12, 10), white, dtype)]), scale=3).image
        assert result.shape == (36, 30, 4)
        assert np.allclose(result[..., 3], white)
        assert np.array_equal(result[..., :3], LUMA.run(pixels, scale=3).image)


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_saving(tmp_path, channels, dtype):
    result = MODEL.run(image(20, 22, channels, dtype=dtype))
    result.save(tmp_path / "out.png")
    again = nspike.restore(MODEL, tmp_path / "out.png", ann=True)
    assert again.image.dtype == dtype
    written = MODEL.run(tmp_path / "out.png").image
    expected = result.image[..., 0] if channels == 1 else result.image
    assert np.array_equal(written, MODEL.run(expected).image)


def test_saving_floats_and_what_cannot_be_kept(tmp_path):
    result = MODEL.run(image() / 255)
    result.save(tmp_path / "out.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.rint(result.image * 255).astype(np.uint8))
    with pytest.raises(OutputError, match="transparency"):
        MODEL.run(image(20, 20, 4)).save(tmp_path / "out.jpg")


def test_the_colour_profile_is_kept(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image(20, 20, 3)).save(tmp_path / "x.png", icc_profile=profile)
    MODEL.run(tmp_path / "x.png").save(tmp_path / "y.png")
    assert Image.open(tmp_path / "y.png").info["icc_profile"] == profile


def test_the_noise_of_an_image():
    draw = np.random.default_rng(0)
    floats = 0.5 + draw.normal(0, 20 / 255, (128, 128))
    for pixels in (floats, floats.astype(np.float32), np.rint(floats * 255).astype(np.uint8)):
        for shaped in (pixels, pixels[..., None], np.dstack([pixels] * 3), np.dstack([pixels] * 3 + [pixels * 0])):
            assert nspike.estimate_noise(shaped) == pytest.approx(20, rel=0.05)
    with pytest.raises(BadInputError):
        nspike.estimate_noise(np.zeros((8, 8), np.int32))


def test_short_texts():
    result = MODEL.run(image())
    audit = nspike.audit(MODEL, image())
    things = [MODEL, MODEL.spiking, result, result.ledger, audit, nspike.curve(MODEL, image())]
    things += [result.ledger.layers[0], MODEL.run(image(), ann=True).ledger, nspike.Tensor(np.zeros((90, 90)))]
    for thing in things:
        assert len(repr(thing)) < 200, repr(thing)
        assert "array" not in repr(thing)


def test_the_ledger_as_values(monkeypatch):
    import json
    import sys
    from types import SimpleNamespace

    ledger = MODEL.run(image(channels=3), digest=True).ledger
    values = json.loads(json.dumps(ledger.to_dict()))
    assert values["spikes"] == ledger.spikes == ledger.by_step().sum()
    assert values["layers"][1]["synops"] == ledger.layers[1].synops.tolist() == ledger.by_step("synops")[1].tolist()
    assert values["layers"][0]["digests"] == list(ledger.layers[0].digests)
    rows = ledger.table()
    assert [row["layer"] for row in rows] == ["relu1", "relu2"]
    assert sum(row["events"] for row in rows) == ledger.spikes
    neurons = sum(row["neurons"] for row in rows)
    assert sum(row["firing_rate"] * row["neurons"] for row in rows) / neurons == pytest.approx(ledger.firing_rate)
    with pytest.raises(nspike.UsageError, match="expected one of events"):
        ledger.by_step("spike")
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("frame", rows)))
    assert ledger.to_pandas() == ("frame", rows)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(nspike.UsageError, match="pip install pandas"):
        ledger.to_pandas()


def test_the_energy_of_a_ledger():
    from nspike.registry.plugins import registry

    ledger = MODEL.run(image()).ledger
    for name in ("horowitz45", "memory45"):
        model = registry().energy_models[name]
        assert ledger.energy(name) == ledger.energy(model) == model.price(ledger)
    assert ledger.energy() == ledger.energy("horowitz45")
    with pytest.raises(nspike.PluginError, match="horowitz45"):
        ledger.energy("horowitz")


def test_auditing_arrays(tmp_path):
    Image.fromarray(image()).save(tmp_path / "x.png")
    of_array, of_file = nspike.audit(MODEL, image()).certificate, nspike.audit(MODEL, tmp_path / "x.png").certificate
    assert of_array["input"]["file_sha256"] is None
    assert {**of_array, "input": 0} == {**of_file, "input": 0}
    assert nspike.verify(of_array, MODEL, image()) == []
    assert any("plane_sha256" in line for line in nspike.verify(of_array, MODEL, image(seed=1)))
    assert nspike.verify(of_file, MODEL, image())[0].endswith("this is an array")
    assert "of an array" in nspike.verify(of_array, MODEL, tmp_path / "x.png")[0]


def test_the_shipped_models_without_their_weights(tmp_path, monkeypatch):
    from nspike.model import shipped

    path = tmp_path / "tiny.h5"
    nspike.save(path, MODEL)
    monkeypatch.setattr(shipped, "shipped", lambda: [("tiny", path)])
    assert nspike.models() == {"tiny": MODEL.info}
    nspike.models()["tiny"].degradation["sigma"] = 1
    assert nspike.models()["tiny"].degradation == {"sigma": 25.0}


def test_public_psnr_and_ssim():
    a, b = image(), image(seed=1)
    for function in (nspike.psnr, nspike.ssim):
        assert function(a, b) == function(a, b, 255)
        assert function(a / 255, b / 255) == function(a / 255, b / 255, 1.0)
        with pytest.raises(BadInputError, match="data_range"):
            function(a, b / 255)
        with pytest.raises(BadInputError, match="data_range"):
            function(a.astype(np.int32), b.astype(np.int32))
