import os
import textwrap
from decimal import Decimal

import pytest

from nspike.errors import PluginError
from nspike.pricing.costs import read_costs

WHOLE = """
name = "chip"
title = "a chip"
source = "its makers"
year = 2025
[operations]
float32_add = 0.9
float32_multiply = 3.7
int32_add = 1
[memory]
sram = [{ bytes = 1024, energy = 2 }, { bytes = 4096, energy = 4.5 }]
working = 1024
dram = 100
"""


@pytest.fixture
def table(tmp_path):
    def read(text):
        (tmp_path / "chip.toml").write_text(textwrap.dedent(text))
        return read_costs(tmp_path / "chip.toml")

    return read


def test_a_whole_table(table):
    costs = table(WHOLE)
    assert (costs.name, costs.title, costs.source, costs.year) == ("chip", "a chip", "its makers", 2025)
    assert costs.joules("float32_add") == 0.9e-12
    assert costs.joules("float32_multiply", "float32_add") == 4.6e-12, "to the last digit"
    assert costs.picojoules("int32_add") == 1
    assert costs.operations["float32_multiply"] == Decimal("3.7")
    assert costs.weight_bit(512, 16) == 2e-12 / 64
    assert costs.weight_bit(513, 16) == costs.weight_bit(10**9, 16) == 4.5e-12 / 64
    assert (costs.working_bit(), costs.dram_bit()) == (2e-12 / 64, 100e-12 / 64)
    assert list(costs.memory_constants()) == ["SRAM 1 KB", "SRAM 4 KB", "DRAM"]


def test_what_a_table_lacks_is_said_when_it_is_needed(table):
    costs = table(WHOLE.partition("[operations]")[0])
    with pytest.raises(PluginError, match="cost table chip has no 'float32_add' among its operations"):
        costs.joules("float32_add")
    for ask in (costs.working_bit, costs.dram_bit, costs.memory_constants, lambda: costs.weight_bit(1, 1)):
        with pytest.raises(PluginError, match="cost table chip has no memory"):
            ask()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "chip"', "", "name is None; expected a text"),
        ('title = "a chip"', "title = 3", "title is 3"),
        ("year = 2025", 'year = "2025"', "expected the year of the source"),
        ("year = 2025", "year = 2025\ncolour = 1", "the table has an unknown key 'colour'"),
        ("int32_add", "int32_ad", "unknown key 'int32_ad'. Did you mean 'int32_add'?"),
        ("int32_add = 1", "int32_add = -1", "operations, int32_add is -1; expected a positive number"),
        ("int32_add = 1", "int32_add = true", "int32_add is True"),
        ("int32_add = 1", "int32_add = inf", "expected a positive number"),
        ("int32_add = 1", 'int32_add = "1"', "int32_add is '1'"),
        ("bytes = 4096", "bytes = 1024", "the sizes must be positive and ascend"),
        ("bytes = 4096", "bytes = 4.5", "expected { bytes = 8192, energy = 10 }"),
        ("working = 1024", "working = 1000", "working is 1000; expected the bytes of one of the sram"),
        ("dram = 100", "dram = 0", "memory, dram is 0"),
        ("[operations]", "[operations", "chip.toml: "),
        ("year = 2025\n[operations]\n", "year = 2025\noperations = 3\n[memory.more]\n", "operations is 3"),
        ("[operations]", "operations = 3\n[memory]", "chip.toml: "),
    ],
)
def test_planted_faults_are_named(table, old, new, message):
    assert old in WHOLE
    with pytest.raises(PluginError) as caught:
        table(WHOLE.replace(old, new))
    assert message in str(caught.value)
    assert str(caught.value).startswith("cost table chip.toml: ")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(PluginError, match=r"cost table gone.toml: No such file"):
        read_costs(tmp_path / "gone.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PluginError, match=r"cost table x.toml: "):
        read_costs(tmp_path / "x.toml")


def test_what_is_no_table_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "huge.toml").touch()
    os.truncate(tmp_path / "huge.toml", 2**40)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 50_000)
    for name, said in {
        "pipe": "it is not a regular file",
        "zero": "it is not a regular file",
        "folder": "it is a folder",
        "huge": "it is too large: 1099511627776 bytes",
        "deep": "it is nested too deeply",
    }.items():
        with pytest.raises(PluginError, match=f"cost table {name}.toml: {said}"):
            read_costs(tmp_path / f"{name}.toml")
