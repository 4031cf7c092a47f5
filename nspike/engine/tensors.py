"""The tensors of a network that is no chain, while they are computed over one tile, each on its own rectangle.

Spikes are packed by channel, or held as the numbers whose digits they are; currents are int32 (steps, rows, columns, C), or a
single step of what is the same up to T; planes like the image's are int32 (C, rows, columns).
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.charge import Charge, DigitCharge
from nspike.engine.digit_passes import DigitPass
from nspike.engine.digit_spikes import DigitSpikes
from nspike.engine.flows import Flow
from nspike.engine.linear import Source
from nspike.engine.plan import Op, Plan
from nspike.engine.prepared import Prepared
from nspike.engine.spikes import WideSpikes
from nspike.engine.window import Rect
from nspike.engine.wiring import Wired
from nspike.integer.rounding import IntegerNetwork
from nspike.runtime.buffers import Pool

Ints = NDArray[np.int32]

ROWS = 32
"""How many rows a thread gets at a time at most."""
CURRENTS = 1 << 18
"""How many numbers of a current a thread keeps at a time where neurons fire from it at once."""

MEMORY = Pool()
"""Of currents."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A tile while it runs.

    integers, plan, prepared, wired, flows, passes, charge : of the program; pad : the border of the spikes.
    rects, limits : of each layer by name, the rectangle that is needed of it, and its height and width.
    tensors : the tensors that are alive, by name. fired : spikes that were made with the current that they come from.
    places : of currents in memory that was another's, and of what shuffles make, the rectangle that they cover.
    """

    integers: IntegerNetwork
    plan: Plan
    prepared: Mapping[str, Prepared]
    wired: Mapping[str, Wired]
    flows: Mapping[str, Flow]
    passes: Mapping[str, DigitPass]
    charge: Charge | DigitCharge | None
    pad: int
    rects: Mapping[str, Rect]
    limits: Mapping[str, tuple[int, int]]
    pool: Executor
    threads: int
    tensors: dict[str, Any] = field(default_factory=dict)
    fired: dict[str, WideSpikes | DigitSpikes] = field(default_factory=dict)
    places: dict[str, Rect] = field(default_factory=dict)

    def each(self, function: Callable[[int, int], None], count: int, most: int) -> None:
        """Call function(first, last) over bands of up to `most` of `count` rows or steps."""
        size = max(1, min(most, -(-count // (2 * self.threads))))
        bands = [(first, min(first + size, count)) for first in range(0, count, size)]
        for _ in self.pool.map(lambda band: function(*band), bands):
            pass

    def place(self, name: str) -> Rect:
        """The rectangle that a tensor's array covers: that which is needed of it, or more."""
        return self.places.get(name, self.rects[name])

    def forget(self, name: str) -> None:
        """Let go of a tensor."""
        held = self.tensors.pop(name)
        if type(held) is DigitSpikes:
            held.give_back()
        elif held is not None and self.plan.carries.get(name) == "current" and not self._shared(held):
            MEMORY.give(held)

    def _shared(self, held: Ints) -> bool:
        return any(other is held for other in self.tensors.values())

    def sources(self, op: Op) -> list[Source]:
        """What an op reads, with the shifts of its currents."""
        shifts = {name: shift for (to, name), shift in self.integers.shifts.items() if to == op.name}
        return [
            Source(
                self.tensors[name],
                self.place(name),
                shifts[name].astype(np.int32) if name in shifts else None,
            )
            for name in op.reads
        ]
