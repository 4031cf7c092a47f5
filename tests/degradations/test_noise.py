import numpy as np
import pytest

from nspike.degradations.haze import add_haze
from nspike.degradations.noise import add_gaussian, estimate_sigma
from nspike.errors import BadInputError


def test_noise_is_that_of_the_literature():
    clean = np.random.default_rng(0).random((6, 7))
    np.random.seed(0)
    expected = clean + np.random.normal(0, 25 / 255.0, clean.shape)
    assert np.array_equal(add_gaussian(clean, 25, 0), expected)


def test_noise_leaves_the_global_generator_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    add_gaussian(np.zeros((4, 4)), 10, 1)
    assert np.array_equal(np.random.get_state()[1], before)


def test_noise_is_neither_limited_nor_rounded():
    noisy = add_gaussian(np.ones((50, 50)), 25, 0)
    assert noisy.max() > 1.2
    assert add_gaussian(np.ones((2, 2)), 0, 0).max() == 1


@pytest.mark.parametrize(("pixels", "sigma"), [(np.zeros((4, 4), np.uint8), 25), (np.zeros((4, 4)), -1)])
def test_noise_refuses(pixels, sigma):
    with pytest.raises(BadInputError):
        add_gaussian(pixels, sigma, 0)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_estimate_finds_the_noise_on_a_smooth_image(sigma):
    y, x = np.mgrid[:200, :240] / 200
    clean = 0.4 + 0.3 * np.sin(3 * x) * np.cos(2 * y)
    assert estimate_sigma(add_gaussian(clean, sigma, 3)) * 255 == pytest.approx(sigma, rel=0.03)


def test_estimate_equals_the_slow_version():
    plane = np.random.default_rng(1).random((11, 14))
    root = np.sqrt(3)
    low = np.array([1 + root, 3 + root, 3 - root, 1 - root]) / (4 * np.sqrt(2))
    high = low[::-1] * [1, -1, 1, -1]
    assert low @ high == pytest.approx(0)
    detail = [
        (np.outer(high, high) * plane[top : top + 4, left : left + 4]).sum()
        for top in range(0, 8, 2)
        for left in range(0, 11, 2)
    ]
    assert estimate_sigma(plane) == pytest.approx(np.median(np.abs(detail)) / 0.6744897501960817, rel=1e-12)


def test_estimate_of_colour_is_the_mean_over_channels():
    image = np.random.default_rng(2).random((40, 40, 3))
    assert estimate_sigma(image) == pytest.approx(np.mean([estimate_sigma(image[..., c]) for c in range(3)]))


def test_estimate_is_not_misled_by_clipped_areas():
    image = np.zeros((200, 200))
    image[120:] = 0.5
    noisy = np.clip(image - 0.2 * (image == 0) + add_gaussian(np.zeros((200, 200)), 15, 0), 0, 1)
    assert estimate_sigma(noisy) * 255 == pytest.approx(15, rel=0.1)


def test_estimate_of_a_constant_is_zero():
    assert estimate_sigma(np.full((8, 8), 0.3)) == 0
    assert estimate_sigma(np.full((4, 4), 0.3)) == 0


@pytest.mark.parametrize("plane", [np.zeros((3, 9)), np.zeros((9, 9), np.uint8), np.zeros(9), np.zeros((8, 8, 0))])
def test_estimate_refuses(plane):
    with pytest.raises(BadInputError, match="float64"):
        estimate_sigma(plane)


def test_haze():
    clear, depth = np.full((2, 2, 3), 0.2), np.array([[0.0, 1.0], [2.0, 1e9]])
    hazy = add_haze(clear, depth, beta=1.0, airlight=0.9)
    np.testing.assert_allclose(hazy[..., 0], 0.2 * np.exp(-depth) + 0.9 * (1 - np.exp(-depth)))
    assert hazy[0, 0, 0] == 0.2
    assert hazy[1, 1, 2] == 0.9
    assert add_haze(clear[..., 0], depth, beta=0.5, airlight=1.0).shape == (2, 2)
    with pytest.raises(BadInputError, match="depth"):
        add_haze(clear, depth[:1], beta=1.0, airlight=0.9)
    with pytest.raises(BadInputError, match="beta"):
        add_haze(clear, depth, beta=-1.0, airlight=0.9)


@pytest.mark.parametrize("turned", [False, True], ids=["black", "white"])
def test_estimate_leaves_out_what_is_clipped_at_either_end(turned):
    """Two thirds of the image are clipped: their coefficients are 0, and would be the median."""
    image = np.full((240, 200), -1.0)
    image[160:] = 0.5
    noisy = np.clip(image + add_gaussian(np.zeros(image.shape), 15, 0), 0, 1)
    assert (noisy == 0).mean() > 0.6
    assert estimate_sigma(1 - noisy if turned else noisy) * 255 == pytest.approx(15, rel=0.1)
