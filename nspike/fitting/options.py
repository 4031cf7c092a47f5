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
    schedule : "cosine" down to `floor` times the rate, after a rise over the share `warmup` of the steps; "step" (times `gamma`
        after each `every` steps), "one_cycle", or "constant".
    pixel : the name of the loss, or names with their weights; in place of a weight a table of `weight`, 1 by default, and
        the loss's options.
    clip : the largest norm of all gradients together.
    """

    steps: int = 1000
    optimiser: str = "adam"
    rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["cosine", "step", "one_cycle", "constant"] = "cosine"
    floor: float = 0.01
    warmup: float = 0.0
    every: int = 1000
    gamma: float = 0.1
    pixel: str | dict[str, Any] = "mse"
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
        if not 0 <= self.warmup < 1:
            raise UsageError(f"the recipe has warmup = {self.warmup}; expected a share of the steps, from 0 to below 1")
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
            "cosine": lambda: cosine(self.steps, floor=self.floor, warmup=round(self.warmup * self.steps)),
            "step": lambda: step(self.every, gamma=self.gamma),
            "one_cycle": lambda: one_cycle(self.steps),
            "constant": constant,
        }[self.schedule]()

    @property
    def pixels(self) -> dict[str, float]:
        """The losses on pixels, each with its weight."""
        if isinstance(self.pixel, str):
            return {self.pixel: 1.0}
        return {name: _weight(given) for name, given in self.pixel.items()}

    def loss_options(self, name: str) -> dict[str, Any]:
        """What the recipe gives for the options of a loss on pixels."""
        given = {} if isinstance(self.pixel, str) else self.pixel.get(name)
        return {key: value for key, value in given.items() if key != "weight"} if isinstance(given, Mapping) else {}


def _weight(given: Any) -> float:
    """The weight of a loss, itself or in its table; NaN for what is no number."""
    weight = given.get("weight", 1.0) if isinstance(given, Mapping) else given
    return float(weight) if isinstance(weight, int | float) else math.nan
