"""MatConvNet's SimpleNN structure in a MATLAB 7.3 file, which is HDF5 and not trusted.

No link but a hard one is followed, no data outside the file or made from other data are read, and a size is looked at
before it is allocated.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from nspike_plugins._reading import Refused
from numpy.typing import NDArray

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_MAX_LAYERS = 10_000
_BASE_BYTES = 64 << 20
_MAX_RATIO = 16  # trained weights hardly compress


def read_layers(path: Path) -> list[tuple[str, list[NDArray[np.generic]]]]:
    """The layers' types and weights, axes in HDF5's order."""
    with h5py.File(path, "r") as file:
        return _Reader(file, path.stat().st_size).layers()


class _Reader:
    """Reads from an open file within a budget of bytes."""

    def __init__(self, file: h5py.File, file_bytes: int) -> None:
        self._file = file
        self._left = _BASE_BYTES + _MAX_RATIO * file_bytes

    def layers(self) -> list[tuple[str, list[NDArray[np.generic]]]]:
        return [self._layer(layer) for layer in self._cell(self._member(self._net(), "layers"))]

    def _net(self) -> h5py.Group:
        """The network's structure: the variable `net`, or the only one that has layers."""
        for name in ("net", *self._file):
            group = self._member(self._file, name)
            if isinstance(group, h5py.Group) and group.get("layers", getlink=True) is not None:
                return group
        raise Refused("has no variable with a field 'layers'; expected a MatConvNet SimpleNN saved as `net`")

    def _layer(self, layer: Any) -> tuple[str, list[NDArray[np.generic]]]:
        if not isinstance(layer, h5py.Group):
            raise Refused("has a layer that is not a structure; expected a MatConvNet SimpleNN")
        kind = self._text(self._member(layer, "type"))
        weights = self._member(layer, "weights")
        if weights is not None:
            return kind, [self._array(item) for item in self._cell(weights)]
        old = [self._member(layer, name) for name in ("filters", "biases")]
        return kind, [self._array(item) for item in old if item is not None]

    def _member(self, group: h5py.Group, name: str) -> Any:
        """What `group` has under `name`, or None; links that lead elsewhere are refused."""
        link = group.get(name, getlink=True)
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise Refused(f"its {name[:60]!r} is a link to somewhere else; expected the data; do not use this file")
        return group[name]

    def _cell(self, dataset: Any) -> list[Any]:
        """What a cell array refers to, in order; an empty one is []."""
        if isinstance(dataset, h5py.Dataset) and "MATLAB_empty" in dataset.attrs:
            return []
        if not isinstance(dataset, h5py.Dataset) or h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference:
            raise Refused("has something else where a cell array should be; expected a MatConvNet SimpleNN")
        self._check(dataset)
        if dataset.size > _MAX_LAYERS:
            raise Refused(f"has a cell array of {dataset.size} entries; expected {_MAX_LAYERS} at most")
        return [self._file[reference] for reference in np.asarray(dataset[()]).reshape(-1)]

    def _text(self, dataset: Any) -> str:
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.uint16 or dataset.size > 100:
            raise Refused("has a layer without a type in text; expected a MatConvNet SimpleNN")
        return "".join(map(chr, np.asarray(self._array(dataset)).reshape(-1).tolist()))

    def _array(self, dataset: Any) -> NDArray[np.generic]:
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiu":
            raise Refused("has something else where numbers should be; expected a MatConvNet SimpleNN")
        if "MATLAB_empty" in dataset.attrs:  # the values are then the empty array's sizes
            return np.zeros(0, np.float32)
        self._check(dataset)
        return np.asarray(dataset[()])

    def _check(self, dataset: h5py.Dataset) -> None:
        """Raise unless the values lie in this file, in a common form, and within what is left of the budget."""
        properties = dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        if dataset.external or dataset.is_virtual or any(code not in _FILTERS for code in filters):
            raise Refused(
                "has data outside the file or in an unusual form; expected plain or gzip; do not use this file"
            )
        self._left -= dataset.nbytes
        if self._left < 0:
            raise Refused("its arrays are many times larger than the file; it is damaged or hostile: fetch it again")
