"""What `nspike train` and `nspike finetune` share: options that stand for a recipe's keys, the line of progress, the summary."""

import glob
import math
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nspike.cli.interrupts import was_interrupted
from nspike.cli.options import json_option
from nspike.cli.output import emit
from nspike.cli.progress import Progress, duration

if TYPE_CHECKING:
    from nspike.fitting.learning import Record, Validation
    from nspike.fitting.runs import Trained

F = TypeVar("F", bound=Callable[..., Any])

_COMMON = ("data", "validation", "threads")
"""The options that are for the recipes too that a recipe starts from."""
_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def training_options(function: F) -> F:
    """The options of both commands; those without a default replace the recipe's keys of the same names."""
    options = (
        click.option(
            "-o", "--output", required=True, metavar="FILE", help="The model file to write, others beside it."
        ),
        click.option("--data", multiple=True, metavar="FOLDER", help="Images to train on; may be repeated."),
        click.option("--validation", metavar="FOLDER", help="Images to validate on; the best model is kept."),
        click.option("--steps", type=int, metavar="N", help="How many in all."),
        click.option("--batch", type=int, metavar="N", help="Crops in a batch."),
        click.option("--patch", type=int, metavar="N", help="Side of a crop in pixels."),
        click.option("--rate", type=float, metavar="R", help="The learning rate."),
        click.option("--seed", type=int, metavar="N", help="Of everything."),
        click.option("--name", metavar="NAME", help="Of the model."),
        click.option("--threads", type=click.IntRange(min=1), metavar="N", help="[all]"),
        click.option(
            "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Any key of a recipe; may be repeated."
        ),
        click.option("--overwrite", is_flag=True, help="Replace a model that is there already."),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class Given:
    """The values of `training_options`."""

    output: str
    data: tuple[str, ...]
    validation: str | None
    steps: int | None
    batch: int | None
    patch: int | None
    rate: float | None
    seed: int | None
    name: str | None
    threads: int | None
    pairs: tuple[str, ...]
    overwrite: bool
    json_file: str | None

    def recipe(self, source: str, stands_for: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe of the command's argument, a TOML file or what key `stands_for` is to be, and of options, its own too."""
        from nspike.errors import UsageError
        from nspike.fitting.plan import parse, read_recipe

        values = read_recipe(source) if source.endswith(".toml") else {stands_for: source}
        for pair in self.pairs:
            key, equals, text = pair.partition("=")
            if not equals or not key.strip():
                raise UsageError(f"{pair!r}: expected KEY=VALUE")
            values[key.strip()] = parse(text)
        own = {key: getattr(self, key) for key in (*_COMMON, "steps", "batch", "patch", "rate", "seed", "name")}
        return values | _said(own | {**options})

    def carry_out(self, work: Callable[..., "Trained"], values: Mapping[str, Any]) -> None:
        """Train or fine-tune, `work`, by a recipe's values, with progress; print what came of it."""
        line = Line()
        common = _said({key: getattr(self, key) for key in _COMMON})
        with Interruptible(self.output, line):
            trained = work(values, self.output, overwrite=self.overwrite, watch=line, common=common)
        report(self.output, trained, self.json_file)


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    return {key: value for key, value in found.items() if value not in (None, [])}


def set_loss(values: dict[str, Any], loss: str | None) -> None:
    """Make `loss`, given by --plugin, the recipe's pixel loss, or its energy if it prices spikes; not if it is named there."""
    from nspike.registry.plugins import registry

    if loss is not None:
        key = "energy" if registry().losses[loss].of_spikes else "pixel"
        named = values.get(key)
        if not (isinstance(named, dict) and loss in named):
            values[key] = loss


def limit_threads(threads: int | None, source: str) -> None:
    """Have BLAS, which is loaded later, take no more threads than were asked for, here or in a recipe."""
    if threads is None and source.endswith(".toml"):
        with suppress(OSError, ValueError):  # what is wrong with it is said later
            threads = tomllib.loads(Path(source).read_text(encoding="utf-8")).get("threads")
    if isinstance(threads, int):
        os.environ.update(dict.fromkeys(_BLAS, str(threads)))


class Line:
    """A watch that shows progress on stderr: loss, PSNR, firing rate, energy ratio, time left."""

    def __init__(self) -> None:
        self._line: Progress | None = None
        self._name = self._measured = ""

    def fitted(self, done: int, layers: int) -> None:
        """Show how many layers are fitted."""
        if done == 1:
            self._show(Progress(layers, "layers fitted"))
        if self._line is not None:
            self._line.reach(done, layers)

    def began(self, name: str, done: int, steps: int) -> None:
        """Show where the run stands."""
        self._name, self._measured = name, ""
        self._show(Progress(steps, "step", done=done))

    def _show(self, line: Progress) -> None:
        self.close()
        self._line = line
        line.__enter__()

    def stepped(self, record: "Record", steps: int) -> None:
        """Show a step."""
        if self._line is not None:
            rate = "" if math.isnan(record.firing_rate) else f", firing {100 * record.firing_rate:.1f} %"
            self._line.note = f" of {self._name}, loss {record.loss:.3g}, {record.psnr:.2f} dB{rate}{self._measured}"
            self._line.reach(record.step, steps)

    def validated(self, validation: "Validation") -> None:
        """Keep what was measured for the line."""
        self._measured = f", validation {_measured(validation)}"

    def close(self) -> None:
        """Take the line away."""
        if self._line is not None:
            self._line.__exit__(None, None, None)
            self._line = None


class Interruptible:
    """Says, where a run is stopped by Ctrl-C, what was saved and how to go on: `with Interruptible(output, line):`."""

    def __init__(self, output: str, line: Line) -> None:
        self.output, self.line = output, line

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()
        if error is not None and was_interrupted(error):
            output = Path(self.output)
            found = [*output.parent.glob(f"{glob.escape(output.stem)}.*checkpoint.npz")]
            if found:
                saved = max(found, key=lambda path: path.stat().st_mtime)
                click.echo(f"nspike: saved in {saved}; the same command goes on from there", err=True)


def report(output: str, trained: "Trained", json_file: str | None) -> None:
    """Print what came of a run."""
    from nspike.fitting.runs import Files
    from nspike.model.file import digest

    files, found, best, last = Files(Path(output)), digest(trained.model), trained.best, trained.last
    values = {
        "file": output,
        "digest": found,
        "info": trained.model.info,
        "steps": trained.done,
        "resumed_from": trained.before,
        "step": trained.step,
        "best": best,
        "last": last,
        "validations": trained.validations,
        "seconds": trained.seconds,
        "checkpoint": files.checkpoint,
        "history": files.history,
        "curves": files.curves,
    }
    resumed = f", {trained.before} of them before" if trained.before else ""
    lines = [f"{output}: {trained.model.info.name}, {trained.done} steps{resumed}, {duration(trained.seconds)}"]
    if last is not None:
        lines.append(f"last step: loss {last.loss:.4g}, {last.psnr:.2f} dB on its batch")
    if best is not None:
        first = trained.validations[0]
        lines.append(f"before: {_measured(first)}, the input {first.input:.2f} dB")
        lines.append(f"best, which was kept, at step {best.step}: {_measured(best)}")
    lines += [f"history {files.history}, curves {files.curves}", f"digest {found}"]
    emit("\n".join(lines), values, json_file)


def _measured(validation: "Validation") -> str:
    """What was measured, in words."""
    text = f"{validation.psnr:.2f} dB"
    if not math.isnan(validation.firing_rate):
        text += f", firing {100 * validation.firing_rate:.1f} %, energy {validation.energy_ratio:.3f} of the ANN's"
    return text
