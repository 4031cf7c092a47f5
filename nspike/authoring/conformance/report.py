"""What the conformance kit found out about a neuron or a method."""

from dataclasses import dataclass
from typing import Any, Literal

from nspike.errors import NspikeError

State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Result:
    """One check: its name, its state, and what was found, or why it was not run."""

    check: str
    state: State
    message: str


@dataclass(frozen=True)
class Report:
    """The results of all checks of one neuron or method (`kind`), in the order in which they ran."""

    name: str
    results: tuple[Result, ...]
    kind: Literal["neuron", "method"] = "neuron"

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.state == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    def to_text(self) -> str:
        """A line for each check, and one for all."""
        width = max((len(result.check) for result in self.results), default=0)
        lines = [f"  {_shown(r.state):7}  {r.check:{width}}  {r.message}".rstrip() for r in self.results]
        ran = [result for result in self.results if result.state != "skipped"]
        end = f"all {len(ran)} checks passed" if self.passed else f"{len(self.failures)} of {len(ran)} checks failed"
        skipped = len(self.results) - len(ran)
        return "\n".join([f"{self.kind} {self.name}", *lines, end + (f", {skipped} skipped" if skipped else "")])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        checks = [{"check": r.check, "state": r.state, "message": r.message} for r in self.results]
        return {self.kind: self.name, "passed": self.passed, "checks": checks}


def _shown(state: State) -> str:
    return "FAILED" if state == "failed" else state


class ConformanceError(NspikeError):
    """A neuron or method that breaks the contract; the message is the report's text, `report` the report."""

    exit_code = 1

    def __init__(self, report: Report) -> None:
        super().__init__(report.to_text())
        self.report = report


class Fault(Exception):
    """Raised by a check that fails, with what was found and what was expected."""


class Skip(Exception):
    """Raised by a check that cannot be made, with the reason."""
