"""Checkpoints in the safetensors format, read with the library of its owners, whose checks of the header are relied on."""

from pathlib import Path
from typing import Any

import numpy as np
from nspike_plugins._reading import Refused, reading
from numpy.typing import NDArray

from nspike import Checkpoint, Format, hookimpl

_MAX_HEADER = 100_000_000  # the format's own bound
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1", "C64": "<c8",
}  # fmt: skip


@hookimpl
def register_formats(register: Any) -> None:
    """Register the format."""
    register(Format("safetensors", "safetensors files", (".safetensors",), detect, read))


def detect(path: Path, head: bytes) -> bool:
    """A header length within bounds, then a JSON object."""
    return len(head) > 9 and int.from_bytes(head[:8], "little") <= _MAX_HEADER and head[8:9] == b"{"


def read(path: Path) -> Checkpoint:
    """Read a safetensors file; bfloat16 comes out as float32."""
    import safetensors  # the library: this module is nspike_plugins.safetensors

    with reading(path, "a safetensors file"):
        # the library's NumPy front end knows no bfloat16, its raw interface gives the bytes
        entries = safetensors.deserialize(path.read_bytes())
        with safetensors.safe_open(path, "np") as file:
            metadata = dict(file.metadata() or {})
        # sorted, for the library's order is another each time
        tensors = {name: _array(name, entry) for name, entry in sorted(entries, key=lambda pair: pair[0])}
        return Checkpoint(tensors, metadata, "safetensors")


def _array(name: str, entry: dict[str, Any]) -> NDArray[np.generic]:
    """One tensor from its raw little-endian bytes."""
    kind, shape = entry["dtype"], entry["shape"]
    if kind == "BF16":
        wide = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind not in _DTYPES:
        raise Refused(f"tensor {name!r} has dtype {kind}; expected one of BF16, {', '.join(_DTYPES)}; convert it first")
    raw = np.frombuffer(entry["data"], _DTYPES[kind]).reshape(shape)
    return raw != 0 if kind == "BOOL" else raw.astype(raw.dtype.newbyteorder("="))
