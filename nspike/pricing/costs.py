"""Cost tables: what an operation and an access to memory cost on some hardware, from a small TOML file.

    name = "cmos45"; title = "..."; source = "..."; year = 2014
    [operations]   float32_add = 0.9, ...        pJ each
    [memory]       sram = [{ bytes = 8192, energy = 10 }, ...], working, dram, dram_note      pJ for 64 bits

Numbers are decimal until they are joules, so that 3.7 + 0.9 pJ are 4.6e-12 J to the last digit.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from nspike.errors import PluginError, nearest
from nspike.files.foreign import Refused, read_bytes

OPERATIONS = ("float32_add", "float32_multiply", "int32_add", "int8_multiply")
_TEXTS = ("name", "title", "source")
_MEMORY = ("sram", "working", "dram", "dram_note")
_LARGEST = 1 << 20
_PICO = Decimal("1e-12")


@dataclass(frozen=True)
class Costs:
    """A cost table.

    Parameters
    ----------
    name, title, source, year : how it is called, the hardware in a line, where the numbers are from.
    operations : name (see `OPERATIONS`) -> pJ.
    sram : bytes -> pJ for an access to 64 bits, ascending; working : the size that holds membranes, inputs and sums.
    dram : pJ for 64 bits, and a note on it.
    """

    name: str
    title: str
    source: str
    year: int
    operations: Mapping[str, Decimal]
    sram: Mapping[int, Decimal]
    working: int | None
    dram: Decimal | None
    dram_note: str = ""

    def joules(self, *operations: str) -> float:
        """Of one operation, or several together. Raises PluginError where the table lacks one."""
        for name in operations:
            if name not in self.operations:
                raise PluginError(f"cost table {self.name} has no {name!r} among its operations")
        return float(sum((self.operations[name] for name in operations), Decimal()) * _PICO)

    def picojoules(self, *operations: str) -> float:
        """As `joules`, for people."""
        self.joules(*operations)
        return float(sum((self.operations[name] for name in operations), Decimal()))

    def weight_bit(self, weights: int, bits: int) -> float:
        """Joules for a bit of the smallest SRAM that holds this many weights; of the largest, if none does."""
        self._needs_memory()
        fitting = [energy for size, energy in self.sram.items() if weights * bits <= size * 8]
        return float((fitting[0] if fitting else list(self.sram.values())[-1]) * _PICO) / 64

    def working_bit(self) -> float:
        """Joules for a bit of membranes, inputs and sums."""
        self._needs_memory()
        assert self.working is not None
        return float(self.sram[self.working] * _PICO) / 64

    def dram_bit(self) -> float:
        """Joules for a bit of DRAM."""
        self._needs_memory()
        assert self.dram is not None
        return float(self.dram * _PICO) / 64

    def memory_constants(self) -> dict[str, tuple[float, str]]:
        """The memories, as an energy model lists its constants."""
        self._needs_memory()
        assert self.dram is not None
        sram = {f"SRAM {_size(size)}": (float(energy), "pJ per 64 bits") for size, energy in self.sram.items()}
        note = f" ({self.dram_note})" if self.dram_note else ""
        return {**sram, "DRAM": (float(self.dram), f"pJ per 64 bits{note}")}

    def _needs_memory(self) -> None:
        if not self.sram or self.working is None or self.dram is None:
            raise PluginError(f"cost table {self.name} has no memory; a model with memory needs sram, working and dram")


def read_costs(path: str | os.PathLike[str]) -> Costs:
    """Read a cost table.

    Raises
    ------
    PluginError
        the file is missing, no TOML, or holds something unknown, missing or not positive.
    """
    try:
        return _table(tomllib.loads(read_bytes(path, _LARGEST).decode(), parse_float=Decimal))
    except Refused as error:
        raise PluginError(f"cost table {Path(path).name}: it {error}") from error
    except RecursionError as error:
        raise PluginError(f"cost table {Path(path).name}: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PluginError(f"cost table {Path(path).name}: {reason}") from error


def _table(values: dict[str, Any]) -> Costs:
    """Build costs from a parsed table. Raises ValueError for an invalid one."""
    _only(values, (*_TEXTS, "year", "operations", "memory"), "the table")
    for key in _TEXTS:
        if not isinstance(values.get(key), str) or not values[key]:
            raise ValueError(f"{key} is {values.get(key)!r}; expected a text")
    if type(values.get("year")) is not int:
        raise ValueError(f"year is {values.get('year')!r}; expected the year of the source")
    operations, memory = values.get("operations", {}), values.get("memory", {})
    for section, part in (("operations", operations), ("memory", memory)):
        if not isinstance(part, dict):
            raise ValueError(f"{section} is {part!r}; expected a section of TOML")
    _only(operations, OPERATIONS, "operations")
    _only(memory, _MEMORY, "memory")
    sram = _memories(memory.get("sram", []))
    working = memory.get("working")
    if working is not None and working not in sram:
        raise ValueError(f"memory, working is {working!r}; expected the bytes of one of the sram")
    return Costs(
        **{key: values[key] for key in _TEXTS},
        year=values["year"],
        operations={name: _positive(f"operations, {name}", value) for name, value in operations.items()},
        sram=sram,
        working=working,
        dram=_positive("memory, dram", memory["dram"]) if "dram" in memory else None,
        dram_note=str(memory.get("dram_note", "")),
    )


def _memories(entries: Any) -> dict[int, Decimal]:
    energies: dict[int, Decimal] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict) or set(entry) != {"bytes", "energy"} or type(entry["bytes"]) is not int:
            raise ValueError(f"memory, sram holds {entry!r}; expected {{ bytes = 8192, energy = 10 }}")
        if entry["bytes"] <= max(energies, default=0):
            raise ValueError("memory, sram: the sizes must be positive and ascend")
        energies[entry["bytes"]] = _positive("memory, sram, energy", entry["energy"])
    return energies


def _positive(where: str, value: Any) -> Decimal:
    if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or value <= 0:
        raise ValueError(f"{where} is {value!r}; expected a positive number of pJ")
    return Decimal(value)


def _only(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            raise ValueError(f"{where} has an unknown key {key!r}.{nearest(key, known)} Known: {', '.join(known)}")


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count % (1 << 20) == 0 else f"{count >> 10} KB"
