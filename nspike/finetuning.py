"""Fine-tuning a converted network: what SpikingIR (AAAI 2026) trains, on the engine's own integers.

    L = L_pixel + λ(e)·L_energy;   λ(e) = k·(1 - cos(πe/E))/2,  e = 0 .. E          (equations 17-19)

L_energy is the mean firing rate. The papers give neither optimiser, rates, batch nor k: what `Recipe` says of them is ours.
e grows with every step, so that E is the number of steps.

A run is a function of the model, the recipe and the batches; its checkpoint (.npz, written to a temporary file and renamed)
holds all that goes on from there, and a resumed run gives the same bits for the same threads, machine and versions.
"""

import dataclasses
import hashlib
import io
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nspike import schedule
from nspike.atomic import write_bytes
from nspike.autograd.tensor import Array, Tensor
from nspike.batches import Batch
from nspike.differentiable import DifferentiableNetwork
from nspike.errors import BadInputError, ModelError, UsageError, nearest
from nspike.loss import Loss
from nspike.metrics import psnr
from nspike.model import Model
from nspike.optim import OPTIMISERS, Optimiser, clip_gradients
from nspike.parts import head_of, neuron_of
from nspike.plugins import registry

UNIT = 65535.0
MINUTES = 5.0
"""How long a run goes on between checkpoints."""
DIVERGED = 1000.0
"""A loss that is so many times the first one has diverged."""
FORMAT = "nspike fine-tuning 1"


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune.

    Parameters
    ----------
    steps : how many in all.
    optimiser, rate, neuron_rate, weight_decay : "adam", "adamw" or "sgd"; the learning rate of kernels, biases and the head,
        and of thresholds and what neurons train.
    schedule, floor : "cosine" down to `floor` times the rate, "one_cycle", or "constant".
    pixel, energy : the names of the losses. k : the energy's weight at the end.
    clip : the largest norm of all gradients together.
    surrogate : instead of the neuron's own. per : "layer" or "channel", of thresholds.
    follow_reset : whether gradients go through the reset. recompute : less memory for more time.
    """

    steps: int = 1000
    optimiser: str = "adam"
    rate: float = 1e-4
    neuron_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    floor: float = 0.01
    pixel: str = "mse"
    energy: str = "energy"
    k: float = 0.0
    clip: float = 1.0
    surrogate: str | None = None
    per: Literal["layer", "channel"] = "layer"
    follow_reset: bool = True
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise UsageError(f"there is no optimiser {self.optimiser!r}.{nearest(self.optimiser, OPTIMISERS)}")
        if self.schedule not in ("cosine", "one_cycle", "constant"):
            raise UsageError(f"there is no schedule {self.schedule!r}; expected cosine, one_cycle or constant")
        if self.per not in ("layer", "channel"):
            raise UsageError(f"thresholds are trained per layer or channel, not per {self.per!r}")
        if self.steps < 1 or not min(self.rate, self.clip) > 0 or min(self.neuron_rate, self.k, self.weight_decay) < 0:
            raise UsageError("a recipe needs steps, rate and clip above 0, and no negative numbers")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Recipe":
        """A recipe of plain values. Raises UsageError for an unknown key, naming the nearest."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(f"the recipe has an unknown key {key!r}.{nearest(key, known)}")
        return cls(**values)


@dataclass(frozen=True)
class Record:
    """A step of the history: its number from 1, losses, PSNR of the batch, firing rate, gradient norm, rate, seconds."""

    step: int
    loss: float
    pixel: float
    energy: float
    energy_weight: float
    psnr: float
    norm: float
    rate: float
    seconds: float


def energy_weight(step: int, steps: int, k: float) -> float:
    """λ(e) of equation 19 at step 0 .. `steps`."""
    return k * (1 - math.cos(math.pi * min(step, steps) / steps)) / 2


class FineTuning:
    """A run.

    Parameters
    ----------
    model : converted.
    recipe : how.
    batches : number from 0 -> (degraded, clean), float32 (N, C, H, W); a function of the number alone.
    checkpoint : the file to go on from, if it is there, and to save to; None to keep nothing.

    Raises
    ------
    ModelError, PluginError
        the model cannot be trained, or the checkpoint is damaged.
    UsageError
        the checkpoint is of another model or recipe, which it says.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        batches: Callable[[int], Batch],
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        self.recipe, self.batches = recipe, batches
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.network = DifferentiableNetwork(
            model,
            neuron_of(model),
            head_of(model),
            per=recipe.per,
            surrogate=recipe.surrogate,
            follow_reset=recipe.follow_reset,
            recompute=recipe.recompute,
        )
        self.pixel: Loss = registry().losses[recipe.pixel]
        self.energy: Loss = registry().losses[recipe.energy]
        self.parameters = self.network.parameters()
        self.optimiser = self._optimiser()
        self.factor = {
            "cosine": schedule.cosine(recipe.steps, floor=recipe.floor),
            "one_cycle": schedule.one_cycle(recipe.steps),
            "constant": schedule.constant(),
        }[recipe.schedule]
        self.history: list[Record] = []
        self._origin = _fingerprint(self.parameters)
        if self.checkpoint is not None and self.checkpoint.exists():
            self._resume(self.checkpoint)
        self._good = self._state(), len(self.history)

    @property
    def done(self) -> int:
        """How many steps have been taken."""
        return len(self.history)

    @property
    def model(self) -> Model:
        """The model as it is now, with the recipe in its provenance."""
        model = self.network.to_model()
        tuned = {**dataclasses.asdict(self.recipe), "done": self.done}
        return replace(model, info=replace(model.info, provenance={**model.info.provenance, "fine_tuning": tuned}))

    def step(self) -> Record:
        """Take one step. Raises ModelError if the loss diverges; the parameters are then those before the step."""
        start, number, recipe = time.perf_counter(), self.done, self.recipe
        degraded, clean = self.batches(number)
        plane = np.rint(degraded.astype(np.float64) * UNIT).astype(np.int32)
        outcome = self.network.run(plane)
        target = Tensor(clean.astype(np.float64))
        pixel = self.pixel.compute(outcome.restored, target, outcome.rates)
        energy = self.energy.compute(outcome.restored, target, outcome.rates)
        weight = energy_weight(number, recipe.steps, recipe.k)
        loss = pixel + energy * weight
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
        self.network.constrain()
        restored = np.clip(outcome.restored.data, 0, 1)
        record = Record(
            number + 1,
            loss.item(),
            pixel.item(),
            energy.item(),
            weight,
            float(np.mean([psnr(a, b, 1.0) for a, b in zip(restored, target.data, strict=True)])),
            norm,
            recipe.rate * factor,
            time.perf_counter() - start,
        )
        self.history.append(record)
        self._good = self._state(), len(self.history)
        return record

    def run(self, progress: Callable[[Record, int], None] | None = None, *, minutes: float = MINUTES) -> Model:
        """Take the steps that are left, saving every few `minutes` and at the end.

        progress : called with (record, steps in all). Interrupted with Ctrl-C, the run is saved before KeyboardInterrupt goes
        on; another run with the same checkpoint continues from there.
        """
        last = time.monotonic()
        with self._saved_at_the_end():
            while self.done < self.recipe.steps:
                record = self.step()
                if progress is not None:
                    progress(record, self.recipe.steps)
                if time.monotonic() - last > 60 * minutes:
                    self.save()
                    last = time.monotonic()
        return self.model

    def save(self) -> None:
        """Write the checkpoint, if there is one to write. Raises OutputError."""
        if self.checkpoint is None:
            return
        stream = io.BytesIO()
        arrays, done = self._good
        about = {
            "format": FORMAT,
            "origin": self._origin,
            "recipe": dataclasses.asdict(self.recipe),
            "history": [dataclasses.asdict(record) for record in self.history[:done]],
        }
        contents: dict[str, Any] = {"about": np.array(json.dumps(about)), **arrays}
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

    def _optimiser(self) -> Optimiser:
        recipe = self.recipe
        slow = {name for name in self.parameters if name.startswith("head.") or name.endswith((".weight", ".bias"))}
        rates = {name: 1.0 if name in slow else recipe.neuron_rate / recipe.rate for name in self.parameters}
        decays = {name for name in slow if name.endswith(".weight") and not name.startswith("head.")}
        make = OPTIMISERS[recipe.optimiser]
        return make(self.parameters, recipe.rate, rates=rates, weight_decay=recipe.weight_decay, decays=decays)

    def _state(self) -> dict[str, Array]:
        """The arrays of a checkpoint; training replaces them and never changes them."""
        arrays = {f"parameter/{name}": tensor.data for name, tensor in self.parameters.items()}
        arrays |= {f"optimiser/{name}": array for name, array in self.optimiser.state_dict().items()}
        return arrays

    def _resume(self, path: Path) -> None:
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, NDArray[Any]] = {name: file[name] for name in file.files}
            about = json.loads(str(arrays["about"]))
            recipe, history = dict(about["recipe"]), [Record(**record) for record in about["history"]]
            known = about["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise BadInputError(f"{path}: cannot be read as a checkpoint of fine-tuning: {error}") from error
        if not known or about["origin"] != self._origin:
            raise UsageError(
                f"{path} is the checkpoint of another model, or of another nspike; move it away to start anew"
            )
        expected = dataclasses.asdict(self.recipe)
        if changed := [key for key in expected if expected[key] != recipe.get(key)]:
            raise UsageError(f"{path} was made with another recipe ({', '.join(changed)}); move it away to start anew")
        parts = {
            kind: {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
            for kind in ("parameter", "optimiser")
        }
        if {k: v.shape for k, v in parts["parameter"].items()} != {k: t.shape for k, t in self.parameters.items()}:
            raise BadInputError(f"{path}: cannot be read as a checkpoint of fine-tuning: parameters are missing")
        for name, tensor in self.parameters.items():
            tensor.data = np.asarray(parts["parameter"][name], tensor.data.dtype)
        self.optimiser.load_state_dict(parts["optimiser"])
        self.history = history

    def _kept(self) -> str:
        return "" if self.checkpoint is None else f"; the last checkpoint stays in {self.checkpoint}"


def _fingerprint(parameters: dict[str, Tensor]) -> str:
    """A digest of what training starts from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(parameters.items()):
        digest.update(f"{name} {tensor.data.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor.data).tobytes())
    return digest.hexdigest()
