"""Names of models: files, and the models that are shipped in the package `nspike_weights`; which of these is for what.

A model is chosen by what its file says: task, colour, noise levels, network. Two tables decide between those that would do.
"""

import copy
import importlib.util
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from nspike.contracts.architecture import Colour, Task
from nspike.contracts.tasks import KIND_OF
from nspike.errors import ModelError, UsageError, nearest
from nspike.model.file import FileInfo, read_info
from nspike.model.model import Info

DEFAULT, IN_STEPS = "dncnn-s25-few", "dncnn-s25"
"""The models that are used when neither a model nor a task is asked for: the second where a neuron, a head or T is."""

FIRST = "few_spikes"
"""Of models that would do alike, those with this neuron come first, but last where a neuron, a head or T is asked for: what they
restore in one step, other neurons cannot."""

COLOURS: dict[bool, tuple[Colour, ...]] = {True: ("rgb", "gray", "y"), False: ("gray", "y", "rgb")}
"""Whether an image is in colour -> what models for it take, those first that are tried first. A denoiser is passed over for the
next ones if it does not serve the noise. With "gray" before "rgb", colour is denoised in three grey passes."""

NETWORKS: dict[bool, tuple[str, ...]] = {
    False: ("drunet", "spikerir_lite", "spikerir_wide"),
    True: ("drunet", "dncnn", "aodnet"),
}
"""Whether the plain network is to be run -> of models that would do alike, those of these networks are taken, in this order;
then by name."""

WORTH = {False: 3.0, True: 7.0}
"""Whether an image is a JPEG -> noise, in grey levels, below which a denoiser that is not told it takes as much as it gives.

On crops of BSDS500: at 3 `spikerir-denoise` has 38.8 dB where the file has 38.6, without noise 41; `spikerir-denoise-jpeg` has
33.5 dB at 5 where the file, of quality 90, has 34.6, and 32.0 at 10 where it has 30.3."""

NEAR = 1.4
"""A model trained for one noise level is taken to serve from 1/1.4 of it to 1.4 of it."""


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
    task: Task,
    sigma: float | None = None,
    scale: int | None = None,
    *,
    colour: bool = False,
    plain: bool = False,
    in_channel: float | None = None,
    jpeg: bool = False,
    neuron: str | None = None,
    head: str | None = None,
    timesteps: int | None = None,
    steps: bool = False,
) -> str:
    """The name of the shipped model for a task.

    Parameters
    ----------
    task : one of `nspike.contracts.tasks.TASKS`; "deblur" is motion blur.
    sigma : the noise in grey levels; the model trained for the nearest one is chosen, `DEFAULT` if None.
    scale : the factor of super-resolution; the model must have been trained for it.
    colour : whether the image is in colour; see `COLOURS`.
    in_channel : the noise for models that take one channel at a time, if that is not `sigma`.
    jpeg : whether the image is a JPEG. What is left of noise there is coarse and alike in all channels: of RGB denoisers that
        are not told the noise, only those trained on JPEGs (degradation "jpeg") serve it.
    neuron, head : what is to run; models made with it come before others. RGB models come so for images in colour alone.
    timesteps : T; of models that would do alike, one that was made for it comes first.
    steps : whether what comes of each of several steps is wanted.
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
    fitting = {name: file for name, file in _infos().items() if purpose(file.info) == task}
    runs = {
        name: file.info.trained == "plain" if plain else file.timesteps is not None for name, file in fitting.items()
    }
    fitting = {name: file for name, file in fitting.items() if runs[name]}
    if scale is not None:
        scales = {name: file.info.degradation.get("scales", []) for name, file in fitting.items()}
        fitting = {name: file for name, file in fitting.items() if scale in scales[name]}
        if scales and not fitting:
            known = sorted({known for of_model in scales.values() for known in of_model})
            raise ModelError(f"no shipped model enlarges {scale} times; expected one of {', '.join(map(str, known))}")
    if not fitting:
        blurs = task == "deblur" and any(purpose(file.info) == "defocus" for file in _infos().values())
        raise ModelError(
            f"no model for the task {task} is shipped with this installation; "
            + ("for what is out of focus take --task defocus; else " if blurs else "")
            + "give one with --model FILE, or train one: "
            f'`nspike train` with degradation = {{kind = "{KIND_OF[task]}"}}'
        )
    groups = [
        {name: file for name, file in fitting.items() if file.info.colour == taken} for taken in COLOURS[bool(colour)]
    ]
    groups = _of(groups, lambda file: not neuron or (file.neuron == neuron and (colour or file.info.colour != "rgb")))
    groups = _of(groups, lambda file: not head or (file.head == head and (colour or file.info.colour != "rgb")))
    if task == "denoise":
        groups = _of(groups, lambda file: _serves_files(file, jpeg=jpeg))

    def level(file: FileInfo) -> float | None:
        return sigma if in_channel is None or file.info.colour == "rgb" else in_channel

    if sigma is not None:
        groups = _of(groups, lambda file: _serves(file, level(file)))
    group = {name: file for name, file in groups[0].items() if file.timesteps == timesteps} or groups[0]
    others = bool(plain or steps or neuron or head or timesteps)
    usual = next((name for name in ((IN_STEPS, DEFAULT) if others else (DEFAULT, IN_STEPS)) if name in group), None)
    if sigma is None and usual is not None:
        return usual

    def order(name: str) -> tuple[float, bool, bool, int, str]:
        file = group[name]
        compressed = file.info.degradation.get("kind") == "jpeg"
        late = not plain and (file.neuron == FIRST) == others
        return _distance(file, level(file)), compressed != jpeg, late, _rank(file, plain), name

    return min(group, key=order)


def purpose(info: Info) -> Task:
    """The task that a model is for: what was trained on defocus blur is for that, also where its file says "deblur"."""
    return "defocus" if info.task == "deblur" and info.degradation.get("kind") == "defocus" else info.task


def is_for(info: Info, task: Task) -> bool:
    """Whether a model that a user names can be run for a task."""
    return task in (info.task, purpose(info))


def _infos() -> dict[str, FileInfo]:
    """What the shipped files say of themselves; each is read again only when it has changed."""
    return {name: _info(path, path.stat().st_mtime_ns) for name, path in shipped()}


@lru_cache(maxsize=64)
def _info(path: Path, changed: int) -> FileInfo:
    return read_info(path)


def noise_levels(info: Info) -> list[float]:
    """The noise levels that a model was trained for, ascending: one, several, or a range's ends; empty if it says none."""
    value = info.degradation.get("sigma")
    values = value if isinstance(value, list) else [value]
    return sorted(float(level) for level in values if isinstance(level, int | float))


def _of(groups: list[dict[str, FileInfo]], wanted: Callable[[FileInfo], bool]) -> list[dict[str, FileInfo]]:
    """The groups with what is wanted alone, none empty; as they were, but for empty ones, where nothing is."""
    left = [{name: file for name, file in group.items() if wanted(file)} for group in groups]
    return [group for group in left if group] or [group for group in groups if group]


def _serves_files(file: FileInfo, *, jpeg: bool) -> bool:
    """Whether a denoiser serves JPEGs, or other files: what takes colours blindly must have been trained on such files."""
    degradation = file.info.degradation
    compressed = degradation.get("kind") == "jpeg"
    if not jpeg:
        return not (compressed and degradation.get("share") == 1)
    return compressed or file.info.colour != "rgb" or file.network.takes_noise_level


def _serves(file: FileInfo, sigma: float | None) -> bool:
    """Whether a model was trained for this noise, or for one level that is near it."""
    levels = noise_levels(file.info)
    if not levels or sigma is None:
        return False
    low, high = levels[0], levels[-1]
    return low <= sigma <= high if low < high else low / NEAR <= sigma <= low * NEAR


def _distance(file: FileInfo, sigma: float | None) -> float:
    """How far a noise level is from those that a model was trained for, infinite if it does not say."""
    levels = noise_levels(file.info)
    if sigma is None or not levels:
        return 0.0 if sigma is None else float("inf")
    return max(levels[0] - sigma, sigma - levels[-1], 0.0)


def _rank(file: FileInfo, plain: bool) -> int:
    first = NETWORKS[plain]
    return first.index(file.network.name) if file.network.name in first else len(first)
