"""Reports: as text for people, and as JSON."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import click

from nspike.cli.streams import print_json
from nspike.cli.text import printable
from nspike.runtime.version import VERSION


def emit(text: str, report: Mapping[str, Any], json_file: str | None) -> None:
    """Print `text`, and write `report` as JSON where asked; with `-`, the JSON is all that is printed.

    Raises OutputError if the file cannot be written.
    """
    write_report(report, json_file)
    if json_file != "-":
        click.echo(printable(text))


def write_report(report: Mapping[str, Any], json_file: str | None) -> None:
    """Write `report` as JSON where asked, or print it for `-`. It begins with the version, by which reports are recognised.

    Raises OutputError if the file cannot be written.
    """
    text = to_json({"nspike": VERSION, **report})
    if json_file == "-":
        print_json(text)
    elif json_file is not None:
        from nspike.files.atomic import write_bytes

        write_bytes(json_file, text.encode())


def to_json(report: Mapping[str, Any]) -> str:
    """`report` as JSON; a number that is not finite becomes null, paths become text."""
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace").decode()  # names that are not UTF-8


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
