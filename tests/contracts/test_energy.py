import dataclasses

import numpy as np
import pytest

from nspike.contracts.energy import EnergyColumn, EnergyModel, break_even
from nspike.errors import PluginError
from nspike.registry.plugins import registry
from tests.plugins.test_horowitz45 import small_ledger
from tests.tiny import image, tiny_model


def priced(estimate):
    return EnergyModel("x", "x", "x", {}, {}, estimate)


def test_silence_keeps_the_rest():
    ledger = small_ledger()
    silent = ledger.silenced()
    assert (silent.spikes, silent.synops, silent.synops_paper) == (0, 0, 0)
    kept = ("neuron_updates", "additions", "analog_macs", "head_macs", "ann_macs", "timesteps", "weights")
    assert all(getattr(silent, name) == getattr(ledger, name) for name in kept)
    assert ledger.spikes == 10


def test_break_even_by_hand():
    """100 J fixed and 2 J a spike against 150 J: 25 spikes where 10 were fired."""
    model = priced(lambda ledger: (EnergyColumn("a", 100 + 2 * ledger.spikes, 150),))
    (rate,) = break_even(model, small_ledger())
    assert rate == pytest.approx(small_ledger().firing_rate * 2.5)


@pytest.mark.parametrize(("fixed", "each"), [(150, 2), (200, 2), (100, 0)])
def test_no_rate_at_all(fixed, each):
    model = priced(lambda ledger: (EnergyColumn("a", fixed + each * ledger.spikes, 150),))
    assert break_even(model, small_ledger()) == (None,)


@pytest.mark.parametrize("name", ["horowitz45", "memory45", "quantised45"])
def test_at_that_rate_both_cost_the_same(name):
    """Every count that spikes cause is scaled to the rate that was found."""
    model = registry().energy_models[name]
    ledger = tiny_model(head="cpm").run(image(100, 120)).ledger
    for i, rate in enumerate(break_even(model, ledger)):
        factor = rate / ledger.firing_rate

        def scaled(count, factor=factor):
            return np.rint(count * factor).astype(np.int64)

        layers = tuple(
            dataclasses.replace(layer, synops=scaled(layer.synops), synops_paper=scaled(layer.synops_paper))
            for layer in ledger.layers
        )
        head = {key: int(scaled(getattr(ledger, key))) for key in ("head_synops", "head_synops_paper")}
        column = model.price(dataclasses.replace(ledger, layers=layers, **head))[i]
        assert column.snn == pytest.approx(column.ann, rel=1e-5), column.name


TABLE = """
name = "chip"
title = "a chip"
source = "its makers"
year = 2025
[operations] # pJ
float32_add = 2
float32_multiply = 8
"""

PLUGIN = """
from pathlib import Path
from nspike import arithmetic_energy, hookimpl, memory_energy, read_costs
COSTS = read_costs(Path(__file__).with_name("chip.toml"))
@hookimpl
def register_energy_models(register):
    register(arithmetic_energy(COSTS, "trial-of-costs"))
"""


def test_a_cost_table_from_an_outside_plugin(tmp_path):
    (tmp_path / "chip.toml").write_text(TABLE)
    (tmp_path / "chip.py").write_text(PLUGIN)
    try:
        kind, model = registry().resolve(str(tmp_path / "chip.py"), ("energy",))
        usual = registry().energy_models["horowitz45"].price(small_ledger())
    finally:
        registry.cache_clear()
    assert (kind, model.source) == ("energy", "its makers (2025)")
    columns = model.price(small_ledger())
    assert [c.name for c in columns] == [c.name for c in usual]
    assert columns[0].ann == pytest.approx(usual[0].ann * 10 / 4.6)
    assert columns[0].snn == pytest.approx(2e-12 * 87 + 10e-12 * 144 * 2)


def test_a_table_that_lacks_what_the_model_needs(tmp_path):
    (tmp_path / "chip.toml").write_text(TABLE)
    (tmp_path / "chip.py").write_text(PLUGIN.replace("arithmetic_energy(C", "memory_energy(C"))
    try:
        with pytest.raises(PluginError, match="cost table chip has no memory"):
            registry().resolve(str(tmp_path / "chip.py"), ("energy",))
    finally:
        registry.cache_clear()
