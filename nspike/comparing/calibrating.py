"""The images that conversions are calibrated on: those of a folder, or the ones that come with nspike.

Drawn once for all methods of a comparison, so that each sees the same crops.
"""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.converting.calibration import calibration_crops
from nspike.degradations.sources import find_sources
from nspike.errors import UsageError
from nspike.model.model import Model
from nspike.restoration.bundled import image_for
from nspike.runtime.caller import way

Crops = tuple[list[NDArray[np.float32]], list[NDArray[np.float32]] | None]


@dataclass(frozen=True)
class Calibrating:
    """Where the crops come from.

    folder : of images, as `nspike.convert` takes it; None for the images that come with nspike.
    crops, size, seed : how many, their side in pixels, and the seed of places and noise.
    """

    folder: str | None
    crops: int
    size: int
    seed: int
    _drawn: dict[str, Crops] = field(default_factory=dict)

    def origin(self) -> dict[str, Any]:
        """What decides the crops, as plain values; of a folder the names and sizes of its files."""
        files = "bundled" if self.folder is None else _fingerprint(Path(self.folder))
        return {"images": files, "crops": self.crops, "crop_size": self.size, "seed": self.seed}

    def check(self, model: Model) -> None:
        """Raise UsageError or BadInputError where there are no images to calibrate on."""
        if self.crops < 1 or self.size < 8:
            raise UsageError(f"calibration needs at least 1 crop of at least 8 pixels, not {self.crops} of {self.size}")
        if self.folder is not None:
            find_sources(self.folder, pairs=model.info.task not in ("denoise", "superres"))
        elif model.info.task not in ("denoise", "superres", "dehaze"):
            raise UsageError(
                f"no images for {model.info.task} come with nspike; give some to calibrate on, "
                + way("--calibrate FOLDER", "calibration=FOLDER")
            )

    def crops_for(self, model: Model) -> Crops:
        """The crops, degraded as the model is used to it; drawn once for models that undo the same."""
        key = repr((model.info.task, model.info.colour, sorted(model.info.degradation.items()), model.network.scale))
        if key not in self._drawn:
            if self.folder is not None:
                self._drawn[key] = self._draw(model, self.folder)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    _lay_out(model, Path(folder))
                    self._drawn[key] = self._draw(model, folder)
        return self._drawn[key]

    def _draw(self, model: Model, folder: str) -> Crops:
        return calibration_crops(model, folder, crops=self.crops, size=self.size, seed=self.seed)


def _lay_out(model: Model, folder: Path) -> None:
    """Put the bundled images into a folder as calibration expects them: clean ones, or a hazy one with its clean one."""
    if model.info.task != "dehaze":
        for task in ("denoise", "dehaze", "superres"):
            clean = image_for(task)[1]
            shutil.copy(clean, folder / clean.name)
        return
    hazy, clean = image_for("dehaze")
    for inner, path in (("hazy", hazy), ("GT", clean)):
        (folder / inner).mkdir()
        shutil.copy(path, folder / inner / clean.name)


def _fingerprint(folder: Path) -> str:
    files = sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in folder.rglob("*.*"))
    return hashlib.sha256(repr(files).encode()).hexdigest()
