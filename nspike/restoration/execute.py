"""One way to run a spiking model on an image, for restoring, auditing, tracing, replaying and looking at every step.

`prepare` checks everything and allocates the result; what needs to know sizes before the run reads them there. `run` runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nspike.contracts.head import Head
from nspike.contracts.neuron import Neuron
from nspike.model.model import Model
from nspike.model.result import Result
from nspike.registry.parts import check, head_of, neuron_of
from nspike.restoration.way import Fill, Pixels, scale_of, way
from nspike.runtime.amounts import in_bytes
from nspike.runtime.arguments import whole

if TYPE_CHECKING:
    from nspike.engine.given import Given
    from nspike.engine.program import Program
    from nspike.engine.run import Observer, StepSink

Progress = Callable[[int, int], None]
"""(done, total), in no particular unit."""

MEMORY = 192 << 20
"""How many bytes the engine may work with, beside the image and its result."""


@dataclass(frozen=True, eq=False)
class Execution:
    """A spiking model and an image, checked and ready to run.

    neuron, head : the model's; program : what runs.
    planes : (N, C, H, W), what the network is given; image : the result, filled by `run`; fill : what fills it.
    scale : of a super-resolution, else None; started : `time.perf_counter()` at the beginning.
    """

    neuron: Neuron
    head: Head
    program: "Program"
    planes: Pixels
    image: Pixels
    fill: Fill
    scale: int | None
    options: dict[str, Any]
    started: float

    def run(
        self,
        *,
        digest: bool = False,
        progress: Progress | None = None,
        observer: "Observer | None" = None,
        step_sink: "StepSink | None" = None,
        inexact: bool = False,
    ) -> Result:
        """Run it. The options are those of `nspike.engine.run.run`."""
        from nspike.engine import run as engine

        ledger = engine.run(
            self.program,
            self.planes,
            sink=partial(self.fill, self.image),
            digest=digest,
            progress=progress,
            observer=observer,
            step_sink=step_sink,
            inexact=inexact,
            **self.options,
        )
        return Result(self.image, ledger, time.perf_counter() - self.started)


def prepare(
    model: Model,
    pixels: Pixels,
    *,
    scale: int | None = None,
    tile: int | None = None,
    memory: int | str = MEMORY,
    threads: int | None = None,
    strength: float = 1.0,
    given: "Given | None" = None,
) -> Execution:
    """Check a model, an image and options, and make them ready to run.

    Parameters
    ----------
    model, pixels, scale, tile, memory, threads, strength : as for `nspike.restore`.
    given : the spikes of one layer, instead of computing them.

    Raises BadInputError, ModelError, PluginError and UsageError as `nspike.restore` does.
    """
    from nspike.engine import program

    whole(1, tile=tile, threads=threads)
    memory = in_bytes(memory)
    check(model)
    scale, started = scale_of(model, scale), time.perf_counter()
    planes, image, fill = way(model, pixels, scale, strength)
    neuron, head = neuron_of(model), head_of(model)
    ready = program.program_of(model, neuron, head) if given is None else program.build(model, neuron, head, given)
    options = {"tile": tile, "memory": memory, "threads": threads}
    return Execution(neuron, head, ready, planes, image, fill, scale, options, started)
