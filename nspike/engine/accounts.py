"""What the spikes of a tile come to, and the ledger of a run that such counts add up to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.ledger import LayerLedger, Ledger
from nspike.engine.digest import Leaves, merge, of
from nspike.engine.program import Program
from nspike.graph import geometry
from nspike.graph.geometry import paper_reach
from nspike.graph.layer import Layer
from nspike.integer.rounding import Stage
from nspike.model.model import OUTPUT

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Count:
    """What the spikes of one layer over some tiles come to.

    events : int64 (spike planes, steps). arrived, synops : int64 (readers, steps), a spike counting as many times as its
    neuron says: how many of them each layer that reads them gets, and the accumulations that they cause there, in the order
    of `nspike.engine.readers.readers`.
    """

    events: Ints
    arrived: Ints
    synops: Ints

    @classmethod
    def zero(cls, stage: Stage, readers: int, steps: int) -> "Count":
        """Nothing counted yet."""
        return cls(
            np.zeros((len(stage.neuron.planes), steps), np.int64),
            np.zeros((readers, steps), np.int64),
            np.zeros((readers, steps), np.int64),
        )

    def add(self, other: "Count") -> None:
        """Add what another tile comes to, in place."""
        self.events[:] += other.events
        self.arrived[:] += other.arrived
        self.synops[:] += other.synops


class Accounts:
    """Of one run of a program over `planes` planes of height × width; of given spikes only the number is counted."""

    def __init__(self, program: Program, planes: int, height: int, width: int, digest: bool) -> None:
        integers = self._integers = program.integers
        self._plan, self._readers = program.plan, program.readers
        self._given = None if program.given is None else program.given.layer
        self._size = (planes, height, width)
        network = integers.network
        self._shapes = {name: (n, *self._plan.size(name, height, width)) for name, n in network.widths.items()}
        self._leaves: Leaves | None = {} if digest else None
        self._counted = [s for s in integers.stages if s.name != OUTPUT or integers.head.fires]
        self._counts = {
            stage.name: Count.zero(stage, len(self._readers[stage.name]), integers.steps) for stage in integers.stages
        }

    def add(self, counts: Mapping[str, Count], leaves: Leaves) -> None:
        """Add what one tile comes to; the order of the tiles does not matter."""
        for name, each in counts.items():
            self._counts[name].add(each)
        if self._leaves is not None:
            merge(self._leaves, leaves)

    def ledger(self) -> Ledger:
        """The ledger of the whole run."""
        integers, (planes, height, width) = self._integers, self._size
        network, timesteps = integers.network, integers.timesteps
        channels, *sides = self._shapes[network.output]
        pixels = planes * sides[0] * sides[1]
        analog = [op.layer if op.stage is None else op.stage.layer for op in self._plan.ops if self._is_analog(op.name)]
        read = [self._shapes[layer.sources[0]][1:] for layer in analog]
        output, head, counted = integers.stages[-1], integers.head, self._counts[OUTPUT]
        head_synops = head_paper = 0
        if head.fires and head.kernel:
            head_synops = int(counted.synops.sum())
            head_paper = int(counted.events.sum()) * head.kernel**2 * channels
        return Ledger(
            planes=planes,
            shape=(network.channels, height, width),
            timesteps=timesteps,
            post_steps=integers.post_steps,
            most_spikes=max((_most(stage) for stage in integers.stages if stage.name != OUTPUT), default=1),
            layers=tuple(self._layer(stage) for stage in self._counted),
            analog_macs=planes * sum(geometry.macs(x, *size) for x, size in zip(analog, read, strict=True)),
            analog_macs_paper=planes * sum(geometry.macs_paper(x, *self._shapes[x.name][1:]) for x in analog),
            output_additions=(0 if head.fires else pixels * timesteps * int(np.count_nonzero(output.integer.bias)))
            + (pixels * channels if network.mode != "image" else 0),
            head_synops=head_synops,
            head_synops_paper=head_paper,
            head_synops_steps=tuple(int(n) for n in counted.synops.sum(axis=0)) if head_synops else (),
            head_macs=pixels * channels if head.fires and head.kernel else 0,
            ann_macs=planes * network.macs(height, width),
            ann_macs_paper=planes * network.macs_paper(height, width),
            weights=network.weights,
            current_additions=self._current_additions(),
        )

    def _is_analog(self, name: str) -> bool:
        """Whether an op multiplies the image, or what is like it, by weights."""
        op = next(op for op in self._plan.ops if op.name == name)
        part = op.writer or op.stage
        fused = part is not None and (op.stage is None or op.stage.fused)
        return fused and bool(op.reads) and all(self._plan.carries[source] == "image" for source in op.reads)

    def _current_additions(self) -> tuple[int, ...]:
        """Per step: sums of currents, and up to T the biases of convolutions and gates that have no neurons of their own."""
        each = biases = 0
        for op in self._plan.ops:
            channels, height, width = self._shapes[op.at]
            if op.stage is None:
                additions = geometry.geometry(op.layer).additions(op.layer, channels, len(op.reads))
                each += additions * height * width
            if op.writer is not None:
                biases += int(np.count_nonzero(op.writer.bias)) * height * width
        if each == biases == 0:
            return ()
        planes, timesteps = self._size[0], self._integers.timesteps
        return tuple(planes * (each + (biases if t < timesteps else 0)) for t in range(self._integers.steps))

    def _layer(self, stage: Stage) -> LayerLedger:
        integers, planes = self._integers, self._size[0]
        computed = stage.name != self._given
        shape = self._shapes[integers.network.output if stage.name == OUTPUT else stage.name]
        neurons = planes * shape[0] * shape[1] * shape[2] * computed
        steps, timesteps, counted = integers.steps, integers.timesteps, self._counts[stage.name]
        biased = planes * shape[1] * shape[2] * int(np.count_nonzero(stage.integer.bias)) * computed
        exact = counted.synops.sum(axis=0)
        layers = [reader.layer for reader in self._readers[stage.name]]
        paper = _paper(layers, counted.arrived)
        if stage.name == OUTPUT:
            exact, paper = np.zeros_like(exact), np.zeros_like(paper)  # the head's, kept apart
        digests = of(self._leaves, stage.name, steps) if self._leaves is not None else ()
        return LayerLedger(
            name=stage.name,
            shape=shape,
            events=counted.events,
            synops=exact,
            synops_paper=paper,
            neuron_updates=np.full(
                steps, neurons * (stage.dynamics.most.bit_length() if stage.neuron.digits else 1), np.int64
            ),
            bias_additions=np.array([biased if t < timesteps else 0 for t in range(steps)], np.int64),
            digests=digests,
        )


def _most(stage: Stage) -> int:
    """The most spikes at a step."""
    if stage.neuron.step is None:
        return stage.dynamics.most
    return max(sum(sign * gain for gain in stage.neuron.planes if sign * gain > 0) for sign in (1, -1))


def _paper(layers: list[Layer], arrived: Ints) -> Ints:
    """What spikes cause as papers count it, int64 (steps,), rounded down where a stride leaves a fraction."""
    reach = [paper_reach(layer) for layer in layers]
    most = math.lcm(*(each.denominator for each in reach))
    whole = np.array([int(each * most) for each in reach], np.int64)
    return np.asarray((whole[:, None] * arrived).sum(axis=0) // most)
