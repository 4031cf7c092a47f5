"""`nspike audit --report`: what the page holds. tests/test_report_browser.py looks at it."""

import base64
import importlib.util
import io
import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import nspike
from nspike.images import file as images
from nspike.integer import reference as floatsim
from nspike.integer.rounding import build
from nspike.registry.parts import head_of, neuron_of
from nspike.registry.plugins import registry
from nspike.report import charts, page
from nspike.report.maps import LONGEST, RateMaps
from nspike.report.residual import SIDE, residuals
from nspike.restoration.way import input_planes
from tests.cli.console import run
from tests.desk import lay_out, write
from tests.own_neurons import LEAKY
from tests.tiny import image, tiny_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    return lay_out(tmp_path, monkeypatch)


# ----- maps -----


@pytest.mark.parametrize(("shape", "tile"), [((130, 140), 64), ((130, 140), None), ((70, 600), 64)])
def test_maps_are_means_of_the_spikes(shape, tile):
    model, pixels = tiny_model(), image(*shape)
    maps, whole = RateMaps(1, *shape, model.spiking.timesteps), {}

    def observer(seen):
        maps(seen)
        total = whole.setdefault(seen.layer, np.zeros(shape))
        total[seen.core.slices] = seen.dense().sum(axis=(0, 1))

    result = nspike.restore(model, pixels, tile=tile, observer=observer)
    rates, factor = maps.rates(), maps.factor("relu1")
    assert max(rates["relu1"].shape) <= LONGEST
    assert factor == -(-max(shape) // LONGEST)
    for layer in result.ledger.layers:
        counts = whole[layer.name]
        assert counts.sum() == layer.events.sum()
        expected = [
            [counts[y : y + factor, x : x + factor].mean() for x in range(0, shape[1], factor)]
            for y in range(0, shape[0], factor)
        ]
        assert np.allclose(rates[layer.name], np.array(expected) / (layer.shape[0] * 4))


def test_maps_of_three_planes():
    model, maps = tiny_model(), RateMaps(3, 20, 24, 4)
    ledger = nspike.restore(model, image(20, 24, 3), observer=maps).ledger
    for layer in ledger.layers:
        assert maps.rates()[layer.name].mean() == pytest.approx(layer.events.sum() / (layer.neuron_updates[0] * 4))


def test_a_map_is_clear_where_nothing_fires():
    uri = charts.map_uri(np.array([[0.0, 0.5], [1.0, 2.0]]), 1.0)
    shown = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA")
    assert [shown.getpixel(at)[3] for at in ((0, 0), (1, 0), (0, 1), (1, 1))] == [0, 255, 255, 255]


# ----- residual potential -----


def test_residuals_are_those_of_the_simulation():
    model, pixels = tiny_model(head="cpm"), image(30, 40)
    found = residuals(model, input_planes(model, pixels))
    run_ = floatsim.simulate(
        floatsim.from_integers(build(model, neuron_of(model), head_of(model))), 257.0 * pixels[None] / 65535
    )
    assert list(found) == ["relu1", "relu2", "output"]
    for name in found:
        assert found[name].over == pytest.approx((run_.residual[name] > 0.5).mean(), abs=2e-3)  # θ is 1 before rounding
        assert found[name].under == pytest.approx((run_.residual[name] < -0.5).mean(), abs=2e-3)
    assert all(found[name].over > 0 and found[name].under > 0 for name in ("relu1", "relu2"))


def test_residuals_of_a_large_image_are_those_of_its_middle():
    model, pixels = tiny_model(), image(200, 300)
    y, x = (200 - SIDE) // 2, (300 - SIDE) // 2
    middle = residuals(model, input_planes(model, pixels[y : y + SIDE, x : x + SIDE]))
    assert residuals(model, input_planes(model, pixels)) == middle


def test_a_kernel_of_its_own_is_not_simulated():
    registry().neurons.fill({**{name: registry().neurons[name] for name in registry().neurons}, "leaky": LEAKY.fast})
    try:
        model = nspike.swap(tiny_model(), neuron="leaky")[0]
        assert residuals(model, input_planes(model, image(20, 20))) == {}
    finally:
        registry.cache_clear()


@pytest.mark.parametrize("neuron", ["lif", "lif_hard", "signed"])
def test_residuals_of_declared_neurons(neuron):
    model = nspike.swap(tiny_model(), neuron=neuron)[0]
    found = residuals(model, input_planes(model, image(20, 20)))
    assert all(0 < each.over + each.under < 1 for each in found.values())
    assert set(found) == {"relu1", "relu2"}


# ----- the page -----


def outside(html):
    """Whatever in a page could make a browser fetch something."""
    found = re.findall(r"""(?:src|href|action|data|poster|srcset)\s*=\s*["'](?!data:|#)([^"']*)""", html)
    found += re.findall(r"""url\((?!#|["']?data:)([^)]*)\)""", html)
    return found + re.findall(r"@import|<iframe|<object|<embed|fetch\(|XMLHttpRequest|WebSocket", html)


def test_planted_links_are_found():
    for planted in (
        '<img src="a.png">',
        "<link href='https://x.org/a.css'>",
        "url(b.png)",
        "@import 'x'",
        "fetch('y')",
    ):
        assert outside(planted), planted
    assert outside('<img src="data:image/png;base64,x"><a href="#top">url(#clip)') == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["photo.png", "--sigma", 25, "--ann"],
        ["small.png", "--task", "superres", "--scale", 2],
        ["hazy.png", "--task", "dehaze"],
        ["hazy.png", "--sigma", 25, "--plugin", "lif", "--plugin", "rate", "-T", 6],
    ],
)
def test_a_page_for_every_kind_of_run(here, capsys, arguments):
    done = run(capsys, "audit", *arguments, "--json", "c.json", "--report", "r.html")
    assert done.code == 0, done.err
    assert "report written to r.html" in done.out
    assert "s of processor time), digests and maps included" in done.out
    html, certificate = (here / "r.html").read_text(), json.loads((here / "c.json").read_text())
    assert outside(html) == []
    for layer in certificate["layers"]:
        assert all(step["sha256"] in html for step in layer["steps"])
    for key in ("file_sha256", "plane_sha256"):
        assert certificate["input"][key] in html
    saved = re.search(r'download="certificate.json" href="data:application/json;base64,([^"]+)"', html)[1]
    assert base64.b64decode(saved) == (here / "c.json").read_bytes()
    for text in (
        "horowitz45",
        "memory45",
        "quantised45",
        "pays below",
        "On a CPU the energy is a model",
        "M. Horowitz",
    ):
        assert text in html
    for time in ("wall time", "processor time"):
        assert re.search(rf"<dt>{time}, [a-z ]+</dt><dd>[\d.]+ s</dd>", html)
    assert "CPU time" not in html
    assert ("the plain network <strong>" in html) == ("--ann" in arguments)
    assert "not simulated" not in html
    assert str(here) not in html


def test_the_quality_is_in_it_where_a_clean_image_is_given(here, capsys):
    words = ["audit", "photo.png", "--sigma", 25, "--report", "r.html"]
    done = run(capsys, *words, "--reference", "photo.png")
    assert done.code == 0, done.err
    psnr, ssim = re.search(r"PSNR infinite -> ([\d.]+) dB, SSIM 1.0000 -> ([\d.]+)\n", done.out).groups()
    html = (here / "r.html").read_text()
    assert f"<dt>PSNR against the clean image</dt><dd>∞ → {psnr} dB</dd>" in html
    assert f"<dt>SSIM against the clean image</dt><dd>1.0000 → {ssim}</dd>" in html
    assert run(capsys, *words).code == 0
    assert "clean image" not in (here / "r.html").read_text()


def test_the_quality_of_an_enlarged_image(here, capsys):
    words = ["audit", "small.png", "--task", "superres", "--scale", 2, "--report", "r.html"]
    assert run(capsys, "run", *words[1:-2], "-o", "large.png").code == 0
    done = run(capsys, *words, "--reference", "large.png")
    assert (done.code, "against large.png: PSNR infinite dB, SSIM 1.0000" in done.out) == (0, True), done.err
    done = run(capsys, *words, "--reference", "small.png")
    assert (done.code, "small.png: is " in done.err) == (3, True)


def test_the_command_in_it_repeats_the_certificate(here, capsys):
    assert (
        run(capsys, "audit", "photo.png", "--plugin", "if", "-T", 6, "--json", "c.json", "--report", "r.html").code == 0
    )
    command = re.search(r"<pre>nspike (audit [^<]+)</pre>", (here / "r.html").read_text())[1].split()
    before = (here / "c.json").read_bytes()
    (here / "certificate.json").unlink(missing_ok=True)
    assert run(capsys, *command).code == 0
    assert (here / "certificate.json").read_bytes() == before


def test_the_certificate_is_the_same_with_a_report(here, capsys):
    plain = run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "-").out
    assert run(capsys, "audit", "photo.png", "--sigma", 25, "--json", "-", "--report", "r.html").out == plain


def test_names_are_escaped(here, capsys):
    write(here / "<script>alert(1)<" / "x.png", 20, 24)
    (here / "<script>alert(1)<" / "x.png").rename(here / "<script>alert(1)<b>.png")
    assert run(capsys, "audit", "<script>alert(1)<b>.png", "--sigma", 25, "--report", "r.html").code == 0
    html = (here / "r.html").read_text()
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in html


def test_a_large_image_makes_no_large_page(here, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (700, 1100), np.uint8)
    images.write(here / "large.png", images.ImageData(noise))
    assert run(capsys, "audit", "large.png", "--sigma", 25, "--report", "r.html").code == 0
    assert (here / "r.html").stat().st_size < 3 << 20


def test_images_are_bounded():
    for shape, kind in (((300, 400), "png"), ((3000, 40, 3), "png"), ((1500, 1600, 3), "jpeg")):
        uri = charts.image_uri(np.zeros(shape, np.uint16))
        shown = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert uri.startswith(f"data:image/{kind};base64,")
        assert max(shown.size) <= charts.LONGEST


def test_charts_take_the_colour_of_the_page():
    ledger = tiny_model().run(image(20, 24)).ledger
    for svg in (charts.rates_chart(ledger), charts.spikes_chart(ledger)):
        assert svg.startswith('<svg role="img" aria-label="')
        assert "currentColor" in svg
        assert charts._INK not in svg
    assert charts.rates_chart(ledger) == charts.rates_chart(ledger), "the same bytes"


@pytest.mark.parametrize(("steps", "post"), [(4, 1), (10, 10), (11, 0), (40, 40), (100, 3)])
def test_the_steps_below_a_chart_do_not_overlap(steps, post):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = charts._steps(steps, steps + post)
    assert len(labels) == steps + post
    assert 3 <= sum(map(bool, labels)) <= charts.LABELS
    figure = Figure(figsize=(3.4, 1), dpi=72)  # what the colour bar and the layers' names leave of 5.2
    axes = figure.add_axes((0, 0.5, 1, 0.5))
    axes.set_xlim(0, len(labels))
    axes.set_xticks(np.arange(len(labels)) + 0.5, labels)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
    assert all(left.x1 + 2 < right.x0 for left, right in itertools.pairwise(boxes))


def test_the_figures_have_room_at_500_pixels():
    css = page.TEMPLATE.read_text(encoding="utf-8")
    least = 16 * float(re.search(r"\.figures \{[^}]*minmax\(min\(100%, ([\d.]+)rem\)", css)[1])
    room = 500 - 2 * 16 - 2  # the page's padding
    columns = int((room + 8) // (least + 8))
    width = (room - 8 * (columns - 1)) / columns - 2 * 0.6 * 16 - 3
    digits, commas = 13, 4  # of 1,234,567,890,123
    assert width > 1.15 * 16 * (0.6 * digits + 0.3 * commas), "a digit takes 0.6 of the size of the type at most"
    assert re.search(r"\.figures dd \{[^}]*overflow-wrap: anywhere", css), "and longer ones break"


# ----- what goes wrong -----


def test_without_the_extra(here, capsys, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "jinja2" else known(name, *a))
    done = run(capsys, "audit", "photo.png", "--sigma", 25, "--report", "r.html")
    assert (done.code, done.out) == (2, "")
    assert 'a report needs Jinja2; install what is missing: pip install "nspike[report]"' in done.err
    assert not (here / "r.html").exists()


def test_without_the_extra_the_certificate_is_written(here, capsys, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "jinja2" else known(name, *a))
    words = ["audit", "photo.png", "--sigma", 25]
    done = run(capsys, *words, "--report", "r.html", "--json", "c.json")
    assert (done.code, "a report needs Jinja2" in done.err) == (2, True)
    assert not (here / "r.html").exists()
    piped = run(capsys, *words, "--report", "r.html", "--json", "-")
    assert (piped.code, piped.out) == (2, (here / "c.json").read_text()), "the certificate and nothing else"
    assert run(capsys, *words, "--json", "-").out == piped.out


def test_a_run_without_spikes_has_a_page(here, capsys):
    model = tiny_model(name="dncnn-s25")
    high = {name: 1e4 * theta for name, theta in model.spiking.thresholds.items()}
    nspike.save(here / "silent.h5", model.with_spiking(replace(model.spiking, thresholds=high)))
    done = run(capsys, "audit", "photo.png", "--model", "silent.h5", "--report", "r.html", "--json", "c.json")
    assert done.code == 0, done.err
    assert json.loads((here / "c.json").read_text())["totals"]["spikes"] == 0
    assert outside((here / "r.html").read_text()) == []


def test_a_page_is_written_whole_or_not_at_all(here, capsys, monkeypatch):
    (here / "r.html").write_text("older")
    monkeypatch.setattr(page, "render", lambda story: 1 / 0)
    run(capsys, "audit", "photo.png", "--sigma", 25, "--report", "r.html")
    assert (here / "r.html").read_text() == "older"
