"""Work shared out over threads: each takes one piece, in a fixed division, so that sums come out the same every time."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from nspike.errors import UsageError

_chosen: list[int] = []


def available() -> int:
    """How many threads to use: as set, else one for each processor that this process may use."""
    if _chosen:
        return _chosen[0]
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def set_threads(count: int | None) -> None:
    """Set the number of threads for later calls, None for the default. It does not affect BLAS."""
    if count is not None and count < 1:
        raise UsageError(f"{count} threads; expected 1 or more")
    _chosen[:] = [] if count is None else [count]


def pieces(count: int, threads: int) -> list[tuple[int, int]]:
    """0 .. count cut into up to `threads` ranges of about one size."""
    parts = max(1, min(count, threads))
    ends = [count * i // parts for i in range(parts + 1)]
    return list(itertools.pairwise(ends))


def each(function: Callable[[int, int, int], None], count: int) -> int:
    """Call function(piece, first, last) for every piece of 0 .. count, in parallel; returns how many pieces there were."""
    shares = pieces(count, available())
    if len(shares) == 1:
        function(0, *shares[0])
        return 1
    for _ in _pool(len(shares)).map(lambda item: function(item[0], *item[1]), enumerate(shares)):
        pass
    return len(shares)


def executor(threads: int | None = None) -> ThreadPoolExecutor:
    """So many threads, by default `available()`, for work that is shared out otherwise; kept for the next call.

    Raises UsageError for a number below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"{threads} threads; expected 1 or more")
    return _pool(available() if threads is None else threads)


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="nspike")


if hasattr(os, "register_at_fork"):  # a child has the pools, but none of their threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
