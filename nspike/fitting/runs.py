"""A run of training on files: validated, its history and curves kept, and what came of it written.

Beside the model OUT.h5 lie OUT.state.npz, OUT.history.jsonl and OUT.curves.svg.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nspike.benchmarking.evaluation import Evaluation, evaluate
from nspike.errors import OutputError
from nspike.files.atomic import write_bytes
from nspike.fitting.curves import Curve, Panel, draw
from nspike.fitting.history import HistoryFile
from nspike.fitting.recipe import DirectRecipe, Recipe
from nspike.fitting.run import TrainingRun
from nspike.fitting.state import Record, Validation
from nspike.model.model import Model
from nspike.restoration.batch import ExistsError
from nspike.runtime.caller import way


class Watch(Protocol):
    """Told how runs go: that one begins, `done` steps having been taken before; each step; each validation."""

    def began(self, name: str, done: int, steps: int) -> None:
        """A run begins, of the model `name`. One that another starts from comes before it."""

    def fitted(self, done: int, layers: int) -> None:
        """Before a run that starts warm: so many layers of its model are fitted."""

    def stepped(self, record: Record, steps: int) -> None:
        """Called after each step of the optimiser."""

    def validated(self, validation: Validation) -> None:
        """Called after each validation."""


class _Nobody:
    """A watch that does nothing."""

    def began(self, name: str, done: int, steps: int) -> None: ...

    def fitted(self, done: int, layers: int) -> None: ...

    def stepped(self, record: Record, steps: int) -> None: ...

    def validated(self, validation: Validation) -> None: ...


NOBODY: Watch = _Nobody()


@dataclass(frozen=True)
class Files:
    """The files beside a model that is being trained."""

    model: Path

    @property
    def state(self) -> Path:
        """Path of the saved state (.npz), from which an interrupted run resumes."""
        return self.model.with_suffix(".state.npz")

    def adopted(self) -> Path:
        """The state, which an earlier nspike wrote under another name: that file is then renamed. Raises OutputError."""
        if self._earlier.exists() and not self.state.exists():
            try:
                self._earlier.rename(self.state)
            except OSError as error:
                raise OutputError(f"cannot write {self.state}: {error.strerror}") from error
        return self.state

    @property
    def _earlier(self) -> Path:
        return self.model.with_suffix(".checkpoint.npz")

    @property
    def history(self) -> Path:
        """Path of the history: one line of JSON for each step and validation."""
        return self.model.with_suffix(".history.jsonl")

    @property
    def curves(self) -> Path:
        """Path of the curves (.svg)."""
        return self.model.with_suffix(".curves.svg")

    def check(self, overwrite: bool) -> None:
        """Raise OutputError where there is no folder, and where a result is in the way to which no state belongs."""
        if not self.model.parent.is_dir():
            raise OutputError(f"cannot write {self.model}: the folder {self.model.parent} does not exist")
        if self.model.exists() and not overwrite and not (self.state.exists() or self._earlier.exists()):
            raise ExistsError(f"{self.model}: is there already; {way('--overwrite', 'overwrite=True')} replaces it")


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    model : the best by validation, or the last. step : whose it is. done : steps taken in all, `before` of them by earlier
    calls. best : its validation. last : the last step's record. seconds : what this call took.
    """

    model: Model
    step: int
    done: int
    before: int
    best: Validation | None
    last: Record | None
    validations: tuple[Validation, ...]
    seconds: float


def carry_out(run: TrainingRun, recipe: Recipe, files: Files | None, watch: Watch, start: float) -> Trained:
    """Run, writing history and curves; `start` is when the work began, by the monotonic clock."""
    before = run.done
    watch.began(run.model.info.name, before, run.options.steps)
    known: list[Record | Validation] = [*run.history, *run.validations]
    known.sort(key=lambda entry: (entry.step, isinstance(entry, Validation)))

    def validate(model: Model, step: int) -> Validation:
        return _validation(model, recipe, step)

    checked = validate if recipe.validation is not None else None
    if files is None:
        run.run(watch.stepped, validate=checked, every=recipe.validation_every, validated=watch.validated)
    else:
        with HistoryFile(files.history, known) as history:

            def stepped(record: Record, steps: int) -> None:
                history.add(record)
                watch.stepped(record, steps)

            def validated(validation: Validation) -> None:
                history.add(validation)
                _draw(run, files)
                watch.validated(validation)

            try:
                run.run(
                    stepped,
                    minutes=recipe.minutes,
                    validate=checked,
                    every=recipe.validation_every,
                    validated=validated,
                )
            finally:
                _draw(run, files)
    return Trained(
        model=run.best_model,
        step=run.done if run.best is None else run.best.step,
        done=run.done,
        before=before,
        best=run.best,
        last=run.history[-1] if run.history else None,
        validations=tuple(run.validations),
        seconds=time.monotonic() - start,
    )


def quality_of(model: Model, recipe: Recipe) -> dict[str, Any]:
    """What is measured of a model on the validation folder, by the folder's name; nothing without one."""
    if recipe.validation is None:
        return {}
    evaluation = _evaluate(model, recipe, baseline=not isinstance(recipe, DirectRecipe))
    name, scale = Path(recipe.validation).name, evaluation.settings.scale
    return {f"{name} x{scale}" if scale else name: evaluation.summary()}


def _evaluate(model: Model, recipe: Recipe, *, baseline: bool) -> Evaluation:
    assert recipe.validation is not None
    return evaluate(
        model,
        recipe.validation,
        sigma=recipe.validation_sigma,
        scale=recipe.validation_scale,
        limit=recipe.validation_limit,
        ann=model.spiking is None,
        baseline=baseline,
        threads=recipe.threads,
    )


def _validation(model: Model, recipe: Recipe, step: int) -> Validation:
    evaluation = _evaluate(model, recipe, baseline=False)
    mean, before, images = evaluation.mean(), evaluation.mean("input"), evaluation.images
    if evaluation.ann:
        return Validation(step, mean.psnr, before.psnr)
    rate = math.fsum(image.firing_rate for image in images) / len(images)
    return Validation(step, mean.psnr, before.psnr, rate, evaluation.mean_energy[0].ratio)


def _draw(run: TrainingRun, files: Files) -> None:
    """Write the curves."""
    records, validations = run.history, run.validations
    panels = [
        Panel("loss", (Curve("batch", [(r.step, r.loss) for r in records]),), logarithmic=True),
        Panel(
            "PSNR, dB",
            (
                Curve("batch", [(r.step, r.psnr) for r in records]),
                Curve("validation", [(v.step, v.psnr) for v in validations]),
            ),
        ),
        Panel(
            "firing rate",
            (
                Curve("batch", [(r.step, r.firing_rate) for r in records]),
                Curve("validation", [(v.step, v.firing_rate) for v in validations]),
            ),
        ),
        Panel("energy, SNN / ANN", (Curve("validation", [(v.step, v.energy_ratio) for v in validations]),)),
    ]
    write_bytes(files.curves, draw(panels).encode())
