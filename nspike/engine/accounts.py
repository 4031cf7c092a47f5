"""Keeps the accounts of a run while it goes, tile by tile, and makes the ledger of them."""

import numpy as np

from nspike.contracts.ledger import LayerLedger, Ledger
from nspike.engine.digest import Digests
from nspike.engine.spikes import Spikes
from nspike.engine.tiling import Rect, fans
from nspike.graph import geometry
from nspike.graph.geometry import fan
from nspike.integer.rounding import IntegerNetwork, Stage
from nspike.model.model import OUTPUT


class Accounts:
    """Of one run over `planes` planes of height × width; the layer `given` is not computed, only its spikes are counted."""

    def __init__(
        self, integers: IntegerNetwork, planes: int, height: int, width: int, digest: bool, given: str | None = None
    ) -> None:
        self._integers = integers
        self._given = given
        self._size = (planes, height, width)
        self._digests = Digests() if digest else None
        steps = integers.steps
        self._counted = [s for s in integers.stages if s.name != OUTPUT or integers.head.fires]
        self._readers = {s.name: fans(integers, s.name) for s in self._counted}
        self._events = {s.name: np.zeros((len(s.neuron.planes), steps), np.int64) for s in self._counted}
        self._synops = {s.name: np.zeros((len(self._readers[s.name]), steps), np.int64) for s in self._counted}

    def add(self, name: str, spikes: Spikes, plane: int, core: Rect, frame: Rect) -> None:
        """Charge the core of one tile, which lies in a frame, for stage `name`."""
        if name not in self._readers:
            return
        stage = self._integers.stage(name)
        _, height, width = self._size
        at = (core.y0 - frame.y0, core.x0 - frame.x0)
        readers = self._readers[name]
        rows = np.array([fan(k, height)[core.y0 : core.y1] for k, _ in readers], np.int64).reshape(-1, core.height)
        columns = np.array([fan(k, width)[core.x0 : core.x1] for k, _ in readers], np.int64).reshape(-1, core.width)
        if not readers:
            rows, columns = np.zeros((0, core.height), np.int64), np.zeros((0, core.width), np.int64)
        targets = np.array([c for _, c in readers], np.int64)
        for i, gain in enumerate(stage.neuron.planes):
            channels = (i * stage.channels, (i + 1) * stage.channels)
            events, weighted = spikes.count(at, channels, rows, columns)
            self._events[name][i] += events
            self._synops[name] += abs(gain) * weighted * targets[:, None]
        if self._digests is not None:
            self._digests.add(name, spikes, self._integers.steps, plane, core, at)

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
            ann_macs_paper=pixels * network.macs_per_pixel,
            weights=network.weights,
        )

    def _layer(self, stage: Stage) -> LayerLedger:
        integers, (planes, height, width) = self._integers, self._size
        computed = stage.name != self._given
        neurons = planes * height * width * stage.channels * computed
        steps, timesteps = integers.steps, integers.timesteps
        events = self._events[stage.name]
        gains = np.abs(np.array(stage.neuron.planes, np.int64))
        reached = sum(k * k * c for k, c in self._readers[stage.name])
        biased = planes * height * width * int(np.count_nonzero(stage.integer.bias)) * computed
        exact = self._synops[stage.name].sum(axis=0)
        paper = (gains[:, None] * events).sum(axis=0) * reached
        if stage.name == OUTPUT:
            exact, paper = np.zeros_like(exact), np.zeros_like(paper)  # the head's, kept apart
        digests = self._digests.of(stage.name, steps) if self._digests is not None else ()
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
