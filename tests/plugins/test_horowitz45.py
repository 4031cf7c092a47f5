import dataclasses

import numpy as np
import pytest

from nspike.contracts.energy import describe
from nspike.contracts.ledger import LayerLedger, Ledger
from nspike.registry.plugins import registry

MODEL = registry().energy_models["horowitz45"]


def counts(*values):
    return np.array(values, np.int64)


def small_ledger(**changes):
    """Two layers, T = 2 and a post step, with numbers that are easy to follow."""
    layers = (
        LayerLedger(
            "act1", (1, 2, 2), counts([3, 4, 1]), counts(10, 20, 30), counts(12, 22, 32), *[counts(4, 4, 4)] * 2
        ),
        LayerLedger("act2", (1, 2, 2), counts([1, 1, 0]), counts(5, 5, 0), counts(6, 6, 0), *[counts(4, 4, 0)] * 2),
    )
    ledger = Ledger(
        planes=1,
        shape=(1, 2, 2),
        timesteps=2,
        post_steps=1,
        layers=layers,
        analog_macs=100,
        analog_macs_paper=144,
        output_additions=8,
        head_synops=7,
        head_synops_paper=9,
        head_macs=4,
        ann_macs=1000,
        ann_macs_paper=1440,
        weights=333,
    )
    return dataclasses.replace(ledger, **changes)


def test_columns_by_hand():
    paper, once, exact = MODEL.estimate(small_ledger())
    assert paper.snn == pytest.approx(0.9e-12 * (66 + 12 + 9) + 4.6e-12 * 144 * 2, rel=1e-12)
    assert once.snn == pytest.approx(0.9e-12 * (66 + 12 + 9) + 4.6e-12 * 144, rel=1e-12)
    assert paper.ann == once.ann == pytest.approx(4.6e-12 * 1440, rel=1e-12)
    additions = (12 + 8) + (12 + 8) + 8  # biases, updates, output
    assert exact.snn == pytest.approx(0.9e-12 * (60 + 10 + 7 + additions) + 4.6e-12 * (100 + 4), rel=1e-12)
    assert exact.ann == pytest.approx(4.6e-12 * 1000, rel=1e-12)
    assert exact.ratio == exact.snn / exact.ann


def test_names_of_the_columns():
    columns = MODEL.estimate(small_ledger())
    assert [c.name for c in columns] == ["paper", "paper, first layer once", "exact"] == list(MODEL.formula)


@pytest.mark.parametrize(
    ("macs_per_pixel", "pixels", "millijoules"),
    [
        (1746, 640 * 480, 2.467),  # AOD-Net, TestSet A
        (554_112, 481 * 321, 393.555),  # DnCNN, BSD68
        (554_112, (147_456 + 481 * 321) / 2, 384.704),  # DnCNN, mean of Set12 and BSD68
        (664_704, 113_491.2, 347.015),  # VDSR ×2, Set5
        (664_704, 111_641.6, 341.360),  # VDSR ×4, Set5
    ],
)
def test_energies_of_the_papers(macs_per_pixel, pixels, millijoules):
    ledger = small_ledger(ann_macs_paper=macs_per_pixel * pixels)
    assert round(MODEL.estimate(ledger)[0].ann * 1e3, 3) == millijoules


@pytest.mark.parametrize(
    ("macs_per_pixel", "pixels", "millijoules"),
    [(1746, 307_200, 2.46731), (554_112, 154_401, 393.55506), (664_704, 113_491.2, 347.01505)],
)
def test_energies_to_more_digits(macs_per_pixel, pixels, millijoules):
    ledger = small_ledger(ann_macs_paper=macs_per_pixel * pixels)
    assert MODEL.estimate(ledger)[0].ann * 1e3 == pytest.approx(millijoules, abs=6e-6)


def test_macs_per_pixel_follow_from_the_layers():
    aodnet = 1 * 3 * 3 + 9 * 3 * 3 + 25 * 6 * 3 + 49 * 6 * 3 + 9 * 12 * 3
    assert aodnet == 1746
    assert 9 * (64 + 15 * 64 * 64 + 64) == 554_112
    assert 9 * (64 + 18 * 64 * 64 + 64) == 664_704


def test_description_says_what_it_is():
    text = describe(MODEL)
    for words in ("modelled, not measured", "MAC 4.6 pJ", "AC 0.9 pJ", "Horowitz", "2014", *MODEL.formula):
        assert words in text


def test_an_empty_ledger_costs_nothing():
    empty = small_ledger(layers=(), analog_macs=0, analog_macs_paper=0, output_additions=0, head_synops=0)
    empty = dataclasses.replace(empty, head_synops_paper=0, head_macs=0, ann_macs=0, ann_macs_paper=0)
    assert [c.snn for c in MODEL.estimate(empty)] == [0, 0, 0]
    assert all(np.isnan(c.ratio) for c in MODEL.estimate(empty))
