"""Options common to all training: optimiser, learning rate, schedule, losses."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from nspike.errors import UsageError, nearest
from nspike.trainable.optim import OPTIMISERS
from nspike.trainable.schedule import Schedule, constant, cosine, one_cycle, step

SCHEDULES = ("cosine", "step", "one_cycle", "constant")


@dataclass(frozen=True)
class Options:
    """How parameters are moved: the keys that plain and spiking training share.

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
        for key, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"the recipe has {key} = {value}; expected a finite number")
        if not self.pixels or any(not math.isfinite(w) or w < 0 for w in self.pixels.values()):
            raise UsageError(
                f"the recipe has pixel = {self.pixel!r}; expected a loss, or losses with their weights: {{ mse = 1.0 }}"
            )
        above = (self.rate, self.clip, self.gamma)
        if self.steps < 0 or self.every < 1 or not min(above) > 0 or min(self.weight_decay, self.floor) < 0:
            raise UsageError("a recipe needs rate and clip above 0, and no negative numbers")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Options of plain values. Raises UsageError for an unknown key, naming the nearest."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(f"the recipe has an unknown key {key!r}.{nearest(key, known)}")
        return cls(**values)

    @property
    def factor(self) -> Schedule:
        """The factor by which learning rates are multiplied at a step, counted from 0."""
        return {
            "cosine": lambda: cosine(self.steps, floor=self.floor),
            "step": lambda: step(self.every, gamma=self.gamma),
            "one_cycle": lambda: one_cycle(self.steps),
            "constant": constant,
        }[self.schedule]()

    @property
    def pixels(self) -> dict[str, float]:
        """The losses on pixels, each with its weight."""
        if isinstance(self.pixel, str):
            return {self.pixel: 1.0}
        numbers = {name: weight for name, weight in self.pixel.items() if isinstance(weight, int | float)}
        return {name: float(numbers.get(name, math.nan)) for name in self.pixel}
