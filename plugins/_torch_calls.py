"""The list of what a checkpoint's pickle may call, each name with the inert function that replaces it."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from nspike_plugins._pickle_names import Constructors, Global, Record, checked_keys, not_callable
from nspike_plugins._reading import Refused
from nspike_plugins._torch_values import Storage, Tensor, storage, tensor


def _names(packages: str, names: str) -> list[Global]:
    return [Global(package, name) for package in packages.split() for name in names.split()]


_INERT = (  # calls whose result no weight depends on: remembered, not done
    *_names("torch", "device Generator"),
    *_names("torch.nn.backends.thnn", "_get_thnn_function_backend"),
    *_names("numpy.core.multiarray numpy._core.multiarray", "scalar _reconstruct"),
    *_names("numpy", "dtype"),
    *_names("pathlib pathlib._local", "Path PosixPath WindowsPath PurePosixPath PureWindowsPath"),
    *_names("functools", "partial"),
    *_names("collections", "deque"),
    *_names("datetime", "date datetime timedelta"),
)


def persistent(identity: tuple[Any, ...]) -> Storage | Global:
    """The object of a persistent id: a storage or, in old whole-module pickles, a class (its source text is ignored)."""
    if identity and identity[0] == "storage":
        return storage(identity)
    if len(identity) == 4 and identity[0] == "module" and isinstance(identity[1], Global):
        return identity[1]
    raise ValueError("a persistent id of an unknown kind")


def _tensor_v1(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    return tensor(storage, offset, size, stride)


def _tensor_v2(storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, bits: Any = None) -> Tensor:
    _refuse_lazy(bits)
    return tensor(storage, offset, size, stride)


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, bits: Any = None
) -> Tensor:
    _refuse_lazy(bits)
    return tensor(storage, offset, size, stride, dtype)


def _refuse_lazy(bits: Any) -> None:
    """Refuse tensors whose stored values are still to be conjugated or negated."""
    if bits and any(bits.values()):
        raise Refused(
            "a tensor was saved with a pending conjugate or negation; save tensor.resolve_conj().resolve_neg()"
        )


def _parameter(data: Any = None, *_: Any) -> Tensor | None:
    if data is not None and not isinstance(data, Tensor):
        raise TypeError("a parameter of something that is not a tensor")
    return data


def _from_type(rebuild: Any, _kind: Any, args: Any, _state: Any) -> Any:
    """A tensor with attributes, or of a subclass: the tensor."""
    if rebuild not in _TENSORS:
        raise not_callable(rebuild)
    return _TENSORS[rebuild](*args)


def _ordered_dict(items: Any = ()) -> OrderedDict[Any, Any]:
    items = list(items.items() if isinstance(items, dict) else items)
    checked_keys([key for key, _ in items])
    return OrderedDict(items)


def _default_dict(_factory: Any = None, items: Any = ()) -> OrderedDict[Any, Any]:
    return _ordered_dict(items)


def _set(items: Any = ()) -> set[Any]:
    return set(checked_keys(list(items)))


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, as Python 3 writes them in the old protocol."""
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8"):
        raise ValueError("bytes in an unexpected form")
    return text.encode(encoding)


def _bytearray(data: Any = b"", encoding: Any = "latin1") -> bytes:
    return data if type(data) in (bytes, bytearray) else _encode(data, encoding)


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    return complex(float(real), float(imaginary))


def _first(items: Any, *_: Any) -> Any:
    return items


_TENSORS: dict[Any, Callable[..., Any]] = {
    Global("torch._utils", "_rebuild_tensor"): _tensor_v1,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    Global("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Global("torch.nn.parameter", "Parameter"): _parameter,
    Global("torch.nn.parameter", "Buffer"): _parameter,
    Global("torch.autograd.variable", "Variable"): _parameter,
}

_PLAIN: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("collections", "Counter"): _ordered_dict,
    Global("collections", "defaultdict"): _default_dict,
    Global("torch", "Size"): lambda size=(): tuple(size),
    Global("_codecs", "encode"): _encode,
    **{
        Global(package, name): make
        for package in ("builtins", "__builtin__")
        for name, make in (("set", _set), ("frozenset", _set), ("bytearray", _bytearray), ("complex", _complex))
    },
    **{
        Global("torch.jit._pickle", name): _first
        for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
    },
}

CONSTRUCTORS: Constructors = {
    **{name: partial(lambda kind, *args: Record(kind, args), name) for name in _INERT},
    **_PLAIN,
    **_TENSORS,
    Global("torch._tensor", "_rebuild_from_type_v2"): _from_type,
}
