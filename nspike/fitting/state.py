"""The state of a run (.npz), from which it resumes. A damaged state is refused, whatever its bytes are."""

import dataclasses
import io
import json
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nspike.autograd.tensor import Array
from nspike.errors import BadInputError
from nspike.files.atomic import write_bytes

FORMAT = "nspike training 1"


@dataclass(frozen=True)
class Record:
    """A step of the history: its number from 1, losses, PSNR of the batch, firing rate, gradient norm, rate, seconds."""

    step: int
    loss: float
    pixel: float
    energy: float
    energy_weight: float
    psnr: float
    firing_rate: float
    norm: float
    rate: float
    seconds: float


@dataclass(frozen=True)
class Validation:
    """How good the model is after so many steps: mean PSNR of outputs and inputs; of a spiking one its rate and energy ratio."""

    step: int
    psnr: float
    input: float
    firing_rate: float = math.nan
    energy_ratio: float = math.nan


@dataclass(frozen=True)
class State:
    """What a run needs to resume.

    kind : of training. origin : a digest of what it started from. options, settings : the recipe's, as plain values.
    parameters, optimiser : arrays by name. best : the step of the best validation and the parameters then.
    """

    kind: str
    origin: str
    options: Mapping[str, Any]
    settings: Mapping[str, Any]
    parameters: Mapping[str, Array]
    optimiser: Mapping[str, Array]
    history: list[Record]
    validations: list[Validation]
    best: tuple[int, Mapping[str, Array]] | None


def write_state(path: str | os.PathLike[str], state: State) -> None:
    """Write a state, whole or not at all. Raises OutputError."""
    about = {
        "format": FORMAT,
        "kind": state.kind,
        "origin": state.origin,
        "recipe": dict(state.options),
        "settings": dict(state.settings),
        "best": None if state.best is None else state.best[0],
    }
    arrays: dict[str, Any] = {
        "about": np.array(json.dumps(about)),
        "history": _table(state.history, Record),
        "validations": _table(state.validations, Validation),
    }
    best = {} if state.best is None else state.best[1]
    for kind, named in (("parameter", state.parameters), ("optimiser", state.optimiser), ("best", best)):
        arrays |= {f"{kind}/{name}": array for name, array in named.items()}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    write_bytes(path, stream.getvalue())


def read_state(path: Path) -> State | None:
    """A state; None for one of another format. Raises BadInputError for what is damaged or no state."""
    try:
        if not path.is_file():
            raise ValueError("it is no regular file")
        arrays = _arrays(path)
        about = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            return None
        named = {kind: _named(arrays, kind) for kind in ("parameter", "optimiser", "best")}
        best = None if about["best"] is None else (int(about["best"]), named["best"])
        state = State(
            kind=str(about["kind"]),
            origin=str(about["origin"]),
            options=dict(about["recipe"]),
            settings=dict(about["settings"]),
            parameters=named["parameter"],
            optimiser=named["optimiser"],
            history=_rows(arrays["history"], Record),
            validations=_rows(arrays["validations"], Validation),
            best=best,
        )
        if [record.step for record in state.history] != [i + 1 for i in range(len(state.history))]:
            raise ValueError("its history is not of the steps 1, 2, 3 and so on")
        return state
    except Exception as error:  # the bytes are anybody's: zipfile and NumPy raise a dozen kinds
        reason = str(error) or type(error).__name__
        raise BadInputError(f"{path}: cannot be read as a training state: {reason}") from error


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays, of which none may be compressed, as none is when written."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its arrays are compressed")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _named(arrays: Mapping[str, NDArray[Any]], kind: str) -> dict[str, Array]:
    named = {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}
    for name, array in named.items():
        if array.dtype.kind not in "fiu" or (kind != "optimiser" and not np.all(np.isfinite(array))):
            raise ValueError(f"{kind} {name} is not all finite numbers")
    return named


def _table(entries: list[Any], kind: type[Any]) -> NDArray[np.float64]:
    """Records as a float64 table, a column for each field."""
    names = [f.name for f in dataclasses.fields(kind)]
    return np.array([[getattr(entry, name) for name in names] for entry in entries]).reshape(-1, len(names))


def _rows(table: NDArray[Any], kind: type[Any]) -> list[Any]:
    """The records of a `_table`."""
    return [kind(int(row[0]), *map(float, row[1:])) for row in table]
