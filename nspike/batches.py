"""Batches to train on: crops of pictures, degraded as the model is used to it, flipped and turned; each a function of its number.

So a run that was interrupted goes on with the batches that it would have had.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nspike.calibration import _crops, _degraded, _planes, _sources
from nspike.errors import BadInputError, UsageError
from nspike.images import read
from nspike.model import Model

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

KEPT = 512
"""How many pictures are kept in memory."""


class CropBatches:
    """Batches of crops of the pictures of a folder.

    Parameters
    ----------
    model : says how pictures are degraded; see `nspike.calibration`.
    folder : of clean pictures; for dehaze with hazy/ and GT/.
    batch, patch : how many crops, and their side in pixels.
    seed : of everything.

    Raises BadInputError for a folder without pictures, one that cannot be read or is smaller than the patch, UsageError for
    numbers out of range.
    """

    def __init__(
        self, model: Model, folder: str | os.PathLike[str], *, batch: int = 8, patch: int = 48, seed: int = 0
    ) -> None:
        if batch < 1 or patch < 8:
            raise UsageError(f"a batch has at least 1 crop of at least 8 pixels, not {batch} of {patch}")
        self.info, self.channels = model.info, model.network.channels
        self.batch, self.patch, self.seed = batch, patch, seed
        self.sources = _sources(model.info, Path(folder))
        if model.info.task == "dehaze" and len(self.sources[0]) == 1:
            raise BadInputError(f"{folder}: training to dehaze needs pairs, in hazy/ and GT/")
        self._picture = lru_cache(maxsize=KEPT)(self._read)

    def __call__(self, number: int) -> Batch:
        """Batch `number`: (degraded, clean), float32 (N, C, patch, patch)."""
        pairs = [self._pair(number, i) for i in range(self.batch)]
        return np.stack([degraded for degraded, _ in pairs]), np.stack([clean for _, clean in pairs])

    def _pair(self, number: int, index: int) -> Batch:
        draw = np.random.default_rng([self.seed, number, index])
        pictures = self._picture(int(draw.integers(len(self.sources))))
        scale = self.info.degradation.get("scales", [1])[(number * self.batch + index) % self._scales]
        side = -(-self.patch // scale) * scale  # what enlarging by the scale gives, cut to the patch afterwards
        crops = _crops([picture.astype(np.float64) for picture in pictures], side, draw)
        turn = int(draw.integers(8))
        crops = [np.rot90(crop[:, ::-1] if turn >= 4 else crop, turn % 4) for crop in crops]
        pair = _degraded(crops, self.info, number * self.batch + index, draw)
        degraded, clean = (plane[:, : self.patch, : self.patch] for plane in pair)
        return degraded, clean

    @property
    def _scales(self) -> int:
        return len(self.info.degradation.get("scales", [1]))

    def _read(self, index: int) -> list[NDArray[np.float32]]:
        paths = self.sources[index]
        planes = [_planes(read(path), self.info, self.channels).astype(np.float32) for path in paths]
        largest = max(self.info.degradation.get("scales", [1]))
        if min(planes[0].shape[:2]) < self.patch + largest - 1:
            height, width = planes[0].shape[:2]
            raise BadInputError(f"{paths[0]}: {width}x{height} pixels are too few for crops of {self.patch}")
        if planes[0].shape != planes[-1].shape:
            raise BadInputError(f"{paths[0]}: its size is not that of {paths[-1]}")
        return planes
