import pytest

from nspike.contracts.energy import describe
from nspike.registry.plugins import registry
from tests.plugins.test_horowitz45 import small_ledger

MODEL = registry().energy_models["memory45"]
KB8, KB32, MB1, DRAM = 10e-12, 20e-12, 100e-12, 1.95e-9  # for 64 bits


def test_columns_by_hand():
    whole, memory = MODEL.estimate(small_ledger())
    word, weight = KB32 / 2, KB8 / 4  # 32 bits of the working memory, 16 bits of the weights'
    snn = 77 * (weight + 2 * word) + 20 * 2 * word + 28 * 3 * word + 104 * (weight + 3 * word) + 333 * DRAM / 4
    ann = 1000 * (KB8 / 2 + 3 * word) + 333 * DRAM / 2
    assert memory.snn == pytest.approx(snn, rel=1e-12)
    assert memory.ann == pytest.approx(ann, rel=1e-12)
    arithmetic = registry().energy_models["horowitz45"].estimate(small_ledger())[2]
    assert whole.snn == pytest.approx(snn + arithmetic.snn, rel=1e-12)
    assert whole.ann == pytest.approx(ann + arithmetic.ann, rel=1e-12)
    assert [whole.name, memory.name] == list(MODEL.formula)


@pytest.mark.parametrize(
    ("weights", "spiking", "ann"),
    [
        (2048, KB8, KB8),  # 4 KB and 8 KB
        (2049, KB8, KB32),
        (4097, KB32, KB32),
        (16_384, KB32, MB1),  # 32 KB and 64 KB
        (262_144, MB1, MB1),
        (554_112, MB1, MB1),  # larger than any: several of 1 MB
    ],
)
def test_weights_lie_in_the_smallest_memory_that_holds_them(weights, spiking, ann):
    none = {"layers": (), "analog_macs": 0, "output_additions": 0, "head_macs": 0, "weights": weights}
    memory = MODEL.estimate(small_ledger(**none, head_synops=1, ann_macs=1))[1]
    assert memory.snn - weights * DRAM / 4 == pytest.approx(spiking / 4 + KB32, rel=1e-3)
    assert memory.ann - weights * DRAM / 2 == pytest.approx(ann / 2 + 3 * KB32 / 2, rel=1e-3)


def test_description_says_what_it_is():
    text = describe(MODEL)
    for words in ("modelled, not measured", "SRAM 32 KB 20 pJ", "DRAM 1950 pJ", "1300 to 2600", "2014", *MODEL.formula):
        assert words in text
