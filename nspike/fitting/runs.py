"""A run of training on files: validated, its history and curves kept, and what came of it written.

Beside the model OUT.h5 lie OUT.checkpoint.npz, OUT.history.jsonl and OUT.curves.svg.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from nspike.benchmarking.evaluation import evaluate
from nspike.errors import OutputError
from nspike.files.atomic import write_bytes
from nspike.fitting.curves import Curve, Panel, draw
from nspike.fitting.history import HistoryFile
from nspike.fitting.learning import Record, Run, Validation
from nspike.fitting.plan import Plan
from nspike.model.model import Model
from nspike.restoration.batch import ExistsError
from nspike.restoration.opening import save


class Watch(Protocol):
    """Told how runs go: that one begins, `done` steps having been taken before; each step; each validation."""

    def began(self, name: str, done: int, steps: int) -> None:
        """A run begins, of the model `name`. One that another starts from comes before it."""

    def fitted(self, done: int, layers: int) -> None:
        """Before a run that starts warm: so many layers of its model are fitted."""

    def stepped(self, record: Record, steps: int) -> None:
        """A step was taken."""

    def validated(self, validation: Validation) -> None:
        """The model was measured."""


class _Nobody:
    """Does not look."""

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
    def checkpoint(self) -> Path:
        """What a run goes on from."""
        return self.model.with_suffix(".checkpoint.npz")

    @property
    def history(self) -> Path:
        """A line of JSON for each step and validation."""
        return self.model.with_suffix(".history.jsonl")

    @property
    def curves(self) -> Path:
        """The curves as an image."""
        return self.model.with_suffix(".curves.svg")

    def check(self, overwrite: bool) -> None:
        """Raise OutputError where there is no folder, and where a result is in the way that no checkpoint belongs to."""
        if not self.model.parent.is_dir():
            raise OutputError(f"cannot write {self.model}: the folder {self.model.parent} does not exist")
        if self.model.exists() and not overwrite and not self.checkpoint.exists():
            raise ExistsError(f"{self.model}: is there already; --overwrite replaces it")


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


def carry_out(run: Run, plan: Plan, files: Files | None, watch: Watch, start: float) -> Trained:
    """Run, writing history and curves; `start` is when the work began, by the monotonic clock."""
    before = run.done
    watch.began(run.model.info.name, before, run.recipe.steps)
    known: list[Record | Validation] = [*run.history, *run.validations]
    known.sort(key=lambda entry: (entry.step, isinstance(entry, Validation)))

    def validate(model: Model, step: int) -> Validation:
        return _validation(model, plan, step)

    checked = validate if plan.validation is not None else None
    if files is None:
        run.run(watch.stepped, validate=checked, every=plan.validation_every, validated=watch.validated)
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
                    minutes=plan.minutes,
                    validate=checked,
                    every=plan.validation_every,
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


def finished(trained: Trained, plan: Plan, files: Files | None) -> Trained:
    """The result with its quality measured anew, what was measured before being of another model; written."""
    quality: dict[str, Any] = {}
    if trained.best is not None and plan.validation is not None:
        found = _evaluate(trained.model, plan, baseline=True)
        name = Path(plan.validation).name
        quality[f"{name} x{found.settings.scale}" if found.settings.scale else name] = found.summary()
    model = replace(trained.model, info=replace(trained.model.info, quality=quality))
    if files is not None:
        save(files.model, model)
    return replace(trained, model=model)


def _evaluate(model: Model, plan: Plan, *, baseline: bool) -> Any:
    assert plan.validation is not None
    return evaluate(
        model,
        plan.validation,
        sigma=plan.validation_sigma,
        scale=plan.validation_scale,
        limit=plan.validation_limit,
        ann=model.spiking is None,
        baseline=baseline,
        threads=plan.threads,
    )


def _validation(model: Model, plan: Plan, step: int) -> Validation:
    found = _evaluate(model, plan, baseline=False)
    mean, before = found.mean(), found.mean("input")
    if found.ann:
        return Validation(step, mean.psnr, before.psnr)
    rate = math.fsum(image.firing_rate for image in found.images) / len(found.images)
    return Validation(step, mean.psnr, before.psnr, rate, found.mean_energy[0].ratio)


def _draw(run: Run, files: Files) -> None:
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
