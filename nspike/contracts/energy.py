"""The contract of an energy model: it prices a ledger. Modelled, not measured."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

from nspike.contracts.ledger import Ledger
from nspike.contracts.plugin_code import called, check_functions, shortened
from nspike.errors import PluginError


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

    def __post_init__(self) -> None:
        owner = f"energy model {self.name}"
        check_functions(owner, estimate=self.estimate)
        if not isinstance(self.constants, dict) or not all(
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Real) for pair in self.constants.values()
        ):
            raise PluginError(f"{owner}: constants is {shortened(self.constants)}; expected name -> (number, unit)")
        if not isinstance(self.formula, dict):
            raise PluginError(f"{owner}: formula is {shortened(self.formula)}; expected column -> text")

    def price(self, ledger: Ledger) -> tuple[EnergyColumn, ...]:
        """The columns that `estimate` returns. Raises PluginError where it fails, or gives none that are right."""
        columns = called(f"energy model {self.name}", lambda: tuple(self.estimate(ledger)))
        if not columns or not all(isinstance(column, EnergyColumn) for column in columns):
            raise PluginError(f"energy model {self.name} gave {columns!r}; expected one nspike.EnergyColumn or more")
        for column in columns:
            if not isinstance(column.name, str) or sum(column.name == other.name for other in columns) > 1:
                raise PluginError(f"energy model {self.name} gave {columns!r}; expected columns of different names")
            given: tuple[Any, ...] = (column.snn, column.ann)
            if not all(isinstance(joules, Real) and 0 <= float(joules) < float("inf") for joules in given):
                raise PluginError(f"energy model {self.name} gave {column!r}; expected finite joules from 0")
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
    columns, silents = model.price(ledger), model.price(ledger.silenced())
    if len(columns) != len(silents):
        raise PluginError(
            f"energy model {model.name} gave {len(columns)} columns, and {len(silents)} where nothing fires"
        )
    for column, silent in zip(columns, silents, strict=True):
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
