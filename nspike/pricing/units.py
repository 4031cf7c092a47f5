"""Energies formatted with a readable unit."""


def joules(value: float) -> str:
    """Format an energy given in joules with a readable unit."""
    for factor, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")):
        if value >= factor:
            return f"{value / factor:.4g} {unit}"
    return f"{value / 1e-9:.4g} nJ"


def compared_with(trained: str) -> str:
    """What the energy of a spiking network is compared with, in words: of one trained as such there is no ANN."""
    return "the same layers done densely" if trained == "spiking" else "the ANN"


def percent(rate: float | None, most: int = 1) -> str:
    """A firing rate up to which the spiking network pays, of neurons that can fire `most` times at a step."""
    if rate is None:
        return "never"
    return f"{100 * rate:.3g} %" if rate < most else "any rate"
