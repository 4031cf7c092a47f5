"""Arithmetic and memory traffic at 45 nm: what `horowitz45` leaves out. How it is charged: `nspike.pricing.memory`."""

from pathlib import Path
from typing import Any

from nspike import hookimpl, memory_energy, read_costs

MEMORY45 = memory_energy(read_costs(Path(__file__).parent / "costs" / "cmos45.toml"), "memory45")


@hookimpl
def register_energy_models(register: Any) -> None:
    """Register the model."""
    register(MEMORY45)
