"""Images to calibrate a conversion on: crops of clean images, degraded as the network is used to it.

Everything is drawn from a seed, crop by crop, so that the same folder gives the same crops.
"""

import os

import numpy as np
from numpy.typing import NDArray

from nspike.degradations.kinds import Degradation, degradation_of, degrade
from nspike.degradations.sources import Scene, find_sources, read_scene
from nspike.errors import UsageError
from nspike.graph.layer import Constant
from nspike.model.model import Model

Plane = NDArray[np.float32]


def calibration_crops(
    model: Model, folder: str | os.PathLike[str], *, crops: int = 64, size: int = 64, seed: int = 0
) -> tuple[list[Plane], list[Plane] | None]:
    """Draw crops from the images of a folder, and degrade them.

    Parameters
    ----------
    model : says how: noise of its sigma is added for denoise, or of the level that its network is told; images are shrunk
        and enlarged by its scales in turn for superres; for dehaze the images are hazy already, or come in pairs in hazy/
        and GT/, or with their disparities; rain and blur are made, if the model says which, or come in pairs.
    folder : of clean images, or of hazy ones.
    crops, size : how many, and their side in pixels (the image's, where that is smaller). The clean crops of a network that
        enlarges are larger by its `scale`.
    seed : of the places and of the noise.

    Returns
    -------
    (degraded, clean) : float32 (C, H, W) each, in [0, 1] but for what noise adds; clean is None for hazy images alone.

    Raises
    ------
    BadInputError
        no images, or one that cannot be read.
    UsageError
        the model does not say what it was trained to undo, or the numbers are out of range.
    """
    if crops < 1 or size < 8:
        raise UsageError(f"calibration needs at least 1 crop of at least 8 pixels, not {crops} of {size}")
    task, says = model.info.task, "kind" in model.info.degradation
    sources = find_sources(folder, pairs=task not in ("denoise", "superres"))
    given = any(source.degraded is not None or source.disparity is not None for source in sources)
    as_they_are = not given and (task == "dehaze" or (task in ("derain", "deblur", "defocus") and not says))
    degradation = Degradation("pairs") if as_they_are else _undoes(model)
    scale = model.network.scale
    window = size * scale
    chosen = [sources[i * len(sources) // min(crops, len(sources))] for i in range(min(crops, len(sources)))]
    pairs: dict[int, tuple[Plane, Plane]] = {}
    for first, source in enumerate(chosen):
        scene = read_scene(source, model.info, model.network.channels)
        if as_they_are:
            scene = Scene(scene.image, scene.image)
        for index in range(first, crops, len(chosen)):
            draw = np.random.default_rng([seed, index])
            top, left = (int(draw.integers(max(side - window, 0) + 1)) for side in scene.image.shape[:2])
            pairs[index] = degrade(scene.window(top, left, window), degradation, index, draw, scale=scale)
    degraded = [pairs[index][0] for index in range(crops)]
    return degraded, None if as_they_are else [pairs[index][1] for index in range(crops)]


def _undoes(model: Model) -> Degradation:
    """The model's degradation; of a network that is told the noise level, noise of the level that it is told."""
    told = [layer.values[0] for layer in model.network.of_kind(Constant) if layer.meaning == "sigma"]
    return Degradation("noise", {"sigma": 255 * told[0]}) if told else degradation_of(model.info)
