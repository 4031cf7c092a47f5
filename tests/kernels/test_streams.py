"""Currents that grow by pointwise convolutions, and their neurons, against the definition."""

import numpy as np
import pytest

from nspike.engine.flows import _laid_out, _Part, _term
from nspike.graph.arrange import move
from nspike.graph.layer import ChannelShuffle, PixelShuffle
from nspike.kernels import streams
from tests.kernels.test_firing import Cells, inner
from tests.kernels.test_wide import pack, padded

MOVES = {
    "none": (None, 48, 4, 16),
    "none, dense": (None, 32, 1, 70),
    "shuffled": (ChannelShuffle("s", "x", 4), 48, 4, 12),
    "shuffled, eight": (ChannelShuffle("s", "x", 8), 128, 8, 9),
    "enlarged": (PixelShuffle("s", "x", 2), 64, 16, 4),
    "enlarged, dense": (PixelShuffle("s", "x", 4), 256, 1, 3),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("based", [None, "constant", "each step"])
@pytest.mark.parametrize("extreme", [False, True])
def test_against_the_definition(name, based, extreme):
    """The current and the spikes, in two bands; then without each of them."""
    layer, channels, groups, read = MOVES[name]
    draw, steps, (height, width) = np.random.default_rng(len(name)), 7, (3, 4)
    weights = draw.integers(-4095, 4096, (channels, read)).astype(np.int16)
    if extreme:
        weights[:] = 4095
    seen = draw.random((steps, groups * read, height, width)) < (1.0 if extreme else 0.4)
    bias = draw.integers(-999, 999, channels).astype(np.int32)
    split = seen.reshape(steps, groups, read, height, width).astype(np.int64)
    sums = np.einsum("tgihw,goi->tgohw", split, weights.reshape(groups, -1, read).astype(np.int64))
    sums = sums.reshape(steps, channels, height, width) + bias[:, None, None]
    expected = np.stack([move(layer, [each]) for each in sums]) if layer else sums
    _, made, height, width = expected.shape
    base = draw.integers(-9999, 9999, (1 if based == "constant" else steps, made, height, width))
    shift = draw.integers(0, 3, made)
    expected = expected + (base << shift[:, None, None] if based else 0)

    cells = Cells(1, made, {"keep": 32768, "factor": 32768, "zero": True})
    cells.steps = steps
    cells.threshold, cells.reset = (np.resize(each, (steps, made)) for each in (cells.threshold, cells.reset))
    spikes, _ = cells.expected(expected)
    term = _term("s", weights, bias, groups, layer)
    flow = _laid_out(_Part("x", (term,), None, None, (), None, shift), True)
    words = pack(seen, 1)
    chunks, where = flow.chunks.copy(), [words.ctypes.data, words[0].size, words[0, 0].size, term.factor, 1, 1]
    chunks[:, 2] = words.shape[3]
    laid = (flow.factor, chunks.ravel(), flow.ends, flow.tables, flow.woven, flow.bias)
    given = None if based is None else np.ascontiguousarray(base.transpose(0, 2, 3, 1), np.int32)
    numbers = (padded(cells.v0, made), padded(cells.threshold, made), padded(cells.reset, made), cells.dynamics)
    zero = np.zeros(2, np.int64)
    for kept, fires in ((True, True), (True, False), (False, True)):
        current = np.full((steps, height, width, made), 7, np.int32) if kept else None
        fired = np.zeros_like(pack(spikes, 1)) if fires else None
        added = (given, zero, shift.astype(np.int32), current, zero, fired, 1)
        for block in ([0, 1, 0, width], [1, height, 0, 3], [1, height, 3, width]):
            streams.flow(np.array([where]), zero, *laid, *added, *numbers, steps, np.array(block))
        if kept:
            np.testing.assert_array_equal(current.transpose(0, 3, 1, 2), expected)
        if fires:
            np.testing.assert_array_equal(inner(fired), inner(pack(spikes, 1)))


@pytest.mark.parametrize("steps", [4, 5])
def test_several_terms(steps):
    """Two woven ones, one in order and one of twice the size below, whose sums together need more than one pass."""
    draw, height, width, channels = np.random.default_rng(steps), 4, 6, 128
    layouts = [(ChannelShuffle("s", "x", 8), 128, 8, 9)] * 2 + [
        (None, 128, 16, 4),
        (PixelShuffle("s", "x", 2), 512, 32, 6),
    ]
    expected, terms, words = np.zeros((steps, channels, height, width), np.int64), [], []
    for number, (layer, wide, groups, read) in enumerate(layouts):
        factor = 2 if isinstance(layer, PixelShuffle) else 1
        weights = draw.integers(3000, 4096, (wide, read)).astype(np.int16)
        bias = draw.integers(-999, 999, wide).astype(np.int32)
        seen = draw.random((steps, groups * read, height // factor, width // factor)) < 0.7
        split = seen.reshape(steps, groups, read, *seen.shape[2:]).astype(np.int64)
        sums = np.einsum("tgihw,goi->tgohw", split, weights.reshape(groups, -1, read).astype(np.int64))
        sums = sums.reshape(steps, wide, *seen.shape[2:]) + bias[:, None, None]
        expected += np.stack([move(layer, [each]) for each in sums]) if layer else sums
        terms.append(_term(str(number), weights, bias, groups, layer))
        words.append(pack(seen, 1))
    flow = _laid_out(_Part("x", tuple(terms), None, None, (), None, np.zeros(channels, np.int64)), True)
    assert len(flow.woven) > 3
    where = [[w.ctypes.data, w[0].size, w[0, 0].size, t.factor, 1, 1] for w, t in zip(words, terms, strict=True)]
    chunks = flow.chunks.copy()
    chunks[:, 2] = [words[term].shape[3] for term in chunks[:, 0]]
    zero, none = np.zeros(2, np.int64), np.zeros(channels, np.int32)
    current, numbers = np.empty((steps, height, width, channels), np.int32), np.zeros((steps, channels), np.int32)
    laid = (flow.factor, chunks.ravel(), flow.ends, flow.tables, flow.woven, flow.bias)
    added = (None, zero, none, current, zero, None, 0, none, numbers, numbers, None, steps)
    streams.flow(np.array(where), zero, *laid, *added, np.array([0, height, 0, width]))
    np.testing.assert_array_equal(current.transpose(0, 3, 1, 2), expected)
