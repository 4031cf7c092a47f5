"""A batch through neurons with a kernel of their own, for training: the engine's own, one image after the other."""

import threading

import numpy as np

from nspike.engine import stages
from nspike.engine.spikes import Spikes, WideSpikes
from nspike.engine.window import Rect
from nspike.runtime.parallel import available, each, executor
from nspike.trainable.layer import Layer
from nspike.trainable.spike_train import SpikeTrain


def run(layer: Layer) -> SpikeTrain:
    """The spikes of a layer over a batch."""
    shared, stage, (count, height, width) = layer.shared, layer.prepared.stage, layer.shape
    planes = stage.neuron.planes
    channels, pad = stage.channels * len(planes), shared.pad
    words = np.zeros((count, height + 2 * pad, width + 2 * pad, shared.steps, -(-channels // 64)), np.uint64)
    train = SpikeTrain(words, channels, pad, planes)
    (_run_plain if layer.input.fast else _run_currents)(layer, train)
    return train


def _run_plain(layer: Layer, train: SpikeTrain) -> None:
    """Behind a plain convolution of spikes: as a stage of the engine."""
    shared, stage, (count, height, width) = layer.shared, layer.prepared.stage, layer.shape
    nothing = np.zeros((0, height, width), np.int32)
    for n in range(count):
        read: dict[str, Spikes] = {
            name: WideSpikes(source.data[n], source.pad, source.channels)
            for name, source in zip(stage.sources, layer.input.trains, strict=True)
        }
        frame = stages.Frame(nothing, shared.integers, executor(), available())
        fired, _ = stages.run(layer.prepared, frame, Rect(0, height, 0, width), read, train.pad, False)
        assert isinstance(fired, WideSpikes)
        train.data[n] = fired.words


def _run_currents(layer: Layer, train: SpikeTrain) -> None:
    shared, (count, height, width) = layer.shared, layer.shape
    currents = layer.input.currents()
    into, kept = np.full(2, train.pad, np.int64), threading.local()
    size = height if layer.prepared.stage.neuron.scope == "layer" else 1  # rows that are handed over together

    def blocks(_: int, first: int, last: int) -> None:
        for number in range(first, last):
            n, y = divmod(number * size, height)
            neurons = stages.stepped_neurons(kept, layer.prepared, size * width, shared.integers)
            block = np.array([y, y + size, 0, width], np.int64)
            for t in range(shared.steps):
                constant = currents.shape[1] == 1
                arriving = currents[n, 0 if constant else t, y : y + size].reshape(neurons.current.shape)
                neurons.current[:] = 0 if constant and t >= shared.timesteps else arriving
                stages.fire_block(neurons, t, train.data[n], into, block)

    each(blocks, count * height // size)
