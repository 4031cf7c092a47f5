"""Arguments of the wrong type are named, not met by an error deep inside."""

import numpy as np
import pytest

import nspike
from nspike.errors import NspikeError, UsageError
from nspike.runtime.arguments import mappings, names, numbers, whole
from tests.small_models import small_ann
from tests.tiny import image, tiny_model

PIXELS = image(16, 16)
CROP = PIXELS[None].astype(np.float32) / 255


def test_what_passes():
    whole(1, a=1, b=np.int64(3), c=None)
    whole(a=-5)
    numbers(a=1, b=2.5, c=np.float32(1), d=None)
    mappings(a={}, b=None)
    names(a=["x"], b=(), c=None)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (whole, 1.0),
        (whole, True),
        (whole, "1"),
        (whole, [1]),
        (numbers, "1"),
        (numbers, False),
        (numbers, np.ones(2)),
        (numbers, 1j),
        (mappings, []),
        (mappings, "x"),
        (names, "relu1"),
        (names, [1]),
    ],
)
def test_what_does_not(check, value):
    with pytest.raises(UsageError, match=r"^given = .*; expected "):
        check(given=value)


def test_out_of_range():
    with pytest.raises(UsageError, match="tile = 0 is out of range; expected at least 1"):
        whole(1, tile=0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda model: nspike.restore(model, PIXELS, strength="x"), "strength = 'x'; expected a number"),
        (lambda model: nspike.restore(model, PIXELS, scale="x"), "scale = 'x'; expected a number"),
        (lambda model: nspike.restore(model, PIXELS, threads=1.5), "threads = 1.5; expected a whole number"),
        (lambda model: nspike.evaluate(model, [PIXELS], sigma="a"), "sigma = 'a'; expected a number"),
        (lambda model: nspike.evaluate(model, [PIXELS], seed="a"), "seed = 'a'; expected a whole number"),
        (lambda model: nspike.evaluate(model, [PIXELS], seed=2**32), r"seed = 4294967296 is out of range"),
        (lambda model: nspike.evaluate(model, [PIXELS], limit="a"), "limit = 'a'; expected a whole number"),
        (lambda model: nspike.evaluate(model, [PIXELS], protocol=1), "unknown protocol 1"),
        (lambda model: nspike.evaluate(model, [PIXELS], energy=1), "1: expected the name of an energy model"),
        (lambda model: nspike.swap(model, timesteps="8"), "timesteps = '8'; expected a whole number"),
        (lambda model: nspike.swap(model, neuron=["if"]), r"\['if'\]: expected the name of a neuron"),
        (lambda model: nspike.swap(model, parameters="beta"), "parameters = 'beta'; expected names and values"),
        (lambda model: nspike.swap("dncnn-s25", neuron="if"), "expected a Model"),
        (lambda model: nspike.trace(model, PIXELS, "t.h5", layers="relu1"), "layers = 'relu1'; expected a list of names"),
        (lambda model: nspike.trace(model, PIXELS, "t.h5", window=8), "window = 8; expected x, y, width and height"),
        (lambda model: nspike.curve(model, PIXELS, reference="clean.png"), "the reference is of type str"),
        (lambda model: nspike.convert(small_ann(), [CROP], threads=float("nan")), "threads = nan; expected a whole"),
        (lambda model: nspike.convert(small_ann(), [CROP], timesteps="8"), "timesteps = '8'; expected a whole"),
        (lambda model: nspike.convert(small_ann(), [CROP], options="x"), "options = 'x'; expected names and values"),
        (lambda model: nspike.convert(small_ann(), 1.5), "the calibration images are no list of arrays"),
        (lambda model: nspike.compare(small_ann(), [PIXELS], "t", methods="qcfs"), "methods = 'qcfs'; expected a list"),
        (lambda model: nspike.compare(small_ann(), [PIXELS], "t", timesteps=8), "timesteps = 8; expected a list"),
        (lambda model: nspike.compare(small_ann(), [PIXELS], "t", crops="x"), "crops = 'x'; expected a whole number"),
        (lambda model: nspike.psnr(PIXELS, PIXELS, data_range="x"), "data_range = 'x'; expected a number"),
    ],
)  # fmt: skip
def test_the_public_functions_name_the_argument(tmp_path, monkeypatch, call, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NspikeError, match=says):
        call(tiny_model())
    assert not list(tmp_path.iterdir())
