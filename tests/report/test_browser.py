"""The report in a real browser, headless: it loads nothing, complains of nothing, and its controls work.

Skipped where Playwright (`pip install playwright`) or a Chromium is missing: `playwright install chromium-headless-shell`, or
the system's own.
"""

import shutil

import pytest

import nspike
from nspike.cli.group import main
from tests.desk import write
from tests.tiny import tiny_model

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        system = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        try:
            found = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"there is no Chromium: {str(error).splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    nspike.save(folder / "m.h5", tiny_model(head="cpm"))
    photo = write(folder / "photo.png", 120, 160)
    assert (
        main(["audit", str(photo), "--model", str(folder / "m.h5"), "--report", str(folder / "r.html"), "--ann"]) == 0
    )
    return folder / "r.html"


class Seen:
    """A page with what it asked for and complained of."""

    def __init__(self, browser, report, **options):
        self.page = browser.new_page(**options)
        self.complaints, self.requests = [], []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())


@pytest.fixture
def seen(browser, report):
    seen = Seen(browser, report, viewport={"width": 1000, "height": 900})
    yield seen
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [report.as_uri()]
    seen.page.close()


def centre(page, selector):
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2


def test_the_slider_moves_the_divider(seen):
    stage = seen.page.locator("#stage").bounding_box()
    assert centre(seen.page, "#divider") == pytest.approx(stage["x"] + stage["width"] / 2, abs=2)
    y = stage["y"] + stage["height"] / 2
    seen.page.mouse.move(stage["x"] + stage["width"] / 2, y)
    seen.page.mouse.down()
    for share in (0.4, 0.3, 0.2):
        seen.page.mouse.move(stage["x"] + share * stage["width"], y)
    seen.page.mouse.up()
    assert centre(seen.page, "#divider") == pytest.approx(stage["x"] + 0.2 * stage["width"], abs=3)
    clip = seen.page.evaluate("getComputedStyle(document.getElementById('after')).clipPath")
    assert float(clip.split()[-1].rstrip("%)")) == pytest.approx(20, abs=1)


def test_the_slider_obeys_the_keyboard(seen):
    seen.page.locator("#slider").focus()
    before = centre(seen.page, "#divider")
    seen.page.keyboard.press("End")
    assert centre(seen.page, "#divider") > before + 100


def test_a_layer_is_chosen(seen):
    first, legend = seen.page.locator("#map").get_attribute("src"), seen.page.locator("#most").text_content()
    seen.page.locator("#layer").select_option("1")
    assert seen.page.locator("#map").get_attribute("src") != first
    assert seen.page.locator("#most").text_content() != legend
    assert "relu2" in seen.page.locator("#map").get_attribute("alt")
    seen.page.locator("#strength").fill("20")
    assert seen.page.evaluate("getComputedStyle(document.getElementById('map')).opacity") == "0.2"


def test_every_image_is_drawn(seen):
    assert seen.page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert seen.page.locator("svg").count() == 2
    assert all(box.bounding_box()["width"] > 300 for box in seen.page.locator("svg").all())


def test_the_certificate_can_be_saved(seen, report):
    with seen.page.expect_download() as download:
        seen.page.get_by_text("save certificate.json").click()
    assert b'"format": "nspike certificate"' in download.value.path().read_bytes()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_a_phone(browser, report, width):
    seen = Seen(browser, report, viewport={"width": width, "height": 800}, is_mobile=True, has_touch=True)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    seen.page.locator("#stage").tap(position={"x": 30, "y": 40})
    assert centre(seen.page, "#divider") < width / 3
    assert seen.complaints == []
    seen.page.close()


def test_it_is_dark_in_the_dark(browser, report):
    def brightness(scheme, value):
        seen = Seen(browser, report, color_scheme=scheme)
        red, green, blue = seen.page.evaluate(
            f"getComputedStyle(document.body).{value}.match(/\\d+/g).slice(0, 3).map(Number)"
        )
        ink = seen.page.evaluate("getComputedStyle(document.querySelector('svg text')).fill.match(/\\d+/g).map(Number)")
        seen.page.close()
        return (red + green + blue) / 3, sum(ink[:3]) / 3

    paper, ink = brightness("dark", "backgroundColor")
    assert (paper < 60, ink > 180) == (True, True)
    paper, ink = brightness("light", "backgroundColor")
    assert (paper > 200, ink < 80) == (True, True)
