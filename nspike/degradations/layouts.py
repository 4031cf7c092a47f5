"""How the literature's sets lay out pairs of a degraded and a clean image.

    hazy/ or haze/ with GT/ or clear/       SOTS: SCENE_LEVEL.png belongs to SCENE.png
    rain/ or rainy/ with norain/ or GT/     Rain100: rain-N.png or norain-Nx2.png belongs to norain-N.png
    rain-N.png beside norain-N.png          Rain100, in one folder; norain-N.png may also lie beside rain/
    blur/ with sharp/                       GoPro, also in the folders of scenes: SCENE/blur/, SCENE/sharp/
    source/ or inputC/ with target/         DPDD; where no name is in both folders, the pairs follow from the order of names
    input/, lq/ or noisy/ with target/ or GT/    names are equal

Folders' names are compared without case, and any degraded one goes with any clean one.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from nspike.errors import BadInputError
from nspike.images.file import list_images

DEGRADED = ("hazy", "haze", "rain", "rainy", "blur", "source", "inputc", "input", "lq", "noisy")
CLEAN = ("gt", "clear", "norain", "sharp", "target", "groundtruth", "clean")
EXPECTED = "hazy/ and GT/, rain/ and norain/, blur/ and sharp/ or source/ and target/"

_IN_ORDER = ("source", "inputc")
_RAIN = re.compile(r"(no)?rain-?(\d+)(x\d+)?", re.IGNORECASE)

Pair = tuple[Path, Path]


def has_pairs(folder: Path) -> bool:
    """Whether a folder has pairs: in folders of their own, side by side, or in folders of scenes."""
    return folder.is_dir() and (
        _inner(folder, DEGRADED) is not None or _side_by_side(folder) or bool(_scene_folders(folder))
    )


def find_pairs(folder: Path) -> list[Pair]:
    """The (degraded, clean) images of a folder, in the order of names.

    Raises BadInputError for a folder that has none, and for an image whose clean one is missing.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: is not a folder")
    degraded, clean = _inner(folder, DEGRADED), _inner(folder, CLEAN)
    if degraded is not None and clean is None and any(map(_rain_is_clean, list_images(folder))):
        clean = folder
    if degraded is not None and clean is not None:
        return _matched(degraded, clean)
    if _side_by_side(folder):
        images = list_images(folder)
        return _by_name(
            [path for path in images if not _rain_is_clean(path)], _scenes(filter(_rain_is_clean, images)), folder
        )
    scenes = _scene_folders(folder)
    if not scenes:
        raise BadInputError(f"{folder}: expected pairs of images, in {EXPECTED} inside it")
    return [pair for scene in scenes for pair in find_pairs(scene)]


def _matched(degraded: Path, clean: Path) -> list[Pair]:
    images, truth = list_images(degraded), list_images(clean)
    if clean in degraded.parents:
        truth = [path for path in truth if _rain_is_clean(path)]
    if not images:
        raise BadInputError(f"{degraded}: there are no images in this folder")
    scenes = _scenes(truth)
    unnamed = degraded.name.lower() in _IN_ORDER and not any(_scene_of(path, scenes) for path in images)
    if unnamed and len(images) == len(truth):
        return list(zip(images, truth, strict=True))
    return _by_name(images, scenes, clean)


def _by_name(images: list[Path], scenes: Mapping[str, Path], clean: Path) -> list[Pair]:
    pairs = []
    for path in images:
        scene = _scene_of(path, scenes)
        if scene is None:
            raise BadInputError(f"{path}: its clean image is not in {clean}")
        pairs.append((path, scene))
    return pairs


def _scenes(images: "list[Path] | filter[Path]") -> dict[str, Path]:
    """Clean images by what a degraded one's name has to hold."""
    return {_key(path.stem): path for path in images}


def _scene_of(path: Path, scenes: Mapping[str, Path]) -> Path | None:
    scene = _key(path.stem)
    while scene not in scenes and "_" in scene:
        scene = scene.rpartition("_")[0]
    return scenes.get(scene)


def _key(stem: str) -> str:
    """A name without what rain or its absence adds to it."""
    rain = _RAIN.fullmatch(stem)
    return rain[2] if rain else stem


def _rain_is_clean(path: Path) -> bool:
    rain = _RAIN.fullmatch(path.stem)
    return rain is not None and rain[1] is not None and rain[3] is None


def _side_by_side(folder: Path) -> bool:
    """Whether rain-N and norain-N lie in one folder."""
    matches = [rain for path in list_images(folder) if (rain := _RAIN.fullmatch(path.stem))]
    return {bool(rain[1]) for rain in matches} == {True, False}


def _scene_folders(folder: Path) -> list[Path]:
    """The folders in a folder, which has no images itself, that have pairs."""
    if list_images(folder):
        return []
    return [each for each in _folders(folder) if _inner(each, DEGRADED) is not None and _inner(each, CLEAN) is not None]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _inner(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder in `folder` that is called by the first of `names` that there is."""
    folders = {path.name.lower(): path for path in _folders(folder)}
    return next((folders[name] for name in names if name in folders), None)
