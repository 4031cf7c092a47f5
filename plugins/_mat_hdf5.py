"""MatConvNet's SimpleNN structure in a MATLAB 7.3 file, which is HDF5 and not trusted.

The HDF5 library reads it in a process of its own (`nspike.open_hdf5`). No link but a hard one is followed, no data outside the
file or made from other data are read, and a size is looked at before it is allocated.
"""

from pathlib import Path

import numpy as np
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

from nspike import HDF5File, HDF5Node, open_hdf5

_FILTERS = (1, 2, 3)  # HDF5's codes: gzip, shuffle, fletcher32
_MAX_LAYERS = 10_000
_BASE_BYTES = 64 << 20
_MAX_RATIO = 16  # trained weights hardly compress


def read_layers(path: Path) -> list[tuple[str, list[NDArray[np.generic]]]]:
    """The layers' types and weights, axes in HDF5's order."""
    with open_hdf5(path) as file:
        return _Reader(file).layers()


class _Reader:
    """Reads from an open file within a budget of bytes."""

    def __init__(self, file: HDF5File) -> None:
        self._file = file
        self._left = _BASE_BYTES + _MAX_RATIO * file.size

    def layers(self) -> list[tuple[str, list[NDArray[np.generic]]]]:
        return [self._layer(layer) for layer in self._cell(self._member(self._net(), "layers"))]

    def _net(self) -> HDF5Node:
        """The network's structure: the variable `net`, or the only one that has layers."""
        for name in ("net", *(path for path in self._file.nodes if "/" not in path)):
            group = self._member(None, name)
            if group is not None and group.kind == "group" and f"{name}/layers" in self._file.nodes:
                return group
        raise Refused("has no variable with a field 'layers'; expected a MatConvNet SimpleNN saved as `net`")

    def _layer(self, layer: HDF5Node) -> tuple[str, list[NDArray[np.generic]]]:
        if layer.kind != "group":
            raise Refused("has a layer that is not a structure; expected a MatConvNet SimpleNN")
        kind = self._text(self._member(layer, "type"))
        weights = self._member(layer, "weights")
        if weights is not None:
            return kind, [self._array(item) for item in self._cell(weights)]
        old = [self._member(layer, name) for name in ("filters", "biases")]
        return kind, [self._array(item) for item in old if item is not None]

    def _member(self, group: HDF5Node | None, name: str) -> HDF5Node | None:
        """What a group (None: the root) has under `name`, or None; links that lead elsewhere are refused."""
        node = self._file.nodes.get(name if group is None else f"{group.path}/{name}")
        if node is not None and node.kind == "link":
            raise Refused(f"its {name[:60]!r} is a link to somewhere else; expected the data; do not use this file")
        return node

    def _cell(self, node: HDF5Node | None) -> list[HDF5Node]:
        """What a cell array refers to, in order; an empty one is []."""
        if node is not None and "MATLAB_empty" in node.attributes:
            return []
        if node is None or not node.references or node.shape is None:
            raise Refused("has something else where a cell array should be; expected a MatConvNet SimpleNN")
        self._check(node)
        if node.size > _MAX_LAYERS:
            raise Refused(f"has a cell array of {node.size} entries; expected {_MAX_LAYERS} at most")
        return self._file.referenced(node)

    def _text(self, node: HDF5Node | None) -> str:
        if node is None or node.dtype != np.uint16 or node.size > 100:
            raise Refused("has a layer without a type in text; expected a MatConvNet SimpleNN")
        return "".join(map(chr, self._array(node).reshape(-1).tolist()))

    def _array(self, node: HDF5Node) -> NDArray[np.generic]:
        if node.dtype is None or node.dtype.kind not in "fiu":
            raise Refused("has something else where numbers should be; expected a MatConvNet SimpleNN")
        if "MATLAB_empty" in node.attributes:  # the values are then the empty array's sizes
            return np.zeros(0, np.float32)
        self._check(node)
        return self._file.array(node)

    def _check(self, node: HDF5Node) -> None:
        """Raise unless the values lie in this file, in a common form, and within what is left of the budget."""
        if node.layout not in ("compact", "contiguous", "chunked") or any(
            code not in _FILTERS for code in node.filters
        ):
            raise Refused(
                "has data outside the file or in an unusual form; expected plain or gzip; do not use this file"
            )
        self._left -= node.nbytes
        if self._left < 0 or node.stored > self._file.size:
            raise Refused("its arrays are many times larger than the file; it is damaged or hostile: fetch it again")
