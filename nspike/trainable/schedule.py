"""Schedules: the factor on the learning rate at a step from 0. Functions of the step alone, so that a run resumes."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def cosine(total: int, *, floor: float = 0.0, warmup: int = 0) -> Schedule:
    """From 1 to `floor` along half a cosine, after a straight rise over `warmup` steps."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        at = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * at))

    return factor


def step(every: int, *, gamma: float = 0.1) -> Schedule:
    """Multiply by `gamma` after every `every` steps."""
    return lambda at: gamma ** (at // every)


def one_cycle(total: int, *, rise: float = 0.3, start: float = 0.04, floor: float = 4e-6) -> Schedule:
    """Up from `start` to 1 over the first `rise` of the steps, then down to `floor`, both along half a cosine (Smith 2018)."""

    def factor(at: int) -> float:
        top = max(1.0, rise * total - 1)
        if at < top:
            return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * at / top))
        part = min(1.0, (at - top) / max(1.0, total - 1 - top))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * part))

    return factor


def constant() -> Schedule:
    """A factor of 1 at every step."""
    return lambda at: 1.0
