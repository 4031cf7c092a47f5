"""Tensors as torch.save describes them, views of storages by size and stride, and how their values are cut out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from nspike_plugins._pickle_names import Global
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

_MAX_DIMENSIONS = 32
_MAX_OVERLAP = 4
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64", "UntypedStorage": "uint8", "_UntypedStorage": "uint8",
}  # fmt: skip
_DTYPES = {
    "double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
    "cdouble": "complex128", "cfloat": "complex64", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
} | {name: name for name in _STORAGES.values()}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """`numel` values from `start` on in the run of `total` values that the file calls `key`.

    Only files of old have parts of runs: everywhere else `start` is 0 and `numel` is `total`.
    """

    key: str
    dtype: str
    total: int
    start: int
    numel: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count values of `dtype`, and are not yet known to lie within it."""

    storage: Storage
    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def itemsize(dtype: str) -> int:
    """Bytes of one value."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def storage(identity: tuple[Any, ...]) -> Storage:
    """The storage of a persistent id ('storage', class, key, location, numel[, None or (key, start, numel) of a view])."""
    _, kind, key, _, total, *view = identity
    if not isinstance(kind, Global) or kind.name not in _STORAGES or kind.module.split(".")[0] != "torch":
        raise Refused(
            f"a tensor lies in a {str(kind)[:120]!r}; expected one of {', '.join(_STORAGES)}; convert it first"
        )
    if type(key) is not str:
        raise TypeError("the key of a storage that is not text")
    start, numel = 0, whole(total)
    if view and view[0] is not None:
        _, start, numel = view[0]
    if whole(start) + whole(numel) > total:
        raise Refused("a part of a storage reaches beyond it; the file is damaged or hostile: fetch it again")
    return Storage(key, _STORAGES[kind.name], total, start, numel)


def tensor(storage: Any, offset: Any, size: Any, stride: Any, dtype: Any = None) -> Tensor:
    """The tensor of one of torch's `_rebuild_tensor` calls; `dtype` where the storage is of bytes."""
    if not isinstance(storage, Storage):
        raise TypeError("a tensor of something that is not a storage")
    if not len(size) == len(stride) <= _MAX_DIMENSIONS:
        raise Refused(f"a tensor has {len(size)} sizes and {len(stride)} strides; expected as many, up to 32")
    kind = storage.dtype
    if dtype is not None:
        kind = _DTYPES.get(dtype.name, "")
        if not kind:
            raise Refused(f"a tensor has dtype {str(dtype)!r}; expected one of {', '.join(_DTYPES)}; convert it first")
    return Tensor(storage, kind, whole(offset), tuple(map(whole, size)), tuple(map(whole, stride)))


def whole(value: Any) -> int:
    """`value`, if it is a count."""
    if type(value) is not int or value < 0:
        raise ValueError(f"{str(value)[:40]!r} as a count")
    return value


def cut_all(
    specs: Mapping[str, Tensor], data: Callable[[Storage], NDArray[np.uint8]], file_bytes: int, byte_order: str = "<"
) -> dict[str, NDArray[np.generic]]:
    """The values of all tensors; `data` gives the bytes of a storage. Equal views (tied weights) give one array.

    Different views of one storage may add up to several times the file, never to more than `_MAX_OVERLAP` times.
    """
    done: dict[Tensor, NDArray[np.generic]] = {}
    left = _MAX_OVERLAP * file_bytes
    for spec in specs.values():
        if spec not in done:
            left -= math.prod(spec.size) * itemsize(spec.dtype)
            raw = data(spec.storage)
            _check(spec, raw.nbytes // itemsize(spec.dtype))
            if left < 0:
                raise Refused(f"its tensors together are over {_MAX_OVERLAP} times the file; it is damaged or hostile")
            done[spec] = _cut(spec, raw, byte_order)
    return {name: done[spec] for name, spec in specs.items()}


def _check(spec: Tensor, count: int) -> None:
    """Raise unless the view lies within a storage of `count` values and names none of them more than once on average."""
    last = spec.offset + sum((extent - 1) * step for extent, step in zip(spec.size, spec.stride, strict=True))
    numel = math.prod(spec.size)
    if numel > count or (numel and last >= count):
        raise Refused(
            f"a tensor of size {spec.size}, strides {spec.stride}, offset {spec.offset} does not fit in its storage of "
            f"{count} values; the file is damaged or hostile: fetch it again"
        )


def _cut(spec: Tensor, raw: NDArray[np.uint8], byte_order: str) -> NDArray[np.generic]:
    """The values of a checked view, C-contiguous and in an array of their own; bfloat16 becomes float32."""
    stored = np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(spec.dtype, spec.dtype)).newbyteorder(byte_order)
    values = np.frombuffer(raw, stored, raw.nbytes // stored.itemsize)[spec.offset :]
    steps = [step * stored.itemsize for step in spec.stride] if math.prod(spec.size) else [0] * len(spec.size)
    view = np.lib.stride_tricks.as_strided(values, spec.size, steps)
    copy = np.array(view, stored.newbyteorder("="), order="C")
    if spec.dtype == "bfloat16":
        wide = copy.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return np.asarray(copy != 0) if spec.dtype == "bool" else copy
