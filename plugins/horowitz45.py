"""Arithmetic alone, at 45 nm: 4.6 pJ for a multiply-accumulate (3.7 + 0.9) and 0.9 pJ for an accumulation, 32-bit float.

The constants that the papers on spiking networks use (an integer accumulation is 0.1 pJ). How they are charged:
`nspike.pricing.arithmetic`.
"""

from pathlib import Path
from typing import Any

from nspike import arithmetic_energy, hookimpl, read_costs

HOROWITZ45 = arithmetic_energy(read_costs(Path(__file__).parent / "costs" / "cmos45.toml"), "horowitz45")


@hookimpl
def register_energy_models(register: Any) -> None:
    """Register the model."""
    register(HOROWITZ45)
