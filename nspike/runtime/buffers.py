"""Large arrays that are used again: where memory is virtual, fresh pages can cost more than what is computed into them.

`take` an array, and `give` it back once it is no longer read; one that is not given back is simply freed. Its contents
are whatever they were.
"""

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
