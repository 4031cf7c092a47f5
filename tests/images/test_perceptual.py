"""LPIPS against the equation written out in NumPy, and what it refuses. Where the package is there; it is not needed."""

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from nspike.errors import BadInputError, UsageError
from nspike.images.perceptual import SMALLEST, Perceptual

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Number of a convolution in torchvision's AlexNet -> outputs, inputs, side."""


@pytest.fixture
def torch():
    """PyTorch, with a torchvision that can be imported: PyPI's is built for CUDA, and beside a PyTorch without it lacks its
    compiled operators. AlexNet needs none; they are declared, so that the import goes on."""
    found = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name in ("lpips", "torchvision"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            if not hasattr(found.ops.torchvision, name):
                found.library.define(f"torchvision::{name}", "(Tensor a, Tensor b, float c) -> Tensor")
    return found


@pytest.fixture
def alexnet(torch, tmp_path):
    """A file of random weights, and the weights."""
    rng = np.random.default_rng(0)
    weights = {}
    for number, (outputs, inputs, side) in SHAPES.items():
        spread = (2 / (inputs * side * side)) ** 0.5
        weights[f"features.{number}.weight"] = rng.normal(0, spread, (outputs, inputs, side, side)).astype(np.float32)
        weights[f"features.{number}.bias"] = rng.normal(0, 0.05, outputs).astype(np.float32)
    path = tmp_path / "alexnet.pth"
    torch.save({name: torch.from_numpy(value) for name, value in weights.items()}, path)
    return path, weights


def convolve(x, weight, bias, stride, padding):
    side = weight.shape[2]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None]


def pool(x):
    return sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))


def features(image, weights):
    """The five maps of AlexNet after its rectifiers, divided by their norm over the channels."""
    x = (2 * image - 1).transpose(2, 0, 1).astype(np.float64)
    x = (x - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
    for number in SHAPES:
        if number in (3, 6):
            x = pool(x)
        stride, padding = {0: (4, 2), 3: (1, 2)}.get(number, (1, 1))
        weight, bias = (weights[f"features.{number}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        x = np.maximum(convolve(x, weight, bias, stride, padding), 0)
        yield x / (np.sqrt((x * x).sum(axis=0)) + 1e-10)


def slow_lpips(torch, a, b, weights):
    import lpips

    lines = torch.load(
        Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth", map_location="cpu", weights_only=True
    )
    total = 0.0
    for layer, (f, g) in enumerate(zip(features(a, weights), features(b, weights), strict=True)):
        line = lines[f"lin{layer}.model.1.weight"].numpy()[0, :, 0, 0].astype(np.float64)
        total += np.einsum("c,chw->hw", line, (f - g) ** 2).mean()
    return total


def test_it_is_the_equation(torch, alexnet):
    path, weights = alexnet
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 67, 80, 3))
    measured = Perceptual(path)
    assert measured.distance(a, b) == pytest.approx(slow_lpips(torch, a, b, weights), rel=1e-4)
    assert measured.distance(a, b) == measured.distance(a, b) > 0
    assert measured.distance(a, a) == 0
    grey = a[..., 0]
    assert measured.distance(grey, b[..., 0]) == measured.distance(
        np.stack([grey] * 3, 2), np.stack([b[..., 0]] * 3, 2)
    )


def test_small_images_have_none(alexnet):
    measured = Perceptual(alexnet[0])
    image = np.zeros((SMALLEST, SMALLEST))
    assert measured.distance(image, image) == 0
    assert measured.distance(image[:-1], image[:-1]) is None
    with pytest.raises(BadInputError, match="one size"):
        measured.distance(image, image[1:])


def test_other_files_are_refused(torch, alexnet, tmp_path):
    (tmp_path / "text.pth").write_text("no")
    with pytest.raises(BadInputError, match=r"text\.pth: is no PyTorch file"):
        Perceptual(tmp_path / "text.pth")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(
        BadInputError, match=r"is not torchvision's AlexNet: expected features.0.weight of shape \(64, 3, 11"
    ):
        Perceptual(tmp_path / "other.pth")
    with pytest.raises(BadInputError, match="cannot be read"):
        Perceptual(tmp_path / "none.pth")


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lpips" else object())
    with pytest.raises(UsageError, match=r'LPIPS needs lpips: pip install "nspike\[lpips\]"'):
        Perceptual(tmp_path / "alexnet.pth")


def test_a_comparison_measures_it_of_what_is_scored(alexnet, tmp_path, monkeypatch):
    import nspike
    from tests.comparing.folders import lay_out
    from tests.tiny import image

    monkeypatch.chdir(lay_out(tmp_path))
    pixels = image(70, 64)
    found = nspike.compare("ann.h5", [pixels], "table", lpips=alexnet[0], threads=1)
    row = found.row("plain")
    result = nspike.restore(nspike.load("ann.h5"), _noisy(pixels), ann=True)
    scored = np.rint(np.clip(result.image, 0, 1) * 255) / 255
    assert row["mean"]["lpips"] == pytest.approx(Perceptual(alexnet[0]).distance(scored, pixels / 255), rel=1e-6)
    assert found.settings["lpips"] is not None
    assert "--lpips" in row["command"]


def _noisy(pixels):
    from nspike.degradations.noise import add_gaussian

    return add_gaussian(pixels / 255.0, 25.0, 0)
