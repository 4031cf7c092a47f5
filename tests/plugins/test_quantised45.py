import dataclasses

import pytest

from nspike.contracts.energy import describe
from nspike.errors import UsageError
from nspike.pricing.quantised import ARITHMETIC_BITS, activation_bits
from nspike.registry.plugins import registry
from tests.plugins.test_horowitz45 import small_ledger

MODEL = registry().energy_models["quantised45"]
KB8, KB32, DRAM = 10e-12, 20e-12, 1.95e-9  # for 64 bits


@pytest.mark.parametrize(
    ("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (10, 4), (15, 4), (16, 5)]
)
def test_bits_that_tell_the_counts_apart(timesteps, bits):
    assert activation_bits(timesteps) == bits
    assert 2 ** (bits - 1) < timesteps + 1 <= 2**bits


@pytest.mark.parametrize(("timesteps", "most", "bits"), [(1, 15, 4), (1, 3, 2), (10, 5, 6), (4, 7, 5)])
def test_bits_that_tell_bursts_apart(timesteps, most, bits):
    assert activation_bits(timesteps, most) == bits
    assert 2 ** (bits - 1) < timesteps * most + 1 <= 2**bits


def test_columns_by_hand():
    """T = 2: activations of 2 bits; 900 of the 1000 MACs are not the first layer's."""
    integers, whole = MODEL.estimate(small_ledger())
    multiply, add, first = 0.2e-12 / 64, 0.1e-12, 0.2e-12 * 4 + 0.1e-12
    snn = add * (77 + 28 + 20) + first * (100 + 4)
    ann = (multiply * 13 * 2 + add) * 900 + first * 100
    assert (integers.snn, integers.ann) == (pytest.approx(snn, rel=1e-12), pytest.approx(ann, rel=1e-12))
    word, weight = KB32 / 2, KB8 / 4
    snn += (
        77 * (weight + 2 * word) + 20 * 2 * word + 28 * 3 * word + 104 * (weight + word / 2 + 2 * word) + 333 * DRAM / 4
    )
    ann += 1000 * (weight + 2 * word) + (900 * 2 + 100 * 16) * KB32 / 64 + 333 * DRAM / 4
    assert (whole.snn, whole.ann) == (pytest.approx(snn, rel=1e-12), pytest.approx(ann, rel=1e-12))
    assert [integers.name, whole.name] == list(MODEL.formula)


def test_the_weights_are_those_of_the_grid():
    assert ARITHMETIC_BITS == 13
    assert 2 ** (ARITHMETIC_BITS - 1) - 1 == 4095


def test_more_steps_make_the_ann_dearer_by_a_bit():
    three, four = (MODEL.estimate(small_ledger(timesteps=t))[0].ann for t in (3, 4))
    assert four - three == pytest.approx(900 * 13 * 0.2e-12 / 64, rel=1e-9)


def test_a_plain_ann_has_no_match():
    plain = dataclasses.replace(small_ledger(), timesteps=0, layers=())
    with pytest.raises(UsageError, match="follows from the steps of a spiking run, and this is of the plain network"):
        MODEL.price(plain)


def test_description_says_what_it_is():
    text = describe(MODEL)
    words = (
        "modelled, not measured",
        "MUL(8, 8) 0.2 pJ",
        "ADD 0.1 pJ",
        "Horowitz",
        "2014",
        "2409.08290",
        "ceil(log2(T·n+1))",
    )
    for word in (*words, *MODEL.formula):
        assert word in text
