"""Pictures to calibrate a conversion on: crops of clean pictures, degraded as the network is used to it.

Everything is drawn from a seed, crop by crop, so that the same folder gives the same crops.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.color import rgb_to_ycbcr
from nspike.errors import BadInputError, UsageError
from nspike.images import Picture, list_pictures, read
from nspike.model import Info, Model
from nspike.noise import add_gaussian
from nspike.protocols import PROTOCOLS, Settings
from nspike.resize import imresize

Plane = NDArray[np.float32]

_GRAY = (19595 / 65536, 38470 / 65536, 7471 / 65536)  # BT.601, as the protocol `gray`


def calibration_crops(
    model: Model, folder: str | os.PathLike[str], *, crops: int = 64, size: int = 64, seed: int = 0
) -> tuple[list[Plane], list[Plane] | None]:
    """Draw crops from the pictures of a folder, and degrade them.

    Parameters
    ----------
    model : says how: noise of its sigma is added for denoise; pictures are shrunk and enlarged by its scales in turn for
        superres; for dehaze the pictures are hazy already, or come in pairs in hazy/ and GT/.
    folder : of clean pictures, or of hazy ones.
    crops, size : how many, and their side in pixels (the picture's, where that is smaller).
    seed : of the places and of the noise.

    Returns
    -------
    (degraded, clean) : float32 (C, H, W) each, in [0, 1] but for what noise adds; clean is None for hazy pictures alone.

    Raises
    ------
    BadInputError
        no pictures, or one that cannot be read.
    UsageError
        the model does not say what it was trained to undo, or the numbers are out of range.
    """
    if crops < 1 or size < 8:
        raise UsageError(f"calibration needs at least 1 crop of at least 8 pixels, not {crops} of {size}")
    info = model.info
    sources = _sources(info, Path(folder))
    chosen = [sources[i * len(sources) // min(crops, len(sources))] for i in range(min(crops, len(sources)))]
    pairs: dict[int, tuple[Plane, Plane]] = {}
    for first, paths in enumerate(chosen):
        planes = [_planes(read(path), info, model.network.channels) for path in paths]
        if planes[0].shape != planes[-1].shape:
            raise BadInputError(f"{paths[0]}: its size is not that of {paths[-1]}")
        for index in range(first, crops, len(chosen)):
            draw = np.random.default_rng([seed, index])
            pairs[index] = _degraded(_crops(planes, size, draw), info, index, draw)
    degraded = [pairs[index][0] for index in range(crops)]
    hazy_alone = info.task == "dehaze" and len(sources[0]) == 1
    return degraded, None if hazy_alone else [pairs[index][1] for index in range(crops)]


def _sources(info: Info, folder: Path) -> list[tuple[Path, ...]]:
    """The files of each picture: one, or a hazy one and its clean one."""
    if info.task == "dehaze" and folder.is_dir() and any(path.name.lower() == "hazy" for path in folder.iterdir()):
        return PROTOCOLS["rgb"].sources(folder, Settings())
    found: list[tuple[Path, ...]] = [(path,) for path in list_pictures(folder)]
    if not found:
        raise BadInputError(f"{folder}: there are no pictures in this folder")
    return found


def _planes(picture: Picture, info: Info, channels: int) -> NDArray[np.float64]:
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


def _crops(planes: list[NDArray[np.float64]], size: int, draw: np.random.Generator) -> list[NDArray[np.float64]]:
    """The same square of each, at a random place."""
    top, left = (int(draw.integers(max(side - size, 0) + 1)) for side in planes[0].shape[:2])
    return [plane[top : top + size, left : left + size] for plane in planes]


def _degraded(
    crops: list[NDArray[np.float64]], info: Info, index: int, draw: np.random.Generator
) -> tuple[Plane, Plane]:
    """(degraded, clean) of one crop."""
    clean = crops[-1]
    if info.task == "dehaze":
        return _network_order(crops[0]), _network_order(clean)
    if info.task == "denoise":
        sigma = info.degradation.get("sigma")
        if not isinstance(sigma, int | float):
            raise UsageError(f"model {info.name} does not say for which noise it was trained; import it with --sigma")
        return _network_order(add_gaussian(clean, sigma, int(draw.integers(2**31)))), _network_order(clean)
    scales = info.degradation.get("scales")
    if not isinstance(scales, list | tuple) or not scales:
        raise UsageError(f"model {info.name} does not say by how much it enlarges; import it with --scale")
    scale = int(scales[index % len(scales)])
    height, width = (side - side % scale for side in clean.shape[:2])
    if not height or not width:
        raise BadInputError(
            f"a calibration picture of {clean.shape[1]}x{clean.shape[0]} is too small for scale {scale}"
        )
    clean = clean[:height, :width]
    small = imresize(np.ascontiguousarray(clean), 1 / scale)
    return _network_order(imresize(small, size=(height, width))), _network_order(clean)


def _network_order(crop: NDArray[Any]) -> Plane:
    return np.ascontiguousarray(crop.transpose(2, 0, 1), np.float32)
