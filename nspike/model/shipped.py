"""Names of models: files, and the models that are shipped in the package `nspike_weights`."""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from nspike.contracts.architecture import Task
from nspike.errors import ModelError, UsageError, nearest
from nspike.model.file import FileInfo, read_info

DEFAULT = "dncnn-s25"
"""The model that is used when neither a model nor a task is asked for."""


def shipped() -> list[tuple[str, Path]]:
    """The models that come with nspike, by name: the names of the files without their suffix."""
    spec = importlib.util.find_spec("nspike_weights")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return sorted((path.stem, path) for folder in folders for path in Path(folder).glob("*.h5"))


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


def default_for(task: Task, sigma: float | None = None, scale: int | None = None) -> str:
    """The name of the shipped model for a task.

    Parameters
    ----------
    task : denoise, dehaze or superres.
    sigma : the noise in grey levels; the model trained for the nearest one is chosen, `DEFAULT` if None.
    scale : the factor of super-resolution; the model must have been trained for it.

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
        return min(fitting, key=lambda name: (abs(_sigma(fitting[name]) - level), name))
    return DEFAULT if DEFAULT in fitting else next(iter(fitting))


def _infos() -> dict[str, FileInfo]:
    """What the shipped files say of themselves; each is read again only when it has changed."""
    return {name: _info(path, path.stat().st_mtime_ns) for name, path in shipped()}


@lru_cache(maxsize=64)
def _info(path: Path, changed: int) -> FileInfo:
    return read_info(path)


def _sigma(info: FileInfo) -> float:
    """The noise level that a model was trained for, infinite if it does not say."""
    level = info.info.degradation.get("sigma")
    return float(level) if isinstance(level, int | float) else float("inf")
