"""How long a call took: by the clock, and of all processors together."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Times:
    """Seconds: `wall` by the clock; `processor` that processors worked, summed over threads."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} s ({self.processor:.2f} s of processor time)"


def timed(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> tuple[R, Times]:
    """What `function` returns, and how long it took in this process."""
    wall, processor = time.perf_counter(), time.process_time()
    value = function(*args, **kwargs)
    return value, Times(time.perf_counter() - wall, time.process_time() - processor)
