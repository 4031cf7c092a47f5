"""The charts of the pages, by the text in them."""

import re

import pytest

from nspike.report.charts import lines_chart

pytest.importorskip("matplotlib", reason="nspike[report] is not installed")


def labels(svg, axis):
    part = svg[svg.index(f'id="matplotlib.axis_{axis}"') :]
    return re.findall(r"<text[^>]*>([^<]*)</text>", part[: part.find('id="matplotlib.axis_2"') if axis == 1 else None])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.19, 0.34, 0.61, 2.95], {"0.2", "0.5", "1", "2"}),
        ([1e8, 5e8, 3e9], {"100 M", "200 M", "500 M", "1 G", "2 G"}),
        ([1.0, 1e3, 1e5], {"1", "1 k", "100 k"}),
    ],
)
def test_a_logarithmic_axis_has_few_plain_labels(values, expected):
    svg = lines_chart("t", "x", "y", {"a": [(value, 1.0) for value in values]}, logarithmic=True)
    found = labels(svg, 1)
    assert expected <= set(found)
    assert len(found) <= 9
    assert not any("times" in label or "10^" in label for label in found)


def test_a_linear_axis_and_its_level():
    svg = lines_chart("PSNR against T", "T", "PSNR, dB", {"a": [(5, 10.0), (20, 12.0)]}, levels={"plain": 13.0})
    assert 'aria-label="PSNR against T"' in svg
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"T", "PSNR, dB", "a", "plain"} <= set(texts)
