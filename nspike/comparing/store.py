"""The folder of a comparison: its settings, its finished rows, the models that were made, crops of the images.

comparison.json      the settings that all rows share
input.json           the figures of the degraded images
rows/KEY.json        one row each, written when it is finished, whole or not at all
models/KEY.h5        what was converted or trained for a row
crops/KEY.N.png      the middle of the first images, for the page
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError, OutputError, UsageError
from nspike.files.atomic import write_bytes
from nspike.files.foreign import Refused, read_bytes
from nspike.images import file as images
from nspike.images.plane import to_pixels
from nspike.runtime.caller import either

FORMAT = "nspike comparison 1"
SHOWN = 2
"""Of how many images crops are kept."""
SIDE = 192
"""The side of a crop in pixels."""

_LARGEST = 2**26
_OPTIONS = {
    "network": ("--network", "network"),
    "protocol": ("--protocol", "protocol"),
    "sigma": ("--sigma", "sigma"),
    "seed": ("--seed", "seed"),
    "scale": ("--scale", "scale"),
    "limit": ("--limit", "limit"),
    "images": ("the images of --data", "the images of data"),
    "energy": ("the energy models (--plugin)", "energy"),
    "lpips": ("--lpips", "lpips"),
    "calibration": ("--calibrate, --crops or --crop-size", "calibration, crops or crop_size"),
}
"""Setting -> the option, and the argument of `nspike.compare`, that gives it, in the order in which they are compared."""


class Store:
    """The folder. Raises OutputError where it cannot be made, BadInputError where a file of it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            for inner in ("rows", "models", "crops"):
                (folder / inner).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error

    @property
    def models(self) -> Path:
        """Where models are kept."""
        return self.folder / "models"

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the settings, or compare them with those that the table was begun with.

        Raises UsageError where one differs, naming the option.
        """
        path = self.folder / "comparison.json"
        new = json.loads(json.dumps(settings))
        if not path.exists():
            _write(path, {"format": FORMAT, **new})
            return
        old = _read(path)
        if old.get("format") != FORMAT:
            raise BadInputError(f"{path}: is of another version of nspike; give another {either('-o', 'output')}")
        for name, names in _OPTIONS.items():
            if old.get(name) != new[name]:
                raise UsageError(
                    f"{self.folder} was begun with other options: {either(*names)} {_change(old.get(name), new[name])}. Give "
                    f"the same options to go on, or another {either('-o', 'output')}"
                )

    def row(self, key: str) -> dict[str, Any] | None:
        """A finished row; None where there is none yet."""
        path = self.folder / "rows" / f"{key}.json"
        return _read(path) if path.exists() else None

    def rows(self) -> list[dict[str, Any]]:
        """All finished rows, also of earlier calls that named other methods; the plain network's first, then by label and T."""
        rows = [_read(path) for path in (self.folder / "rows").glob("*.json")]
        return sorted(rows, key=lambda row: (row["T"] is not None, row["label"], row["T"] or 0))

    def finish(self, row: Mapping[str, Any]) -> None:
        """Write a finished row."""
        _write(self.folder / "rows" / f"{row['key']}.json", row)

    def input(self) -> dict[str, Any] | None:
        """The figures of the degraded images, if they are there."""
        path = self.folder / "input.json"
        return _read(path) if path.exists() else None

    def keep_input(self, values: Mapping[str, Any]) -> None:
        """Write the figures of the degraded images."""
        _write(self.folder / "input.json", values)

    def keep_crops(self, key: str, pictures: Sequence[NDArray[np.float64]]) -> None:
        """Write the middles of images with black 0 and white 1, (H, W) or (H, W, 3)."""
        for number, picture in enumerate(pictures):
            path = self.folder / "crops" / f"{key}.{number}.png"
            images.write(path, images.ImageData(to_pixels(np.ascontiguousarray(_middle(picture)), np.uint8)))

    def crops(self, key: str) -> list[NDArray[Any]]:
        """The crops of a row that are there."""
        paths = (self.folder / "crops" / f"{key}.{number}.png" for number in range(SHOWN))
        return [images.read(path).pixels for path in paths if path.exists()]


def _middle(picture: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(length - SIDE, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + SIDE, left : left + SIDE]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_bytes(path, _LARGEST))
    except Refused as error:
        raise BadInputError(f"{path}: cannot be read: it {error}") from error
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadInputError(f"{path}: is damaged; remove it, and its row is measured again") from error
    if not isinstance(values, dict):
        raise BadInputError(f"{path}: is damaged; remove it, and its row is measured again")
    return values


def _change(old: Any, new: Any) -> str:
    """How a setting changed, in words; long ones only that they did."""
    if isinstance(new, list) and isinstance(old, list) and all(isinstance(each, str) for each in [*old, *new]):
        old, new = ", ".join(old), ", ".join(new)
    if isinstance(new, dict | list) or isinstance(old, dict | list) or max(len(str(old)), len(str(new))) > 40:
        return "differs"
    return f"was {'not given' if old is None else old}, now is {'not given' if new is None else new}"
