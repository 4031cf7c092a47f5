"""What all training shares: steps that are saved, resumed to the bit, watched, validated and stopped when they diverge.

A run is a function of what it starts from, its options and its batches. Its state (`nspike.fitting.state`) holds all that
resumes there: it ends with the same bits for the same threads, machine and versions.
"""

import dataclasses
import hashlib
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nspike.autograd.tensor import Array, Tensor
from nspike.contracts.loss import Loss, LossInput
from nspike.errors import BadInputError, ModelError, UsageError
from nspike.fitting.distilling import Distillation
from nspike.fitting.options import Options
from nspike.fitting.state import Record, State, Validation, read_state, write_state
from nspike.images.metrics import psnr
from nspike.model import file as weights
from nspike.model.model import Info, Model
from nspike.registry.plugins import registry
from nspike.trainable.optim import OPTIMISERS, Optimiser, clip_gradients

MINUTES = 5.0
"""Minutes between two saves of a run's state."""
DIVERGED = 1000.0
"""A loss that is so many times the first one has diverged."""


NO_TEACHER = "the recipe names no teacher: give a [teacher] with model and taps"
"""Why there is nothing to compare features with."""


class WeightedLoss(NamedTuple):
    """A loss of a recipe, its weight and its options."""

    loss: Loss
    weight: float
    options: Mapping[str, Any]

    def compute(self, seen: LossInput) -> Tensor:
        """The loss, not yet weighted."""
        return self.loss.of(replace(seen, options=self.options))


def losses_of(options: Options) -> list[WeightedLoss]:
    """The losses on pixels. Raises PluginError for an unknown one, UsageError for an option that it does not have."""
    losses = registry().losses
    return [
        WeightedLoss(losses[name], weight, losses[name].values(options.loss_options(name)))
        for name, weight in options.pixels.items()
    ]


class _Good(NamedTuple):
    """What a run was after its last whole step: arrays, and how many entries of its lists."""

    parameters: dict[str, Array]
    optimiser: dict[str, Array]
    done: int
    validations: int
    best: tuple[int, dict[str, Array]] | None


class TrainingRun(ABC):
    """A run of training. Subclasses define what a step computes and the resulting model.

    Parameters
    ----------
    start : the model that training starts from; its name and what it says of itself do not matter.
    options : how.
    parameters : everything that is trained, by name.
    energy : the name of the loss that prices spikes, if there are any.
    state : the file to go on from, if it is there, and to save to; None to keep nothing.
    settings : plain values beside the options on which the run depends, compared with the state's.
    distillation : the teacher whose features losses see, if there is one.
    rates : factors on the rate, by parameter. decays : the parameters that weight decay applies to.

    Raises BadInputError for a state that is damaged, UsageError for one of something else.
    """

    def __init__(
        self,
        start: Model,
        options: Options,
        parameters: Mapping[str, Tensor],
        *,
        energy: str | None = None,
        state: str | os.PathLike[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        distillation: Distillation | None = None,
        rates: Mapping[str, float] | None = None,
        decays: set[str] | None = None,
    ) -> None:
        self.options, self.distillation = options, distillation
        self.parameters = dict(parameters) | ({} if distillation is None else distillation.parameters())
        self.state = None if state is None else Path(state)
        self.pixels = losses_of(options)
        self.energy: Loss | None = None if energy is None else registry().losses[energy]
        self._check_needs()
        make = OPTIMISERS[options.optimiser]
        self.optimiser: Optimiser = make(
            self.parameters, options.rate, rates=rates, weight_decay=options.weight_decay, decays=decays
        )
        self.factor = options.factor
        self.history: list[Record] = []
        self.validations: list[Validation] = []
        self._best: tuple[int, dict[str, Array]] | None = None
        self._settings = dict(settings or {}) | ({} if distillation is None else distillation.settings())
        self._origin = _fingerprint(start, self.parameters)
        if self.state is not None and self.state.exists():
            self._resume(self.state)
        self._good = self._now()

    # ----- defined by subclasses -----

    @abstractmethod
    def forward(self, number: int) -> LossInput:
        """The network on batch `number`."""

    @abstractmethod
    def constrain(self) -> None:
        """Put every parameter back into its range."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The model with the current parameters."""

    @property
    def lacks(self) -> dict[str, str]:
        """The needs of losses that cannot be met here: each with why, and what to do."""
        lacks = {"steps": "a plain network has no time steps"}
        return lacks if self.distillation is not None else lacks | {"teacher": NO_TEACHER}

    @property
    def taps(self) -> tuple[str, ...]:
        """The layers whose features are compared with a teacher's."""
        return () if self.distillation is None else tuple(self.distillation.taps)

    def with_teacher(self, seen: LossInput, degraded: Array, clean: Array, sigmas: Array | None) -> LossInput:
        """`seen`, whose features are the network's own, with those of the teacher beside them, if there is one."""
        if self.distillation is None:
            return seen
        features, teacher = self.distillation.compared(seen.features, degraded, clean, sigmas)
        return replace(seen, features=features, teacher=teacher)

    def needs(self, what: str) -> bool:
        """Whether a loss needs `what`, of `nspike.contracts.loss.NEEDS`."""
        losses = [each.loss for each in self.pixels] + ([] if self.energy is None else [self.energy])
        return any(what in loss.needs for loss in losses)

    def _check_needs(self) -> None:
        for loss in [*(each.loss for each in self.pixels), self.energy]:
            for need in loss.needs if loss is not None else ():
                if loss is not None and need in self.lacks:
                    raise UsageError(f"loss {loss.name} needs the {need}: {self.lacks[need]}")
        if self.distillation is not None and not self.needs("teacher"):
            raise UsageError(
                'the recipe has a teacher, but no loss that compares with it; give one, such as pixel = "hkd"'
            )

    def energy_weight(self, number: int) -> float:
        """What the energy weighs at step `number` from 0."""
        return 0.0

    # ----- steps -----

    @property
    def done(self) -> int:
        """The number of steps taken so far."""
        return len(self.history)

    def step(self) -> Record:
        """Take one step. Raises ModelError if the loss diverges; the parameters are then those before the step."""
        start, number, options = time.perf_counter(), self.done, self.options
        seen = self.forward(number)
        of_pixels = [each.compute(seen) * each.weight for each in self.pixels]
        pixel = sum(of_pixels[1:], start=of_pixels[0])
        energy = None
        if self.energy is not None:
            energy = self.energy.of(replace(seen, options=self.energy.values()))
        weight = self.energy_weight(number)
        loss = pixel if energy is None else pixel + energy * weight
        first = self.history[0].loss if self.history else math.inf
        if not math.isfinite(loss.item()) or loss.item() > DIVERGED * (first + 1e-9):
            parts = {each.loss.name: part for each, part in zip(self.pixels, of_pixels, strict=True)}
            parts |= {} if energy is None or self.energy is None else {self.energy.name: energy}
            worst = next((name for name, part in parts.items() if not math.isfinite(part.item())), None)
            which = "the loss" if worst is None else f"the loss {worst}"
            raise ModelError(f"training diverged at step {number + 1}: {which} is {loss.item():g}{self._kept()}")
        for tensor in self.parameters.values():
            tensor.grad = None
        loss.backward()
        norm = clip_gradients(self.parameters, options.clip)
        if not math.isfinite(norm):
            raise ModelError(f"training diverged at step {number + 1}: the gradient is not finite{self._kept()}")
        factor = self.factor(number)
        self.optimiser.step(factor)
        self.constrain()
        restored = np.clip(seen.output.data, 0, 1)
        record = Record(
            number + 1,
            loss.item(),
            pixel.item(),
            0.0 if energy is None else energy.item(),
            weight,
            float(np.mean([psnr(a, b, 1.0) for a, b in zip(restored, seen.target.data, strict=True)])),
            float(np.mean([rate.item() for rate in seen.rates.values()])) if seen.rates else math.nan,
            norm,
            options.rate * factor,
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
        on; another run with the same state continues from there.
        validate : (model, step) -> Validation, called before the first step, after each `every` steps (0: never between)
        and after the last; `validated` is then called. The result is the best of the models that were validated.
        """
        last = time.monotonic()
        with self._saved_at_the_end():
            while True:
                if validate is not None and self._due(every):
                    self._validate(validate, validated)
                if self.done >= self.options.steps:
                    break
                record = self.step()
                if progress is not None:
                    progress(record, self.options.steps)
                if time.monotonic() - last >= 60 * minutes:
                    self.save()
                    last = time.monotonic()
        return self.best_model

    @property
    def best(self) -> Validation | None:
        """The best validation, of equals the first."""
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
        wanted = self.done in (0, self.options.steps) or (every > 0 and self.done % every == 0)
        return wanted and known < self.done

    def _validate(
        self, validate: Callable[[Model, int], Validation], validated: Callable[[Validation], None] | None
    ) -> None:
        before = self.best
        validation = validate(self.model, self.done)
        self.validations.append(validation)
        if before is None or validation.psnr > before.psnr:
            self._best = self.done, {name: tensor.data for name, tensor in self.parameters.items()}
        self._good = self._now()
        if validated is not None:
            validated(validation)

    # ----- the state -----

    def save(self) -> None:
        """Write the state, if there is one to write. Raises OutputError."""
        if self.state is None:
            return
        good = self._good
        now = State(
            kind=type(self).__name__,
            origin=self._origin,
            options=dataclasses.asdict(self.options),
            settings=self._settings,
            parameters=good.parameters,
            optimiser=good.optimiser,
            history=self.history[: good.done],
            validations=self.validations[: good.validations],
            best=good.best,
        )
        write_state(self.state, now)

    @contextmanager
    def _saved_at_the_end(self) -> Iterator[None]:
        try:
            yield
        except ModelError:
            raise  # diverged: the last state stays as it is
        except BaseException:
            self.save()
            raise
        self.save()

    def _now(self) -> _Good:
        """The state as it is; training replaces arrays and never changes them."""
        parameters = {name: np.asarray(tensor.data) for name, tensor in self.parameters.items()}
        return _Good(parameters, self.optimiser.state_dict(), len(self.history), len(self.validations), self._best)

    def _put(self, arrays: Mapping[str, Array]) -> None:
        for name, tensor in self.parameters.items():
            tensor.data = np.asarray(arrays[name], tensor.data.dtype)

    def _resume(self, path: Path) -> None:
        state = read_state(path)
        expected = {**dataclasses.asdict(self.options), **self._settings}
        ours = state is not None and state.kind == type(self).__name__
        if state is not None and ours:
            known = {**state.options, **state.settings}
            # a state of an earlier nspike, without the options that came later
            known |= {f.name: f.default for f in dataclasses.fields(self.options) if f.name not in known}
            if changed := [key for key in expected if _plain(expected[key]) != known.get(key)]:
                raise UsageError(
                    f"{path} was made with another recipe ({', '.join(changed)}); move it away to start anew"
                )
        if state is None or not ours or state.origin != self._origin:
            raise UsageError(
                f"{path} is the training state of another model, or of another nspike; move it away to start anew"
            )
        shapes = {name: tensor.shape for name, tensor in self.parameters.items()}
        for arrays in (state.parameters, *(() if state.best is None else (state.best[1],))):
            if {name: array.shape for name, array in arrays.items()} != shapes:
                raise BadInputError(f"{path}: cannot be read as a training state: parameters are missing")
        self.optimiser.load_state_dict(state.optimiser)
        self._put(state.parameters)
        self.history, self.validations = list(state.history), list(state.validations)
        self._best = None if state.best is None else (state.best[0], dict(state.best[1]))

    def _kept(self) -> str:
        if self.state is None:
            return ""
        return f"; the last state stays in {self.state}" if self.state.exists() else "; no state had been saved yet"


def _plain(value: Any) -> Any:
    """The value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def _fingerprint(start: Model, parameters: Mapping[str, Tensor]) -> str:
    """SHA-256, in hexadecimal, of the model and the parameters that training starts from."""
    plain = replace(start, info=Info("", start.info.task, start.info.colour))
    digest = hashlib.sha256(weights.digest(plain).encode())
    for name, tensor in sorted(parameters.items()):
        digest.update(f"{name} {tensor.data.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor.data).tobytes())
    return digest.hexdigest()
