"""Large arrays that are used again: where memory is virtual, fresh pages can cost more than what is computed into them.

`take` an array, and `give` it back once it is no longer read; one that is not given back is simply freed. Its contents
are whatever they were.
"""

import threading
import weakref
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST = 2**20
"""Smaller arrays, in bytes, are left to NumPy."""

_free: dict[int, list[NDArray[np.uint8]]] = {}
_known: weakref.WeakValueDictionary[int, NDArray[np.uint8]] = weakref.WeakValueDictionary()


def take(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array of this shape that is not in use elsewhere."""
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    try:
        flat = _free[size].pop()
    except (KeyError, IndexError):
        flat = np.empty(size, np.uint8)
        _known[id(flat)] = flat
    return flat.view(dtype).reshape(shape)


def give(array: NDArray[Any]) -> None:
    """Give back an array of `take`, or a view of it; nothing happens for others."""
    flat = _known.get(id(array.base))
    if flat is not None and id(flat) == id(array.base):
        _free.setdefault(flat.size, []).append(flat)


class Pool:
    """Such arrays for sizes that differ a little from call to call: the smallest free one that is large enough is taken.

    Where none is, all free ones are let go, so that a pool never holds more than was in use at one time.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of this shape that is not in use elsewhere."""
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        if size < LEAST:
            return np.empty(shape, dtype)
        with self._lock:
            fitting = [i for i, flat in enumerate(self._free) if flat.size >= size]
            if fitting:
                flat = self._free.pop(min(fitting, key=lambda i: self._free[i].size))
            else:
                self._free.clear()
                flat = np.empty(size, np.uint8)
        return flat[:size].view(dtype).reshape(shape)

    def give(self, array: NDArray[Any]) -> None:
        """Give back an array of `take`."""
        flat = array.base
        if isinstance(flat, np.ndarray) and flat.dtype == np.uint8 and flat.ndim == 1:
            with self._lock:
                self._free.append(flat)
