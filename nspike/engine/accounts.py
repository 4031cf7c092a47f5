"""What the spikes of a tile come to, and the ledger of a run that such counts add up to."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import LayerLedger, Ledger
from nspike.engine.digest import Leaves, merge, of
from nspike.engine.spikes import Spikes
from nspike.engine.tiling import readers
from nspike.engine.window import Rect
from nspike.graph import geometry
from nspike.graph.geometry import fan, paper_reach
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.model.model import OUTPUT


@dataclass(frozen=True, eq=False)
class Count:
    """What the spikes of one layer over some tiles come to.

    events : int64 (spike planes, steps); synops : int64 (readers, steps), the accumulations that they cause in each layer
    that reads them, in the order of `nspike.engine.tiling.readers`.
    """

    events: NDArray[np.int64]
    synops: NDArray[np.int64]


def count(
    integers: IntegerNetwork, name: str, spikes: Spikes, at: tuple[int, int], core: Rect, size: tuple[int, int]
) -> Count:
    """Charge the spikes of stage `name` over one tile's core, which begins at row and column `at` of them.

    size : height and width of the whole image, at whose border a spike has fewer targets.
    """
    stage, (height, width) = integers.stage(name), size
    layers = readers(integers, name)
    rows, columns = np.zeros((0, core.height), np.int64), np.zeros((0, core.width), np.int64)
    if layers:
        rows = np.stack([fan(layer, height)[core.y0 : core.y1] for layer in layers])
        columns = np.stack([fan(layer, width)[core.x0 : core.x1] for layer in layers])
    targets = np.array([geometry.geometry(layer).targets(layer) for layer in layers], np.int64)[:, None]
    events = np.zeros((len(stage.neuron.planes), integers.steps), np.int64)
    synops = np.zeros((len(layers), integers.steps), np.int64)
    for i, gain in enumerate(stage.neuron.planes):
        channels = (i * stage.channels, (i + 1) * stage.channels)
        events[i], weighted = spikes.count(at, channels, rows, columns)
        synops += abs(gain) * weighted * targets
    return Count(events, synops)


class Accounts:
    """Of one run over `planes` planes of height × width; the layer `given` is not computed, only its spikes are counted."""

    def __init__(
        self, integers: IntegerNetwork, planes: int, height: int, width: int, digest: bool, given: str | None = None
    ) -> None:
        self._integers = integers
        self._given = given
        self._size = (planes, height, width)
        self._leaves: Leaves | None = {} if digest else None
        steps = integers.steps
        self._counted = [s for s in integers.stages if s.name != OUTPUT or integers.head.fires]
        self._readers = {s.name: readers(integers, s.name) for s in self._counted}
        self._events = {s.name: np.zeros((len(s.neuron.planes), steps), np.int64) for s in self._counted}
        self._synops = {s.name: np.zeros((len(self._readers[s.name]), steps), np.int64) for s in self._counted}

    def add(self, counts: Mapping[str, Count], leaves: Leaves) -> None:
        """Add what one tile comes to; the order of the tiles does not matter."""
        for name, each in counts.items():
            self._events[name] += each.events
            self._synops[name] += each.synops
        if self._leaves is not None:
            merge(self._leaves, leaves)

    def ledger(self) -> Ledger:
        """The ledger of the whole run."""
        integers, (planes, height, width) = self._integers, self._size
        network, timesteps = integers.network, integers.timesteps
        pixels = planes * height * width
        analog = [s.layer for s in integers.stages if not s.sources and s.name != self._given]
        output = integers.stages[-1]
        head, channels = integers.head, network.channels
        head_synops = head_paper = 0
        if head.fires and head.kernel:
            head_synops = int(self._synops[OUTPUT].sum())
            head_paper = int(self._events[OUTPUT].sum()) * head.kernel**2 * channels
        return Ledger(
            planes=planes,
            shape=(channels, height, width),
            timesteps=timesteps,
            post_steps=integers.post_steps,
            layers=tuple(self._layer(stage) for stage in self._counted),
            analog_macs=planes * sum(geometry.macs(layer, height, width) for layer in analog),
            analog_macs_paper=planes * sum(geometry.macs_paper(layer, height, width) for layer in analog),
            output_additions=(0 if head.fires else pixels * timesteps * int(np.count_nonzero(output.integer.bias)))
            + (pixels * channels if network.mode != "image" else 0),
            head_synops=head_synops,
            head_synops_paper=head_paper,
            head_synops_steps=tuple(int(n) for n in self._synops[OUTPUT].sum(axis=0)) if head_synops else (),
            head_macs=pixels * channels if head.fires and head.kernel else 0,
            ann_macs=planes * network.macs(height, width),
            ann_macs_paper=planes * network.macs_paper(height, width),
            weights=network.weights,
        )

    def _layer(self, stage: Stage) -> LayerLedger:
        integers, (planes, height, width) = self._integers, self._size
        computed = stage.name != self._given
        neurons = planes * height * width * stage.channels * computed
        steps, timesteps = integers.steps, integers.timesteps
        events = self._events[stage.name]
        gains = np.abs(np.array(stage.neuron.planes, np.int64))
        reached = int(sum(paper_reach(layer) for layer in self._readers[stage.name]))
        biased = planes * height * width * int(np.count_nonzero(stage.integer.bias)) * computed
        exact = self._synops[stage.name].sum(axis=0)
        paper = (gains[:, None] * events).sum(axis=0) * reached
        if stage.name == OUTPUT:
            exact, paper = np.zeros_like(exact), np.zeros_like(paper)  # the head's, kept apart
        digests = of(self._leaves, stage.name, steps) if self._leaves is not None else ()
        return LayerLedger(
            name=stage.name,
            shape=(stage.channels, height, width),
            events=events,
            synops=exact,
            synops_paper=paper,
            neuron_updates=np.full(steps, neurons, np.int64),
            bias_additions=np.array([biased if t < timesteps else 0 for t in range(steps)], np.int64),
            digests=digests,
        )
