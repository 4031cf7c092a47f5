"""An ONNX file's bytes, and its tensors, checked before any memory is taken for what they claim."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

MOST_BYTES = 2**31 - 1  # what one protobuf message can hold
MOST_ELEMENTS = 2**28
OLDEST, NEWEST = 11, 25
"""The versions of the operators that are known."""

_DTYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8",
    16: "<u2",
}  # fmt: skip
_BFLOAT16 = 16
_FIELDS = {1: "float_data", 7: "int64_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}


def read_model(path: Path) -> Any:
    """The `ModelProto` of a file. Raises Refused for what cannot be one, or uses what is not known."""
    import onnx

    size = path.stat().st_size
    if size > MOST_BYTES:
        raise Refused(f"is too large: {size} bytes, at most {MOST_BYTES} are read; export with external data")
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    if not model.graph.node:
        raise Refused("holds no graph of an ONNX model; export it again")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if not OLDEST <= opset <= NEWEST:
        raise Refused(f"uses opset {opset}, expected {OLDEST} to {NEWEST}; export it with opset_version=17, say")
    return model


def opset_of(model: Any) -> int:
    """The version of the standard operators."""
    return int(next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))


def array(tensor: Any, folder: Path) -> NDArray[Any]:
    """A tensor's values; data outside the file is looked for below `folder`. Raises Refused, which names the tensor."""
    name = tensor.name or "a constant"
    if tensor.data_type not in _DTYPES:
        raise Refused(f"tensor {name!r} has the data type {tensor.data_type}, expected numbers")
    dtype, dims = np.dtype(_DTYPES[tensor.data_type]), [int(n) for n in tensor.dims]
    count = math.prod(dims)
    if any(n < 0 for n in dims) or count > MOST_ELEMENTS or len(dims) > 8:
        raise Refused(f"tensor {name!r} claims the shape {tuple(dims)}, which no network of this size has")
    if tensor.data_location == 1:
        values = np.frombuffer(_external(tensor, name, count * dtype.itemsize, folder), dtype)
    elif tensor.raw_data:
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise Refused(
                f"tensor {name!r} has {len(tensor.raw_data)} bytes; its shape {tuple(dims)} and data type take "
                f"{count * dtype.itemsize}"
            )
        values = np.frombuffer(tensor.raw_data, dtype)
    else:
        field = getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))
        if len(field) != count:
            raise Refused(f"tensor {name!r} has {len(field)} values, its shape {tuple(dims)} takes {count}")
        values = np.array(field)
        values = values.astype("<u2").view(dtype) if tensor.data_type == 10 else values.astype(dtype)
    if tensor.data_type == _BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(dims)


def _external(tensor: Any, name: str, size: int, folder: Path) -> bytes:
    """The bytes of a tensor that lie in a file beside."""
    about = {entry.key: entry.value for entry in tensor.external_data}
    location = about.get("location", "")
    root = folder.resolve()
    path = (root / location).resolve() if location and "\0" not in location else root
    if not location or Path(location).is_absolute() or root not in path.parents:
        raise Refused(f"tensor {name!r} lies in {location!r}, outside the model's folder; it is not read")
    if not path.is_file():
        raise Refused(f"tensor {name!r} lies in the file {location!r}, which is missing; put it beside the model")
    numbers = [about.get("offset") or "0", about.get("length") or str(size)]
    if not all(number.isascii() and number.isdigit() and len(number) < 16 for number in numbers):
        raise Refused(f"tensor {name!r} has offset and length {numbers} in {location!r}, expected numbers of bytes")
    offset, length = map(int, numbers)
    if length != size or offset + length > path.stat().st_size:
        raise Refused(
            f"tensor {name!r} takes {size} bytes; bytes {offset} to {offset + length} of {location!r} are given, which "
            f"has {path.stat().st_size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
