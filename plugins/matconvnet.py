"""MatConvNet networks (SimpleNN) in MATLAB files: version 7.3, which is HDF5, and version 5.

The i-th convolution, counted from 0, gives `layers.{i}.weight` (C_out, C_in/groups, k, k) and, where it has one,
`layers.{i}.bias` (C_out,), float32. A batch norm behind it gives `layers.{i}.bn.gamma`, `.beta`, `.mean` and `.std`
(C_out,): MatConvNet keeps the standard deviation, with its ε already in it, not the variance. Kernels are not flipped:
MatConvNet correlates, as PyTorch does. Other layers have no parameters and are passed over; their types, in order, are
`metadata["layers"]`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from nspike_plugins._reading import Refused, reading
from numpy.typing import NDArray

from nspike import Checkpoint, Format, hookimpl

_V5 = b"MATLAB 5.0 MAT-file"
_V73 = b"MATLAB 7.3 MAT-file"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_UNSUPPORTED = ("convt", "custom", "normalize", "lrn")

RawLayer = tuple[str, list[NDArray[np.generic]]]
"""A layer's type and its weights, axes in HDF5's order: the reverse of MATLAB's."""


@hookimpl
def register_formats(register: Any) -> None:
    """Register the format."""
    register(Format("matconvnet", "MatConvNet networks in MATLAB files, v7.3 and v5", (".mat",), detect, read))


def detect(path: Path, head: bytes) -> bool:
    """MATLAB's text header, or HDF5 under the suffix .mat."""
    return head.startswith((_V5, _V73)) or (head.startswith(_HDF5) and path.suffix.lower() == ".mat")


def read(path: Path) -> Checkpoint:
    """Read a MatConvNet network; the module docstring explains the tensors' names."""
    with reading(path, "a MatConvNet network"):
        with path.open("rb") as file:
            head = file.read(128)
        if head.startswith(_V5):
            from nspike_plugins._mat_v5 import read_layers
        elif head.startswith((_V73, _HDF5)):
            from nspike_plugins._mat_hdf5 import read_layers
        else:
            raise Refused("is not a MATLAB file; expected version 7.3 or 5; save it again with save(..., '-v7.3')")
        layers = read_layers(path)
        kinds = ", ".join(kind for kind, _ in layers)
        return Checkpoint(_tensors(layers), {"layers": kinds[:1000]}, "matconvnet")


def _tensors(layers: Iterable[RawLayer]) -> dict[str, NDArray[np.generic]]:
    """The named tensors of the layers."""
    tensors: dict[str, NDArray[np.generic]] = {}
    index = -1
    for kind, arrays in layers:
        if kind == "conv":
            index += 1
            tensors.update(_convolution(f"layers.{index}", arrays))
        elif kind == "bnorm":
            channels = len(tensors[f"layers.{index}.weight"]) if index >= 0 else -1
            if f"layers.{index}.bn.gamma" in tensors:
                raise Refused(f"convolution {index} has two batch norms behind it; expected one at most")
            tensors.update(_batch_norm(f"layers.{index}", arrays, channels))
        elif kind.startswith("dagnn."):
            raise Refused("it is a DagNN; expected a SimpleNN; save its parameters as .safetensors instead")
        elif kind in _UNSUPPORTED:
            raise Refused(f"it has a layer of type {kind!r}; expected conv, bnorm and layers without parameters")
    return tensors


def _convolution(name: str, arrays: list[NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Weight and bias; MATLAB drops trailing axes of length 1, which are leading ones here."""
    if not arrays or not 0 < arrays[0].ndim <= 4:
        raise Refused(f"{name} has no weights of up to four axes; expected k × k × C_in × C_out")
    weight = arrays[0].reshape((1,) * (4 - arrays[0].ndim) + arrays[0].shape)
    tensors = {f"{name}.weight": np.array(weight.swapaxes(2, 3), np.float32, order="C")}
    if len(arrays) > 1 and arrays[1].size:
        tensors[f"{name}.bias"] = _vector(f"{name}.bias", arrays[1], len(weight))
    return tensors


def _batch_norm(name: str, arrays: list[NDArray[np.generic]], channels: int) -> dict[str, NDArray[np.generic]]:
    """Scale, shift and moments, the last one (2, C): means, standard deviations."""
    if len(arrays) != 3 or arrays[2].shape != (2, channels):
        shapes = [array.shape for array in arrays]
        raise Refused(
            f"the batch norm behind {name} has arrays of shapes {shapes}, axes reversed; expected scale and shift of "
            f"{channels} values and moments (2, {channels}); save the network after its training has set the moments"
        )
    moments = arrays[2]
    parts = {"gamma": arrays[0], "beta": arrays[1], "mean": moments[0], "std": moments[1]}
    return {f"{name}.bn.{key}": _vector(f"{name}.bn.{key}", part, channels) for key, part in parts.items()}


def _vector(name: str, array: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
    """`array` as float32 (channels,)."""
    if array.size != channels:
        raise Refused(f"{name} has {array.size} values; expected {channels}, one per output channel")
    return np.array(array.reshape(-1), np.float32)
