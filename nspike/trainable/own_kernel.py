"""A batch through neurons with a kernel of their own, for training: the engine's own stage, one image after the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nspike.engine import stages
from nspike.engine.prepared import Prepared
from nspike.engine.spikes import Spikes, WideSpikes
from nspike.engine.window import Rect
from nspike.runtime.parallel import available, executor
from nspike.trainable.layer import Shared
from nspike.trainable.spike_train import SpikeTrain


def run(prepared: Prepared, shared: Shared, sources: Sequence[SpikeTrain]) -> SpikeTrain:
    """The spikes of a stage over a batch, given those that it reads."""
    assert shared.integers is not None
    stage, (count, height, width) = prepared.stage, shared.shape
    planes = stage.neuron.planes
    channels, pad = stage.channels * len(planes), shared.pad
    words = np.empty((count, height + 2 * pad, width + 2 * pad, shared.steps, -(-channels // 64)), np.uint64)
    for n in range(count):
        plane: NDArray[np.int32] = np.ascontiguousarray(shared.plane[n].transpose(2, 0, 1))
        read: dict[str, Spikes] = {
            name: WideSpikes(train.data[n], train.pad, train.channels)
            for name, train in zip(stage.sources, sources, strict=True)
        }
        tile = stages.Frame(plane, shared.integers, executor(), available())
        fired, _ = stages.run(prepared, tile, Rect(0, height, 0, width), read, pad, False)
        assert isinstance(fired, WideSpikes)
        words[n] = fired.words
    return SpikeTrain(words, channels, pad, planes)
