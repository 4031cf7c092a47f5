"""Depthwise convolutions of spikes and their neurons, against the definition."""

import numpy as np
import pytest

from nspike.engine.wiring import depthwise_layout
from nspike.graph.layer import IMAGE, Conv
from nspike.kernels import depthwise
from tests import naive
from tests.kernels.test_firing import NEVER, Cells, inner
from tests.kernels.test_wide import pack, padded


@pytest.mark.parametrize("channels", [5, 64, 70])
@pytest.mark.parametrize("kind", [{}, {"keep": 32768, "factor": 32768, "zero": True}, {"keep": 60001, "factor": 5537}])
@pytest.mark.parametrize("size", [3, 5])
def test_against_the_definition(channels, kind, size):
    """The spikes' border is not zero, and the block is a part of the output."""
    cells, (height, width) = Cells(channels, channels, kind), (7, 9)
    draw = np.random.default_rng(size)
    most = depthwise.LARGEST // size**2
    weights = draw.choice([-most, most, 0, 17], (1, channels, 1, size, size)).astype(np.int16)
    seen = draw.random((cells.steps, channels, height, width)) < 0.4
    currents = np.stack(
        [[naive.convolve(x[None], w[None])[0] for x, w in zip(s, weights[0], strict=True)] for s in seen]
    )
    spikes, _ = cells.expected(currents.reshape(seen.shape) + cells.bias[0][:, None, None])
    offsets, rows = depthwise_layout(weights, Conv("conv", IMAGE, channels, channels, size, groups=channels))
    words = pack(seen, 2)
    words[:2], words[-2:], words[:, :2], words[:, -2:] = (~np.uint64(0),) * 4
    each, columns = words[0, 0].size, 64 * words.shape[3]
    inside = tuple(int(each * (y * words.shape[1] + x)) for y, x in offsets)
    apart = tuple(each * i for i in range(len(offsets)))
    out = np.zeros((height + 2, width + 2, *words.shape[2:]), np.uint64)
    numbers = (padded(cells.v0, columns), padded(cells.threshold, columns, NEVER), padded(cells.reset, columns))
    places, bias = np.array([2, 2, 0, 0, height, width]), padded(cells.bias[0], columns)
    for block in ([0, 4, 0, width], [4, height, 0, 5], [4, height, 5, width]):
        laid = (offsets, inside, apart, rows, bias, np.array(block), out, 1)
        depthwise.convolve(words, places, *laid, *numbers, cells.dynamics)
    np.testing.assert_array_equal(inner(out), inner(pack(spikes, 1)))
