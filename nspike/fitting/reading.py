"""Recipes as text: TOML files and KEY=VALUE options, to plain values. Imports nothing large: the shell reads threads here.

A recipe may be anybody's file: what cannot be read, in a moment and in little memory, is refused.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nspike.errors import BadInputError, UsageError
from nspike.files.foreign import Refused, read_bytes
from nspike.runtime.caller import either

PATHS = ("data", "validation", "model", "baseline", "plugins")
"""The keys that name files and folders."""
LARGEST = 2**20
"""How many bytes a recipe may have."""

_ATOM = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_ATOM}[ \t]*\.[ \t]*){{33}}")
"""A key of more than 33 parts: `tomllib` needs memory that grows with the square of their number."""


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a recipe file, paths made relative to the current folder.

    Raises BadInputError for a file that cannot be read or is no TOML.
    """
    path = Path(path)
    try:
        text = read_bytes(path, LARGEST).decode()
    except Refused as error:
        raise BadInputError(f"{path}: cannot be read: it {error}") from error
    except FileNotFoundError as error:
        python = "a recipe is a TOML file or a mapping; a network's name is network=NAME, a model is model=NAME"
        raise BadInputError(
            f"{path}: cannot be read: No such file or directory; {either('a recipe is a TOML file', python)}"
        ) from error
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        values = _toml(text)
    except ValueError as error:
        raise BadInputError(f"{path}: is no TOML: {error}") from error

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(each) for each in value]
        try:
            beside = path.parent / value if isinstance(value, str) else None
            return os.fspath(beside) if beside is not None and beside.exists() else value
        except (OSError, ValueError):  # a name too long, or one with a null character: reported when it is opened
            return value

    def placed_kernels(value: Any) -> Any:
        """A degradation, its folder of kernels placed, or those of its parts."""
        if not isinstance(value, dict):
            return value
        parts = value.get("of")
        own = {"of": [placed_kernels(part) for part in parts]} if isinstance(parts, list) else {}
        return {**value, **own} | ({"folder": placed(value["folder"])} if "folder" in value else {})

    def placed_model(value: Any) -> Any:
        """A teacher, its model placed."""
        return {**value, "model": placed(value["model"])} if isinstance(value, dict) and "model" in value else value

    placers = dict.fromkeys(PATHS, placed) | {"degradation": placed_kernels, "teacher": placed_model}
    return {key: placers[key](value) if key in placers else value for key, value in values.items()}


def values_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values of KEY=VALUE options. Raises UsageError."""
    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{pair!r}: expected KEY=VALUE")
        values[key.strip()] = parse(text)
    return values


def parse(text: str) -> Any:
    """The value of a KEY=VALUE option: as TOML has it, else the text itself."""
    try:
        return _toml(f"value = {text}")["value"]
    except ValueError:
        return text


def _toml(text: str) -> Mapping[str, Any]:
    """Raises ValueError, of which `tomllib.TOMLDecodeError` is one."""
    if _LONG_KEY.search(text):
        raise ValueError("a key has more than 33 parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
