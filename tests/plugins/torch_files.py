"""Writes files as torch.save does, without torch: a small pickler that can also say what torch never would."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage", "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}  # fmt: skip


@dataclass(frozen=True)
class G:
    """A global by name."""

    module: str
    name: str


@dataclass
class Call:
    """REDUCE of `target` with `args`, then BUILD with `state` where there is one."""

    target: Any
    args: tuple[Any, ...]
    state: Any = None


@dataclass
class New:
    """NEWOBJ, else like Call."""

    target: Any
    args: tuple[Any, ...] = ()
    state: Any = None


@dataclass
class Pid:
    """A persistent id."""

    identity: tuple[Any, ...]


@dataclass
class Bytes:
    """Opcodes as they are."""

    opcodes: bytes


def dumps(thing: Any, *, python2: bool = False, stack_global: bool = False) -> bytes:
    """Pickle `thing` in protocol 2 (4 where globals go over the stack); in Python 2's way text is byte strings."""
    out = io.BytesIO()

    def put(thing: Any) -> None:
        if isinstance(thing, bool | int | float | None):
            out.write(pickle.dumps(thing, 2)[2:-1])
        elif isinstance(thing, str) and python2:
            raw = thing.encode("latin1")
            out.write(b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw)
        elif isinstance(thing, str):
            out.write(b"X" + struct.pack("<I", len(thing.encode())) + thing.encode())
        elif isinstance(thing, tuple):
            out.write(b"(")
            [put(item) for item in thing]
            out.write(b"t")
        elif isinstance(thing, list):
            out.write(b"](")
            [put(item) for item in thing]
            out.write(b"e")
        elif isinstance(thing, OrderedDict):
            put(G("collections", "OrderedDict"))
            out.write(b")R(")
            [put(item) for pair in thing.items() for item in pair]
            out.write(b"u")
        elif isinstance(thing, dict):
            out.write(b"}(")
            [put(item) for pair in thing.items() for item in pair]
            out.write(b"u")
        elif isinstance(thing, G) and stack_global:
            put(thing.module)
            put(thing.name)
            out.write(b"\x93")
        elif isinstance(thing, G):
            out.write(f"c{thing.module}\n{thing.name}\n".encode())
        elif isinstance(thing, Call | New):
            put(thing.target)
            put(thing.args)
            out.write(b"R" if isinstance(thing, Call) else b"\x81")
            if thing.state is not None:
                put(thing.state)
                out.write(b"b")
        elif isinstance(thing, Pid):
            put(thing.identity)
            out.write(b"Q")
        elif isinstance(thing, Bytes):
            out.write(thing.opcodes)
        else:
            raise TypeError(type(thing))

    out.write(b"\x80\x04" if stack_global else b"\x80\x02")
    put(thing)
    return out.getvalue() + b"."


@dataclass
class Writer:
    """Collects storages while tensors are described, then writes the file around an object."""

    old: bool = False
    python2: bool = False
    storages: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    def storage(self, values: np.ndarray, dtype: str | None = None, view: tuple[Any, ...] | None = None) -> Pid:
        """A storage of `values` (of uint16 patterns for bfloat16)."""
        key = str(len(self.storages) + (94917292754752 if self.old else 0))
        raw = np.ascontiguousarray(values)
        self.storages[key] = (raw.astype(raw.dtype.newbyteorder("<")).tobytes(), raw.size)
        kind = G("torch", STORAGES[dtype or raw.dtype.name])
        identity = ("storage", kind, key, "cpu", raw.size)
        return Pid((*identity, view) if self.old else identity)

    def tensor(self, values: np.ndarray, dtype: str | None = None) -> Call:
        """A C-contiguous tensor, alone in its storage."""
        values = np.asarray(values)
        strides = tuple(step // values.itemsize for step in np.ascontiguousarray(values).strides[: values.ndim])
        return self.view(self.storage(values, dtype), 0, values.shape, strides)

    def view(self, storage: Pid, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Call:
        """A tensor that is a view of `storage`."""
        args = (storage, offset, size, stride)
        if self.python2:
            return Call(G("torch._utils", "_rebuild_tensor"), args)
        return Call(G("torch._utils", "_rebuild_tensor_v2"), (*args, False, OrderedDict()))

    def save(self, path: Path, thing: Any, **how: Any) -> Path:
        """Write the file."""
        if self.old:
            path.write_bytes(self.stream(thing))
        else:
            self.archive(path, dumps(thing, **how))
        return path

    def stream(self, thing: Any) -> bytes:
        """The old stream's bytes."""
        sizes = {"short": 2, "int": 4, "long": 4}
        info = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": sizes}
        parts = [MAGIC, PROTOCOL, info, thing, list(self.storages)]
        pickles = b"".join(dumps(part, python2=self.python2) for part in parts)
        return pickles + b"".join(struct.pack("<q", numel) + raw for raw, numel in self.storages.values())

    def archive(self, path: Path, pickled: bytes, extra: dict[str, bytes] | None = None, **options: Any) -> None:
        """The zip archive around a pickle, with `extra` members."""
        with zipfile.ZipFile(path, "w", **options) as archive:
            archive.writestr("net/data.pkl", pickled)
            archive.writestr("net/byteorder", "little")
            for key, (raw, _) in self.storages.items():
                archive.writestr(f"net/data/{key}", raw)
            archive.writestr("net/version", "3\n")
            for name, content in (extra or {}).items():
                archive.writestr(name, content)
