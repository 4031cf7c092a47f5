"""The page of a comparison: one file that needs no other, with every row and image."""

import re
from html.parser import HTMLParser

import pytest

import nspike
from nspike.comparing.page import render
from tests.comparing.folders import lay_out

pytest.importorskip("matplotlib", reason="nspike[report] is not installed")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(lay_out(tmp_path, count=3))
    options = {"calibration": "calibrate", "crops": 2, "crop_size": 16, "threads": 1}
    models = {"mine": "tiny.h5"}
    return nspike.compare("ann.h5", "data", "table", methods=["rueckauer"], timesteps=[2, 3], models=models, **options)


def test_the_page_is_whole(comparison):
    text = render(comparison)
    page = Page(text)
    assert page.tags.count("svg") == 3
    assert page.tags.count("img") == 2 * (2 + 5)  # of two images: clean, input, plain, and four rows
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text).replace("http-equiv", "").split("<svg")[0]
    for row in comparison.rows:
        assert row["digest"] in page.text
        assert row["command"] in page.text
        if row["T"] is not None:
            assert f"{row['mean']['psnr']:.2f}" in page.text
    assert f"{comparison.rows[1]['images'][0]['psnr']:.2f} dB" in page.text
    assert "rueckauer" in text.split("<svg")[1]


def test_the_same_rows_give_the_same_page(comparison):
    assert render(comparison) == render(comparison)
