"""What all training shares: a run of steps that is saved, resumed to the bit, watched, validated and stopped when it diverges.

A run is a function of what it starts from, its recipe and its batches. Its checkpoint (.npz, written to a temporary file and
renamed) holds all that goes on from there: a resumed run gives the same bits for the same threads, machine and versions.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Array, Tensor
from nspike.contracts.loss import Loss
from nspike.errors import BadInputError, ModelError, UsageError, nearest
from nspike.files.atomic import write_bytes
from nspike.images.metrics import psnr
from nspike.model import file as weights
from nspike.model.model import Info, Model
from nspike.registry.plugins import registry
from nspike.trainable.optim import OPTIMISERS, Optimiser, clip_gradients
from nspike.trainable.schedule import Schedule, constant, cosine, one_cycle, step

MINUTES = 5.0
"""How long a run goes on between checkpoints."""
DIVERGED = 1000.0
"""A loss that is so many times the first one has diverged."""
FORMAT = "nspike training 1"

SCHEDULES = ("cosine", "step", "one_cycle", "constant")


@dataclass(frozen=True)
class Recipe:
    """How to train; what a network needs beside is in the recipes that extend this one.

    Parameters
    ----------
    steps : how many in all; 0 to prepare the model alone.
    optimiser, rate, weight_decay : "adam", "adamw" or "sgd", its learning rate, and the decay of kernels.
    schedule : "cosine" down to `floor` times the rate, "step" (times `gamma` after each `every` steps), "one_cycle", or
        "constant".
    pixel : the name of the loss, or names with their weights.
    clip : the largest norm of all gradients together.
    """

    steps: int = 1000
    optimiser: str = "adam"
    rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["cosine", "step", "one_cycle", "constant"] = "cosine"
    floor: float = 0.01
    every: int = 1000
    gamma: float = 0.1
    pixel: str | dict[str, float] = "mse"
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UsageError(f"there is no optimiser {self.optimiser!r}.{nearest(self.optimiser, OPTIMISERS)}")
        if self.schedule not in SCHEDULES:
            raise UsageError(
                f"there is no schedule {self.schedule!r}.{nearest(self.schedule, SCHEDULES)} Known: {', '.join(SCHEDULES)}"
            )
        above = (self.rate, self.clip, self.gamma)
        if self.steps < 0 or self.every < 1 or not min(above) > 0 or min(self.weight_decay, self.floor) < 0:
            raise UsageError("a recipe needs rate and clip above 0, and no negative numbers")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A recipe of plain values. Raises UsageError for an unknown key, naming the nearest."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(f"the recipe has an unknown key {key!r}.{nearest(key, known)}")
        return cls(**values)

    @property
    def factor(self) -> Schedule:
        """The factor on the rates at a step from 0."""
        return {
            "cosine": lambda: cosine(self.steps, floor=self.floor),
            "step": lambda: step(self.every, gamma=self.gamma),
            "one_cycle": lambda: one_cycle(self.steps),
            "constant": constant,
        }[self.schedule]()

    @property
    def pixels(self) -> dict[str, float]:
        """The pixel losses and their weights."""
        return {self.pixel: 1.0} if isinstance(self.pixel, str) else dict(self.pixel)


@dataclass(frozen=True)
class Record:
    """A step of the history: its number from 1, losses, PSNR of the batch, firing rate, gradient norm, rate, seconds."""

    step: int
    loss: float
    pixel: float
    energy: float
    energy_weight: float
    psnr: float
    firing_rate: float
    norm: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Validation:
    """How good the model is after so many steps: mean PSNR of outputs and inputs; of a spiking one its rate and energy ratio."""

    step: int
    psnr: float
    input: float
    firing_rate: float = math.nan
    energy_ratio: float = math.nan


@dataclass(frozen=True)
class Forward:
    """What a batch gave: images (N, C, H, W), not clipped, and the firing rates of the layers of neurons."""

    restored: Tensor
    target: Tensor
    rates: Mapping[str, Tensor] = field(default_factory=dict)


class _Good(NamedTuple):
    """A state to which a run can be put back."""

    arrays: dict[str, Array]
    done: int
    validations: int
    best: tuple[int, dict[str, Array]] | None


class Run(ABC):
    """A run of training. What extends it says what a step computes, and which model comes of it.

    Parameters
    ----------
    start : the model that training starts from; its name and what it says of itself do not matter.
    recipe : how.
    parameters : everything that is trained, by name.
    energy : the name of the loss that prices spikes, if there are any.
    checkpoint : the file to go on from, if it is there, and to save to; None to keep nothing.
    settings : plain values beside the recipe on which the run depends, compared with the checkpoint's.
    rates : factors on the rate, by parameter. decays : the parameters that weight decay applies to.

    Raises BadInputError for a checkpoint that is damaged, UsageError for one of something else.
    """

    def __init__(
        self,
        start: Model,
        recipe: Recipe,
        parameters: Mapping[str, Tensor],
        *,
        energy: str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        rates: Mapping[str, float] | None = None,
        decays: set[str] | None = None,
    ) -> None:
        self.recipe, self.parameters = recipe, dict(parameters)
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        losses = registry().losses
        self.pixels: list[tuple[Loss, float]] = [(losses[name], weight) for name, weight in recipe.pixels.items()]
        self.energy: Loss | None = None if energy is None else losses[energy]
        make = OPTIMISERS[recipe.optimiser]
        self.optimiser: Optimiser = make(
            self.parameters, recipe.rate, rates=rates, weight_decay=recipe.weight_decay, decays=decays
        )
        self.factor = recipe.factor
        self.history: list[Record] = []
        self.validations: list[Validation] = []
        self._best: tuple[int, dict[str, Array]] | None = None
        self._settings = dict(settings or {})
        self._origin = _fingerprint(start, self.parameters)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)
        self._good = self._now()

    # ----- what a kind of training says -----

    @abstractmethod
    def forward(self, number: int) -> Forward:
        """The network on batch `number`."""

    @abstractmethod
    def constrain(self) -> None:
        """Put every parameter back into its range."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The model as it is now."""

    def energy_weight(self, number: int) -> float:
        """What the energy weighs at step `number` from 0."""
        return 0.0

    # ----- steps -----

    @property
    def done(self) -> int:
        """How many steps have been taken."""
        return len(self.history)

    def step(self) -> Record:
        """Take one step. Raises ModelError if the loss diverges; the parameters are then those before the step."""
        start, number, recipe = time.perf_counter(), self.done, self.recipe
        outcome = self.forward(number)
        of_pixels = [
            loss.compute(outcome.restored, outcome.target, outcome.rates) * weight for loss, weight in self.pixels
        ]
        pixel = sum(of_pixels[1:], start=of_pixels[0])
        energy = None if self.energy is None else self.energy.compute(outcome.restored, outcome.target, outcome.rates)
        weight = self.energy_weight(number)
        loss = pixel if energy is None else pixel + energy * weight
        first = self.history[0].loss if self.history else math.inf
        if not math.isfinite(loss.item()) or loss.item() > DIVERGED * (first + 1e-9):
            raise ModelError(f"training diverged at step {number + 1}: the loss is {loss.item():g}{self._kept()}")
        for tensor in self.parameters.values():
            tensor.grad = None
        loss.backward()
        norm = clip_gradients(self.parameters, recipe.clip)
        if not math.isfinite(norm):
            raise ModelError(f"training diverged at step {number + 1}: the gradient is not finite{self._kept()}")
        factor = self.factor(number)
        self.optimiser.step(factor)
        self.constrain()
        restored = np.clip(outcome.restored.data, 0, 1)
        record = Record(
            number + 1,
            loss.item(),
            pixel.item(),
            0.0 if energy is None else energy.item(),
            weight,
            float(np.mean([psnr(a, b, 1.0) for a, b in zip(restored, outcome.target.data, strict=True)])),
            float(np.mean([rate.item() for rate in outcome.rates.values()])) if outcome.rates else math.nan,
            norm,
            recipe.rate * factor,
            time.perf_counter() - start,
        )
        self.history.append(record)
        self._good = self._now()
        return record

    def run(
        self,
        progress: Callable[[Record, int], None] | None = None,
        *,
        minutes: float = MINUTES,
        validate: Callable[[Model, int], Validation] | None = None,
        every: int = 0,
        validated: Callable[[Validation], None] | None = None,
    ) -> Model:
        """Take the steps that are left, saving every few `minutes` and at the end.

        progress : called with (record, steps in all). Interrupted with Ctrl-C, the run is saved before KeyboardInterrupt goes
        on; another run with the same checkpoint continues from there.
        validate : (model, step) -> Validation, called before the first step, after each `every` steps (0: never between)
        and after the last; `validated` is told. The result is then the best of the models that were validated.
        """
        last = time.monotonic()
        with self._saved_at_the_end():
            while True:
                if validate is not None and self._due(every):
                    self._validate(validate, validated)
                if self.done >= self.recipe.steps:
                    break
                record = self.step()
                if progress is not None:
                    progress(record, self.recipe.steps)
                if time.monotonic() - last >= 60 * minutes:
                    self.save()
                    last = time.monotonic()
        return self.best_model

    @property
    def best(self) -> Validation | None:
        """The best validation, the first of equals."""
        return max(self.validations, key=lambda validation: validation.psnr, default=None)

    @property
    def best_model(self) -> Model:
        """The model of the best validation; without any, the last."""
        if self._best is None:
            return self.model
        last = {name: tensor.data for name, tensor in self.parameters.items()}
        try:
            self._put(self._best[1])
            return self.model
        finally:
            self._put(last)

    def _due(self, every: int) -> bool:
        known = self.validations[-1].step if self.validations else -1
        wanted = self.done in (0, self.recipe.steps) or (every > 0 and self.done % every == 0)
        return wanted and known < self.done

    def _validate(
        self, validate: Callable[[Model, int], Validation], validated: Callable[[Validation], None] | None
    ) -> None:
        before = self.best
        found = validate(self.model, self.done)
        self.validations.append(found)
        if before is None or found.psnr > before.psnr:
            self._best = self.done, {name: tensor.data for name, tensor in self.parameters.items()}
        self._good = self._now()
        if validated is not None:
            validated(found)

    # ----- checkpoints -----

    def save(self) -> None:
        """Write the checkpoint, if there is one to write. Raises OutputError."""
        if self.checkpoint is None:
            return
        stream = io.BytesIO()
        good = self._good
        about = {
            "format": FORMAT,
            "kind": type(self).__name__,
            "origin": self._origin,
            "recipe": dataclasses.asdict(self.recipe),
            "settings": self._settings,
            "best": None if good.best is None else good.best[0],
        }
        contents: dict[str, Any] = {
            "about": np.array(json.dumps(about)),
            "history": _table(self.history[: good.done], Record),
            "validations": _table(self.validations[: good.validations], Validation),
            **good.arrays,
        }
        if good.best is not None:
            contents |= {f"best/{name}": array for name, array in good.best[1].items()}
        np.savez(stream, **contents)
        write_bytes(self.checkpoint, stream.getvalue())

    @contextmanager
    def _saved_at_the_end(self) -> Iterator[None]:
        try:
            yield
        except ModelError:
            raise  # diverged: the last checkpoint stays as it is
        except BaseException:
            self.save()
            raise
        self.save()

    def _now(self) -> _Good:
        """The state as it is; training replaces arrays and never changes them."""
        arrays = {f"parameter/{name}": tensor.data for name, tensor in self.parameters.items()}
        arrays |= {f"optimiser/{name}": array for name, array in self.optimiser.state_dict().items()}
        return _Good(arrays, len(self.history), len(self.validations), self._best)

    def _put(self, arrays: Mapping[str, Array]) -> None:
        for name, tensor in self.parameters.items():
            tensor.data = np.asarray(arrays[name], tensor.data.dtype)

    def _resume(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
            about = json.loads(str(arrays["about"]))
            known = about["format"] == FORMAT and about["kind"] == type(self).__name__
            recipe, settings = dict(about["recipe"]), dict(about["settings"])
            history = _rows(arrays["history"], Record)
            validations = _rows(arrays["validations"], Validation)
            best = about["best"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BadInputError(f"{path}: cannot be read as a checkpoint of training: {error}") from error
        expected = {**dataclasses.asdict(self.recipe), **self._settings}
        found = {**recipe, **settings}
        if known and (changed := [key for key in expected if _plain(expected[key]) != found.get(key)]):
            raise UsageError(f"{path} was made with another recipe ({', '.join(changed)}); move it away to start anew")
        if not known or about["origin"] != self._origin:
            raise UsageError(
                f"{path} is the checkpoint of another model, or of another nspike; move it away to start anew"
            )
        parts = {
            kind: {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
            for kind in ("parameter", "optimiser", "best")
        }
        shapes = {name: tensor.shape for name, tensor in self.parameters.items()}
        for kind in ("parameter", *(("best",) if best is not None else ())):
            if {name: array.shape for name, array in parts[kind].items()} != shapes:
                raise BadInputError(f"{path}: cannot be read as a checkpoint of training: parameters are missing")
        self._put(parts["parameter"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.history, self.validations = history, validations
        self._best = None if best is None else (int(best), parts["best"])

    def _kept(self) -> str:
        return "" if self.checkpoint is None else f"; the last checkpoint stays in {self.checkpoint}"


def _table(entries: list[Any], kind: type[Any]) -> NDArray[np.float64]:
    """Records as a float64 table, a column for each field."""
    names = [f.name for f in dataclasses.fields(kind)]
    return np.array([[getattr(entry, name) for name in names] for entry in entries]).reshape(-1, len(names))


def _rows(table: NDArray[Any], kind: type[Any]) -> list[Any]:
    """The records of a `_table`."""
    return [kind(int(row[0]), *map(float, row[1:])) for row in table]


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))


def _fingerprint(start: Model, parameters: Mapping[str, Tensor]) -> str:
    """A digest of what training starts from."""
    plain = replace(start, info=Info("", start.info.task, start.info.colour))
    digest = hashlib.sha256(weights.digest(plain).encode())
    for name, tensor in sorted(parameters.items()):
        digest.update(f"{name} {tensor.data.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor.data).tobytes())
    return digest.hexdigest()
