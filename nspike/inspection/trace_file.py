"""The file of a trace: the spikes of some layers of a run, packed, in HDF5.

Attributes of the root: `format` "nspike trace", `version`, and `trace`, JSON with the keys

    input, model, parameters    as in a certificate
    window                      x, y, width, height: the recorded part of the network's image
    layers                      in network order: name, channels, gains of the spike planes, events per step (of the window),
                                and sha256 per step as in a certificate, or null where only a window was recorded; scale
                                [n, d] of a layer whose height and width are n/d times the image's, where that is not 1

and datasets `spikes/LAYER` uint8 (planes, steps, channels, height, ⌈width/8⌉): planes of the image, spike planes times
channels, the layer's own pixels, and bit i of byte j, the lowest first, being column 8·j + i. Nothing depends on threads,
tiles or paths. Only what is written last makes it a trace, so a file that was cut short is none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.engine.tile import LayerSpikes
from nspike.engine.tiling import BLOCK
from nspike.engine.window import Rect
from nspike.errors import OutputError
from nspike.files import hdf5
from nspike.files.lenient import LenientFile
from nspike.runtime.held import held

FORMAT = "nspike trace"
VERSION = 1
_LEVEL = 1
"""Of gzip: spikes that can be packed at all are packed by the first."""


@dataclass(frozen=True)
class Shape:
    """The trains of one layer: planes of the image, steps, and spike planes times channels; its height over the image's."""

    planes: int
    steps: int
    channels: int
    scale: Fraction = Fraction(1)


class Writer:
    """Writes the spikes of a window during a run, tile by tile: `record` is an observer of the engine's.

    name : what to call the file where the system refuses to write it, which raises OutputError. Memory is that of a few
    blocks of 64×64 pixels.
    """

    def __init__(self, path: Path, name: str, layers: Mapping[str, Shape], window: Rect) -> None:
        self._stream: LenientFile | None = None
        self._file: Any = None
        self._trains: dict[str, Any] = {}
        self._path, self._name, self._shapes = path, name, layers
        self._windows = {name: window.scaled(shape.scale) for name, shape in layers.items()}
        self.events = {name: np.zeros(shape.steps, np.int64) for name, shape in layers.items()}

    def _created(self, name: str, shape: Shape, window: Rect) -> Any:
        width = -(-window.width // 8)
        path = f"spikes/{name}"
        hdf5.make_groups(self._file, path)
        return self._file.create_dataset(
            path,
            (shape.planes, shape.steps, shape.channels, window.height, width),
            np.uint8,
            chunks=(1, 1, shape.channels, min(BLOCK, window.height), min(BLOCK // 8, width)),
            compression="gzip",
            compression_opts=_LEVEL,
            track_times=False,
        )

    def __enter__(self) -> "Writer":
        try:
            with held():
                self._stream = LenientFile(self._path)
                self._file = hdf5.create(self._stream)
                for name, shape in self._shapes.items():
                    self._trains[name] = self._created(name, shape, self._windows[name])
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        if error is None:
            self._check()

    def __del__(self) -> None:
        self._close()  # where a signal came before __exit__ could

    def _close(self) -> None:
        """Close both files; once is enough."""
        with held():
            if self._file is not None:
                self._file.close()
                self._file = None
            if self._stream is not None:
                self._stream.close()

    def _check(self) -> None:
        error = None if self._stream is None else self._stream.error
        if error is not None:
            raise OutputError(f"cannot write {self._name}: {error.strerror}") from error

    def record(self, seen: LayerSpikes) -> None:
        """Write the part of one tile's core that is in the window."""
        name, n, core, at, spikes = seen.layer, seen.n, seen.core, seen.at, seen.packed
        train = self._trains.get(name)
        if train is None:
            return
        window = self._windows[name]
        y0, y1 = max(core.y0, window.y0), min(core.y1, window.y1)
        x0, x1 = max(core.x0, window.x0), min(core.x1, window.x1)
        for top in range(y0, y1, BLOCK):
            left = x0
            while left < x1:
                shift = (left - window.x0) % 8
                block = Rect(top, min(top + BLOCK, y1), left, min(left - shift + BLOCK, x1))
                corner = (at[0] + top - core.y0, at[1] + left - core.x0)
                shared = bool(shift) or ((block.x1 - window.x0) % 8 != 0 and block.x1 != window.x1)
                with held():
                    for step in range(train.shape[1]):
                        bits = spikes.block(corner, step, block.height, block.width)
                        self.events[name][step] += int(np.unpackbits(bits.view(np.uint8)).sum())
                        self._put(train, n, step, block.within(window), bits << np.uint64(shift), shared)
                left = block.x1

    def _put(self, train: Any, n: int, step: int, block: Rect, bits: NDArray[np.uint64], shared: bool) -> None:
        """Write the rows uint64 (channels, rows) of a block of the window; bytes that it shares with another are kept."""
        rows, columns = slice(block.y0, block.y1), slice(block.x0 // 8, -(-block.x1 // 8))
        packed = np.ascontiguousarray(bits).astype("<u8", copy=False).view(np.uint8).reshape(*bits.shape, 8)
        packed = packed[..., : columns.stop - columns.start]
        if shared:
            packed = packed | train[n, step, :, rows, columns]
        train[n, step, :, rows, columns] = packed
        self._check()

    def finish(self, info: Mapping[str, Any]) -> None:
        """Write what makes it a trace: `info` are its values (see the module)."""
        text = json.dumps(info, ensure_ascii=False, allow_nan=False).encode()
        import h5py

        with held():
            for name, value in (("format", FORMAT.encode()), ("trace", text)):
                self._file.attrs.create(name, value, dtype=h5py.string_dtype("utf-8", len(value)))
            self._file.attrs.create("version", VERSION, dtype="<i8")


def describe(
    certificate: Mapping[str, Any],
    window: Rect,
    trains: Mapping[str, Shape],
    gains: Mapping[str, Sequence[int]],
    events: Mapping[str, NDArray[np.int64]],
    *,
    whole: bool,
) -> dict[str, Any]:
    """The values of a trace, from the certificate of the same run."""
    digests = {layer["name"]: [step["sha256"] for step in layer["steps"]] for layer in certificate["layers"]}
    return {
        **{key: certificate[key] for key in ("input", "model", "parameters")},
        "window": {"x": window.x0, "y": window.y0, "width": window.width, "height": window.height},
        "layers": [
            {
                "name": name,
                "channels": shape.channels,
                "gains": list(gains[name]),
                "events": [int(n) for n in events[name]],
                "sha256": digests[name] if whole else None,
                **({} if shape.scale == 1 else {"scale": list(shape.scale.as_integer_ratio())}),
            }
            for name, shape in trains.items()
        ],
    }
