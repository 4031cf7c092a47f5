"""The contract of an energy model: it prices a ledger. Modelled, not measured."""

from collections.abc import Callable
from dataclasses import dataclass

from nspike.contracts.ledger import Ledger
from nspike.errors import NspikeError, PluginError
from nspike.runtime.explain import explain


@dataclass(frozen=True)
class EnergyColumn:
    """One way of counting: its name, and the energy of the spiking network and of the ANN in joules."""

    name: str
    snn: float
    ann: float

    @property
    def ratio(self) -> float:
        """Energy of the spiking network over that of the ANN."""
        return self.snn / self.ann if self.ann else float("nan")


@dataclass(frozen=True)
class EnergyModel:
    """An energy model.

    Parameters
    ----------
    name, summary, source : how it is called, what it is in a line, where its constants come from, with the year.
    constants : name -> (value, unit).
    formula : the formula in a line of text for each column.
    estimate : Ledger -> columns, the first being the one to compare with papers.
    """

    name: str
    summary: str
    source: str
    constants: dict[str, tuple[float, str]]
    formula: dict[str, str]
    estimate: Callable[[Ledger], tuple[EnergyColumn, ...]]

    def price(self, ledger: Ledger) -> tuple[EnergyColumn, ...]:
        """The columns that `estimate` returns. Raises PluginError where it fails, or gives no columns."""
        try:
            columns = tuple(self.estimate(ledger))
        except (NspikeError, MemoryError):
            raise
        except Exception as error:
            raise PluginError(f"energy model {self.name} failed: {explain(error)}") from error
        if not columns or not all(isinstance(column, EnergyColumn) for column in columns):
            raise PluginError(f"energy model {self.name} gave {columns!r}; expected one nspike.EnergyColumn or more")
        return columns


MODELLED = "modelled, not measured"


def break_even(model: EnergyModel, ledger: Ledger) -> tuple[float | None, ...]:
    """For each column the firing rate (spikes per neuron and step of T) above which the spiking network costs more.

    A model's price is a fixed part E_0, of a network that never fires, and a part that grows with the spikes. Were all
    layers and steps to fire more or less in proportion, the two networks would cost the same at

        rate·(E_ann - E_0) / (E_snn - E_0)

    None where that is no rate: a network without spikes costs more already (0 or below), or nothing fired.
    """
    rates: list[float | None] = []
    for column, silent in zip(model.price(ledger), model.price(ledger.silenced()), strict=True):
        spikes = column.snn - silent.snn
        rate = ledger.firing_rate * (column.ann - silent.snn) / spikes if spikes > 0 else 0.0
        rates.append(rate if rate > 0 else None)
    return tuple(rates)


def describe(model: EnergyModel) -> str:
    """What an energy model computes, for a report: its formulas, constants and source."""
    lines = [f"{model.name} ({MODELLED}): {model.summary}"]
    lines += [f"  {column}: {formula}" for column, formula in model.formula.items()]
    constants = ", ".join(f"{name} {value:g} {unit}" for name, (value, unit) in model.constants.items())
    return "\n".join([*lines, f"  constants: {constants}", f"  source: {model.source}"])
