"""Threads and buffers: pieces that cover everything once, the same sums for the same threads, arrays that are used again."""

import numpy as np
import pytest

from nspike.errors import UsageError
from nspike.runtime import buffers, parallel


@pytest.fixture
def three():
    parallel.set_threads(3)
    yield
    parallel.set_threads(None)


def test_pieces_cover_everything_once():
    for count in (1, 2, 7, 100):
        for threads in (1, 2, 3, 8):
            found = [i for first, last in parallel.pieces(count, threads) for i in range(first, last)]
            assert found == list(range(count))
            assert len(parallel.pieces(count, threads)) == min(count, threads)


def test_each(three):
    seen = np.zeros((3, 10), int)
    assert parallel.each(lambda piece, a, b: seen[piece].__setitem__(slice(a, b), 1), 10) == 3
    assert seen.sum(axis=0).tolist() == [1] * 10
    with pytest.raises(ZeroDivisionError):
        parallel.each(lambda piece, a, b: 1 // (piece - 1) and None, 10)


def test_threads_are_counted(three):
    assert parallel.available() == 3
    with pytest.raises(UsageError, match="0 threads"):
        parallel.set_threads(0)


def test_buffers_are_used_again_and_small_or_foreign_arrays_are_not(monkeypatch):
    monkeypatch.setattr(buffers, "_free", {})
    first = buffers.take((600, 600))
    first[:] = 7
    buffers.give(first.reshape(-1)[5:])
    second = buffers.take((360_000,), np.int32)
    assert second.ctypes.data == first.ctypes.data
    third = buffers.take((600, 600))
    assert third.ctypes.data != first.ctypes.data
    for foreign in (np.zeros((600, 600), np.float32), np.zeros(2**21, np.uint8)[::2], buffers.take((3, 3))):
        buffers.give(foreign)
    assert buffers.take((600, 600)).ctypes.data not in (first.ctypes.data, third.ctypes.data)
    monkeypatch.setattr(buffers, "_free", {})
