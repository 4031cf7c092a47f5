"""Writes the package of a new neuron plugin: one file of code, its test, pyproject.toml and README."""

import errno
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from nspike.errors import OutputError, PluginError, UsageError
from nspike.registry.loading import KINDS
from nspike.registry.plugins import registry
from nspike.runtime.version import VERSION

_TEMPLATES = Path(__file__).parent / "templates" / "neuron"
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True)
class Package:
    """What was written: the neuron's name, the distribution, its module, the folder and the files in it."""

    name: str
    distribution: str
    module: str
    folder: Path
    files: tuple[str, ...]


def new_neuron(name: str, folder: str | os.PathLike[str] | None = None, *, kernel: bool = False) -> Package:
    """Write a package that can be installed and passes its own test.

    Parameters
    ----------
    name : of the neuron: small letters and digits, with - or _ between.
    folder : where to; by default one of the neuron's name. It must be empty or not exist.
    kernel : with a `step` of its own instead of a declaration.

    Raises
    ------
    UsageError
        a name that cannot be one.
    PluginError
        the name of a plugin that there is already.
    OutputError
        the folder is not empty, or cannot be written.
    """
    identifier = _check(name)
    stem = identifier.removeprefix("nspike_")
    module = f"nspike_{stem}"
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"a module {module} is installed already; give the neuron another name")
    target = Path(folder) if folder is not None else Path(name)
    words = {
        "name": name,
        "identifier": stem,
        "module": module,
        "distribution": module.replace("_", "-"),
        "nspike": ".".join(VERSION.split(".")[:2]),
    }
    form = "kernel" if kernel else "declared"
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": f"{form}.py",
        f"test_{stem}.py": f"test_{form}.py",
    }
    texts = {
        file: Template((_TEMPLATES / f"{source}.txt").read_text(encoding="utf-8")).substitute(words)
        for file, source in files.items()
    }
    _write(target, texts)
    return Package(name, words["distribution"], module, target, tuple(texts))


def _check(name: str) -> str:
    """The name as part of an identifier. Raises UsageError, PluginError."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f"{name!r} cannot be a neuron's name here; expected up to {_LONGEST} small letters and digits with single "
            "- or _ between, such as my-neuron"
        )
    if name == "nspike":
        raise PluginError(
            "'nspike' is this framework's own name, and Python may take a folder for it; give yours another name"
        )
    for entry in registry().entries():
        if entry.name == name:
            whose = "a built-in" if entry.package == "nspike" else f"package {entry.package}'s"
            kind = entry.kind or next(iter(KINDS))
            raise PluginError(f"{name!r} is {whose} {kind} already; give yours another name")
    return name.replace("-", "_")


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write the files into a folder that is made, or empty: all of them, or none."""
    made = False
    written: list[Path] = []
    try:
        if folder.exists():
            if not folder.is_dir():
                raise OutputError(f"{folder} is a file; expected a folder that is empty or does not exist")
            if any(folder.iterdir()):
                raise OutputError(f"the folder {folder} is not empty; nothing was written. Choose another with -o")
        else:
            folder.mkdir(parents=True)
            made = True
        for name, text in texts.items():
            written.append(folder / name)
            written[-1].write_text(text, encoding="utf-8")
    except OSError as error:
        _undo(written, folder if made else None)
        raise OutputError(f"cannot write {folder}: {os.strerror(error.errno or errno.EIO)}") from error


def _undo(written: list[Path], folder: Path | None) -> None:
    for path in written:
        path.unlink(missing_ok=True)
    if folder is not None:
        folder.rmdir()
