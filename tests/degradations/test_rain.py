"""Rain: streaks of light, along one line, as many as told."""

import math

import numpy as np
import pytest

from nspike.degradations.rain import add_rain
from nspike.errors import BadInputError

NUMBERS = {"density": 0.01, "length": 9.0, "angle": math.pi / 2, "strength": 0.5}


def fall(pixels, **changed):
    return add_rain(pixels, np.random.default_rng(0), **{**NUMBERS, **changed})


def test_rain_only_brightens_and_falls_along_its_angle():
    dark = np.zeros((60, 60, 3))
    wet = fall(dark)
    assert 0 < wet.max() <= 0.5
    assert wet.min() >= 0
    assert np.array_equal(wet[..., 0], wet[..., 2])
    along, across = (np.abs(np.diff(wet[..., 0], axis=axis)).mean() for axis in (0, 1))
    assert along < 0.7 * across
    assert np.array_equal(fall(dark), wet), "the same draw, the same rain"
    assert fall(np.full((20, 20), 0.9)).max() <= 1
    assert fall(dark, density=0.05).mean() > wet.mean()
    assert np.array_equal(fall(dark, density=0), dark)


def test_refusals():
    for wrong in ({"density": 2}, {"strength": -1}, {"length": 0}):
        with pytest.raises(BadInputError, match="needs"):
            fall(np.zeros((9, 9)), **wrong)
