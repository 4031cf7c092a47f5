"""Convolutions of any kind against the definition, tap by tap: their currents, and the spikes of neurons that integrate them."""

import numpy as np
import pytest

from nspike.engine.spikes import WideSpikes
from nspike.engine.window import Rect
from nspike.engine.wiring import Around, SpikeConv, in_blocks, masked_layout
from nspike.kernels import masked, strided
from tests.kernels.test_wide import fire

KINDS = {
    "dense": (20, 33, 1, 3, 1, 1, (1, 1)),
    "words": (130, 70, 1, 3, 1, 1, (0, 2)),
    "strided": (64, 16, 1, 3, 2, 1, (1, 1)),
    "large stride": (9, 5, 1, 2, 4, 3, (0, 1)),
    "dilated": (17, 64, 1, 3, 1, 3, (3, 3)),
    "even": (8, 80, 1, 4, 1, 1, (2, 1)),
    "point": (70, 3, 1, 1, 1, 1, (0, 0)),
    "grouped": (64, 64, 4, 3, 1, 1, (1, 1)),
    "grouped, strided": (36, 30, 3, 3, 2, 2, (2, 2)),
    "many groups": (64, 128, 32, 3, 1, 2, (2, 2)),
    "depthwise": (70, 70, 70, 3, 1, 1, (1, 1)),
    "depthwise, strided": (64, 64, 64, 5, 2, 1, (2, 2)),
    "small groups": (72, 72, 18, 3, 1, 1, (1, 1)),
    "pairs": (6, 6, 3, 2, 1, 2, (0, 2)),
}
SMALL = ("depthwise", "depthwise, strided", "small groups", "pairs")


class Case:
    """Random spikes and weights of a convolution; `planes` of the spikes; T of its steps."""

    def __init__(self, kind, planes=1, rate=0.3, phases=2, steps=3, extreme=False):
        self.read, self.channels, self.groups, self.size, self.stride, self.dilation, self.pads = KINDS[kind]
        draw = np.random.default_rng(len(kind))
        self.height, self.width, self.steps, self.planes = 2 * self.stride * 3, 70, steps, planes
        self.dense = draw.random((steps, planes * self.read, self.height, self.width)) < rate
        shape = (phases, self.channels, planes * self.read // self.groups, self.size, self.size)
        self.weights = draw.integers(-4095, 4096, shape).astype(np.int16)
        if extreme:
            self.weights[:] = 4095
        self.bias = draw.integers(-9999, 9999, self.channels).astype(np.int32)
        self.timesteps = steps - 1

    @property
    def groups_of_bits(self):
        channel = np.tile(np.arange(self.read), self.planes)
        each = self.read // self.groups
        bits = -(-len(channel) // 64) * 64
        group, place = np.full(bits, -1, np.int64), np.zeros(bits, np.int64)
        group[: len(channel)] = channel // each
        place[: len(channel)] = channel % each + np.repeat(np.arange(self.planes), self.read) * each
        return group, place

    def currents(self):
        """int64 (steps, C, rows, columns)."""
        before, after = self.pads
        padded = np.pad(self.dense.astype(np.int64), ((0, 0), (0, 0), (before, after), (before, after)))
        span = self.dilation * (self.size - 1)
        rows, columns = -(-self.height // self.stride), -(-self.width // self.stride)
        padded = np.pad(padded, ((0, 0), (0, 0), (0, span + self.stride), (0, span + self.stride)))
        group, place = self.groups_of_bits
        out = np.zeros((self.steps, self.channels, rows, columns), np.int64)
        each = self.channels // self.groups
        for t in range(self.steps):
            kernel = self.weights[-1 if t >= self.timesteps else 0].astype(np.int64)
            for dy, dx in np.ndindex(self.size, self.size):
                y, x = dy * self.dilation, dx * self.dilation
                seen = padded[
                    t, :, y : y + rows * self.stride : self.stride, x : x + columns * self.stride : self.stride
                ]
                for bit in range(self.planes * self.read):
                    first = group[bit] * each
                    taps = kernel[first : first + each, place[bit], dy, dx]
                    out[t, first : first + each] += taps[:, None, None] * seen[bit, :rows, :columns]
            if t < self.timesteps:
                out[t] += self.bias[:, None, None]
        return out

    def conv(self, small=False):
        taps = np.array([self.size, self.stride, self.dilation, self.pads[0]], np.int64)
        bias = np.stack([self.bias, np.zeros_like(self.bias)])
        group, place = self.groups_of_bits
        if small:
            layout = masked_layout(self.weights, self.channels // self.groups, group, place)
            return SpikeConv(masked.convolve, taps, layout, bias)
        return SpikeConv(strided.convolve, taps, in_blocks(self.weights, self.groups, group, place), bias)

    def spikes(self, pad):
        out = WideSpikes.empty(self.height, self.width, self.steps, self.dense.shape[1], pad)
        for t in range(self.steps):
            out.put(t, (0, 0), self.dense[t])
        return out

    def around(self, rect):
        return Around(Rect(0, self.height, 0, self.width), rect, (self.height, self.width), self.timesteps)


def computed(case, conv, rect, pad=1):
    """The currents over a rectangle of the output, band by band."""
    out = np.full((case.steps, rect.height, rect.width, case.channels), 10**9, np.int32)
    fill = conv.fill(case.spikes(pad), case.around(rect))
    for first in range(0, rect.height, 2):
        fill(first, min(first + 2, rect.height), out, first)
    return out.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("planes", [1, 2])
def test_currents(kind, planes):
    case = Case(kind, planes)
    expected = case.currents()
    for small in (False, True) if kind in SMALL else (False,):
        whole = computed(case, case.conv(small), Rect(0, expected.shape[2], 0, expected.shape[3]))
        np.testing.assert_array_equal(whole, expected)
        rect = Rect(1, expected.shape[2] - 1, 3, expected.shape[3] - 2)
        np.testing.assert_array_equal(computed(case, case.conv(small), rect, 0), expected[:, :, *rect.slices])


@pytest.mark.parametrize("kind", ["dense", "dilated", "grouped", "depthwise", "small groups"])
def test_the_largest_weights_do_not_overflow_16_bits(kind):
    case = Case(kind, rate=1.0, extreme=True, steps=2)
    expected = case.currents()
    rect = Rect(0, expected.shape[2], 0, expected.shape[3])
    np.testing.assert_array_equal(computed(case, case.conv(kind in SMALL), rect), expected)


class Neurons:
    """What `SpikeConv.fire` reads of a `Prepared`."""

    def __init__(self, case, currents):
        columns = -(-case.channels // 16) * 16
        draw = np.random.default_rng(1)

        def padded(values, fill=0):
            return np.ascontiguousarray(
                np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, columns - case.channels)], constant_values=fill)
            )

        theta = draw.integers(1, 20000, case.channels).astype(np.int32)
        self.theta = np.tile(theta, (case.steps, 1))
        self.start = draw.integers(-999, 999, case.channels).astype(np.int32)
        self.bias = padded(np.stack([case.bias, np.zeros_like(case.bias)]))
        self.v0, self.reset = padded(self.start), padded(self.theta)
        self.threshold, self.dynamics = padded(self.theta, 2**31 - 1), None


@pytest.mark.parametrize("kind", KINDS)
def test_fired(kind):
    case = Case(kind, phases=1)
    expected_currents = case.currents()
    neurons = Neurons(case, expected_currents)
    rows, columns = expected_currents.shape[2:]
    spikes, membranes = fire(expected_currents, neurons.start, neurons.theta, neurons.theta)
    for small in (False, True) if kind in SMALL else (False,):
        out = WideSpikes.empty(rows, columns, case.steps, case.channels, 2)
        v_out = np.zeros((rows, columns, case.channels), np.int32)
        rect = Rect(0, rows, 0, columns)
        fired = case.conv(small).fire(case.spikes(1), case.around(rect), neurons, out, v_out)
        fired(0, 1)
        fired(1, rows)
        np.testing.assert_array_equal(out.dense(), spikes)
        np.testing.assert_array_equal(v_out.transpose(2, 0, 1), membranes)
        assert not out.words[:2].any()
        assert not out.words[:, -2:].any()
