"""The forward pass of a layer in training: all its steps over a batch, on the engine's integers, spike for spike.

Whatever rule its gradient follows, this is how it runs. A declared neuron that reads spikes through a plain convolution of
its own runs in `nspike.kernels.wide.conv_fire`, another in `nspike.kernels.currents.fire`; both can note how far each
membrane is from its threshold. One with a kernel of its own runs as in the engine.
"""

import numpy as np
from numpy.typing import NDArray

from nspike.runtime.buffers import take
from nspike.runtime.parallel import each
from nspike.trainable import own_kernel
from nspike.trainable.layer import Floats, Ints, Layer
from nspike.trainable.spike_train import SpikeTrain


class Forward:
    """A layer that has run.

    Parameters
    ----------
    layer : what runs.
    membranes : whether to keep v at the end.
    trace : whether to keep x = (u - f(t)·θ)·2^-k of every membrane and step, float32.

    train : its spikes. v : int32 (N, H, W, C), or (N, H, W, 0) if not kept or the neuron has a kernel of its own.
    """

    def __init__(self, layer: Layer, *, membranes: bool = False, trace: bool = False) -> None:
        self.layer = layer
        n, height, width = layer.shape
        declared = layer.neuron.step is None
        self.v = np.empty((n, height, width, layer.channels if membranes and declared else 0), np.int32)
        if not declared:
            self.train = own_kernel.run(layer)
            return
        planes = layer.prepared.stage.neuron.planes
        channels = layer.channels * len(planes)
        pad, words, until = layer.shared.pad, -(-channels // 64), layer.fires_until
        kept = (n, height + 2 * pad, width + 2 * pad) if until else (n, 0, 0)
        self.train = SpikeTrain(np.zeros((*kept, layer.shared.steps, words), np.uint64), channels, pad, planes)
        self._known: Ints | None = None if layer.input.fast else layer.input.currents()
        self._trace = self._empty_trace(trace and until > 0)
        self._run(self.train.data, self.v, self._trace)
        if trace:
            self._known = None

    def take_trace(self) -> Floats:
        """x of every membrane, (N, H, W, steps, C): what was kept, which is then forgotten, or computed again."""
        trace = self._trace
        if not trace.size:
            trace = self._empty_trace(True)
            n = self.layer.shape[0]
            self._run(np.zeros((n, 0, 0, 0, 0), np.uint64), np.empty((n, 0, 0, 0), np.int32), trace)
        self._trace = self._empty_trace(False)
        return trace

    def _empty_trace(self, kept: bool) -> Floats:
        n, height, width = self.layer.shape
        return take((n, height, width, self.layer.shared.steps, self.layer.channels) if kept else (n, 0, 0, 0, 0))

    def _run(self, words: NDArray[np.uint64], v: Ints, trace: Floats) -> None:
        from nspike.kernels import currents, wide

        p, shared, known, channels = self.layer.prepared, self.layer.shared, self._known, self.layer.channels
        count, height, width = self.layer.shape
        scale = np.zeros(p.columns, np.float32)
        scale[:channels] = np.ldexp(1.0, -p.stage.integer.exponent)
        none = np.zeros_like(p.bias)  # of known currents, the biases are in them
        numbers = (shared.timesteps, p.bias if known is None else none, p.v0, p.threshold, p.reset)
        read = self.layer.input.words if known is None else np.zeros(0, np.uint64)
        fast = not trace.size and words.size > 0  # neither noted nor silent
        at, into, origin = (np.full(2, pad, np.int64) for pad in (shared.pad - p.radius, shared.pad, 0))

        def rows(_: int, first: int, last: int) -> None:
            for n in range(first // height, -(-last // height)):
                top, bottom = max(first - n * height, 0), min(last - n * height, height)
                outs = (words[n], into, v[n], np.array([top, bottom, 0, width]))
                noted = (None, None) if fast else (trace[n], scale)
                if known is not None:
                    currents.fire(known[n], origin, *numbers, *outs, *noted, p.dynamics)
                else:
                    wide.conv_fire(read[n], at, p.size, p.weights, 0, *numbers, *outs, *noted, p.dynamics)

        each(rows, count * height)
