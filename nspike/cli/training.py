"""What `nspike train` and `nspike finetune` share: options that stand for a recipe's keys, and the summary of a run."""

import glob
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nspike.cli.interrupts import was_interrupted
from nspike.cli.options import json_option, threads_option, undone, undone_options
from nspike.cli.output import emit
from nspike.cli.progress import Progress, duration
from nspike.cli.text import one_line
from nspike.contracts.tasks import KIND_OF
from nspike.errors import UsageError
from nspike.runtime.words import counted

if TYPE_CHECKING:
    from nspike.contracts.tasks import Task
    from nspike.fitting.runs import Trained
    from nspike.fitting.state import Record, Validation

F = TypeVar("F", bound=Callable[..., Any])

_KEYS = ("data", "validation", "threads", "steps", "batch", "patch", "rate", "seed", "name")
"""The options of both commands that are keys of a recipe."""
_KIND = {"sigma": "noise", "scales": "bicubic"}
_OPTION = {"sigma": "--sigma", "scales": "--scale"}
"""Of a number that a degradation has: the degradation that it alone stands for, and the option that gives it."""
_BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def training_options(function: F) -> F:
    """The options of both commands; those without a default replace the recipe's keys of the same names."""
    options = (
        click.option(
            "-o",
            "--output",
            cls=_Output,
            required=True,
            metavar="FILE",
            help="The model file to write, others beside it.",
        ),
        click.option("--data", multiple=True, metavar="FOLDER", help="Images to train on; may be repeated."),
        undone_options(
            "The noise that it learns to undo, of 255; twice for a range.",
            "A factor that it learns to enlarge by; may be repeated.",
        ),
        click.option("--validation", metavar="FOLDER", help="Images to validate on; the best model is kept."),
        click.option("--steps", type=int, metavar="N", help="Training steps in all."),
        click.option("--batch", type=int, metavar="N", help="Crops in a batch."),
        click.option("--patch", type=int, metavar="N", help="Side of a crop in pixels."),
        click.option("--rate", type=float, metavar="R", help="The learning rate."),
        click.option("--seed", type=int, metavar="N", help="Seed of all random numbers."),
        click.option("--name", metavar="NAME", help="Name of the model."),
        threads_option,
        click.option(
            "--set", "pairs", multiple=True, metavar="KEY=VALUE", help="Any key of a recipe; may be repeated."
        ),
        click.option("--overwrite", is_flag=True, help="Replace a model that is there already."),
        json_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


class _Output(click.Option):
    """-o; of a recipe that cannot be read is told before that it is missing."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Click's own."""
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter:
            from nspike.fitting.reading import read_recipe

            source = ctx.params.get("source")
            if isinstance(source, str) and source.endswith(".toml"):
                read_recipe(source)
            raise


@dataclass(frozen=True)
class Given:
    """The values of `training_options`."""

    output: str
    data: tuple[str, ...]
    sigmas: tuple[float, ...]
    scales: tuple[int, ...]
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

    def carry_out(
        self, work: Callable[[], Callable[..., "Trained"]], source: str | None, stands_for: str, **own: Any
    ) -> None:
        """Train or fine-tune by the function that `work` imports; show progress, print what came of it.

        source : a recipe file, or what key `stands_for` of a recipe is to be; None for neither.
        own : the keys that one command alone has.
        """
        from nspike.fitting.reading import read_recipe, values_of

        file: dict[str, Any] = {}
        keys: dict[str, Any] = {}
        if source is not None and source.endswith(".toml"):
            file = read_recipe(source)
        elif source is not None:
            keys = {stands_for: source}
        values = values_of(self.pairs)
        keys |= values
        keys |= _said({key: getattr(self, key) for key in _KEYS} | own)
        if numbers := undone(self.sigmas, self.scales):
            if "degradation" in values:
                raise UsageError(f"{_OPTION[next(iter(numbers))]} and --set degradation say the same twice; give one")
            keys["degradation"] = _degradation(numbers, file | keys)
        limit_threads(keys.get("threads", file.get("threads")))
        line = Line()
        with Interruptible(self.output, line):
            trained = work()(file, self.output, overwrite=self.overwrite, watch=line, **keys)
        report(self.output, trained, self.json_file)


def _degradation(numbers: dict[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The degradation of a recipe, else of the model that it starts from, with this number; a new one where there is none.

    Raises UsageError where the number is not of the recipe's degradation, or of the task of what the recipe trains.
    """
    from nspike.degradations.kinds import KINDS

    (name,) = numbers
    kind, known = _KIND[name], recipe.get("degradation")
    other = f"for another task say --set degradation='{{kind = \"{kind}\", ...}}'"
    if isinstance(known, Mapping) and known.get("kind") in KINDS:
        if name not in KINDS[known["kind"]].numbers:
            raise UsageError(f"{_OPTION[name]}: the recipe's degradation {known['kind']} has no {name}; {other}")
        return {**known, **numbers}
    task, known = _undone_by(recipe)
    if task not in (None, KINDS[kind].task):
        raise UsageError(f"{_OPTION[name]} is for the task {KINDS[kind].task}, this network is for {task}; {other}")
    if name in known and known["kind"] in KINDS:
        kind = known["kind"]
    return {"kind": kind, **{key: value for key, value in known.items() if key in KINDS[kind].numbers}, **numbers}


def _undone_by(recipe: Mapping[str, Any]) -> "tuple[Task | None, Mapping[str, Any]]":
    """Task and degradation of the model that a recipe starts from, or of its network; none where only training will tell."""
    from nspike.model import shipped
    from nspike.model.file import read_info
    from nspike.registry.plugins import registry

    model, network = recipe.get("model"), recipe.get("network")
    if isinstance(model, str) and (model.endswith(".h5") or (network is None and not model.endswith(".toml"))):
        info = read_info(shipped.find(model)).info
        return info.task, {"kind": KIND_OF[info.task], **info.degradation}
    return next((each.task for each in registry().all("network") if each.name == network), None), {}


def _said(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    return {key: value for key, value in values.items() if value not in (None, [])}


def limit_threads(threads: Any) -> None:
    """Have BLAS, which is loaded later, take no more threads than were asked for."""
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
        """Nothing is shown before the run does."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.close()
        if error is not None and was_interrupted(error):
            output = Path(self.output)
            states = [*output.parent.glob(f"{glob.escape(output.stem)}.*state.npz")]
            if states:
                saved = max(states, key=lambda path: path.stat().st_mtime)
                click.echo(f"nspike: saved in {one_line(saved)}; the same command goes on from there", err=True)


def report(output: str, trained: "Trained", json_file: str | None) -> None:
    """Print what came of a run."""
    from nspike.fitting.runs import Files
    from nspike.model.file import digest

    files, sha256, best, last = Files(Path(output)), digest(trained.model), trained.best, trained.last
    values = {
        "file": output,
        "digest": sha256,
        "info": trained.model.info,
        "steps": trained.done,
        "resumed_from": trained.before,
        "step": trained.step,
        "best": best,
        "last": last,
        "validations": trained.validations,
        "seconds": trained.seconds,
        "state": files.state,
        "history": files.history,
        "curves": files.curves,
    }
    resumed = f", {trained.before} of them before" if trained.before else ""
    lines = [
        f"{one_line(output)}: {trained.model.info.name}, {counted(trained.done, 'step')}{resumed}, {duration(trained.seconds)}"
    ]
    if last is not None:
        lines.append(f"last step: loss {last.loss:.4g}, {last.psnr:.2f} dB on its batch")
    if best is not None:
        first = trained.validations[0]
        lines.append(f"before: {_measured(first)}, the input {first.input:.2f} dB")
        lines.append(f"best, which was kept, at step {best.step}: {_measured(best)}")
    lines += [f"history {one_line(files.history)}, curves {one_line(files.curves)}", f"digest {sha256}"]
    emit("\n".join(lines), values, json_file)


def _measured(validation: "Validation") -> str:
    """What was measured, in words."""
    text = f"{validation.psnr:.2f} dB"
    if not math.isnan(validation.firing_rate):
        text += f", firing {100 * validation.firing_rate:.1f} %, energy {validation.energy_ratio:.3f} of the ANN's"
    return text
