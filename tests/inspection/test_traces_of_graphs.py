"""Traces, differences, replays, curves and maps of networks with layers of several resolutions."""

import json
import re
from fractions import Fraction

import h5py
import numpy as np
import pytest

import nspike
from nspike.cli.group import main
from nspike.engine.window import Rect
from nspike.errors import BadInputError, UsageError
from nspike.inspection.traces import Trace, in_memory, read_trace
from nspike.inspection.tracing import trace
from nspike.report.maps import RateMaps
from nspike.report.residual import SIDE, residuals
from nspike.restoration.way import input_planes
from tests.desk import write
from tests.inspection.networks import edsr, ffdnet, model_of, shuffles, unet
from tests.tiny import image

MODEL = model_of(unet(), 1)
PIXELS = image(72, 132)


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A trace of a whole image, and what the layers fired."""
    path, seen = tmp_path_factory.mktemp("trace") / "t.h5", {}

    def observer(part):
        seen[part.layer] = part.dense()

    nspike.restore(MODEL, PIXELS, observer=observer)
    trace(MODEL, PIXELS, path, tile=64)
    return path, seen


def test_a_trace_has_each_layer_at_its_own_resolution(traced):
    path, seen = traced
    with read_trace(path) as read:
        scales = {layer: read.scale(layer) for layer in read.layers}
        assert scales == {"a": 1, "b": Fraction(1, 2), "c": Fraction(1, 4), "d": Fraction(1, 2)}
        assert read.window_of("c") == Rect(0, 18, 0, 33)
        for layer in read.layers:
            np.testing.assert_array_equal(read.spikes(layer), seen[layer])
        entries = {entry["name"]: entry.get("scale") for entry in read.info["layers"]}
        assert entries == {"a": None, "b": [1, 2], "c": [1, 4], "d": [1, 2]}


def test_the_trace_is_the_same_for_all_tiles(traced, tmp_path):
    trace(MODEL, PIXELS, tmp_path / "whole.h5", threads=1)
    assert nspike.diff(traced[0], tmp_path / "whole.h5").same
    with read_trace(traced[0]) as one, read_trace(tmp_path / "whole.h5") as two:
        assert one.info == two.info


@pytest.mark.parametrize("window", [(0, 0, 4, 4), (8, 60, 120, 12), (60, 4, 72, 64)])
def test_a_window_of_every_layer(traced, tmp_path, window):
    path, seen = traced
    x, y, width, height = window
    trace(MODEL, PIXELS, tmp_path / "w.h5", window=window, tile=64)
    with read_trace(tmp_path / "w.h5") as read:
        for layer in read.layers:
            n, d = read.scale(layer).as_integer_ratio()
            rows, columns = slice(y * n // d, (y + height) * n // d), slice(x * n // d, (x + width) * n // d)
            np.testing.assert_array_equal(read.spikes(layer), seen[layer][..., rows, columns])
            (entry,) = (entry for entry in read.info["layers"] if entry["name"] == layer)
            assert entry["events"] == read.spikes(layer).sum(axis=(1, 2, 3)).tolist()
    difference = nspike.diff(path, tmp_path / "w.h5")
    assert difference.same
    where = f"compared: {width}x{height} pixels from ({x}, {y}) on of layer a, and as much of the others"
    assert where in difference.notes


@pytest.mark.parametrize("window", [(1, 0, 4, 4), (0, 2, 4, 4), (0, 0, 6, 4), (0, 0, 4, 7)])
def test_a_window_that_cuts_pixels_of_a_layer(tmp_path, window):
    with pytest.raises(UsageError, match="must lie on multiples of 4 pixels: this network has layers of other sizes"):
        trace(MODEL, PIXELS, tmp_path / "w.h5", window=window)
    assert not (tmp_path / "w.h5").exists()


def test_a_padded_image_is_traced_with_its_padding(tmp_path):
    trace(MODEL, image(9, 10), tmp_path / "t.h5")
    with read_trace(tmp_path / "t.h5") as read:
        assert read.whole
        assert [read.train(layer).shape[3:] for layer in ("a", "b", "c")] == [(12, 12), (6, 6), (3, 3)]
    with pytest.raises(UsageError, match="lies outside the image, which is 12x12"):
        trace(MODEL, image(9, 10), tmp_path / "w.h5", window=(0, 0, 16, 12))


def test_an_enlarged_layer(tmp_path):
    trace(model_of(edsr(), 2), image(5, 6), tmp_path / "t.h5")
    with read_trace(tmp_path / "t.h5") as read:
        assert (read.scale("f2"), read.gains("f2"), read.gains("r1")) == (2, (1, -1), (1,))
        assert read.spikes("f2").shape == (4, 3, 10, 12)
        assert read.spikes("f2").min() == -1


# ----- differences -----


def changed(path, to, layer, at):
    """A copy of a trace with one spike of a layer turned around."""
    to.write_bytes(path.read_bytes())
    step, channel, y, x = at
    with h5py.File(to, "r+") as file:
        file[f"spikes/{layer}"][0, step, channel, y, x // 8] ^= 1 << (x % 8)
    return to


def test_a_difference_is_in_the_layers_own_pixels(traced, tmp_path):
    other = changed(traced[0], tmp_path / "other.h5", "c", (2, 3, 17, 30))
    layer, place = nspike.diff(traced[0], other).first
    assert (layer, place.step, place.channel, place.y, place.x) == ("c", 3, 3, 17, 30)
    trace(MODEL, PIXELS, tmp_path / "w.h5", window=(96, 64, 36, 8))
    layer, place = nspike.diff(tmp_path / "w.h5", other).first
    assert (layer, place.y, place.x) == ("c", 17, 30)
    trace(MODEL, PIXELS, tmp_path / "left.h5", window=(0, 0, 64, 72))
    assert nspike.diff(tmp_path / "left.h5", other).same


def test_a_difference_to_arrays(traced, tmp_path):
    path, seen = traced
    assert nspike.diff(path, {name: spikes for name, spikes in seen.items() if name != "output"}).same
    trace(MODEL, PIXELS, tmp_path / "w.h5", window=(16, 8, 32, 24))
    part = {"a": seen["a"][..., 8:32, 16:48], "b": seen["b"][..., 4:16, 8:24]}
    assert nspike.diff(tmp_path / "w.h5", part).same
    with pytest.raises(BadInputError, match="cannot be compared"):
        nspike.diff(path, {"b": seen["a"]})


def test_layers_of_other_resolutions_are_not_compared(traced):
    with read_trace(traced[0]) as read:
        info = json.loads(json.dumps(read.info))
        info["layers"][1]["scale"] = [1, 4]
        other = Trace("other", {"b": in_memory({"b": read.spikes("c")}).trains["b"]}, info)
        with pytest.raises(BadInputError, match=r"layer 'b' is .* cannot be compared"):
            nspike.diff(read, other)


# ----- files that are damaged -----


@pytest.mark.parametrize(
    "scale", ["1/2", [1], [1, 2, 3], [0, 2], [1, 0], [-1, 2], [1.0, 2], [True, 2], [1, 5], [2**40, 1], [1, 4], [1, 1]]
)
def test_a_scale_that_cannot_be(traced, tmp_path, scale):
    path = tmp_path / "damaged.h5"
    path.write_bytes(traced[0].read_bytes())
    with h5py.File(path, "r+") as file:
        info = json.loads(file.attrs["trace"])
        info["layers"][1]["scale"] = scale
        text = json.dumps(info).encode()
        del file.attrs["trace"]
        file.attrs.create("trace", text, dtype=h5py.string_dtype("utf-8", len(text)))
    with pytest.raises(BadInputError, match=r"damaged"):
        read_trace(path)


# ----- replays and curves -----


@pytest.mark.parametrize("layer", ["a", "b", "c", "d"])
def test_a_replay_of_any_layer_gives_the_image(traced, layer):
    whole = nspike.restore(MODEL, PIXELS, digest=True)
    replayed = nspike.replay(traced[0], MODEL, PIXELS, layer=layer, tile=64)
    np.testing.assert_array_equal(replayed.image, whole.image)
    digests = {each.name: each.digests for each in whole.ledger.layers}
    for each in replayed.ledger.layers:
        assert each.digests == digests[each.name]


@pytest.mark.parametrize("model", [MODEL, model_of(shuffles(), 2), model_of(ffdnet(), 3)], ids=lambda m: m.info.name)
def test_the_last_image_of_a_curve_is_the_result(model):
    pixels = image(69, 75)
    kept = {}

    def keep(step, shape, dtype):
        kept[step] = np.zeros(shape, dtype)
        return kept[step]

    curve = nspike.curve(model, pixels, reference=pixels, keep=keep, tile=64)
    result = nspike.restore(model, pixels)
    np.testing.assert_array_equal(kept[4], result.image)
    assert curve.steps[-1].psnr_last == float("inf")
    squares = ((result.image.astype(int) - pixels) ** 2).sum()
    assert curve.steps[-1].psnr == pytest.approx(10 * np.log10(255**2 * pixels.size / squares))
    assert curve.steps[-1].synops == result.ledger.synops


def test_a_curve_of_a_network_that_enlarges():
    pixels, kept = image(67, 9, 3), {}

    def keep(step, shape, dtype):
        kept[step] = np.zeros(shape, dtype)
        return kept[step]

    model = model_of(edsr(), 4)
    result = nspike.restore(model, pixels)
    curve = nspike.curve(model, pixels, reference=result.image, keep=keep, tile=64)
    np.testing.assert_array_equal(kept[4], result.image)
    assert (curve.steps[-1].psnr, curve.steps[-1].psnr_last) == (float("inf"), float("inf"))


# ----- maps and reports -----


def test_maps_have_the_layers_own_size():
    scales = {**MODEL.network.scales}
    maps, whole = RateMaps(1, 72, 600, 4, {}, scales), {}

    def observer(seen):
        maps(seen)
        core = seen.core
        whole[seen.layer, core.y0, core.x0] = seen.dense().sum()

    ledger = nspike.restore(MODEL, image(72, 600), tile=64, observer=observer).ledger
    for layer in ledger.layers:
        rate, factor = maps.rates()[layer.name], maps.factor(layer.name)
        assert rate.shape == tuple(-(-side // factor) for side in layer.shape[1:])
        assert max(rate.shape) <= 256
        assert rate.mean() == pytest.approx(layer.events.sum() / np.prod(layer.shape) / 4, rel=0.1)
    assert [maps.factor(name) for name in "abc"] == [3, 2, 1]


def test_residuals_of_the_middle():
    planes = input_planes(MODEL, image(90, 75))
    assert set(residuals(MODEL, planes)) == {"a", "b", "c", "d"}
    odd = model_of(shuffles(), 2)
    assert set(residuals(odd, input_planes(odd, image(2 * SIDE + 1, 3)))) == {"a", "b", "c", "d", "e"}


def test_a_report_of_a_network_of_several_resolutions(tmp_path):
    pytest.importorskip("jinja2")
    model = model_of(unet(), 1, neuron="mprn", head="cpm")
    nspike.save(tmp_path / "m.h5", model)
    photo, page = write(tmp_path / "photo.png", 37, 42), tmp_path / "report.html"
    assert main(["audit", str(photo), "--model", str(tmp_path / "m.h5"), "--report", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    for name in ("a", "b", "c", "d", "output"):
        assert re.search(rf">\s*{name}\s*<", text), name
