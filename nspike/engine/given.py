"""Spikes of one layer that are given instead of computed, and the rest of a network, which continues from them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nspike.contracts.neuron import Neuron
from nspike.engine.plan import plan
from nspike.engine.spikes import NarrowSpikes, Spikes, WideSpikes
from nspike.engine.window import Rect
from nspike.errors import BadInputError
from nspike.integer.rounding import IntegerNetwork


@dataclass(frozen=True)
class Given:
    """The spikes of a layer over the whole image.

    layer : its name; neuron : what fired them, whose gains and amplitudes they have; shape : (planes, steps, channels,
    height, width) of that layer, the channels being spike planes times channels; read : (image plane, step from 0, where) -> bool
    (channels, rows, columns). Steps that the rest of the network has beyond these are silent.
    """

    layer: str
    neuron: Neuron
    shape: tuple[int, int, int, int, int]
    read: Callable[[int, int, Rect], NDArray[np.bool_]]

    def rest(self, integers: IntegerNetwork) -> IntegerNetwork:
        """What is to be run: the layers that the output still needs, and the given one."""
        kept = {op.name for op in plan(integers, self.layer).ops}
        return replace(
            integers,
            stages=tuple(stage for stage in integers.stages if stage.name in kept),
            writers=tuple(writer for writer in integers.writers if writer.name in kept),
        )

    def check(self, integers: IntegerNetwork, planes: int, height: int, width: int) -> None:
        """Raise BadInputError if the spikes are not of an image of this size through this network."""
        _, height, width = integers.network.shapes(height, width)[self.layer]
        stage = integers.stage(self.layer)
        expected = (planes, stage.channels * len(stage.neuron.planes), height, width)
        shape = (self.shape[0], *self.shape[2:])
        if shape != expected or self.shape[1] > integers.steps:
            raise BadInputError(
                f"the spikes of layer {self.layer!r} are (planes, steps, channels, height, width) = {self.shape}; "
                f"this image and model need ({planes}, up to {integers.steps}, {', '.join(map(str, expected[1:]))})"
            )

    def packed(self, packing: str, n: int, area: Rect, rect: Rect, steps: int, pad: int) -> Spikes:
        """The spikes over `area` of a rectangle `rect` of the layer, for `steps` steps."""
        channels = self.shape[2]
        spikes: Spikes
        if packing == "wide":
            spikes = WideSpikes.empty(rect.height, rect.width, steps, channels, pad)
        else:
            spikes = NarrowSpikes.empty(rect.height, rect.width, steps, channels)
        where = Rect(area.y0 + rect.y0, area.y1 + rect.y0, area.x0 + rect.x0, area.x1 + rect.x0)
        for step in range(min(steps, self.shape[1])):
            spikes.put(step, (area.y0, area.x0), self.read(n, step, where))
        return spikes
