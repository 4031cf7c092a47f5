"""Batches to train on: crops of images, degraded, flipped and turned; each a function of its number.

So a run that was interrupted goes on with the batches that it would have had.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.kinds import NOISY, Degradation, check_scale, degradation_of, degrade, noise_level
from nspike.degradations.layouts import EXPECTED
from nspike.degradations.sources import Scene, find_sources, read_scene
from nspike.errors import BadInputError, UsageError
from nspike.model.model import Model

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]

Levels = NDArray[np.float64] | None
"""The noise level of each image of a batch, of 255, (N,); None where none is told."""


def untold(number: int) -> Levels:
    """No noise levels."""
    return None


KEPT = 512
"""How many images are kept in memory."""


class CropBatches:
    """Batches of crops of the images of some folders.

    Parameters
    ----------
    model : says which planes the network takes, and how images are degraded, see `nspike.degradations.kinds`.
    folders : one or several, of clean images; or of pairs, such as hazy/ and GT/.
    degradation : instead of the model's. Pairs are taken as they are, unless another kind than `pairs` is given here.
    batch, patch : how many crops, and their side in pixels, made a multiple of the network's `size_multiple` by leaving
        out the rest. The clean crops of a network that enlarges are larger by its `scale`.
    seed : of everything.

    Raises BadInputError for a folder without images, UsageError for numbers out of range. An image that cannot be read, or
    is smaller than the patch, is met when it is drawn, or by `check`.
    """

    def __init__(
        self,
        model: Model,
        folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        degradation: Degradation | None = None,
        batch: int = 8,
        patch: int = 48,
        seed: int = 0,
    ) -> None:
        multiple = model.network.size_multiple
        least = max(8, multiple)
        if batch < 1 or patch < least:
            raise UsageError(f"a batch has at least 1 crop of at least {least} pixels, not {batch} of {patch}")
        folders = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
        if not folders:
            raise UsageError("training needs at least one folder of images")
        self.info, self.channels, self.told = model.info, model.network.channels, model.network.takes_noise_level
        self.batch, self.patch, self.seed, self.scale = batch, patch - patch % multiple, seed, model.network.scale
        self.degradation = degradation or degradation_of(model.info, training=True)
        check_scale(self.degradation, self.scale)
        self._margin = self.degradation.margin
        pairs = degradation is None or degradation.kind == "pairs"
        self.sources = [source for folder in folders for source in find_sources(folder, pairs=pairs)]
        if self.degradation.kind == "pairs" and any(source.degraded is None for source in self.sources):
            raise BadInputError(f"{folders[0]}: expected pairs, in {EXPECTED}")
        self._scene = lru_cache(maxsize=KEPT)(self._read)

    def __call__(self, number: int) -> Batch:
        """Batch `number`: (degraded, clean), float32 (N, C, patch, patch), clean ones larger by the network's scale."""
        pairs = [self._pair(number, i) for i in range(self.batch)]
        return np.stack([degraded for degraded, _ in pairs]), np.stack([clean for _, clean in pairs])

    def sigmas(self, number: int) -> Levels:
        """The noise levels of batch `number`; None where the network is told none, or no noise of a known level is added."""
        if (
            not self.told
            or self.degradation.kind not in NOISY
            or any(source.degraded is not None for source in self.sources)
        ):
            return None
        drawn = (self._crop(number, i) for i in range(self.batch))
        return np.array([noise_level(self.degradation, draw) for _, _, draw in drawn])

    def check(self) -> None:
        """Read every image now, so that one that cannot be used is known before hours of work. Raises BadInputError."""
        for index in range(len(self.sources)):
            self._scene(index)

    @property
    def fingerprint(self) -> str:
        """A digest of all that the batches depend on, the images by their names and sizes."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update("".join(f"{path.name} {path.stat().st_size};" for path in source.paths).encode())
        numbers = (self.degradation.to_dict(), self.batch, self.patch, self.seed, self.channels)
        digest.update(repr(numbers).encode() + self.degradation.content.encode())
        return digest.hexdigest()

    def _pair(self, number: int, index: int) -> Batch:
        draw = np.random.default_rng([self.seed, number, index])
        scene = self._scene(int(draw.integers(len(self.sources))))
        if self.scale > 1:
            return self._small_pair(scene, number * self.batch + index, draw)
        crop, margin, draw = self._crop(number, index)
        pair = degrade(crop, self.degradation, number * self.batch + index, draw)
        kept = slice(margin, margin + self.patch)
        degraded, clean = (plane[:, kept, kept] for plane in pair)
        return degraded, clean

    def _crop(self, number: int, index: int) -> tuple[Scene, int, np.random.Generator]:
        """A clean crop with the margin around it, before it is degraded by what is drawn next."""
        draw = np.random.default_rng([self.seed, number, index])
        scene = self._scene(int(draw.integers(len(self.sources))))
        scales = self.degradation.scales
        scale = scales[(number * self.batch + index) % len(scales)]
        height, width = scene.image.shape[:2]
        margin = 0 if scene.degraded is not None else min(self._margin, (min(height, width) - self.patch) // 2)
        side = -(-self.patch // scale) * scale + 2 * margin  # what enlarging by the scale gives, cut afterwards
        top, left = (int(draw.integers(max(length - side, 0) + 1)) for length in (height, width))
        return scene.window(top, left, side, int(draw.integers(8))), margin, draw

    def _small_pair(self, scene: Scene, number: int, draw: np.random.Generator) -> Batch:
        """For a network that enlarges."""
        side = self.patch * self.scale
        top, left = (int(draw.integers(length - side + 1)) for length in scene.image.shape[:2])
        crop = scene.window(top, left, side, int(draw.integers(8)))
        return degrade(crop, self.degradation, number, draw, scale=self.scale)

    def _read(self, index: int) -> Scene:
        source = self.sources[index]
        scene = read_scene(source, self.info, self.channels)
        height, width = scene.image.shape[:2]
        least = self.patch * self.scale if self.scale > 1 else self.patch + max(self.degradation.scales) - 1
        if min(height, width) < least:
            raise BadInputError(
                f"{source.image}: {width}x{height} pixels are too few for crops of {self.patch * self.scale}"
            )
        planes = (None if plane is None else plane.astype(np.float32) for plane in (scene.degraded, scene.depth))
        return Scene(scene.image.astype(np.float32), *planes)
