"""The contract of a format plugin, and the reading of a trained network's file by whichever plugin knows it.

Most formats turn a file into named arrays: which network they belong to is for an `Architecture` to say. One whose files
say what is computed gives the network too.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nspike.errors import BadInputError
from nspike.files.foreign import Refused, open_regular
from nspike.graph.network import Network

HEAD_BYTES = 512
"""How much of a file's beginning a format is shown, to recognise it."""

MAX_BYTES = 2**34
"""The largest file of a trained network that is read."""

_WRAPPERS = ("module.", "_orig_mod.")  # put there by DataParallel and by torch.compile: never a network's own name
_NAMES = ("model.", "net.", "network.")  # a training program's name for the network, or the network's own first level


@dataclass(frozen=True)
class Checkpoint:
    """What a file of a trained network holds.

    Parameters
    ----------
    tensors : the arrays by name, C-contiguous, in the file's dtype (bfloat16 widened to float32). Convolution
        weights are (C_out, C_in, k, k). Values are not checked: see `check_finite`.
    metadata : text about the file, for reports: untrusted, to be escaped where it is shown.
    format : the name of the `Format` that read it.
    network : what is computed, where the file says so; `tensors` are then its parameters, float32, under the names that
        `nspike.contracts.architecture.Arrays` describes. None: `tensors` have the file's names.
    assumed : what the reader took for granted about such a network, a sentence each.
    """

    tensors: dict[str, NDArray[np.generic]]
    metadata: dict[str, str] = field(default_factory=dict)
    format: str = ""
    network: Network | None = None
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A checkpoint file format.

    Parameters
    ----------
    name, summary : how it is called, what it is in a line.
    suffixes : the file suffixes it is usually found under, in lower case, such as `(".pth", ".pt")`.
    detect : (path, the first `HEAD_BYTES` bytes) -> whether this is such a file. Goes by the content, and is cheap.
    read : path -> what it holds. Raises BadInputError that names the file, whatever the bytes in it, and runs nothing
        that the file names.
    """

    name: str
    summary: str
    suffixes: tuple[str, ...]
    detect: Callable[[Path, bytes], bool]
    read: Callable[[Path], Checkpoint]


def read_checkpoint(path: str | Path, formats: Iterable[Format]) -> Checkpoint:
    """Read `path` with the first of `formats` that recognises its content, else with one that its suffix suggests.

    Returns
    -------
    Checkpoint
        The names without the prefixes that `strip_prefixes` removes; at least one tensor.

    Raises
    ------
    BadInputError
        The file cannot be read, no format knows it, it is damaged or unsafe, or it holds no tensors.
    """
    path, formats = Path(path), list(formats)
    head = _head(path)
    known = next((f for f in formats if f.detect(path, head)), None)
    known = known or next((f for f in formats if path.suffix.lower() in f.suffixes), None)
    if known is None:
        raise BadInputError(f"{path}: not a checkpoint of a known format; expected one of: {_listing(formats)}")
    checkpoint = known.read(path)
    if not checkpoint.tensors:
        raise BadInputError(f"{path}: holds no tensors; expected the weights of a trained network")
    return tidied(checkpoint, known.name)


def tidied(checkpoint: Checkpoint, format: str) -> Checkpoint:
    """What format `format` read, under that name, and without prefixes of names where the names are the file's."""
    named = replace(checkpoint, format=checkpoint.format or format)
    return named if named.network is not None else replace(named, tensors=strip_prefixes(named.tensors))


def strip_prefixes(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Remove the leading names that all of `tensors` share and that say nothing about the network.

    `module.` (DataParallel) and `_orig_mod.` (torch.compile) always; `model.`, `net.` and `network.` only where names
    follow, not numbers: `model.0.weight` is how a published network calls its first layer.
    """
    names = list(tensors)
    while prefix := _shared_prefix(names):
        names = [name[len(prefix) :] for name in names]
    return dict(zip(names, tensors.values(), strict=True))


def check_finite(name: str, array: NDArray[np.generic]) -> None:
    """Raise BadInputError, naming the tensor, where `array` (any shape and dtype) holds a NaN or an infinity."""
    if not np.issubdtype(array.dtype, np.inexact):
        return
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise BadInputError(
            f"tensor {name!r}: {bad} of its {array.size} values are NaN or infinite; expected finite numbers; "
            "export the network again from a state in which its loss was finite"
        )


def _shared_prefix(names: list[str]) -> str:
    """The first prefix that all names have and that can go, or the empty string."""
    for prefix in (*_WRAPPERS, *_NAMES):
        if names and all(name.startswith(prefix) and len(name) > len(prefix) for name in names):
            numbered = any(re.match(r"\d+(\.|$)", name[len(prefix) :]) for name in names)
            if prefix in _WRAPPERS or not numbered:
                return prefix
    return ""


def _head(path: Path) -> bytes:
    """The first bytes of a file; what is no file, empty or a stand-in for a file is an error that says so."""
    try:
        with open_regular(path, MAX_BYTES) as file:
            head = file.read(HEAD_BYTES)
    except Refused as refused:
        raise BadInputError(f"{path}: {refused}; expected the file of a trained network") from refused
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{path}: cannot be read: {reason}") from error
    if not head:
        raise BadInputError(f"{path}: is empty; expected the file of a trained network; fetch it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadInputError(f"{path}: is a Git LFS pointer, not the file itself; run `git lfs pull` where it came from")
    if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise BadInputError(f"{path}: is a web page, not a checkpoint; download the file itself")
    return head


def _listing(formats: Iterable[Format]) -> str:
    """The formats with their suffixes, for an error message."""
    return "; ".join(f"{f.name} ({', '.join(f.suffixes)})" for f in formats) or "none (no format plugin is installed)"
