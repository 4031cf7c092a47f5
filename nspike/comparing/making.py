"""The model of a row: converted, trained or given; what was made is kept beside the table, so that it is made once.

A network that is trained for its method (`trained_by` "train") is trained once and converted for each T. A spiking network
is fine-tuned for each T, or, where the recipe names its own, once for all.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nspike.comparing.calibrating import Calibrating
from nspike.comparing.plan import Entry
from nspike.converting.by_name import convert
from nspike.fitting.runs import Watch
from nspike.fitting.state import Record, Validation
from nspike.fitting.trainer import finetune, train
from nspike.model.model import Model
from nspike.registry.parts import swap
from nspike.restoration.opening import load, save

Report = Callable[[str, int, int], None]
"""(what is done, done, total)"""

_ORIGIN = "comparison"
"""The entry of a kept model's provenance that says what it was made from."""


@dataclass(frozen=True)
class Maker:
    """What makes the models of rows, in `folder`; `report` is told how far conversions and trainings are."""

    folder: Path
    network: Model | None
    calibrating: Calibrating
    threads: int | None
    report: Report

    def model(self, entry: Entry) -> tuple[Model, Path | None]:
        """The model of a row, and the file that it is in, if it was made here. Raises as `nspike.compare` does."""
        if entry.timesteps is None:
            assert entry.model is not None
            return entry.model, None
        if entry.made["by"] == "model":
            assert entry.model is not None
            return swap(entry.model, timesteps=entry.timesteps)[0], None
        path = self.folder / f"{entry.key}.h5"
        made = json.loads(json.dumps({**entry.made, "calibration": self.calibrating.origin()}))
        kept = _kept(path, made)
        if kept is None:
            kept = self._made(entry, path).with_provenance(**{_ORIGIN: made})
            save(path, kept)
        return kept, path

    def _made(self, entry: Entry, path: Path) -> Model:
        method, t = entry.method, entry.timesteps
        assert method is not None
        assert t is not None
        start = self.network if entry.model is None else entry.model
        if entry.recipe is None:
            assert start is not None
            return self._converted(entry, start)
        if method.trained_by == "train":
            return self._converted(entry, self._trained(entry, start, self.folder / f"{entry.label}.trained.h5"))
        own = entry.recipe.values.get("timesteps")
        stem = entry.label if own is not None else entry.key
        trained = self._trained(entry, start, self.folder / f"{stem}.trained.h5")
        return swap(trained, timesteps=t)[0]

    def _converted(self, entry: Entry, ann: Model) -> Model:
        assert entry.method is not None
        images, targets = self.calibrating.crops_for(ann)
        conversion = entry.method.conversion(entry.timesteps)
        what = f"converting by {entry.name}"
        model, _ = convert(
            replace(ann, spiking=None),
            images,
            targets=targets,
            report=False,
            threads=self.threads,
            progress=lambda done, total: self.report(what, done, total),
            **conversion,
        )
        return model

    def _trained(self, entry: Entry, start: Model | None, path: Path) -> Model:
        """The network that a recipe trains, resumed where it was stopped."""
        assert entry.method is not None
        assert entry.recipe is not None
        t = entry.timesteps if entry.method.trained_by == "finetune" else None
        values: dict[str, Any] = {**entry.method.training(t), **entry.recipe.values}
        if not values.get("model") and not values.get("network"):
            values["model"] = start
        if values.get("threads") is None:
            values["threads"] = self.threads
        made = {"recipe": entry.recipe.sha256, "training": json.loads(json.dumps(entry.method.training(t)))}
        if (kept := _kept(path, made)) is not None:
            return kept
        name = entry.label if path.name.startswith(f"{entry.label}.") else entry.name
        watch: Watch = _Watch(f"training {name}", self.report)
        carry_out = train if entry.method.trained_by == "train" else finetune
        model = carry_out(values, path, overwrite=True, watch=watch).model.with_provenance(**{_ORIGIN: made})
        save(path, model)
        return model


def _kept(path: Path, made: Mapping[str, Any]) -> Model | None:
    """The model of a file if it was made from this, else None."""
    if not os.path.lexists(path):
        return None
    model = load(path)
    return model if model.info.provenance.get(_ORIGIN) == made else None


class _Watch:
    """Steps of a training, as progress."""

    def __init__(self, what: str, report: Report) -> None:
        self._what, self._report = what, report

    def began(self, name: str, done: int, steps: int) -> None:
        self._report(self._what, done, steps)

    def fitted(self, done: int, layers: int) -> None:
        self._report(f"{self._what}: layers fitted", done, layers)

    def stepped(self, record: Record, steps: int) -> None:
        self._report(self._what, record.step, steps)

    def validated(self, validation: Validation) -> None:
        """Nothing is shown of it."""
