"""The pictures that a network learns from or is calibrated on: which files of a folder belong together, and their planes.

A scene is a clean picture, alone or with its degraded version (`hazy/` and `GT/`, `rain/` and `norain/`, `blur/` and
`sharp/`), or with its disparities (`NAME_view1.png` and `NAME_disp1.png`, as in Middlebury's sets).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.haze import depth_of
from nspike.degradations.protocols import PROTOCOLS, Settings, has_pairs
from nspike.errors import BadInputError
from nspike.images.color import rgb_to_ycbcr
from nspike.images.file import Picture, list_pictures, read
from nspike.model.model import Info

Planes = NDArray[np.float32] | NDArray[np.float64]

_GRAY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # BT.601, as the protocol `gray`
_VIEW, _DISPARITY = "_view1", "_disp1"


@dataclass(frozen=True)
class Source:
    """The files of a scene; `picture` is clean unless it is called degraded by whoever asks."""

    picture: Path
    degraded: Path | None = None
    disparity: Path | None = None

    @property
    def paths(self) -> Iterator[Path]:
        """All of them."""
        return (path for path in (self.picture, self.degraded, self.disparity) if path is not None)


@dataclass(frozen=True)
class Scene:
    """The planes of a scene, (H, W, C) in [0, 1]: of the picture, its degraded version, its depths (H, W, 1)."""

    picture: Planes
    degraded: Planes | None = None
    depth: Planes | None = None

    def window(self, top: int, left: int, size: int, turn: int = 0) -> "Scene":
        """A square of float64, turned by `turn` % 4 quarters and for `turn` >= 4 mirrored first."""

        def cut(plane: Planes | None) -> NDArray[np.float64] | None:
            if plane is None:
                return None
            part = plane[top : top + size, left : left + size].astype(np.float64)
            return np.rot90(part[:, ::-1] if turn >= 4 else part, turn % 4)

        picture = cut(self.picture)
        assert picture is not None
        return Scene(picture, cut(self.degraded), cut(self.depth))


def find_sources(folder: str | os.PathLike[str], *, pairs: bool) -> list[Source]:
    """The scenes of a folder, sorted by name; with `pairs`, of its inner folders if there are any.

    Raises BadInputError for a folder that is missing, cannot be read or has no pictures.
    """
    folder = Path(folder)
    if pairs and has_pairs(folder):
        return [Source(clean, hazy) for hazy, clean in PROTOCOLS["rgb"].sources(folder, Settings())]
    pictures = list_pictures(folder)
    known = set(pictures)
    views = {path: path.with_stem(path.stem.removesuffix(_VIEW) + _DISPARITY) for path in pictures if _is_view(path)}
    disparities = {view: disparity for view, disparity in views.items() if disparity in known}
    maps = set(disparities.values())
    found = [Source(path, disparity=disparities.get(path)) for path in pictures if path not in maps]
    if not found:
        raise BadInputError(f"{folder}: there are no pictures in this folder")
    return found


def read_scene(source: Source, info: Info, channels: int) -> Scene:
    """The planes of a scene. Raises BadInputError for files that cannot be read or are not of one size."""
    picture = network_planes(read(source.picture), info, channels)
    degraded = None if source.degraded is None else network_planes(read(source.degraded), info, channels)
    depth = None
    if source.disparity is not None:
        pixels = read(source.disparity).pixels
        depth = depth_of(pixels if pixels.ndim == 2 else pixels[..., 0])[..., None]
    for path, plane in ((source.degraded, degraded), (source.disparity, depth)):
        if plane is not None and plane.shape[:2] != picture.shape[:2]:
            raise BadInputError(f"{path}: its size is not that of {source.picture}")
    return Scene(picture, degraded, depth)


def network_planes(picture: Picture, info: Info, channels: int) -> NDArray[np.float64]:
    """A picture as the network takes it, float64 (H, W, C)."""
    pixels = picture.pixels / np.float64(np.iinfo(picture.pixels.dtype).max)
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
