"""Integers at 45 nm against a bit-matched quantised ANN. The match and its source: `nspike.pricing.quantised`."""

from pathlib import Path
from typing import Any

from nspike import hookimpl, quantised_energy, read_costs

QUANTISED45 = quantised_energy(read_costs(Path(__file__).parent / "costs" / "cmos45.toml"), "quantised45")


@hookimpl
def register_energy_models(register: Any) -> None:
    """Register the model."""
    register(QUANTISED45)
