"""The images that a network learns from or is calibrated on: which files of a folder belong together, and their planes.

A scene is a clean image, alone or with its degraded version (`nspike.degradations.layouts`), or with its disparities
(`NAME_view1.png` and `NAME_disp1.png`, as in Middlebury's sets).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.haze import depth_of
from nspike.degradations.layouts import find_pairs, has_pairs
from nspike.errors import BadInputError
from nspike.images.color import rgb_to_ycbcr
from nspike.images.file import ImageData, list_images, read
from nspike.model.model import Info

Planes = NDArray[np.float32] | NDArray[np.float64]

_GRAY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # BT.601, as the protocol `gray`
_VIEW, _DISPARITY = "_view1", "_disp1"


@dataclass(frozen=True)
class Source:
    """The files of a scene; `image` is clean unless the caller names it degraded."""

    image: Path
    degraded: Path | None = None
    disparity: Path | None = None

    @property
    def paths(self) -> Iterator[Path]:
        """All of them."""
        return (path for path in (self.image, self.degraded, self.disparity) if path is not None)


@dataclass(frozen=True)
class Scene:
    """The planes of a scene, (H, W, C) in [0, 1]: of the image, its degraded version, its depths (H, W, 1)."""

    image: Planes
    degraded: Planes | None = None
    depth: Planes | None = None

    def window(self, top: int, left: int, size: int, turn: int = 0) -> "Scene":
        """A square of float64, turned by `turn` % 4 quarters and for `turn` >= 4 mirrored first."""

        def cut(plane: Planes | None) -> NDArray[np.float64] | None:
            if plane is None:
                return None
            part = plane[top : top + size, left : left + size].astype(np.float64)
            return np.rot90(part[:, ::-1] if turn >= 4 else part, turn % 4)

        image = cut(self.image)
        assert image is not None
        return Scene(image, cut(self.degraded), cut(self.depth))


def find_sources(folder: str | os.PathLike[str], *, pairs: bool) -> list[Source]:
    """The scenes of a folder, sorted by name; with `pairs`, of its inner folders if there are any.

    Raises BadInputError for a folder that is missing, cannot be read or has no images.
    """
    folder = Path(folder)
    if pairs and has_pairs(folder):
        return [Source(clean, degraded) for degraded, clean in find_pairs(folder)]
    images = list_images(folder)
    known = set(images)
    views = {path: path.with_stem(path.stem.removesuffix(_VIEW) + _DISPARITY) for path in images if _is_view(path)}
    disparities = {view: disparity for view, disparity in views.items() if disparity in known}
    maps = set(disparities.values())
    scenes = [Source(path, disparity=disparities.get(path)) for path in images if path not in maps]
    if not scenes:
        raise BadInputError(f"{folder}: there are no images in this folder")
    return scenes


def read_scene(source: Source, info: Info, channels: int) -> Scene:
    """The planes of a scene. Raises BadInputError for files that cannot be read or are not of one size."""
    image = network_planes(read(source.image), info, channels)
    degraded = None if source.degraded is None else network_planes(read(source.degraded), info, channels)
    depth = None
    if source.disparity is not None:
        pixels = read(source.disparity).pixels
        depth = depth_of(pixels if pixels.ndim == 2 else pixels[..., 0])[..., None]
    for path, plane in ((source.degraded, degraded), (source.disparity, depth)):
        if plane is not None and plane.shape[:2] != image.shape[:2]:
            raise BadInputError(f"{path}: its size is not that of {source.image}")
    return Scene(image, degraded, depth)


def network_planes(image: ImageData, info: Info, channels: int) -> NDArray[np.float64]:
    """An image as the network takes it, float64 (H, W, C)."""
    pixels = image.pixels / np.float64(np.iinfo(image.pixels.dtype).max)
    if channels == 3:
        return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    if info.colour == "y":
        color = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        return rgb_to_ycbcr(color)[..., :1]
    if pixels.ndim == 3:
        red, green, blue = _GRAY
        pixels = red * pixels[..., 0] + green * pixels[..., 1] + blue * pixels[..., 2]
    return np.asarray(pixels[..., None])


def _is_view(path: Path) -> bool:
    return path.stem.endswith(_VIEW)
