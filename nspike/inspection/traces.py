"""Reading traces: nspike's own (`nspike.inspection.trace_file`), and those that others wrote.

A trace made elsewhere is an HDF5 file (of the 1.10 format or later: h5py's libver="latest") or an NPZ file with one array a
layer, called as the layer is, of zeros and ones: (steps, channels, height, width), or (planes, steps, channels, height,
width) where an image has several planes. It holds the whole image or the window of what it is compared with.
"""

import json
import math
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.window import Rect
from nspike.errors import BadInputError, UsageError, nearest
from nspike.files.foreign import Refused, open_regular
from nspike.files.guarded import LARGEST, HDF5File, open_hdf5
from nspike.inspection.trace_file import FORMAT, VERSION
from nspike.inspection.trains import PackedBits, Plain, Stored, Train, Zipped

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
_MOST_LAYERS = 4096
_MOST_ARRAY = 2**32


@dataclass(frozen=True, eq=False)
class Trace:
    """Spike trains by layer, in network order where that is known.

    name : what to call it; info : the metadata of nspike's own traces (see `nspike.inspection.trace_file`), or None.
    """

    name: str
    trains: Mapping[str, Train]
    info: Mapping[str, Any] | None = None
    _file: Any = field(default=None, repr=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers whose spikes the trace holds."""
        return tuple(self.trains)

    @property
    def window(self) -> Rect | None:
        """The recorded part of the network's image, or None if the trace does not state it."""
        if self.info is None:
            return None
        window = self.info["window"]
        return Rect(window["y"], window["y"] + window["height"], window["x"], window["x"] + window["width"])

    def window_of(self, layer: str) -> Rect | None:
        """The recorded part of a layer, in its own pixels, or None if the trace does not state it."""
        window = self.window
        return None if window is None else window.scaled(self.scale(layer))

    def scale(self, layer: str) -> Fraction:
        """The height of a layer over that of the network's image: 1, unless one of nspike's traces states another."""
        return _scale(next((entry for entry in self._entries if entry["name"] == layer), {}))

    @property
    def _entries(self) -> list[dict[str, Any]]:
        return [] if self.info is None else self.info["layers"]

    @property
    def whole(self) -> bool:
        """Whether the whole image was recorded; true for a trace that states no window."""
        return self.info is None or (
            [self.info["window"][key] for key in ("x", "y", "width", "height")]
            == [0, 0, self.info["input"]["width"], self.info["input"]["height"]]
        )

    def train(self, layer: str) -> Train:
        """The train of a layer. Raises UsageError for an unknown one, with the nearest name."""
        if layer not in self.trains:
            known = ", ".join(self.trains)
            raise UsageError(f"{self.name} has no layer {layer!r}.{nearest(layer, self.trains)} It has: {known}")
        return self.trains[layer]

    def gains(self, layer: str) -> tuple[int, ...]:
        """The gain of each plane of spikes of a layer's neurons: (1,), unless one of nspike's traces states others."""
        return next((tuple(entry.get("gains", [1])) for entry in self._entries if entry["name"] == layer), (1,))

    def spikes(self, layer: str, plane: int = 0) -> NDArray[np.bool_] | NDArray[np.int64]:
        """The spikes of a layer in one plane of the image, (steps, channels, height, width).

        bool, or int64 of neurons whose spikes have several planes or another gain than 1: what a neuron fires at a step, the
        gains of its spikes added up (negative where a negative spike outweighs).

        Raises UsageError for an unknown layer or plane, BadInputError where the file is damaged.
        """
        train = self.train(layer)
        planes, steps, _, height, width = train.shape
        if not 0 <= plane < planes:
            raise UsageError(f"{self.name} has no plane {plane}; expected 0 to {planes - 1}")
        with damage(self.name):
            whole = [train.read(plane, step, (0, height), (0, width)) for step in range(steps)]
        gains = self.gains(layer)
        return np.stack(whole) if gains == (1,) else np.stack([worth(spikes, gains) for spikes in whole])

    def forget(self, layer: str) -> None:
        """Drop what is kept in memory of a layer's file."""
        array = getattr(self.trains[layer], "array", None)
        if isinstance(array, Stored | Zipped):
            array.forget()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scale(entry: Mapping[str, Any]) -> Fraction:
    return Fraction(*entry.get("scale", (1, 1)))


def worth(spikes: NDArray[np.bool_], gains: tuple[int, ...]) -> NDArray[np.int64]:
    """What neurons fire, int64 (channels, rows, columns), of spikes bool (planes·channels, rows, columns)."""
    by_plane = spikes.reshape(len(gains), -1, *spikes.shape[1:])
    return np.asarray((by_plane * np.array(gains, np.int64)[:, None, None, None]).sum(axis=0), np.int64)


@contextmanager
def damage(name: str) -> Iterator[None]:
    """A context in which every exception of a damaged file becomes a BadInputError that names the file."""
    try:
        yield
    except Refused as refused:
        raise BadInputError(f"{name}: not allowed in a trace: {refused}") from refused
    except (BadInputError, UsageError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make the library raise anything
        detail = " ".join(str(error).split())[:200]
        raise BadInputError(
            f"{name}: damaged, or cut short ({type(error).__name__}: {detail}); make it again"
        ) from error


def is_trace(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as traces do. Raises BadInputError where it cannot be read."""
    return _start(Path(path)).startswith((HDF5, ZIP))


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Open a trace: nspike's own, or one made elsewhere (HDF5 or NPZ). Spikes are read when asked for.

    Raises BadInputError for a file that is none, is damaged, or of a newer nspike.

    Examples
    --------
    >>> with nspike.read_trace("photo_trace.h5") as trace:  # doctest: +SKIP
    ...     trace.spikes("relu1").sum(axis=(1, 2, 3))
    """
    path = Path(path)
    start = _start(path)
    if start.startswith(ZIP):
        return _read_npz(path)
    if not start.startswith(HDF5):
        what = "is empty" if not start else "is neither HDF5 nor NPZ"
        raise BadInputError(f"{path}: not a trace: it {what}; `nspike trace` makes one")
    if start[8:9] < b"\x02":
        raise BadInputError(
            f'{path}: an HDF5 file of the old format, whose damages go unnoticed; write it with libver="latest" '
            '(h5py.File(name, "w", libver="latest")), or as NPZ'
        )
    return _read_hdf5(path)


def _start(path: Path) -> bytes:
    try:
        with open_regular(path, LARGEST) as stream:
            return stream.read(16)
    except Refused as refused:
        raise BadInputError(f"{path}: {refused}; expected a trace") from refused
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise BadInputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _read_hdf5(path: Path) -> Trace:
    with damage(str(path)):
        file = open_hdf5(path)
        try:
            own = {"format", "trace"} <= file.attribute_names
            info = _info(path, file.attributes()) if own else None
            if info is None:
                return Trace(str(path), _foreign(path, file), None, file)
            return Trace(str(path), _own(path, file, info), info, file)
        except BaseException:
            file.close()
            raise


def _info(path: Path, attributes: Mapping[str, str | int]) -> dict[str, Any]:
    """The metadata of one of nspike's traces; the parts that are used here are checked."""
    if attributes.get("format") != FORMAT:
        raise BadInputError(f"{path}: not a trace: its format is {attributes.get('format')!r}, not {FORMAT!r}")
    if attributes.get("version") != VERSION:
        raise BadInputError(
            f"{path}: a trace of version {attributes.get('version')!r}; this nspike reads version {VERSION}"
        )
    info: dict[str, Any] = json.loads(str(attributes.get("trace")))
    numbers = [info["window"][key] for key in ("x", "y", "width", "height")]
    numbers += [info["input"][key] for key in ("planes", "channels", "height", "width")]
    numbers += [info["parameters"][key] for key in ("timesteps", "post_steps")]
    for entry in info["layers"]:
        gains = entry.get("gains", [1])
        if not gains or any(type(n) is not int for n in gains) or entry["channels"] % len(gains):
            raise BadInputError(f"{path}: damaged: the gains of layer {entry['name']!r} cannot be")
        scale = entry.get("scale", [1, 1])
        good = isinstance(scale, list) and len(scale) == 2 and all(type(n) is int and 1 <= n <= 2**16 for n in scale)
        if not good or any(n * scale[0] % scale[1] for n in numbers[:4]):
            raise BadInputError(f"{path}: damaged: the scale of layer {entry['name']!r} cannot be")
    texts = [info["input"]["plane_sha256"], info["model"]["name"], info["model"]["digest"]]
    texts += [info["parameters"][key] for key in ("neuron", "head")] + [layer["name"] for layer in info["layers"]]
    for layer in info["layers"]:
        numbers += [layer["channels"], *layer.get("events", ()), *map(abs, layer.get("gains", ()))]
        texts += layer.get("sha256") or []
    lists = [layer.get(key) for layer in info["layers"] for key in ("events", "gains", "sha256")]
    plain = all(values is None or isinstance(values, list) for values in lists)
    if not plain or any(type(n) is not int or n < 0 for n in numbers) or not all(isinstance(t, str) for t in texts):
        raise BadInputError(f"{path}: damaged: what it says of itself cannot be")
    return info


def _own(path: Path, file: HDF5File, info: Mapping[str, Any]) -> dict[str, Train]:
    window, parameters = Trace("", {}, info).window, info["parameters"]
    assert window is not None
    steps = parameters["timesteps"] + parameters["post_steps"]
    trains: dict[str, Train] = {}
    for layer in info["layers"]:
        name = layer["name"]
        group, node = file.nodes.get("spikes"), file.nodes.get(f"spikes/{name}")
        if "link" in [at.kind for at in (group, node) if at is not None]:
            raise Refused(f"spikes/{name} is a soft or external link")
        if node is None:
            raise BadInputError(f"{path}: damaged: the spikes of layer {name!r} are missing")
        stored = Stored(file, node)
        if not node.fixed:
            raise BadInputError(f"{path}: damaged: spikes/{name} has no fixed shape")
        part = window.scaled(_scale(layer))
        expected = (info["input"]["planes"], steps, layer["channels"], part.height, -(-part.width // 8))
        if stored.shape != expected or stored.dtype != np.uint8:
            raise BadInputError(
                f"{path}: damaged: spikes/{name} is {stored.dtype} {stored.shape}; expected uint8 {expected}"
            )
        trains[name] = PackedBits(stored, part.width)
    return trains


def _foreign(path: Path, file: HDF5File) -> dict[str, Train]:
    if len(file.nodes) > _MOST_LAYERS:
        raise Refused(f"it has more than {_MOST_LAYERS} objects")
    if link := next((node for node in file.nodes.values() if node.kind == "link"), None):
        raise Refused(f"{link.path} is a soft or external link")
    names = [name for name, node in file.nodes.items() if node.kind != "group"]
    if not names:
        raise BadInputError(f"{path}: not a trace: it holds no arrays; expected one for each layer")
    return {name: Plain(Stored(file, file.nodes[name]), name) for name in sorted(names, key=_natural)}


def _read_npz(path: Path) -> Trace:
    """Arrays of an NPZ file: their headers; the values are read when they are asked for."""
    trains: dict[str, Train] = {}
    total = 0
    with damage(str(path)), open_regular(path, LARGEST) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist()[: _MOST_LAYERS + 1]:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(stream)
                there = member.file_size - stream.tell()
            total += math.prod(shape) * dtype.itemsize
            if dtype.kind not in "biuf" or len(shape) not in (4, 5) or 0 in shape:
                raise Refused(f"{name} is {dtype} {shape}; expected numbers ([planes,] steps, channels, height, width)")
            if total > _MOST_ARRAY:
                raise Refused(f"its arrays take more than {_MOST_ARRAY} bytes; write HDF5 instead")
            if there < math.prod(shape) * dtype.itemsize:
                raise Refused(f"{name} is {dtype} {shape}, and {there} bytes are there")
            trains[name] = Plain(Zipped(path, member.filename, shape, dtype), name)
    if not trains:
        raise BadInputError(f"{path}: not a trace: it holds no arrays; expected one for each layer")
    return Trace(str(path), trains)


def in_memory(arrays: Mapping[str, Any], name: str = "the arrays") -> Trace:
    """A trace of arrays by layer, each ([planes,] steps, channels, height, width) of zeros and ones."""
    trains: dict[str, Train] = {}
    for layer, values in arrays.items():
        array = np.asarray(values)
        if array.ndim not in (4, 5) or not array.size or array.dtype.kind not in "biuf":
            raise BadInputError(
                f"{name}: layer {layer!r} is {array.dtype} {array.shape}; expected numbers "
                "([planes,] steps, channels, height, width)"
            )
        trains[layer] = Plain(array if array.ndim == 5 else array[None], layer)
    return Trace(name, trains)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key that sorts relu2 before relu10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name)]
