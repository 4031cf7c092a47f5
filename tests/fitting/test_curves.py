"""Curves: valid SVG whose points lie where the numbers say."""

import math
from xml.etree import ElementTree

import pytest

from nspike.fitting.curves import HEIGHT, Curve, Panel, draw

SVG = "{http://www.w3.org/2000/svg}"


def points(text):
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in ElementTree.fromstring(text).iter(f"{SVG}polyline")
    ]


def test_points_lie_where_the_numbers_say():
    curve = Curve("batch", [(0, 1.0), (5, 3.0), (10, 2.0)])
    text = draw([Panel("PSNR <dB>", (curve,))])
    ((first, second, third),) = points(text)
    assert second[0] == pytest.approx((first[0] + third[0]) / 2)
    assert third[1] == pytest.approx((first[1] + second[1]) / 2), "y grows downwards"
    assert second[1] < third[1] < first[1]
    assert "PSNR &lt;dB&gt;" in text


def test_logarithms_and_what_is_not_finite():
    curve = Curve("batch", [(0, 1.0), (1, 0.1), (2, 0.01), (3, math.nan), (4, 0.0), (5, math.inf)])
    ((first, second, third),) = points(draw([Panel("loss", (curve,), logarithmic=True)]))
    assert second[1] - first[1] == pytest.approx(third[1] - second[1], abs=0.2)


def test_many_points_become_few():
    ((*kept,),) = points(draw([Panel("loss", (Curve("batch", [(i, i % 7) for i in range(100_000)]),))]))
    assert len(kept) <= 400


def test_empty_panels_are_left_out():
    empty = Panel("nothing", (Curve("batch", [(1, math.nan)]),))
    one = Panel("one", (Curve("batch", [(1, 2.0)]),))
    text = draw([empty, one])
    assert "nothing" not in text
    assert ElementTree.fromstring(text).get("height") == str(HEIGHT)
    assert len(list(ElementTree.fromstring(text).iter(f"{SVG}circle"))) == 1
    assert ElementTree.fromstring(draw([empty])).get("height") == str(HEIGHT)
