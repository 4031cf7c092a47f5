"""Networks in ONNX files, as every framework exports them: the file says what is computed, so no network is named.

Operators of image restoration become layers, and what is computed from constants and sizes is folded (see `_onnx`). What no
layer says is listed by node and reason, all at once. Needs the package `onnx`: pip install "nspike[onnx]".
"""

import importlib.util
from pathlib import Path
from typing import Any

from nspike_plugins._reading import Refused, reading

from nspike import Checkpoint, Format, hookimpl

_IR_VERSION, _FIELDS_AFTER = 0x08, (0x10, 0x12, 0x1A, 0x22, 0x28, 0x2A, 0x32, 0x3A, 0x42)


@hookimpl
def register_formats(register: Any) -> None:
    """Register the format."""
    register(Format("onnx", "networks in ONNX files", (".onnx",), detect, read))


def detect(path: Path, head: bytes) -> bool:
    """A protobuf message that begins with a small IR version and another field of a model; ONNX has no magic number."""
    return len(head) > 3 and head[0] == _IR_VERSION and 3 <= head[1] <= 30 and head[2] in _FIELDS_AFTER


def read(path: Path) -> Checkpoint:
    """The network and its parameters. `assumed` says what was taken for a noise level, and for the image."""
    with reading(path, "an ONNX model"):
        if importlib.util.find_spec("onnx") is None:
            raise Refused('is read with the package onnx, which is not installed; pip install "nspike[onnx]"')
        from nspike_plugins._onnx.file import read_model
        from nspike_plugins._onnx.graph import read_graph

        network, parameters, assumed = read_graph(read_model(path), path)
        return Checkpoint(dict(parameters), format="onnx", network=network, assumed=assumed)
