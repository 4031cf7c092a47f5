"""Names of models: files, and the models that are shipped in the package `nspike_weights`."""

import copy
import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from nspike.contracts.architecture import Task
from nspike.errors import ModelError, UsageError, nearest
from nspike.model.file import FileInfo, read_info
from nspike.model.model import Info

DEFAULT = "dncnn-s25"
"""The model that is used when neither a model nor a task is asked for."""


def shipped() -> list[tuple[str, Path]]:
    """The models that come with nspike, by name: the names of the files without their suffix."""
    spec = importlib.util.find_spec("nspike_weights")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return sorted((path.stem, path) for folder in folders for path in Path(folder).glob("*.h5"))


def models() -> dict[str, Info]:
    """The models that come with nspike: name -> what it is for. No weights are loaded.

    Raises
    ------
    ModelError
        a shipped file is damaged.

    Examples
    --------
    >>> {name: info.degradation for name, info in nspike.models().items()}  # doctest: +SKIP
    """
    return {name: copy.deepcopy(file.info) for name, file in _infos().items()}


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a model: an existing path, or the name of a shipped model.

    Raises
    ------
    ModelError
        there is neither; the nearest name is suggested.
    """
    path = Path(name_or_path)
    names = dict(shipped())
    name = os.fspath(name_or_path)
    if name in names and not path.is_file():
        return names[name]
    try:
        if name and path.exists():
            return path
    except (OSError, ValueError):  # too long, a null character
        pass
    if path.suffix or path.name != name:
        raise ModelError(
            f"{name}: no such model file.{nearest(path.stem, names)} `nspike models` lists the shipped ones"
        )
    known = ", ".join(names) or "none is shipped with this installation"
    raise ModelError(f"there is no model {name!r}.{nearest(name, names)} Known: {known}; or give the path of a file")


def default_for(
    task: Task, sigma: float | None = None, scale: int | None = None, *, colour: bool = False, plain: bool = False
) -> str:
    """The name of the shipped model for a task.

    Parameters
    ----------
    task : denoise, dehaze or superres.
    sigma : the noise in grey levels; the model trained for the nearest one is chosen, `DEFAULT` if None.
    scale : the factor of super-resolution; the model must have been trained for it.
    colour : whether the image is in colour: of several models for it, one that takes colours together is chosen.
    plain : whether the plain network is to be run: only models with one that was trained are chosen; without it only
        models with a spiking form.

    Raises
    ------
    ModelError
        no shipped model fits.
    UsageError
        an option that has no meaning for the task.
    """
    if sigma is not None and task != "denoise":
        raise UsageError(f"a noise level has no meaning for the task {task}; it is for denoise")
    if scale is not None and task != "superres":
        raise UsageError(f"a scale has no meaning for the task {task}; it is for superres")
    fitting = {name: info for name, info in _infos().items() if info.info.task == task}
    runs = {
        name: info.info.trained == "plain" if plain else info.timesteps is not None for name, info in fitting.items()
    }
    fitting = {name: info for name, info in fitting.items() if runs[name]}
    together = {name for name, info in fitting.items() if info.info.colour == "rgb"}
    if scale is None and 0 < len(together) < len(fitting):
        fitting = {name: info for name, info in fitting.items() if (name in together) == colour}
    if scale is not None:
        scales = {name: info.info.degradation.get("scales", []) for name, info in fitting.items()}
        fitting = {name: info for name, info in fitting.items() if scale in scales[name]}
        if scales and not fitting:
            known = sorted({known for of_model in scales.values() for known in of_model})
            raise ModelError(f"no shipped model enlarges {scale} times; expected one of {', '.join(map(str, known))}")
    if not fitting:
        raise ModelError(f"no model for the task {task} is shipped with this installation; give one with --model FILE")
    if sigma is not None:
        level = sigma
        return min(fitting, key=lambda name: (_distance(fitting[name], level), name))
    return DEFAULT if DEFAULT in fitting else next(iter(fitting))


def _infos() -> dict[str, FileInfo]:
    """What the shipped files say of themselves; each is read again only when it has changed."""
    return {name: _info(path, path.stat().st_mtime_ns) for name, path in shipped()}


@lru_cache(maxsize=64)
def _info(path: Path, changed: int) -> FileInfo:
    return read_info(path)


def _distance(info: FileInfo, sigma: float) -> float:
    """How far a noise level is from those that a model was trained for, infinite if it does not say."""
    levels = info.info.degradation.get("sigma")
    levels = levels if isinstance(levels, list) else [levels]
    if not levels or not all(isinstance(level, int | float) for level in levels):
        return float("inf")
    return float(max(min(levels) - sigma, sigma - max(levels), 0.0))
