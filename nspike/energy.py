"""The contract of an energy model: it prices a ledger. Modelled, not measured."""

from collections.abc import Callable
from dataclasses import dataclass

from nspike._explain import explain
from nspike.errors import NspikeError, PluginError
from nspike.ledger import Ledger


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
        """What `estimate` says. Raises PluginError where it fails, or gives no columns."""
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


def describe(model: EnergyModel) -> str:
    """What an energy model computes, for a report: its formulas, constants and source."""
    lines = [f"{model.name} ({MODELLED}): {model.summary}"]
    lines += [f"  {column}: {formula}" for column, formula in model.formula.items()]
    constants = ", ".join(f"{name} {value:g} {unit}" for name, (value, unit) in model.constants.items())
    return "\n".join([*lines, f"  constants: {constants}", f"  source: {model.source}"])
