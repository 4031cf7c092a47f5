"""Degradations: each a seeded function of the draw, described by plain numbers that are checked."""

import math

import numpy as np
import pytest

from nspike.degradations.blur import convolve, motion_kernel
from nspike.degradations.compression import compress
from nspike.degradations.kinds import KINDS, Degradation, degradation_of, degrade
from nspike.degradations.rain import add_rain
from nspike.degradations.sources import Scene
from nspike.errors import BadInputError, UsageError
from nspike.images.resize import imresize
from tests.tiny import image, tiny_model

GIVEN = {
    "noise": {"sigma": [10, 30]},
    "jpeg": {"sigma": [10, 30]},
    "bicubic": {"scales": [2, 3]},
    "mixed": {"of": [{"kind": "shake"}, {"kind": "noise", "sigma": 20}]},
}


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """Two kernels in a folder, for the degradation that reads them."""
    (tmp_path / "kernels").mkdir()
    corner = np.zeros((5, 5))
    corner[0, 0] = 1
    np.savez(tmp_path / "kernels" / "two.npz", a=corner, b=np.eye(7)[None])
    monkeypatch.setitem(GIVEN, "kernels", {"folder": str(tmp_path / "kernels")})
    return tmp_path / "kernels"


def scene():
    return Scene(image(30, 30, 3) / 255.0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pairs"])
def test_every_kind_is_a_function_of_the_draw(kind):
    degradation = Degradation(kind, GIVEN.get(kind, {}))
    first, again, other = (degrade(scene(), degradation, 0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first[0].shape == first[1].shape == (3, 30, 30)
    assert first[0].dtype == np.float32
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], scene().image.transpose(2, 0, 1).astype(np.float32))
    assert np.std(first[0] - first[1]) > 0.005
    if kind != "bicubic":
        assert not np.array_equal(first[0], other[0])


def test_a_scene_that_is_degraded_already_stays_so():
    hazy = image(30, 30, 3, seed=4) / 255.0
    degraded, clean = degrade(Scene(scene().image, hazy), Degradation("pairs"), 0, np.random.default_rng(0))
    np.testing.assert_array_equal(degraded, hazy.transpose(2, 0, 1).astype(np.float32))
    assert not np.array_equal(degraded, clean)
    with pytest.raises(BadInputError, match="pairs needs folders"):
        degrade(scene(), Degradation("pairs"), 0, np.random.default_rng(0))


def test_what_a_model_says():
    assert degradation_of(tiny_model().info) == Degradation("noise", {"sigma": 25.0})
    assert degradation_of(tiny_model(task="superres", colour="y").info).scales == [2, 3, 4]
    hazy = tiny_model(task="dehaze", colour="rgb", degradation={"haze": "in words"}).info
    assert degradation_of(hazy) == Degradation("haze")
    rainy = Degradation("rain", {"strength": 0.5})
    assert rainy.to_dict()["kind"] == "rain"
    assert rainy.numbers["length"] == [9.0, 25.0]
    assert rainy.margin == 25


@pytest.mark.parametrize(
    ("kind", "numbers", "message"),
    [
        ("nois", {}, "Did you mean 'noise'"),
        ("noise", {}, "needs sigma"),
        ("noise", {"sgma": 3}, "no number 'sgma'. Did you mean 'sigma'"),
        ("noise", {"sigma": -1}, "expected a number or a range"),
        ("noise", {"sigma": [30, 10]}, "expected a number or a range"),
        ("noise", {"sigma": "much"}, "expected a number or a range"),
        ("jpeg", {}, "needs sigma"),
        ("jpeg", {"sigma": 3, "quality": 0}, "expected a whole number from 1 to 100"),
        ("jpeg", {"sigma": 3, "quality": [70, 80.5]}, "expected a whole number from 1 to 100"),
        ("jpeg", {"sigma": 3, "quality": [90, 70]}, "expected the lower number first"),
        ("jpeg", {"sigma": 3, "share": 1.5}, "expected a number from 0 to 1"),
        ("jpeg", {"sigma": 3, "share": [0, 1]}, "expected a number from 0 to 1"),
        ("bicubic", {"scales": 2.5}, "expected whole numbers"),
        ("bicubic", {"scales": []}, "expected whole numbers"),
        ("haze", {"beta": [0, 1, 2]}, "expected a number or a range"),
        ("shake", {"bend": "much"}, "expected a number or a range"),
        ("kernels", {}, "needs folder"),
        ("kernels", {"folder": 3}, "expected a path"),
        ("mixed", {}, "needs of"),
        ("mixed", {"of": []}, "expected a list"),
        ("mixed", {"of": ["noise"]}, "expected a list"),
        ("mixed", {"of": [{"sigma": 3}]}, "cannot hold None"),
        ("mixed", {"of": [{"kind": "bicubic", "scales": [2]}]}, "cannot hold 'bicubic'"),
        ("mixed", {"of": [{"kind": "motion", "lenght": 3}]}, "Did you mean 'length'"),
    ],
)
def test_refusals(kind, numbers, message):
    with pytest.raises(UsageError, match=message):
        Degradation(kind, numbers)


def test_angles_are_in_degrees():
    clean = scene().image
    along = {"length": 7.0}
    for angle in (0.0, 30.0, 90.0):
        got = degrade(scene(), Degradation("motion", {**along, "angle": angle}), 0, np.random.default_rng(0))[0]
        wanted = convolve(clean, motion_kernel(7.0, angle * math.pi / 180))
        np.testing.assert_allclose(got, wanted.transpose(2, 0, 1), atol=1e-6)
        given = {"density": 0.05, **along, "angle": angle, "strength": 0.6}
        got = degrade(scene(), Degradation("rain", given), 0, np.random.default_rng(3))[0]
        turned = {**given, "angle": angle * math.pi / 180}
        wanted = add_rain(np.asarray(clean, np.float64), np.random.default_rng(3), **turned)
        np.testing.assert_allclose(got, wanted.transpose(2, 0, 1), atol=1e-6)


def test_the_scales_take_turns():
    clean = np.asarray(scene().image, np.float64)[:24, :24]
    for index, scale in enumerate([2, 3, 4, 2, 3]):
        kind = Degradation("bicubic", {"scales": [2, 3, 4]})
        degraded, sharp = degrade(Scene(clean), kind, index, np.random.default_rng(0))
        wanted = imresize(imresize(clean, 1 / scale), size=(24, 24))
        np.testing.assert_array_equal(degraded, wanted.transpose(2, 0, 1).astype(np.float32))
        np.testing.assert_array_equal(sharp, clean.transpose(2, 0, 1).astype(np.float32))


def test_each_crop_of_a_blind_denoiser_has_its_own_noise():
    kind = Degradation("noise", {"sigma": [0, 55]})
    pairs = [degrade(scene(), kind, 0, np.random.default_rng([7, i])) for i in range(200)]
    sigmas = np.array([255 * np.std(degraded - clean) for degraded, clean in pairs])
    assert sigmas.min() < 3
    assert sigmas.max() > 52
    assert np.mean(sigmas) == pytest.approx(27.5, abs=3)
    assert max(degraded.max() for degraded, _ in pairs) > 1.1, "noise is not limited"


def test_a_share_of_the_crops_is_compressed():
    """Noise first, then JPEG of a drawn quality, of both kinds of chroma; the others have the same noise alone."""

    def made(seed, **numbers):
        degradation = Degradation("jpeg", {"sigma": 20, **numbers})
        return degrade(scene(), degradation, 0, np.random.default_rng(seed))[0]

    noisy = [made(seed, share=0.0) for seed in range(40)]
    for seed in range(3):
        alone = degrade(scene(), Degradation("noise", {"sigma": 20}), 0, np.random.default_rng(seed))[0]
        np.testing.assert_array_equal(noisy[seed], alone)
    half = [made(seed, share=0.5) for seed in range(40)]
    assert 10 <= sum(np.array_equal(a, b) for a, b in zip(noisy, half, strict=True)) <= 30
    draws = [made(seed, share=1.0, quality=60) for seed in range(40)]
    of_both = []
    for plane, before in zip(draws, noisy, strict=True):
        before = before.transpose(1, 2, 0).astype(np.float64)
        forms = [compress(before, 60, halved=halved).transpose(2, 0, 1) for halved in (False, True)]
        of_both.append([np.allclose(plane, form, atol=0.02) for form in forms].index(True))
    assert 8 <= sum(of_both) <= 32
    qualities = {made(seed, share=1.0, quality=[60, 95]).tobytes() for seed in range(4)}
    assert len(qualities) == 4
    assert Degradation("jpeg", {"sigma": [0, 50]}).task == "denoise"
    assert Degradation("jpeg", {"sigma": [0, 50]}).margin == 16
    assert Degradation("jpeg", {"sigma": 5}).to_dict() == {
        "kind": "jpeg",
        "sigma": 5,
        "quality": [70, 98],
        "share": 0.5,
    }


def test_kernels_from_files_are_turned_and_mirrored(kernels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    kind = Degradation("kernels", {"folder": str(kernels)})
    point = np.zeros((31, 31, 3))
    point[15, 15] = 1
    seen = set()
    for seed in range(60):
        degraded, _ = degrade(Scene(point), kind, 0, np.random.default_rng(seed))
        assert degraded.sum() == pytest.approx(3)
        at = np.argwhere(degraded[0] > 0.5)
        seen |= {tuple(at[0] - 15)} if len(at) else {"diagonal"}
    assert seen == {(-2, -2), (-2, 2), (2, -2), (2, 2), "diagonal"}
    assert kind.margin == 3
    assert kind.to_dict() == {"kind": "kernels", "folder": "kernels"}
    before = kind.content
    np.save(kernels / "a.npy", np.ones((3, 3)))
    assert kind.content != before
    lost = tiny_model(task="deblur", degradation=kind.to_dict()).info
    with pytest.raises(BadInputError, match="no such file or folder of blur kernels"):
        degrade(Scene(point), degradation_of(lost), 0, np.random.default_rng(0))


def test_of_a_mixture_each_crop_gets_one():
    kind = Degradation("mixed", {"of": [{"kind": "noise", "sigma": 30}, {"kind": "defocus", "radius": 3}]})
    rough = [np.std(np.diff(degrade(scene(), kind, 0, np.random.default_rng(i))[0], axis=2)) for i in range(40)]
    noisy = sum(value > 0.1 for value in rough)
    assert 10 < noisy < 30
    assert kind.margin == 3
    assert kind.task is None
    assert Degradation("mixed", {"of": [{"kind": "motion"}, {"kind": "shake"}]}).task == "deblur"
    again = kind.to_dict()
    assert again["of"][0] == {"kind": "noise", "sigma": 30}
    assert degradation_of(tiny_model(task="deblur", degradation=again).info) == kind


def test_tasks_of_kinds():
    assert [
        Degradation(kind, GIVEN.get(kind, {})).task for kind in ("motion", "shake", "kernels", "defocus", "rain")
    ] == [*("deblur", "deblur", "deblur", "defocus", "derain")]
    assert Degradation("pairs").task is None
